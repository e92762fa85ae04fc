//! The task that owns the seal state, and the handle that others hold.
//!
//! Requests read the open [`Session`] from a watch channel and keep it for as long as they run. Sealing takes the session
//! out of the channel, waits for the requests under way, and only then reports: at that point no key is left in memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use symbolon_core::attempts::Attempts;
use symbolon_core::clock::Clock;
use symbolon_core::seal::{CeremonyError, Progress, Sealed, Unsealed};
use symbolon_proto::custody::Submission;
use symbolon_proto::share::Share;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::alarm::{Alarm, Reason};
use crate::anchor::Anchor;
use crate::ceremony::{Desk, Notice};
use crate::crypto;
use crate::open::{Opened, Opener};
use crate::ops::OpError;
use crate::session::Session;

/// Commands waiting for the seal task; more are refused as busy.
const COMMANDS_MAX: usize = 32;
/// How often a ceremony's age is looked at; shares outlive their half hour by at most this.
const EXPIRY_CHECK: Duration = Duration::from_secs(5);
/// Longest wait for requests under way when sealing; the HTTP deadline is 90 s.
const DRAIN_MAX: Duration = Duration::from_secs(100);

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
        reason: Option<Reason>,
    },
    /// Open.
    Open {
        /// The deployment.
        sealed: Arc<Sealed>,
        /// What requests work with.
        session: Arc<Session>,
    },
}

/// A share as it came.
enum Given {
    Plain(Share),
    Sealed(Submission, Option<IpAddr>),
}

enum Command {
    Adopt(Box<Sealed>, oneshot::Sender<()>),
    Submit(Given, oneshot::Sender<Result<(), OpError>>),
    Reset(oneshot::Sender<()>),
    Seal(oneshot::Sender<()>),
}

/// Asks the seal task, and reads what it publishes. Cheap to clone.
#[derive(Clone)]
pub struct SealHandle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<View>,
}

impl SealHandle {
    /// Starts the task for a store that holds `sealed`, or nothing yet.
    #[must_use]
    pub fn start(sealed: Option<Sealed>, opener: Opener, clock: Arc<dyn Clock>) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let desk = sealed.as_ref().map(|sealed| Desk::open(sealed, clock.now()));
        let first = match (sealed, &desk) {
            (Some(sealed), Some(desk)) => closed(Arc::new(sealed), desk, None, clock.as_ref()),
            _ => View::Uninitialised,
        };
        let (publish, view) = watch::channel(first);
        let (alarm, alarms) = Alarm::new();
        let task = SealTask {
            inbox,
            publish,
            opener,
            clock,
            alarm,
            alarms,
            desk,
            attempts: Attempts::default(),
            anchor: None,
            reason: None,
        };
        tokio::spawn(task.run());
        Self { commands, view }
    }

    /// A handle on an open session, without a task behind it.
    #[cfg(test)]
    pub(crate) fn holding(sealed: Sealed, session: Arc<Session>) -> Self {
        let (commands, _) = mpsc::channel(COMMANDS_MAX);
        let (_, view) = watch::channel(View::Open { sealed: Arc::new(sealed), session });
        Self { commands, view }
    }

    /// What the seal looks like now.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// The open session, or why there is none.
    pub fn session(&self) -> Result<Arc<Session>, OpError> {
        match &*self.view.borrow() {
            View::Open { session, .. } => Ok(Arc::clone(session)),
            View::Sealed { .. } => Err(OpError::Sealed),
            View::Uninitialised => Err(OpError::NotInitialised),
        }
    }

    /// Takes over the deployment that `init` has just written.
    pub async fn adopt(&self, sealed: Sealed) -> Result<(), OpError> {
        self.ask(|answer| Command::Adopt(Box::new(sealed), answer)).await
    }

    /// Hands in one custodian's share; the one that completes the set opens the broker.
    pub async fn submit(&self, share: Share) -> Result<(), OpError> {
        self.ask(|answer| Command::Submit(Given::Plain(share), answer)).await?
    }

    /// The same for a share that is sealed to the ceremony key. Too many refused ones from one address must wait.
    pub async fn submit_sealed(&self, share: Submission, from: Option<IpAddr>) -> Result<(), OpError> {
        self.ask(|answer| Command::Submit(Given::Sealed(share, from), answer)).await?
    }

    /// Forgets the shares of the ceremony under way.
    pub async fn reset(&self) -> Result<(), OpError> {
        self.ask(Command::Reset).await
    }

    /// Erases every key. Answers when none is left.
    pub async fn seal(&self) -> Result<(), OpError> {
        self.ask(Command::Seal).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, OpError> {
        let (answer, wait) = oneshot::channel();
        self.commands.try_send(command(answer)).map_err(|_| OpError::Busy)?;
        wait.await.map_err(|_| OpError::Busy)
    }
}

fn closed(sealed: Arc<Sealed>, desk: &Desk, reason: Option<Reason>, clock: &dyn Clock) -> View {
    let progress = desk.progress();
    let ceremony = (!progress.given.is_empty()).then(|| (desk.vault_nonce(), progress));
    View::Sealed { sealed, ceremony, notice: Arc::new(desk.notice(clock.now())), reason }
}

struct SealTask {
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<View>,
    opener: Opener,
    clock: Arc<dyn Clock>,
    alarm: Alarm,
    alarms: mpsc::Receiver<Reason>,
    /// Where custodians give their shares: there is one whenever the broker is sealed.
    desk: Option<Desk>,
    attempts: Attempts,
    /// Of the open session.
    anchor: Option<Arc<Anchor>>,
    /// Why the broker sealed itself, until it is open again.
    reason: Option<Reason>,
}

