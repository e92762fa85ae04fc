//! One batch of a roll: payloads that are re-wrapped, with the metadata that says so, in one commit.

use std::collections::HashMap;
use std::sync::Arc;

use symbolon_core::keyring::OpenKek;
use symbolon_core::kv::SecretMeta;
use symbolon_proto::record;
use tokio::task::JoinSet;

use crate::access::Session;
use crate::access::mounts::Mount;
use crate::engines::kv::values::{context, place, row_key};
use crate::error::OpError;
use crate::keys::{Account, CapsulePlace, KeyError};
use crate::random::os_rng;
use crate::store::{Expect, Write};

/// Payloads in one commit.
pub(super) const PAYLOADS_MAX: usize = 64;
/// A batch takes no further payload beyond this many bytes.
const BYTES_MAX: usize = 2 << 20;

/// A payload that is still under another epoch.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// Which secret of the page.
    pub(super) secret: usize,
    /// Its version.
    pub(super) version: u64,
    /// The epoch it is under.
    pub(super) from: u32,
}

/// Secrets of a page: the key of the metadata, the metadata and its revision.
pub(super) type Secrets = [(Vec<u8>, SecretMeta, u64)];

/// What a batch comes to.
#[derive(Default)]
pub(super) struct Batch {
    /// Changes of payloads and of their capsules.
    pub(super) changes: Vec<Write>,
    /// Payloads moved: their secrets' metadata must say so.
    pub(super) moved: Vec<Wanted>,
    /// Payloads that do not open or are not there; perhaps somebody else changed them meanwhile.
    pub(super) left: usize,
    /// How many of those wanted were looked at; the others did not fit.
    pub(super) looked_at: usize,
}

/// Re-wraps payloads for the KEK epoch `to`. Nothing is written.
pub(super) async fn prepare(
    session: &Session,
    mount: &Mount,
    secrets: &Secrets,
    wanted: &[Wanted],
    to: u32,
) -> Result<Batch, OpError> {
    let old_place = |want: &Wanted| place(mount, &secrets[want.secret].1, want.version, want.from);
    let keks = open_all(session, wanted.iter().map(old_place)).await?;
    let (mut batch, mut bytes) = (Batch::default(), 0);
    for want in wanted {
        if bytes > BYTES_MAX {
            break;
        }
        batch.looked_at += 1;
        let meta = &secrets[want.secret].1;
        let old = keks.get(&old_place(want)).and_then(Option::as_ref);
        match moved(session, mount, meta, want, old, to).await? {
            Some(changes) => {
                bytes += changes.iter().map(Write::bytes).sum::<usize>();
                batch.changes.extend(changes);
                batch.moved.push(*want);
            }
            None => batch.left += 1,
        }
    }
    Ok(batch)
}

/// The keys of places, asked for at once so that they share frames; `None` where a capsule is gone or
/// damaged.
async fn open_all(
    session: &Session,
    places: impl Iterator<Item = CapsulePlace>,
) -> Result<HashMap<CapsulePlace, Option<Arc<OpenKek>>>, OpError> {
    let mut places: Vec<_> = places.collect();
    places.sort_unstable();
    places.dedup();
    let mut opening = JoinSet::new();
    for place in places {
        let keys = session.keys.clone();
        opening.spawn(async move { (place, keys.key(place, Account::Broker).await) });
    }
    let mut keks = HashMap::new();
    while let Some(opened) = opening.join_next().await {
        let (place, kek) = opened.map_err(|_| OpError::BUSY)?;
        match kek {
            Ok(kek) => drop(keks.insert(place, Some(kek))),
            Err(KeyError::Moved | KeyError::Integrity) => drop(keks.insert(place, None)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(keks)
}

/// The changes for one payload; `None` if it is not as the metadata says.
async fn moved(
    session: &Session,
    mount: &Mount,
    meta: &SecretMeta,
    want: &Wanted,
    old: Option<&Arc<OpenKek>>,
    to: u32,
) -> Result<Option<Vec<Write>>, OpError> {
    let key = row_key(mount.id, meta.secret_id, want.version);
    let Some(old) = old else { return Ok(None) };
    let Some(row) = session.rows.store().get(&key).await? else { return Ok(None) };
    let mut changes = Vec::with_capacity(3);
    let new = match place(mount, meta, want.version, to) {
        CapsulePlace::Bucket(slot) => session.keys.kek(slot).await?,
        place @ CapsulePlace::Version(_) => {
            let (capsule, kek) = session.keys.create(place)?;
            let from = self::place(mount, meta, want.version, want.from);
            changes.push(capsule);
            changes.push(Write::Delete { key: from.key(), expect: Expect::Any });
            Arc::new(kek)
        }
    };
    let context = context(session, mount.id, meta.secret_id, want.version);
    let (from, to) = ((&old.kek, &old.capsule), (&new.kek, &new.capsule));
    let Ok(value) = record::rewrap(from, to, &context, &row.value, &mut os_rng()) else { return Ok(None) };
    changes.push(Write::Put { key, value, expect: Expect::Revision(row.revision) });
    Ok(Some(changes))
}
