//! The task that owns the seal state, and the handle that others hold.
//!
//! Requests read the open [`Session`] from a watch channel and keep it for as long as they run. Sealing takes the session
//! out of the channel, waits for the requests under way, and only then reports: at that point no key is left in memory.

use std::sync::Arc;
use std::time::Duration;

use symbolon_core::seal::{Ceremony, CeremonyError, Progress, Sealed, Unsealed};
use symbolon_proto::share::Share;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::alarm::{Alarm, Reason};
use crate::anchor::Anchor;
use crate::open::{Opened, Opener};
use crate::ops::OpError;
use crate::random::os_rng;
use crate::session::Session;
use symbolon_core::clock::Clock;

/// Commands waiting for the seal task; more are refused as busy.
const COMMANDS_MAX: usize = 32;
/// How often a ceremony's age is looked at.
const EXPIRY_CHECK: Duration = Duration::from_secs(60);
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

enum Command {
    Adopt(Box<Sealed>, oneshot::Sender<()>),
    Submit(Share, oneshot::Sender<Result<(), OpError>>),
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
        let first = sealed.map_or(View::Uninitialised, |sealed| closed(Arc::new(sealed)));
        let (publish, view) = watch::channel(first);
        let (alarm, alarms) = Alarm::new();
        let task = SealTask {
            inbox,
            publish,
            opener,
            clock,
            alarm,
            alarms,
            ceremony: None,
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
        self.ask(|answer| Command::Submit(share, answer)).await?
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

fn closed(sealed: Arc<Sealed>) -> View {
    View::Sealed { sealed, ceremony: None, reason: None }
}

struct SealTask {
    inbox: mpsc::Receiver<Command>,
    publish: watch::Sender<View>,
    opener: Opener,
    clock: Arc<dyn Clock>,
    alarm: Alarm,
    alarms: mpsc::Receiver<Reason>,
    ceremony: Option<Ceremony>,
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
                self.publish.send_replace(closed(Arc::new(*sealed)));
                let _ = answer.send(());
            }
            Command::Submit(share, answer) => {
                let result = self.submit(share).await;
                let _ = answer.send(result);
            }
            Command::Reset(answer) => {
                self.abandon_ceremony();
                let _ = answer.send(());
            }
            Command::Seal(answer) => {
                self.seal().await;
                let _ = answer.send(());
            }
        }
    }

    async fn submit(&mut self, share: Share) -> Result<(), OpError> {
        self.forget_old_shares();
        let sealed = match &*self.publish.borrow() {
            View::Uninitialised => return Err(OpError::NotInitialised),
            View::Open { .. } => return Ok(()), // as Vault: a share for an open broker only reports the status
            View::Sealed { sealed, .. } => Arc::clone(sealed),
        };
        let mut ceremony = self.ceremony.take().unwrap_or_else(|| sealed.begin(&mut os_rng()));
        let progress = match ceremony.submit(share, self.clock.now()) {
            Ok(progress) => progress,
            Err(refused) => {
                self.keep(sealed, ceremony);
                return Err(refused.into());
            }
        };
        if !progress.is_complete() {
            info!(given = progress.given.len(), needed = progress.threshold, "share accepted");
            self.keep(sealed, ceremony);
            return Ok(());
        }
        self.open(sealed, ceremony).await
    }

    /// Keeps the ceremony for the next share and shows how far it is.
    fn keep(&mut self, sealed: Arc<Sealed>, ceremony: Ceremony) {
        let progress = ceremony.progress();
        let shown = (!progress.given.is_empty()).then(|| (ceremony.nonce(), progress));
        self.publish.send_replace(View::Sealed { sealed, ceremony: shown, reason: self.reason });
        self.ceremony = Some(ceremony);
    }

    async fn open(&mut self, sealed: Arc<Sealed>, ceremony: Ceremony) -> Result<(), OpError> {
        self.publish.send_replace(self.closed(Arc::clone(&sealed)));
        let unsealed: Unsealed =
            ceremony.finish().inspect_err(|error: &CeremonyError| warn!(%error, "ceremony failed"))?;
        let Opened { session, anchor } = match self.opener.open(&sealed, unsealed, &self.alarm).await {
            Ok(opened) => opened,
            Err(error) => {
                if let OpError::SelfSealed(reason) = error {
                    self.reason = Some(reason);
                    self.publish.send_replace(self.closed(sealed));
                }
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

    fn closed(&self, sealed: Arc<Sealed>) -> View {
        View::Sealed { sealed, ceremony: None, reason: self.reason }
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
        self.abandon_ceremony();
        let view = self.publish.borrow().clone();
        let View::Open { sealed, session } = view else { return };
        self.publish.send_replace(self.closed(sealed));
        self.put_anchor().await;
        let remains = session.close();
        drop(session);
        if tokio::time::timeout(DRAIN_MAX, remains.gone()).await.is_err() {
            warn!("a request under way still holds keys; they are wiped when it ends");
        }
        info!("sealed");
    }

    fn abandon_ceremony(&mut self) {
        if self.ceremony.take().is_none() {
            return;
        }
        self.publish.send_modify(|view| {
            if let View::Sealed { ceremony, .. } = view {
                *ceremony = None;
            }
        });
    }

    fn forget_old_shares(&mut self) {
        let now = self.clock.now();
        if self.ceremony.as_ref().is_some_and(|ceremony| ceremony.is_expired(now)) {
            warn!("the ceremony took too long; its shares were wiped and custodians must start again");
            self.abandon_ceremony();
        }
    }
}
