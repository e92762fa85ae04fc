//! The task that owns the seal state, and the handle that others hold.
//!
//! Requests read the open [`Session`] from a watch channel and keep it for as long as they run. Sealing takes
//! the session out of the channel, waits for the requests under way, and only then reports: at that point no
//! key is left in memory. A ceremony that changes keys ends in the same way, with the next session opened at
//! once (`rekey.rs`).

use std::net::IpAddr;
use std::sync::Arc;

use symbolon_core::attempts::Attempts;
use symbolon_core::clock::Clock;
use symbolon_core::seal::{CeremonyError, Progress, Sealed};
use symbolon_core::succession::Change;
use symbolon_proto::custody::Submission;
use symbolon_proto::custody::transcript::CeremonyType;
use symbolon_proto::share::Share;
use tokio::sync::{mpsc, oneshot, watch};

use super::ceremony::{Desk, Notice};
use super::unseal::Unsealer;
use super::unseal::alarm::Alarm;
use crate::access::{Channel, Session};
use crate::error::{Busy, OpError, Text};

mod exposed;
mod rekey;
mod root;
mod roots;
mod task;
#[cfg(test)]
mod tests;

use task::{SealTask, closed};

/// Commands waiting for the seal task; more are refused as busy.
const COMMANDS_MAX: usize = 32;

/// Too many refused shares from one source.
const TOO_MANY_ATTEMPTS: OpError = OpError::Busy(Busy::Source(Text::fixed(
    "too many refused shares came from this address; wait six seconds for each further attempt",
)));

/// What anyone may see of the seal, without a token.
#[derive(Clone)]
pub enum View {
    /// The store holds no deployment.
    Uninitialised,
    /// No keys; perhaps a ceremony under way.
    Sealed {
        /// The deployment.
        sealed: Arc<Sealed>,
        /// Ceremony nonce and progress, if one is under way.
        ceremony: Option<(String, Progress)>,
        /// The key that shares are sealed to, and everything else that custodians may see.
        notice: Arc<Notice>,
        /// Why the broker sealed itself or would not open, if that is how it came to be sealed.
        reason: Option<Text>,
    },
    /// Open.
    Open {
        /// The deployment.
        sealed: Arc<Sealed>,
        /// What requests work with.
        session: Arc<Session>,
        /// A ceremony that changes something, if one is under way.
        ceremony: Option<Arc<Notice>>,
    },
}

/// A share as it came.
enum Given {
    Plain(Share, Channel),
    Sealed(Submission),
}

enum Command {
    Adopt(Box<Sealed>, oneshot::Sender<()>),
    Submit(Given, Option<IpAddr>, oneshot::Sender<Result<(), OpError>>),
    Reset(oneshot::Sender<()>),
    Seal(oneshot::Sender<()>),
    Change(ChangeCommand, oneshot::Sender<Result<(), OpError>>),
    Root(Box<roots::RootCommand>),
}

/// What an operator wants of a ceremony that changes something.
enum ChangeCommand {
    Begin(Box<Change>),
    Finish,
    Cancel,
}

/// Asks the seal task, and reads what it publishes. Cheap to clone.
#[derive(Clone)]
pub struct SealHandle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<View>,
    door: Arc<roots::Door>,
}

impl SealHandle {
    /// Starts the task for a store that holds `sealed`, or nothing yet.
    #[must_use]
    pub fn start(sealed: Option<Sealed>, unsealer: Unsealer, clock: Arc<dyn Clock>) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let desk = sealed.as_ref().map(|sealed| Desk::open(CeremonyType::Unseal, sealed, clock.now()));
        let first = match (sealed, &desk) {
            (Some(sealed), Some(desk)) => closed(Arc::new(sealed), desk, None, clock.as_ref()),
            _ => View::Uninitialised,
        };
        let (publish, view) = watch::channel(first);
        let (alarm, alarms) = Alarm::new();
        let task = SealTask {
            inbox,
            publish,
            unsealer,
            clock,
            alarm,
            alarms,
            desk,
            change: None,
            roots: roots::Roots::default(),
            attempts: Attempts::default(),
            exposed: exposed::Exposed::default(),
            anchor: None,
            reason: None,
        };
        tokio::spawn(task.run());
        Self { commands, view, door: Arc::default() }
    }

    /// A handle on an open session, without a task behind it.
    #[cfg(test)]
    pub(crate) fn holding(sealed: Sealed, session: Arc<Session>) -> Self {
        let (commands, _) = mpsc::channel(COMMANDS_MAX);
        let (_, view) = watch::channel(View::Open { sealed: Arc::new(sealed), session, ceremony: None });
        Self { commands, view, door: Arc::default() }
    }

    /// What the seal looks like now.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The same, and when it changes. Whoever looks lets go at once: a session that is held cannot be closed.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// The open session, or why there is none.
    pub fn session(&self) -> Result<Arc<Session>, OpError> {
        match &*self.view.borrow() {
            View::Open { session, .. } => Ok(Arc::clone(session)),
            View::Sealed { .. } => Err(OpError::SEALED),
            View::Uninitialised => Err(OpError::UNINITIALISED),
        }
    }

    /// Takes over the deployment that `init` has just written.
    pub async fn adopt(&self, sealed: Sealed) -> Result<(), OpError> {
        self.ask(|answer| Command::Adopt(Box::new(sealed), answer)).await
    }

    /// Hands in one custodian's share as text, and how it came; the one that completes the set opens the
    /// broker. Whoever has sent too many that were refused, in this form or the other, must wait.
    pub async fn submit(&self, share: Share, channel: Channel, from: Option<IpAddr>) -> Result<(), OpError> {
        self.ask(|answer| Command::Submit(Given::Plain(share, channel), from, answer)).await?
    }

    /// The same for a share that is sealed to the ceremony key.
    pub async fn submit_sealed(&self, share: Submission, from: Option<IpAddr>) -> Result<(), OpError> {
        self.ask(|answer| Command::Submit(Given::Sealed(share), from, answer)).await?
    }

    /// Forgets the shares of the ceremony under way.
    pub async fn reset(&self) -> Result<(), OpError> {
        self.ask(Command::Reset).await
    }

    /// Begins a ceremony that changes something, on an open broker.
    pub async fn begin_change(&self, change: Change) -> Result<(), OpError> {
        self.ask(|answer| Command::Change(ChangeCommand::Begin(Box::new(change)), answer)).await?
    }

    /// Ends a drill with the shares that are there.
    pub async fn finish_change(&self) -> Result<(), OpError> {
        self.ask(|answer| Command::Change(ChangeCommand::Finish, answer)).await?
    }

    /// Gives a ceremony up. Everything stays as it is.
    pub async fn cancel_change(&self) -> Result<(), OpError> {
        self.ask(|answer| Command::Change(ChangeCommand::Cancel, answer)).await?
    }

    /// Erases every key. Answers when none is left.
    pub async fn seal(&self) -> Result<(), OpError> {
        self.ask(Command::Seal).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, OpError> {
        let (answer, wait) = oneshot::channel();
        self.commands.try_send(command(answer)).map_err(|_| OpError::BUSY)?;
        wait.await.map_err(|_| OpError::BUSY)
    }
}

impl From<CeremonyError> for OpError {
    fn from(error: CeremonyError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
