//! The task itself: one command after the other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use symbolon_core::attempts::Attempts;
use symbolon_core::clock::Clock;
use symbolon_core::seal::{CeremonyError, EpochKeys, Sealed};
use symbolon_proto::custody::transcript::CeremonyType;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::exposed::Exposed;
use super::roots::Roots;
use super::{Command, Given, View};
use crate::custody::ceremony::{ChangeDesk, Desk};
use crate::custody::unseal::alarm::{Alarm, Reason};
use crate::custody::unseal::anchor::Anchor;
use crate::custody::unseal::{Opened, Unsealer};
use crate::error::{Closed, OpError, Text};
use crate::key_thread;

/// How often a ceremony's age is looked at; shares outlive their half hour by at most this.
const EXPIRY_CHECK: Duration = Duration::from_secs(5);
/// Longest wait for requests under way when sealing; the HTTP deadline is 90 s.
const DRAIN_MAX: Duration = Duration::from_secs(100);

pub(super) struct SealTask {
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) publish: watch::Sender<View>,
    pub(super) unsealer: Unsealer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) alarm: Alarm,
    pub(super) alarms: mpsc::Receiver<Reason>,
    /// Where custodians give their shares: there is one whenever the broker is sealed.
    pub(super) desk: Option<Desk>,
    /// A ceremony that changes something; only while the broker is open.
    pub(super) change: Option<ChangeDesk>,
    pub(super) roots: Roots,
    pub(super) attempts: Attempts,
    pub(super) exposed: Exposed,
    /// Of the open session.
    pub(super) anchor: Option<Arc<Anchor>>,
    /// Why the broker sealed itself, until it is open again.
    pub(super) reason: Option<Text>,
}

