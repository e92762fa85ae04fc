//! The sealed payload of a version, in both tiers.
//!
//! ```text
//! standard   record ── wrapped by ── KEK of the secret's bucket
//!                                    (capsule: one for 1,024 secrets, KEK cached)
//! high       record ── wrapped by ── key of this version alone
//!                                    (capsule: one for each version, never cached)
//! ```
//!
//! The metadata of a version says under which KEK epoch its record is sealed. A roll moves both in one
//! commit, so whoever reads the one before and the other after it finds them apart, and reads again: a
//! rotation is never an error.

use symbolon_core::audit::SecretValue;
use symbolon_core::kv::{NewVersion, SecretMeta};
use symbolon_proto::context::{RecordContext, RecordKind};
use symbolon_proto::id::{MountId, SecretId, TenantId};

use super::{Found, KvTarget, VERSIONS, find_meta};
use crate::access::mounts::{Mount, Tier};
use crate::access::{Authorised, Session};
use crate::error::OpError;
use crate::keys::{Account, CapsulePlace, KeyError, VersionSlot, seal_with, slot};
use crate::rows::prefix;
use crate::store::{Expect, Write};

/// How often a payload that is moved under a reader's hands is looked for again.
const TRIES_MAX: usize = 32;

/// What a record of a mount commits to.
pub(crate) fn context(session: &Session, mount: MountId, secret: SecretId, version: u64) -> RecordContext {
    RecordContext {
        kind: RecordKind::Value,
        deployment: session.unsealed().deployment(),
        tenant: TenantId::SYSTEM,
        mount,
        secret,
        version,
    }
}

/// Where the capsule of a version's key is.
pub(crate) fn place(mount: &Mount, meta: &SecretMeta, version: u64, epoch: u32) -> CapsulePlace {
    match mount.tier() {
        Tier::Standard => slot(mount.id, meta.bucket, epoch).into(),
        Tier::High => {
            let (tenant, secret) = (TenantId::SYSTEM, meta.secret_id);
            VersionSlot { tenant, mount: mount.id, secret, version, epoch }.into()
        }
    }
}

/// The key of a version's record.
pub(crate) fn row_key(mount: MountId, secret: SecretId, version: u64) -> Vec<u8> {
    let mut key = prefix(TenantId::SYSTEM, VERSIONS, mount);
    key.extend_from_slice(secret.as_bytes());
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// Who reads a value, and so on whose account its key is opened.
#[derive(Clone, Copy)]
pub(super) enum Behalf<'a> {
    /// The caller of a request.
    Caller(&'a Authorised),
    /// The broker itself, in a recovery.
    Broker(&'a Session),
}

impl<'a> Behalf<'a> {
    pub(super) fn session(self) -> &'a Session {
        match self {
            Self::Caller(request) => request.session(),
            Self::Broker(session) => session,
        }
    }

    async fn account(self, place: CapsulePlace, mount: MountId) -> Result<Account, OpError> {
        match (self, place) {
            (Self::Caller(request), CapsulePlace::Version(_)) => {
                Ok(Account::Reader(request.payer(mount).await?))
            }
            _ => Ok(Account::Broker),
        }
    }
}

/// A secret that has a version, and the value of that if it lives; 0 is the newest.
pub(super) async fn find(
    behalf: Behalf<'_>,
    target: &KvTarget,
    version: u64,
) -> Result<Option<(Found, Option<SecretValue>)>, OpError> {
    let (session, mut missed_at) = (behalf.session(), None);
    for _ in 0..TRIES_MAX {
        let Some((meta, revision)) = find_meta(session, target).await? else { return Ok(None) };
        let Some((number, facts)) = meta.version(version) else { return Ok(None) };
        if !facts.is_live(session.now().unix_ms) {
            return Ok(Some(((meta, revision), None)));
        }
        match open(behalf, target, &meta, number).await? {
            Opened::Value(value) => return Ok(Some(((meta, revision), Some(value)))),
            Opened::Moved if missed_at == Some(revision) => return Err(OpError::INTEGRITY),
            Opened::Moved => missed_at = Some(revision),
        }
    }
    Err(OpError::BUSY)
}

enum Opened {
    Value(SecretValue),
    /// Not there, or sealed otherwise than the metadata says: somebody was faster, or this is damage.
    Moved,
}

async fn open(
    behalf: Behalf<'_>,
    target: &KvTarget,
    meta: &SecretMeta,
    version: u64,
) -> Result<Opened, OpError> {
    let session = behalf.session();
    let key = row_key(target.mount.id, meta.secret_id, version);
    let Some(row) = session.rows.store().get(&key).await? else { return Ok(Opened::Moved) };
    let epoch = meta.kek_epoch(version).ok_or(OpError::INTEGRITY)?;
    let context = context(session, target.mount.id, meta.secret_id, version);
    let place = place(&target.mount, meta, version, epoch);
    let account = behalf.account(place, target.mount.id).await?;
    match session.keys.open_record(place, account, &context, &row.value).await {
        Ok(value) => Ok(Opened::Value(SecretValue::new(value))),
        Err(KeyError::Moved) => Ok(Opened::Moved),
        Err(error) => Err(error.into()),
    }
}

/// The rows of a new version's payload. The caller holds a pass.
pub(super) async fn seal(
    session: &Session,
    target: &KvTarget,
    write: &NewVersion,
    data: &[u8],
) -> Result<Vec<Write>, OpError> {
    let (meta, version) = (&write.meta, write.version);
    let epoch = meta.kek_epoch(version).ok_or(OpError::INTEGRITY)?;
    let context = context(session, target.mount.id, meta.secret_id, version);
    let mut changes = Vec::with_capacity(2);
    let record = match place(&target.mount, meta, version, epoch) {
        CapsulePlace::Bucket(slot) => session.keys.seal_record(slot, &context, data).await?,
        place @ CapsulePlace::Version(_) => {
            let (capsule, kek) = session.keys.create_proven(place).await?;
            changes.push(capsule);
            seal_with(&kek, &context, data)?
        }
    };
    let key = row_key(target.mount.id, meta.secret_id, version);
    changes.push(Write::Put { key, value: record, expect: Expect::Absent });
    Ok(changes)
}

/// Removes payloads, and in the high tier their keys. `meta` is from before the removal: it knows the KEK
/// epochs.
pub(super) fn removals(
    target: &KvTarget,
    meta: &SecretMeta,
    versions: impl IntoIterator<Item = u64>,
) -> Vec<Write> {
    let mut changes = Vec::new();
    let mut delete = |key| changes.push(Write::Delete { key, expect: Expect::Any });
    for version in versions {
        delete(row_key(target.mount.id, meta.secret_id, version));
        let epoch = meta.kek_epoch(version);
        if let Some(CapsulePlace::Version(slot)) =
            epoch.map(|epoch| place(&target.mount, meta, version, epoch))
        {
            delete(CapsulePlace::Version(slot).key());
        }
    }
    changes
}
