//! The seal task and a ceremony for a root token: what custodians ask with their cards.
//!
//! ```text
//! anybody ──bytes──▶ Door: allowance of the source, signature, deployment, set, card, time
//!                     └──▶ RootAsker ──command──▶ the task: new? one ceremony at a time ──▶ entry ──▶ desk
//! ```
//!
//! What is not signed by a card of the set in use never becomes a command: it takes no place in the task's
//! queue, writes nothing, and cannot disturb a ceremony that runs.

use std::net::IpAddr;

use symbolon_core::audit::Detail;
use symbolon_core::clock::Now;
use symbolon_core::seal::Sealed;
use symbolon_core::succession::Change;
use symbolon_proto::custody::{RootAsk, RootAsker, RootNonce, RootScope, SignedRootRequest};
use tracing::{info, warn};

use super::roots::{RootCommand, is_answer_to};
use super::task::SealTask;
use super::{Command, SealHandle, View};
use crate::access::Session;
use crate::custody::ceremony::root::{self, WaitingToken};
use crate::custody::ceremony::{CeremonyRefusal, ChangeDesk, Over};
use crate::error::OpError;

impl SealHandle {
    /// For which state of the deployment a custodian's request counts at this moment, and whether any
    /// custodian has a card to sign one.
    pub fn root_scope(&self) -> Result<(RootScope, bool), OpError> {
        let View::Open { sealed, session, .. } = self.view() else { return Err(self.closed()) };
        let has_cards = sealed.share_set().custodians().iter().any(|custodian| custodian.keys.is_some());
        Ok((scope(&sealed, &session), has_cards))
    }

    /// Does what a custodian's signed request asks for. `Some` is the token that was asked for.
    pub async fn ask_for_root(
        &self,
        request: &[u8],
        from: Option<IpAddr>,
    ) -> Result<Option<WaitingToken>, OpError> {
        let (asker, now) = self.believe(request, from)?;
        let answer = self.ask(|answer| Command::Root(Box::new(RootCommand { asker, from, answer }))).await?;
        // Whoever repeats what a custodian has signed uses up an allowance, too.
        answer.inspect_err(|_| self.door.refused(from, now))
    }

    /// No session is held afterwards: the task may have to close it.
    fn believe(&self, request: &[u8], from: Option<IpAddr>) -> Result<(RootAsker, Now), OpError> {
        let View::Open { sealed, session, .. } = self.view() else { return Err(self.closed()) };
        let now = session.now();
        let check = || {
            let request = SignedRootRequest::decode(request)?;
            Ok(request.check(&scope(&sealed, &session), sealed.share_set(), now.unix_ms)?)
        };
        Ok((self.door.pass(from, now, check)?, now))
    }

    fn closed(&self) -> OpError {
        self.session().err().unwrap_or(OpError::BUSY)
    }
}

fn scope(sealed: &Sealed, session: &Session) -> RootScope {
    let set = sealed.share_set().hash();
    RootScope { deployment: sealed.deployment(), generation: session.generation(), set }
}

impl SealTask {
    pub(super) async fn command_root(&mut self, command: RootCommand) {
        let RootCommand { asker, from, answer } = command;
        let now = self.clock.now();
        self.forget_old_change(now);
        let result = match asker.ask() {
            RootAsk::Begin { .. } => self.begin_root(asker, from, now).await.map(|()| None),
            RootAsk::Cancel { nonce } => self.cancel_root(&asker, nonce, from, now).await.map(|()| None),
            RootAsk::Fetch => self.roots.fetch(&asker, now).map(Some),
            RootAsk::Received { nonce } => {
                self.roots.received(&asker, nonce);
                Ok(None)
            }
        };
        // An asker who has gone away is no reason to stop.
        let _ = answer.send(result);
    }

    /// On record before anybody is asked for a share.
    async fn begin_root(&mut self, asker: RootAsker, from: Option<IpAddr>, now: Now) -> Result<(), OpError> {
        let View::Open { sealed, session, .. } = self.publish.borrow().clone() else {
            return Err(OpError::SEALED);
        };
        asker.request().check(&scope(&sealed, &session), sealed.share_set(), now.unix_ms)?;
        if self.change.is_some() {
            return Err(CeremonyRefusal::UnderWay.into());
        }
        self.roots.requests.take(&asker, sealed.share_set(), now)?;
        let what = format!("ceremony root begins: {asker}, card {}", asker.fingerprint());
        session.record(root::draft(&asker, what, whence(from))).await?;
        self.change = Some(ChangeDesk::open(Change::Root(Box::new(asker)), &sealed, now));
        self.show_change();
        Ok(())
    }

    async fn cancel_root(
        &mut self,
        asker: &RootAsker,
        nonce: RootNonce,
        from: Option<IpAddr>,
        now: Now,
    ) -> Result<(), OpError> {
        let begun = self.change.as_ref().and_then(ChangeDesk::root_asker);
        if !begun.is_some_and(|(begun, _)| is_answer_to(begun, asker, nonce)) {
            return Err(CeremonyRefusal::NotYours.into());
        }
        let View::Open { session, .. } = self.publish.borrow().clone() else {
            return Err(OpError::SEALED);
        };
        let what = "ceremony root is given up by the custodian who began it".to_owned();
        session.record(root::draft(asker, what, whence(from))).await?;
        self.give_up_change(now);
        info!(ceremony = "root", "cancelled by the custodian who began it; no token was made");
        Ok(())
    }

    /// The shares were right: the token is made, and waits.
    pub(super) async fn end_root(
        &mut self,
        session: &Session,
        asker: RootAsker,
        over: Over,
    ) -> Result<(), OpError> {
        let waiting = root::issue(session, asker, over).await.inspect_err(|error| {
            warn!(%error, "no root token was disclosed");
        })?;
        info!(
            name = waiting.asker.name(),
            "a root token was made and waits for the custodian who asked for it; its transcript awaits signatures"
        );
        self.roots.waiting.insert(waiting.asker.request().request().card, waiting);
        Ok(())
    }

    /// Ends the ceremony under way without effect. Whoever began one for a root token waits for the next.
    pub(super) fn give_up_change(&mut self, now: Now) -> Option<ChangeDesk> {
        let ended = self.change.take()?;
        self.note_nothing(&ended, now);
        self.show_change();
        Some(ended)
    }

    fn note_nothing(&mut self, ended: &ChangeDesk, now: Now) {
        if let Some((asker, begun)) = ended.root_asker() {
            self.roots.requests.came_to_nothing(asker, begun, now);
        }
    }
}

fn whence(from: Option<IpAddr>) -> Detail {
    Detail { remote: from.map(|from| from.to_string()).unwrap_or_default(), ..Detail::default() }
}