impl SealTask {
    pub(super) async fn run(mut self) {
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
            Command::Submit(share, from, answer) => {
                let result = self.submit(share, from).await;
                let _ = answer.send(result);
            }
            Command::Reset(answer) => {
                self.begin_again();
                let _ = answer.send(());
            }
            Command::Seal(answer) => {
                self.seal().await;
                let _ = answer.send(());
            }
            Command::Change(command, answer) => {
                let result = self.command_change(command).await;
                let _ = answer.send(result);
            }
            Command::Root(command) => self.command_root(*command).await,
        }
    }

    /// One allowance for shares in every form, asked before anything is looked at.
    async fn submit(&mut self, given: Given, from: Option<IpAddr>) -> Result<(), OpError> {
        self.forget_old_shares();
        // No session is held here: the share may be the one for which the broker opens itself again.
        let sealed = match &*self.publish.borrow() {
            View::Uninitialised => return Err(OpError::UNINITIALISED),
            View::Open { .. } => None,
            View::Sealed { sealed, .. } => Some(Arc::clone(sealed)),
        };
        match (sealed, given) {
            (None, Given::Plain(..)) => Ok(()), // as Vault: it only reports the status
            _ if !self.attempts.allows(from, self.clock.now()) => Err(super::TOO_MANY_ATTEMPTS),
            (Some(sealed), given) => self.submit_to_unseal(sealed, given, from).await,
            (None, Given::Sealed(share)) => self.submit_to_change(&share, from).await,
        }
    }

    async fn submit_to_unseal(
        &mut self,
        sealed: Arc<Sealed>,
        given: Given,
        from: Option<IpAddr>,
    ) -> Result<(), OpError> {
        let now = self.clock.now();
        let desk = self.desk.get_or_insert_with(|| Desk::open(CeremonyType::Unseal, &sealed, now));
        let taken = match given {
            Given::Plain(share, channel) => {
                let x = share.x();
                let taken = desk.take(share, now);
                if taken.is_ok() && channel.is_classical() {
                    self.exposed.note(&sealed, x);
                }
                taken
            }
            Given::Sealed(share) => desk.take_sealed(&share, now),
        };
        if taken.is_err() {
            self.attempts.refused(from, now);
        }
        self.show_closed(Arc::clone(&sealed));
        let progress = taken?;
        if !progress.is_complete() {
            info!(given = progress.given.len(), needed = progress.threshold, "share accepted");
            return Ok(());
        }
        self.open(sealed, &progress.given).await
    }

    /// Shows a sealed broker and how far its ceremony is; begins one if there is none.
    pub(super) fn show_closed(&mut self, sealed: Arc<Sealed>) {
        let now = self.clock.now();
        let desk = self.desk.get_or_insert_with(|| Desk::open(CeremonyType::Unseal, &sealed, now));
        self.publish.send_replace(closed(sealed, desk, self.reason.clone(), self.clock.as_ref()));
    }

    /// With enough shares, by these custodians. Whatever comes of it, the shares and the key they were sealed
    /// to are gone.
    async fn open(&mut self, sealed: Arc<Sealed>, given: &[String]) -> Result<(), OpError> {
        let Some(desk) = self.desk.take() else { return Err(OpError::SEALED) };
        self.forget_alarms();
        let opened = match key_thread::run(move || finish(desk)).await.map_err(|_| OpError::BUSY)? {
            Ok(keys) => self.unsealer.open(&sealed, keys, given, &self.alarm).await,
            Err(error) => Err(error.into()),
        };
        if let Ok(opened) = &opened {
            self.exposed.enter(&opened.session).await;
        }
        self.take_up(sealed, opened).await
    }

    /// Those of the session before say nothing about the next one.
    pub(super) fn forget_alarms(&mut self) {
        while self.alarms.try_recv().is_ok() {}
    }

    /// Serves from an opened session, or says why there is none.
    pub(super) async fn take_up(
        &mut self,
        sealed: Arc<Sealed>,
        opened: Result<Opened, OpError>,
    ) -> Result<(), OpError> {
        let Opened { session, anchor, raised } = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let OpError::Sealed(Closed::ByItself(reason)) = &error {
                    self.reason = Some(reason.clone());
                }
                // its format may have been raised
                let sealed = self.unsealer.recorded().await.map_or(sealed, Arc::new);
                self.show_closed(sealed);
                return Err(error);
            }
        };
        let sealed = raised.map_or(sealed, Arc::new);
        info!(generation = session.generation(), "unsealed");
        self.reason = None;
        self.desk = None;
        self.anchor = Some(anchor);
        self.publish.send_replace(View::Open { sealed, session, ceremony: None });
        Ok(())
    }

    /// An alarm that was raised while the broker was already being sealed says nothing new.
    async fn seal_for(&mut self, reason: Reason) {
        if matches!(*self.publish.borrow(), View::Open { .. }) {
            self.reason = Some(Text::of(&reason));
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
        let View::Open { sealed, .. } = self.publish.borrow().clone() else {
            self.begin_again();
            return;
        };
        let sealed = self.unsealer.recorded().await.map_or(sealed, Arc::new);
        if !self.close(sealed).await {
            warn!("a request under way still holds keys; they are wiped when it ends");
        }
        info!("sealed");
    }

    /// Ends the open session and shows `sealed`. Whether no key of the session is left.
    pub(super) async fn close(&mut self, sealed: Arc<Sealed>) -> bool {
        self.change = None;
        self.roots.close();
        let before = self.publish.borrow().clone();
        let View::Open { session, .. } = before else { return true };
        self.show_closed(sealed);
        let remains = session.close();
        session.settle_strangers().await;
        drop(session);
        self.put_anchor().await;
        tokio::time::timeout(DRAIN_MAX, remains.gone()).await.is_ok()
    }

    /// Forgets the shares given so far, and the key they were sealed to. A key to which nobody has sealed
    /// anything stays: a stranger could otherwise change it under the custodians' hands for ever.
    fn begin_again(&mut self) {
        if self.desk.as_ref().is_some_and(|desk| desk.progress().given.is_empty()) {
            return;
        }
        let View::Sealed { sealed, .. } = self.publish.borrow().clone() else { return };
        self.desk = None;
        self.show_closed(sealed);
    }

    fn forget_old_shares(&mut self) {
        let now = self.clock.now();
        self.forget_old_change(now);
        if self.desk.as_ref().is_some_and(|desk| desk.is_expired(now)) {
            warn!("the ceremony took too long; its shares were wiped and custodians must start again");
            self.begin_again();
        }
    }
}

fn finish(desk: Desk) -> Result<EpochKeys, CeremonyError> {
    desk.into_shares().finish().inspect_err(|error| warn!(%error, "ceremony failed"))
}

/// What a sealed broker shows.
pub(super) fn closed(sealed: Arc<Sealed>, desk: &Desk, reason: Option<Text>, clock: &dyn Clock) -> View {
    let progress = desk.progress();
    let ceremony = (!progress.given.is_empty()).then(|| (desk.vault_nonce(), progress));
    View::Sealed { sealed, ceremony, notice: Arc::new(desk.notice(clock.now())), reason }
}