impl SealTask {
    async fn run(mut self) {
        let mut age_check = tokio::time::interval(EXPIRY_CHECK);
        loop {
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(command) => self.handle(command).await,
                    None => return self.seal().await,
                },
                Some(reason) = self.alarms.recv() => self.seal_for(reason).await,
                _ = age_check.tick() => self.forget_old_shares(),
            }
        }
    }

    /// An asker who has gone away is no reason to stop: the state has changed all the same.
    async fn handle(&mut self, command: Command) {
        match command {
            Command::Adopt(sealed, answer) => {
                self.show_closed(Arc::new(*sealed));
                let _ = answer.send(());
            }
            Command::Submit(share, answer) => {
                let result = self.submit(share).await;
                let _ = answer.send(result);
            }
            Command::Reset(answer) => {
                self.begin_anew();
                let _ = answer.send(());
            }
            Command::Seal(answer) => {
                self.seal().await;
                let _ = answer.send(());
            }
        }
    }

    async fn submit(&mut self, given: Given) -> Result<(), OpError> {
        self.forget_old_shares();
        let sealed = match (&*self.publish.borrow(), &given) {
            (View::Uninitialised, _) => return Err(OpError::NotInitialised),
            (View::Open { .. }, Given::Plain(_)) => return Ok(()), // as Vault: it only reports the status
            (View::Open { .. }, Given::Sealed(..)) => {
                return Err(OpError::Invalid("the broker is open; no ceremony is under way"));
            }
            (View::Sealed { sealed, .. }, _) => Arc::clone(sealed),
        };
        let now = self.clock.now();
        let desk = self.desk.get_or_insert_with(|| Desk::open(&sealed, now));
        let taken = match given {
            Given::Plain(share) => desk.take(share, now),
            Given::Sealed(_, from) if !self.attempts.allows(from, now) => Err(OpError::TooManyAttempts),
            Given::Sealed(share, from) => desk.take_sealed(&share, now).inspect_err(|_| {
                self.attempts.refused(from, now);
            }),
        };
        self.show_closed(Arc::clone(&sealed));
        let progress = taken?;
        if !progress.is_complete() {
            info!(given = progress.given.len(), needed = progress.threshold, "share accepted");
            return Ok(());
        }
        self.open(sealed).await
    }

    /// Shows a sealed broker and how far its ceremony is; begins one if there is none.
    fn show_closed(&mut self, sealed: Arc<Sealed>) {
        let desk = self.desk.get_or_insert_with(|| Desk::open(&sealed, self.clock.now()));
        self.publish.send_replace(closed(sealed, desk, self.reason, self.clock.as_ref()));
    }

    /// With enough shares. Whatever comes of it, these shares and the key they were sealed to are gone.
    async fn open(&mut self, sealed: Arc<Sealed>) -> Result<(), OpError> {
        let Some(desk) = self.desk.take() else { return Err(OpError::Sealed) };
        let opened = match crypto::run(move || finish(desk)).await.map_err(|_| OpError::Busy)? {
            Ok(unsealed) => self.opener.open(&sealed, unsealed, &self.alarm).await,
            Err(error) => Err(error.into()),
        };
        let Opened { session, anchor } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let OpError::SelfSealed(reason) = error {
                    self.reason = Some(reason);
                }
                self.show_closed(sealed);
                return Err(error);
            }
        };
        info!(generation = session.generation(), "unsealed");
        while self.alarms.try_recv().is_ok() {} // of the session before
        self.reason = None;
        self.anchor = Some(anchor);
        self.publish.send_replace(View::Open { sealed, session });
        Ok(())
    }

    /// An alarm that was raised while the broker was already being sealed says nothing new.
    async fn seal_for(&mut self, reason: Reason) {
        if matches!(*self.publish.borrow(), View::Open { .. }) {
            self.reason = Some(reason);
            self.seal().await;
        }
    }

    /// Puts the anchor of what was done, so that a copy of the store from before is known as one.
    async fn put_anchor(&mut self) {
        if let Some(anchor) = self.anchor.take()
            && let Err(error) = anchor.update().await
        {
            warn!(%error, "the anchor could not be put before sealing; until the next unseal an older copy of the store may pass");
        }
    }

    async fn seal(&mut self) {
        let view = self.publish.borrow().clone();
        let View::Open { sealed, session } = view else {
            self.begin_anew();
            return;
        };
        self.show_closed(sealed);
        let remains = session.close();
        drop(session);
        self.put_anchor().await;
        if tokio::time::timeout(DRAIN_MAX, remains.gone()).await.is_err() {
            warn!("a request under way still holds keys; they are wiped when it ends");
        }
        info!("sealed");
    }

    /// Forgets the shares given so far, and the key they were sealed to. A key to which nobody has sealed anything stays: a
    /// stranger could otherwise change it under the custodians' hands for ever.
    fn begin_anew(&mut self) {
        if self.desk.as_ref().is_some_and(|desk| desk.progress().given.is_empty()) {
            return;
        }
        let View::Sealed { sealed, .. } = self.publish.borrow().clone() else { return };
        self.desk = None;
        self.show_closed(sealed);
    }

    fn forget_old_shares(&mut self) {
        let now = self.clock.now();
        if self.desk.as_ref().is_some_and(|desk| desk.is_expired(now)) {
            warn!("the ceremony took too long; its shares were wiped and custodians must start again");
            self.begin_anew();
        }
    }
}

fn finish(desk: Desk) -> Result<Unsealed, CeremonyError> {
    desk.into_shares().finish().inspect_err(|error| warn!(%error, "ceremony failed"))
}
