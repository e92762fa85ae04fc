//! The log as its entries come, for whoever follows it: one request, with one durable entry before the first
//! byte.
//!
//! Entries are read from the log when the peer has taken those before, so a slow one costs no memory and
//! misses nothing. It ends when the token does, when its policies take the right away, and when the broker is
//! sealed.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use symbolon_core::audit::{Action, Withheld};
use symbolon_core::event::Event;
use symbolon_core::json::Map;
use symbolon_core::path::ApiPath;
use symbolon_core::policy::Operation;
use symbolon_proto::Zeroizing;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::audit::find;
use crate::access::is_still_allowed;
use crate::access::{Asker, Object, Request, Route, Session};
use crate::audit::index::known::Known;
use crate::audit::log::search::FOUND_MAX;
use crate::audit::log::{Filter, LogReader, Range};
use crate::error::{Busy, OpError, Text};

/// Entries that are told together.
const TOLD_MAX: usize = 64;
/// Between two looks whether there are more.
const LOOK: Duration = Duration::from_millis(250);
/// Something is told at least so often: a peer that takes nothing for longer than the server's time for an
/// answer is cut off.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How often token and policies are looked at.
const TRUST: Duration = Duration::from_secs(1);

/// When a place may be free again.
const AGAIN_SECS: u32 = 10;

const ROUTE: &str = "symbolon/audit/tail";
const FULL: &str = "all places for those who follow the audit log are taken; end another one, or search";

/// What is told next.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// Entries that fit, and where the next look begins.
    Events(Vec<Event>, u64),
    /// Nothing has come; where the next look begins, if that is known yet.
    Waiting(Option<u64>),
    /// Entries that were pruned before they could be told, from the first to before the second.
    Gone(u64, u64),
    /// No more, and why.
    End(&'static str),
}

/// Somebody who follows.
pub struct Following {
    session: Weak<Session>,
    token: Zeroizing<String>,
    remote: Option<IpAddr>,
    path: ApiPath,
    parameters: Map,
    filter: Filter,
    next: u64,
    /// The way back to the first that is told.
    back: Option<Back>,
    trusted: Instant,
    is_over: bool,
    #[expect(dead_code, reason = "held, not looked at")]
    place: OwnedSemaphorePermit,
}

/// On the way to the oldest of the newest that fit, before `next`. Only its place is kept: entries are told
/// from there on as any others.
struct Back {
    rest: Range,
    begin: u64,
}

/// Where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With this entry.
    At(u64),
    /// With so many of the newest that fit, at most a thousand.
    Newest(usize),
}

/// Begins to follow.
pub async fn follow(who: &Asker<'_>, filter: Filter, beginning: Beginning) -> Result<Following, OpError> {
    let request = Request::begin(who, Action::AuditRead, &Route::system(ROUTE)).await?;
    let request = request.authorise(Operation::Read).await?;
    let place = who.session.of::<Known>().follower().ok_or(OpError::Busy(Busy::Until {
        text: Text::fixed(FULL),
        secs: AGAIN_SECS,
        all: false,
    }));
    let place = request.record_failure(place).await?;
    let (next, back, object) = begin(beginning, request.session().entries());
    let following = Following {
        session: Arc::downgrade(who.session),
        token: Zeroizing::new(who.requester.token.unwrap_or_default().to_owned()),
        remote: who.requester.remote,
        path: request.path().clone(),
        parameters: who.requester.parameters.clone(),
        filter,
        next,
        back,
        trusted: Instant::now(),
        is_over: false,
        place,
    };
    let following = Withheld::new(following); // what it will tell names things
    let object = Object::Named(object);
    Ok(following.disclose(request.commit_for_disclosure(object, Vec::new()).await?))
}

/// The entry that comes next, the way back from it, and what the entry says of both.
fn begin(beginning: Beginning, entries: u64) -> (u64, Option<Back>, String) {
    match beginning {
        Beginning::At(index) => (index, None, format!("entries from {index} on, as they come")),
        Beginning::Newest(0) => (entries, None, format!("entries from {entries} on, as they come")),
        Beginning::Newest(newest) => {
            let limit = newest.min(FOUND_MAX);
            let rest = Range { from: 0, until: entries, newest_first: true, limit, counts_only: false };
            let what = format!(
                "the newest {limit} that fit before {entries}, and entries from there on, as they come"
            );
            (entries, Some(Back { rest, begin: entries }), what)
        }
    }
}

