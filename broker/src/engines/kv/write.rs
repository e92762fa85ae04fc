//! New versions: check-and-set for the caller, compare-and-set against everybody else.

use symbolon_core::audit::{Action, SecretValue};
use symbolon_core::json::{self, Limits, Map};
use symbolon_core::kv::{KvError, SecretMeta};
use symbolon_core::policy::Operation;
use symbolon_proto::Zeroizing;
use symbolon_proto::id::SecretId;

use super::{
    Found, KvTarget, Patched, WriteSecret, WroteSecret, find_meta, meta_place, mount_settings, names, values,
};
use crate::access::mounts::Tier;
use crate::access::{Asker, Authorised, Object, Request, Session};
use crate::error::OpError;
use crate::keys::MountKeks;
use crate::keys::buckets::Buckets;
use crate::random::os_rng;
use crate::store::{Expect, Write};

/// How often a change is tried again after somebody else changed the same secret first.
const TRIES_MAX: usize = 32;

/// Counts the tries of a compare-and-set change.
#[derive(Default)]
pub(super) struct Tries(usize);

impl Tries {
    /// Whether this result was a conflict that is worth another try.
    pub(super) fn again<T>(&mut self, result: &Result<T, OpError>) -> bool {
        self.0 += 1;
        matches!(result, Err(OpError::Conflict(_))) && self.0 < TRIES_MAX
    }
}

/// Writes a new version.
pub async fn write(
    who: &Asker<'_>,
    target: &KvTarget,
    input: &WriteSecret<'_>,
) -> Result<WroteSecret, OpError> {
    let request = Request::begin(who, Action::SecretWrite, &target.route("data")).await?;
    let writing = Writing::begin(request, target).await?;
    let data = encode(input.data);
    let mut tries = Tries::default();
    loop {
        let found = writing.found().await?;
        let wrote = store_version(&writing.request, target, found, &data, input.cas).await;
        if !tries.again(&wrote) {
            return wrote;
        }
    }
}

/// A write of a secret that may exist or not, which decides between `create` and `update`.
pub(super) struct Writing<'a> {
    pub(super) request: Authorised,
    target: &'a KvTarget,
    exists: bool,
    may_do_either: bool,
}

impl<'a> Writing<'a> {
    /// Asks whether it exists, and then whether the caller may.
    pub(super) async fn begin(request: Request<'_>, target: &'a KvTarget) -> Result<Self, OpError> {
        let exists = find_meta(request.session(), target).await?.is_some();
        let (operation, other) = match exists {
            true => (Operation::Update, Operation::Create),
            false => (Operation::Create, Operation::Update),
        };
        let may_do_either = request.would_allow(other);
        let request = request.authorise(operation).await?;
        Ok(Self { request, target, exists, may_do_either })
    }

    /// What one try begins with.
    pub(super) async fn found(&self) -> Result<Option<Found>, OpError> {
        let found = find_meta(self.request.session(), self.target).await?;
        if found.is_some() != self.exists && !self.may_do_either {
            // It came or went meanwhile, and `create` is no leave to overwrite, nor `update` to create.
            return self.request.record_failure(Err(OpError::CONFLICT)).await;
        }
        Ok(found)
    }
}

/// Merges into the newest version (RFC 7396) and writes the result as a new one.
pub async fn patch(who: &Asker<'_>, target: &KvTarget, input: &WriteSecret<'_>) -> Result<Patched, OpError> {
    let request = Request::begin(who, Action::SecretWrite, &target.route("data"))
        .await?
        .authorise(Operation::Patch)
        .await?;
    let mut tries = Tries::default();
    loop {
        let found = values::find(values::Behalf::Caller(&request), target, 0).await;
        let (found, value) = request.found(found).await?;
        request.record_failure(cas_allows(request.session(), target, &found.0, input.cas).await).await?;
        let Some(value) = value else { return gone(&request, &found.0).await };
        let data = request.record_failure(merged(value, input.data)).await?;
        let wrote = store_version(&request, target, Some(found), &data, input.cas).await;
        if !tries.again(&wrote) {
            return wrote.map(Patched::Wrote);
        }
    }
}

async fn cas_allows(
    session: &Session,
    target: &KvTarget,
    meta: &SecretMeta,
    cas: Option<u64>,
) -> Result<(), OpError> {
    Ok(meta.check_cas(cas, &mount_settings(session, &target.mount).await?)?)
}

