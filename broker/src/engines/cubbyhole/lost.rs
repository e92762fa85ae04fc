//! Cubbyholes whose tokens are gone: left behind by a kill, by a request under way, by the last use of a
//! counted token.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use symbolon_core::audit::{Action, Draft};
use symbolon_core::token::TokenHash;

use super::{ENTRY, kv, mount_in};
use crate::access::endings::{Ended, Ending, Looking, Round};
use crate::access::{Session, tokens};
use crate::engines::kv::ENTRIES;
use crate::error::OpError;
use crate::rows::Found;

/// Cubbyholes without a token that one round notes for the next; more are noted then.
const NOTED_MAX: usize = 4096;

/// They go at the second sight: a request that has spent the last use of its token may still be reading at
/// the first.
pub(super) const ENDING: Ending = Ending {
    table: ENTRIES,
    rows: |session| Some(kv::root_names(session, &mount_in(session)?)),
    entry: || Draft::by_broker(Action::SecretDestroy, ENTRY),
    look: |session, found| -> Looking<'_> { Box::pin(look(session, found)) },
    round,
};

/// Cubbyholes whose tokens were not found.
#[derive(Default)]
struct Lost(Mutex<Sights>);

#[derive(Default)]
struct Sights {
    /// In the last round that came to its end.
    before: HashSet<TokenHash>,
    /// In this one.
    now: HashSet<TokenHash>,
}

impl Lost {
    fn sights(&self) -> MutexGuard<'_, Sights> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has nothing to commit itself: engines remove what belongs to the token, in as many commits as it takes.
async fn look(session: &Session, found: &Found) -> Result<Option<Ended>, OpError> {
    let name = kv::name_of(session, found)?;
    let token = name.trim_end_matches('/').parse().map_err(|_| OpError::INTEGRITY)?;
    if tokens::find(session, &token).await?.is_some() {
        return Ok(None);
    }
    let lost = session.of::<Lost>();
    let mut sights = lost.sights();
    if sights.before.contains(&token) {
        return Ok(Some(Ended { token: Some(token), ..Ended::default() }));
    }
    if sights.now.len() < NOTED_MAX {
        sights.now.insert(token);
    }
    Ok(None)
}

fn round(session: &Session, round: Round) {
    let lost = session.of::<Lost>();
    let mut sights = lost.sights();
    let now = std::mem::take(&mut sights.now);
    if round == Round::Ends {
        sights.before = now;
    }
}
