//! The seal task and a ceremony that changes something: it begins on an open broker and ends in one commit,
//! after which the broker opens itself again with the new keys. Nobody need come back for that: the keys are
//! at hand.

use std::net::IpAddr;
use std::sync::Arc;

use symbolon_core::clock::Now;
use symbolon_core::succession::Change;
use symbolon_proto::custody::Submission;
use tracing::{error, info, warn};

use super::task::SealTask;
use super::{ChangeCommand, View};
use crate::custody::ceremony::commit::{self, Successor};
use crate::custody::ceremony::{CeremonyRefusal, ChangeDesk, Over};
use crate::error::OpError;

impl SealTask {
    pub(super) async fn command_change(&mut self, command: ChangeCommand) -> Result<(), OpError> {
        let now = self.clock.now();
        self.forget_old_change(now);
        match command {
            ChangeCommand::Begin(change) => self.begin_change(*change, now),
            ChangeCommand::Finish => self.finish_change(now).await,
            ChangeCommand::Cancel => {
                let ended = self.give_up_change(now).ok_or(CeremonyRefusal::None)?;
                info!(ceremony = ended.kind().name(), "cancelled; everything stays as it was");
                Ok(())
            }
        }
    }

    fn begin_change(&mut self, change: Change, now: Now) -> Result<(), OpError> {
        let View::Open { sealed, session, .. } = self.publish.borrow().clone() else {
            return Err(OpError::SEALED);
        };
        if self.change.is_some() {
            return Err(CeremonyRefusal::UnderWay.into());
        }
        change.check_names(sealed.share_set()).map_err(CeremonyRefusal::Set)?;
        if let Some(previous) = session.unsealed().previous()
            && change.changes_keys()
        {
            return Err(CeremonyRefusal::Changing { epoch: previous.epoch }.into());
        }
        self.change = Some(ChangeDesk::open(change, &sealed, now));
        self.show_change();
        Ok(())
    }

    async fn finish_change(&mut self, now: Now) -> Result<(), OpError> {
        self.change.as_ref().ok_or(CeremonyRefusal::None)?.may_finish()?;
        self.advance(now).await
    }

    /// A share, or the proof of a new one, for the ceremony under way.
    pub(super) async fn submit_to_change(
        &mut self,
        share: &Submission,
        from: Option<IpAddr>,
    ) -> Result<(), OpError> {
        let now = self.clock.now();
        let change = self.change.as_mut().ok_or(CeremonyRefusal::None)?;
        let taken = change.take(share, now);
        if taken.is_err() {
            self.attempts.refused(from, now);
        }
        self.show_change();
        if taken? { self.advance(now).await } else { Ok(()) }
    }

    /// The next stage. If it cannot be reached the ceremony is over, and everything stays as it was.
    async fn advance(&mut self, now: Now) -> Result<(), OpError> {
        let Some(change) = self.change.take() else { return Ok(()) };
        let ended = match change.advance(now).await {
            Ok((change, None)) => {
                self.change = Some(change);
                Ok(())
            }
            Ok((_, Some(over))) => self.end(over).await,
            Err(error) => {
                warn!(%error, "the ceremony is over; everything stays as it was");
                Err(error)
            }
        };
        self.show_change();
        ended
    }

    /// Commits, and opens again if keys or shares are others now.
    async fn end(&mut self, over: Over) -> Result<(), OpError> {
        let View::Open { session, .. } = self.publish.borrow().clone() else { return Err(OpError::SEALED) };
        if let Some(asker) = over.asker.clone() {
            return self.end_root(&session, asker, over).await;
        }
        let kind = over.transcript.ceremony();
        let successor = commit::commit(&session, over).await.inspect_err(|error| {
            error!(%error, "the ceremony did not take effect, or nobody knows");
        })?;
        drop(session); // closing waits for everybody who holds it
        info!(ceremony = kind.name(), "the ceremony has taken effect; its transcript awaits signatures");
        match successor {
            Some(successor) => self.succeed(successor).await,
            None => Ok(()),
        }
    }

    /// From here on the store is the successor's. Whatever fails, its custodians can unseal.
    async fn succeed(&mut self, Successor { sealed, unsealed }: Successor) -> Result<(), OpError> {
        let sealed = Arc::new(sealed);
        if !self.close(Arc::clone(&sealed)).await {
            error!(
                "a request under way still holds keys of before; the broker stays sealed until custodians give their shares"
            );
            return Err(OpError::BUSY);
        }
        self.forget_alarms();
        let opened =
            self.unsealer.open_with(&sealed, unsealed, "a ceremony has taken effect", &self.alarm).await;
        self.take_up(sealed, opened).await
    }

    pub(super) fn forget_old_change(&mut self, now: Now) {
        if self.change.as_ref().is_some_and(|change| change.is_expired(now)) {
            warn!("the ceremony took too long and is over; everything stays as it was");
            self.give_up_change(now);
        }
    }

    /// Publishes how far the ceremony is.
    pub(super) fn show_change(&mut self) {
        let now = self.clock.now();
        let notice = self.change.as_ref().map(|change| Arc::new(change.notice(now)));
        self.publish.send_if_modified(|view| {
            let View::Open { ceremony, .. } = view else { return false };
            *ceremony = notice;
            true
        });
    }
}
