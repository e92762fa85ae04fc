//! Everything that ends is collected here, page by page, for as long as the broker is open.
//!
//! ```text
//! mod.rs     rounds: every table whose rows end, as its owner's descriptor tells their end
//! scopes.rs  rows of mounts that there are no more
//! ```
//!
//! A round looks at each row of such a table once and holds one page of them. A page is a commit with an
//! entry of its own. A row that is damaged stays and does not keep the others, and a table that cannot be
//! read does not keep the other tables. A kill costs the place in the round: the next one begins anew.

mod scopes;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::access::Session;
use crate::access::endings::{Ended, Ending, Round};
use crate::auth::METHODS;
use crate::engines::{self, ENGINES};
use crate::error::OpError;
use crate::rows::{Cursor, Found, Table};
use crate::store::Write;
use crate::wrapping;

/// Time between two rounds.
const ROUND_GAP: Duration = Duration::from_secs(300);
/// Rows that are held at once.
const PAGE_ROWS: usize = 256;

/// How many rows went since the unseal, by the table that their end stood in.
#[derive(Default)]
pub struct Collected(Mutex<BTreeMap<&'static str, u64>>);

impl Collected {
    /// By the name of the table.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, table: Table, rows: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry(table.name).or_default() += rows as u64;
    }
}

/// How much of the time a round may work.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Rest after each page, as a multiple of what the page took.
    pub rest: u32,
}

impl Pace {
    /// A fifth of one core.
    pub const SERVING: Self = Self { rest: 4 };
    /// Without rest: for tests.
    pub const FULL: Self = Self { rest: 0 };
}

/// How rows end, in the order in which they are looked at: tokens before what is kept for them.
pub fn endings() -> impl Iterator<Item = &'static Ending> {
    let of_methods = METHODS.iter().flat_map(|method| method.endings);
    of_methods.chain(wrapping::ENDINGS).chain(ENGINES.iter().flat_map(|engine| engine.endings))
}

/// Goes round until the session is gone. Holds the session for a page at most.
pub async fn run(session: Weak<Session>, pace: Pace) {
    while session.strong_count() > 0 {
        sleep(ROUND_GAP).await;
        round(&session, pace).await;
    }
}

/// One round. What fails is tried again in the next one.
pub async fn round(session: &Weak<Session>, pace: Pace) {
    for ending in endings() {
        if let Err(error) = walk(session, ending, pace).await {
            let table = ending.table.name;
            warn!(table, %error, "rows that have ended could not be removed; the next round tries again");
        }
    }
    if let Err(error) = scopes::collect(session, pace).await {
        warn!(%error, "rows of mounts that are gone could not be removed; the next round tries again");
    }
}

async fn walk(session: &Weak<Session>, ending: &Ending, pace: Pace) -> Result<(), OpError> {
    let Some(mut cursor) = session.upgrade().and_then(|session| begin(&session, ending)) else {
        return Ok(());
    };
    while let Some(open) = session.upgrade() {
        let begun = Instant::now();
        if !step(&open, ending, &mut cursor).await? {
            (ending.round)(&open, Round::Ends);
            break;
        }
        drop(open);
        sleep(begun.elapsed() * pace.rest).await;
    }
    Ok(())
}

fn begin(session: &Session, ending: &Ending) -> Option<Cursor> {
    let cursor = (ending.rows)(session)?;
    (ending.round)(session, Round::Begins);
    Some(cursor)
}

/// The next page. Whether there was one.
async fn step(session: &Session, ending: &Ending, cursor: &mut Cursor) -> Result<bool, OpError> {
    let Some(page) = cursor.next(&session.rows, PAGE_ROWS).await? else { return Ok(false) };
    let ended = look_at(session, ending, &page).await?;
    remove(session, ending, ended).await?;
    Ok(true)
}

async fn look_at(session: &Session, ending: &Ending, page: &[Found]) -> Result<Vec<Ended>, OpError> {
    let mut all = Vec::new();
    for found in page {
        match (ending.look)(session, found).await {
            Ok(ended) => all.extend(ended),
            Err(OpError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// All in one commit. If somebody has changed one of the rows meanwhile, each in its own: one that is written
/// again and again does not keep the others.
async fn remove(session: &Session, ending: &Ending, ended: Vec<Ended>) -> Result<(), OpError> {
    let changes: Vec<Write> = ended.iter().flat_map(|ended| ended.changes.iter().cloned()).collect();
    match commit(session, ending, changes).await {
        Err(OpError::Conflict(_)) => remove_singly(session, ending, ended).await,
        Err(error) => Err(error),
        Ok(()) => {
            for token in ended.into_iter().filter_map(|ended| ended.token) {
                engines::token_removed(session, token).await;
            }
            Ok(())
        }
    }
}

async fn remove_singly(session: &Session, ending: &Ending, ended: Vec<Ended>) -> Result<(), OpError> {
    for Ended { changes, token } in ended {
        match commit(session, ending, changes).await {
            Err(OpError::Conflict(_)) => continue, // it may have a new end: the next round sees
            result => result?,
        }
        if let Some(token) = token {
            engines::token_removed(session, token).await;
        }
    }
    Ok(())
}

async fn commit(session: &Session, ending: &Ending, changes: Vec<Write>) -> Result<(), OpError> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows = changes.len();
    drop(session.commit(changes, (ending.entry)()).await?);
    session.of::<Collected>().add(ending.table, rows);
    Ok(())
}
