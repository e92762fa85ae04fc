//! What is remembered of root tokens and of those who ask for them; the task itself is in `root.rs`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use symbolon_core::attempts::Attempts;
use symbolon_core::clock::Now;
use symbolon_core::root_requests::RootRequests;
use symbolon_proto::custody::{RootAsk, RootAsker, RootNonce};
use tokio::sync::oneshot;

use crate::custody::ceremony::CeremonyRefusal;
use crate::custody::ceremony::root::WaitingToken;
use crate::error::{Busy, OpError, Text};

/// Too many refused requests from one source.
const TOO_MANY_REQUESTS: OpError = OpError::Busy(Busy::Source(Text::fixed(
    "too many refused requests came from this address; wait six seconds for each further attempt",
)));

/// Where requests of custodians are looked at before the task hears of them.
#[derive(Default)]
pub(super) struct Door(Mutex<Attempts>);

impl Door {
    /// Refusals have an allowance of their own, so that whoever uses it up has not used up that of shares.
    pub(super) fn pass<T>(
        &self,
        from: Option<IpAddr>,
        now: Now,
        check: impl FnOnce() -> Result<T, OpError>,
    ) -> Result<T, OpError> {
        if !self.attempts().allows(from, now) {
            return Err(TOO_MANY_REQUESTS);
        }
        check().inspect_err(|_| self.refused(from, now))
    }

    /// Counts a refusal.
    pub(super) fn refused(&self, from: Option<IpAddr>, now: Now) {
        self.attempts().refused(from, now);
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that was believed, for the task.
pub(super) struct RootCommand {
    pub(super) asker: RootAsker,
    pub(super) from: Option<IpAddr>,
    pub(super) answer: oneshot::Sender<Result<Option<WaitingToken>, OpError>>,
}

/// What the task remembers of root tokens.
#[derive(Default)]
pub(super) struct Roots {
    pub(super) requests: RootRequests,
    /// Tokens that wait to be fetched, by card: at most as many as a set has. Gone with the session.
    pub(super) waiting: BTreeMap<[u8; 32], WaitingToken>,
}

impl Roots {
    /// The token that waits for a card, as often as it is asked for: an answer may be lost on its way.
    pub(super) fn fetch(&mut self, asker: &RootAsker, now: Now) -> Result<WaitingToken, OpError> {
        self.waiting.retain(|_, waiting| waiting.ends_secs > now.unix_secs());
        let waiting = self.waiting.get(&asker.request().request().card);
        Ok(waiting.cloned().ok_or(CeremonyRefusal::NoToken)?)
    }

    pub(super) fn received(&mut self, asker: &RootAsker, nonce: RootNonce) {
        let card = &asker.request().request().card;
        if self.waiting.get(card).is_some_and(|waiting| is_answer_to(&waiting.asker, asker, nonce)) {
            self.waiting.remove(card);
        }
    }

    /// What was not fetched is lost with the session.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
    }
}

/// Whether a later request is about the ceremony that `begun` asked for, and of the same card.
pub(super) fn is_answer_to(begun: &RootAsker, later: &RootAsker, nonce: RootNonce) -> bool {
    let is_named = matches!(begun.ask(), RootAsk::Begin { nonce: named, .. } if named == nonce);
    is_named && begun.request().request().card == later.request().request().card
}