/// There is nothing to merge into: the newest version has no value.
async fn gone(request: &Authorised, meta: &SecretMeta) -> Result<Patched, OpError> {
    let (version, facts) = meta.version(0).ok_or(OpError::INTEGRITY)?;
    let custom_metadata = meta.custom_metadata.clone();
    let found = WroteSecret { version, meta: *facts, custom_metadata };
    Ok(Patched::Gone(found, request.absent().await?))
}

/// Bounds of a stored object: patches may have joined several that were within the bounds of a body, before
/// what they come to was bounded. This parser, and not serde_json's, because number literals must stay as
/// they are.
const STORED: Limits = Limits {
    depth_max: 64,
    members_max: 1 << 20,
    string_bytes_max: 1 << 20,
    number_bytes_max: 256,
    bytes_max: usize::MAX,
};

fn merged(value: SecretValue, patch: &Map) -> Result<Zeroizing<Vec<u8>>, OpError> {
    let mut data: Map =
        value.transform(|bytes| json::parse(bytes, STORED)).map_err(|_| OpError::INTEGRITY)?;
    merge(&mut data, patch);
    let data = encode(&data);
    if data.len() > Limits::BODY.bytes_max { Err(KvError::TooLarge.into()) } else { Ok(data) }
}

/// RFC 7396, section 2: null removes, objects merge, everything else replaces.
fn merge(target: &mut Map, patch: &Map) {
    use serde_json::Value;
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(key)), // the others stay in order
            Value::Object(inner) => {
                let slot = target.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                merge(slot.as_object_mut().expect("made an object above"), inner);
            }
            other => drop(target.insert(key.clone(), other.clone())),
        }
    }
}

/// A JSON object as it is stored.
pub(super) fn encode(data: &Map) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(serde_json::to_vec(data).expect("JSON values always serialise"))
}

/// One try: decides on the metadata as found, seals, and commits everything together. The key that it chooses
/// stays one to choose until that is done.
async fn store_version(
    request: &Authorised,
    target: &KvTarget,
    found: Option<Found>,
    data: &[u8],
    cas: Option<u64>,
) -> Result<WroteSecret, OpError> {
    let _pass = request.session().keys.pass().await;
    let planned = plan(request.session(), target, found, data, cas).await;
    let (wrote, changes) = request.record_failure(planned).await?;
    request.commit(Object::Version(wrote.version), changes).await?;
    Ok(wrote)
}

async fn plan(
    session: &Session,
    target: &KvTarget,
    found: Option<Found>,
    data: &[u8],
    cas: Option<u64>,
) -> Result<(WroteSecret, Vec<Write>), OpError> {
    let settings = mount_settings(session, &target.mount).await?;
    let now = session.now().unix_ms;
    refuse_early(found.as_ref(), cas)?;
    let (meta, expect, mut changes) = existing_or_new(session, target, found).await?;
    let epoch = MountKeks::read(&session.rows, target.mount.id).await?.epoch;
    let write = meta.write(cas, &settings, now)?.under(epoch);
    changes.extend(values::seal(session, target, &write, data).await?);
    changes.push(session.rows.put(meta_place(target), &write.meta, expect)?);
    changes.extend(values::removals(target, &meta, write.removed.iter().copied()));
    let facts = write.meta.versions.get(&write.version).copied().ok_or(OpError::INTEGRITY)?;
    let wrote =
        WroteSecret { version: write.version, meta: facts, custom_metadata: write.meta.custom_metadata };
    Ok((wrote, changes))
}

/// A mismatch is known before a bucket is assigned to a secret that will not be created.
fn refuse_early(found: Option<&Found>, cas: Option<u64>) -> Result<(), OpError> {
    let current = found.map_or(0, |(meta, _)| meta.current);
    match cas {
        Some(cas) if cas != current => Err(KvError::CasMismatch.into()),
        _ => Ok(()),
    }
}

/// The metadata to change, what its row must be at commit, and, for a new secret, the rows that make it
/// visible.
pub(super) async fn existing_or_new(
    session: &Session,
    target: &KvTarget,
    found: Option<Found>,
) -> Result<(SecretMeta, Expect, Vec<Write>), OpError> {
    if let Some((meta, revision)) = found {
        return Ok((meta, Expect::Revision(revision), Vec::new()));
    }
    let bucket = match target.mount.tier() {
        Tier::Standard => session.of::<Buckets>().assign(&session.ledger(), target.mount.id).await?,
        Tier::High => 0, // its versions have keys of their own
    };
    let meta = SecretMeta::new(SecretId::random(&mut os_rng()), bucket, session.now().unix_ms);
    Ok((meta, Expect::Absent, names::additions(session, target)?))
}
