//! The end of secret ids: those whose time is over, and those whose role is gone.

use symbolon_core::audit::{Action, Draft};
use symbolon_core::identity::approle::{AppRole, SecretIdRecord};
use symbolon_core::path::RoleName;

use super::{SECRET_IDS, SECRET_IDS_MAX, find_role, removal, secret_id_place};
use crate::access::Session;
use crate::access::endings::{Ended, Ending, Looking};
use crate::access::mounts::Mount;
use crate::error::OpError;
use crate::rows::{Cursor, Found};
use crate::store::Write;

/// Rows that are held at once when a role is full.
const PAGE_ROWS: usize = 256;

const FULL: OpError = OpError::invalid("the role has too many secret ids; destroy unused ones first");

pub(super) const ENDING: Ending = Ending {
    table: SECRET_IDS,
    rows: |_| Some(Cursor::of_table(SECRET_IDS)),
    entry,
    look: |session, found| -> Looking<'_> { Box::pin(look(session, found)) },
    round: Ending::FORGETS,
};

fn entry() -> Draft {
    Draft::by_broker(Action::AuthDelete, "secret ids whose time is over or whose role is gone removed")
}

async fn look(session: &Session, found: &Found) -> Result<Option<Ended>, OpError> {
    let record: SecretIdRecord = session.rows.open_found(found)?;
    let mounts = session.mounts();
    let Some(mount) = mounts.logins.0.iter().find(|mount| mount.id == found.scope()) else {
        return Ok(None); // another broker has just made it, or it is gone as a whole
    };
    let over = record.is_expired(session.now().unix_secs())
        || find_role::<AppRole>(session, mount, &record.role).await?.is_none();
    Ok(over.then(|| Ended { changes: removal_of(session, mount, &record, found), token: None }))
}

fn removal_of(session: &Session, mount: &Mount, record: &SecretIdRecord, found: &Found) -> Vec<Write> {
    let [_, accessor] = removal(session, mount, record, crate::store::Expect::Any);
    vec![found.removal(), accessor]
}

/// Refuses one more secret id if there are as many as a role may have. Those whose time is over do not count:
/// some of them go on the spot, whether or not anybody has come round to collect them.
pub(super) async fn require_room(session: &Session, mount: &Mount, role: &RoleName) -> Result<(), OpError> {
    let group = secret_id_place(mount, role, "");
    if session.rows.count(group, SECRET_IDS_MAX).await? < SECRET_IDS_MAX {
        return Ok(());
    }
    let mut cursor = Cursor::of_group(&session.rows, &group);
    while let Some(page) = cursor.next(&session.rows, PAGE_ROWS).await? {
        let changes = expired_on(session, mount, &page);
        if changes.is_empty() {
            continue;
        }
        return match session.commit(changes, entry()).await {
            Err(OpError::Conflict(_)) => Err(OpError::BUSY), // somebody else removes the same ones
            result => result.map(drop),
        };
    }
    Err(FULL)
}

/// A record that is damaged counts, and keeps nobody else's place.
fn expired_on(session: &Session, mount: &Mount, page: &[Found]) -> Vec<Write> {
    let now = session.now().unix_secs();
    let of = |found: &Found| {
        let record: SecretIdRecord = session.rows.open_found(found).ok()?;
        record.is_expired(now).then(|| removal_of(session, mount, &record, found))
    };
    page.iter().filter_map(of).flatten().collect()
}