impl Following {
    /// What is told next; `None` after the end.
    pub async fn next(&mut self) -> Option<Told> {
        if self.is_over {
            return None;
        }
        let told = self.look().await.unwrap_or_else(Told::End);
        self.is_over = matches!(told, Told::End(_));
        Some(told)
    }

    async fn look(&mut self) -> Result<Told, &'static str> {
        let begun = Instant::now();
        loop {
            let session = self.session.upgrade().ok_or(SEALED)?;
            self.trust(&session).await?;
            let told = self.told(&session).await?;
            self.trust(&session).await?; // looking may have taken long
            if let Some(told) = told {
                return Ok(told);
            }
            if begun.elapsed() >= SIGN_OF_LIFE {
                let next = self.back.is_none().then_some(self.next);
                return Ok(Told::Waiting(next));
            }
            let is_behind = self.back.is_some() || self.next < session.entries();
            drop(session);
            if !is_behind {
                sleep(LOOK).await;
            }
        }
    }

    /// That whoever follows still may.
    async fn trust(&mut self, session: &Session) -> Result<(), &'static str> {
        if self.trusted.elapsed() < TRUST {
            return Ok(());
        }
        let who = (self.token.as_str(), self.remote);
        let what = (&self.path, Operation::Read, &self.parameters);
        match is_still_allowed(session, who, what).await {
            Ok(true) => {}
            Ok(false) => return Err(REVOKED),
            Err(_) => return Err(TROUBLE),
        }
        self.trusted = Instant::now();
        Ok(())
    }

    /// One step on the way back.
    async fn go_back(&mut self, session: &Session) -> Result<(), &'static str> {
        let Some(back) = &mut self.back else { return Ok(()) };
        let page = match find(session, &self.filter, back.rest).await {
            Err(OpError::Busy(_)) => return Ok(()), // the turn comes with the next look
            page => page.map_err(|_| FAILED)?,
        };
        back.begin = page.found.last().map_or(back.begin, |found| found.entry.index);
        let limit = back.rest.limit - page.found.len();
        match page.rest.filter(|_| limit > 0) {
            Some(rest) => back.rest = Range { limit, ..rest },
            None => {
                self.next = back.begin;
                self.back = None;
            }
        }
        Ok(())
    }

    /// Entries that have come and fit, if there are any.
    async fn told(&mut self, session: &Session) -> Result<Option<Told>, &'static str> {
        if self.back.is_some() {
            self.go_back(session).await?;
            return Ok(None);
        }
        let until = session.entries();
        if self.next >= until {
            return Ok(None);
        }
        let minimum = LogReader::new(session.rows.shared_store()).pruned().await.map_err(|_| FAILED)?.minimum;
        if self.next < minimum {
            let first = std::mem::replace(&mut self.next, minimum);
            return Ok(Some(Told::Gone(first, minimum)));
        }
        let range =
            Range { from: self.next, until, newest_first: false, limit: TOLD_MAX, counts_only: false };
        let page = match find(session, &self.filter, range).await {
            Err(OpError::Busy(_)) => return Ok(None), // the turn comes with the next look
            page => page.map_err(|_| FAILED)?,
        };
        self.next = page.rest.map_or(until, |rest| rest.from);
        let events: Vec<_> =
            page.found.iter().map(|found| Event::of(&found.entry, found.detail.as_ref())).collect();
        Ok((!events.is_empty()).then_some(Told::Events(events, self.next)))
    }
}

/// The broker was sealed.
pub const SEALED: &str = "the broker was sealed";
const REVOKED: &str = "the token has ended, or its policies do not allow this any more";
/// It may be told in a moment.
pub const TROUBLE: &str = "whether the token is good cannot be told now; ask again";
const FAILED: &str = "the audit log could not be read; see `symbolon audit verify`";
