//! Rows of mounts that there are no more: what a kill in the middle of a disable has left, and what a request
//! that was under way wrote after it.
//!
//! Ids of mounts are random and never used again, and a mount stands in its list before it has a row. So rows
//! under an id that is in neither list *afterwards* belong to nobody, whoever disabled the mount and where.
//! They go at the second sight, a round later: the disable itself is probably still removing them at the
//! first.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError, Weak};

use symbolon_core::audit::{Action, Draft};
use symbolon_proto::id::MountId;
use tokio::time::{Instant, sleep};

use super::{Collected, Pace};
use crate::access::Session;
use crate::access::mounts::{Mounts, Side};
use crate::error::OpError;
use crate::rows::{NO_SCOPE, Table};

/// Rows that one commit removes.
const BATCH_ROWS: usize = 1024;
/// Scopes without a mount that one round notes for the next; more are noted then.
const NOTED_MAX: usize = 1024;

/// Scopes without a mount that the last round met.
#[derive(Default)]
struct Noted(Mutex<BTreeSet<MountId>>);

/// Removes what belongs to no mount.
pub(super) async fn collect(session: &Weak<Session>, pace: Pace) -> Result<(), OpError> {
    let Some(open) = session.upgrade() else { return Ok(()) };
    let gone = gone(&open).await?;
    let tables = open.shape().tables();
    drop(open);
    for scope in gone {
        for table in tables.iter().filter(|table| table.holds_mounts()) {
            erase(session, *table, scope, pace).await?;
        }
    }
    Ok(())
}

/// Scopes without a mount that were met for the second time.
async fn gone(session: &Session) -> Result<BTreeSet<MountId>, OpError> {
    let met = met(session).await?;
    let Some(known) = stored_ids(session).await? else { return Ok(BTreeSet::new()) };
    let strange: BTreeSet<MountId> = met.difference(&known).copied().collect();
    let noted = session.of::<Noted>();
    let before = {
        let mut noted = noted.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *noted, strange.iter().copied().take(NOTED_MAX).collect())
    };
    Ok(before.intersection(&strange).copied().collect())
}

/// The scopes that some table has and no mount in memory: a key is read for each scope of each table.
async fn met(session: &Session) -> Result<BTreeSet<MountId>, OpError> {
    let mounts = session.mounts();
    let in_memory: BTreeSet<MountId> = ids(&mounts).chain([NO_SCOPE]).collect();
    let mut met = BTreeSet::new();
    for table in session.shape().tables().into_iter().filter(|table| table.holds_mounts()) {
        let mut last = None;
        while let Some(scope) = session.rows.next_scope(table, last).await? {
            last = Some(scope);
            if !in_memory.contains(&scope) {
                met.insert(scope);
            }
            if met.len() >= NOTED_MAX {
                return Ok(met);
            }
        }
    }
    Ok(met)
}

fn ids(mounts: &Mounts) -> impl Iterator<Item = MountId> {
    mounts.secrets.0.iter().chain(&mounts.logins.0).map(|mount| mount.id)
}

/// The mounts as the store has them now, while nobody here changes them. `None` if a list is missing: then
/// nothing is known, and nothing goes.
async fn stored_ids(session: &Session) -> Result<Option<BTreeSet<MountId>>, OpError> {
    let _turn = session.taking_turn().await;
    let mut known = BTreeSet::from([NO_SCOPE]);
    for side in [Side::Secrets, Side::Logins] {
        let Some(list) = Mounts::read_stored(&session.rows, side).await? else { return Ok(None) };
        known.extend(list.0.iter().map(|mount| mount.id));
    }
    Ok(Some(known))
}

async fn erase(session: &Weak<Session>, table: Table, scope: MountId, pace: Pace) -> Result<(), OpError> {
    while let Some(open) = session.upgrade() {
        let begun = Instant::now();
        let changes = open.rows.erasure(table, scope, BATCH_ROWS).await?;
        if changes.is_empty() {
            break;
        }
        let entry = Draft::by_broker(Action::MountDelete, "rows of a mount that is gone");
        let rows = changes.len();
        drop(open.commit(changes, entry).await?);
        open.of::<Collected>().add(table, rows);
        drop(open);
        sleep(begun.elapsed() * pace.rest).await;
    }
    Ok(())
}
