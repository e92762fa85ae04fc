//! The signed manifests of keys that this service holds alone. Those of a group are in `group/manifest.rs`.

use symbolon_proto::frame::request_hash;
use symbolon_proto::group::PublicKey;
use symbolon_proto::id::KeyId;
use symbolon_proto::manifest::{Manifest, ManifestNode, VALIDITY_SECS_MAX, VerifiedManifest};

use crate::clock::Now;
use crate::config::Grants;
use crate::error::ServiceError;
use crate::identity::NODE_INDEX;
use crate::state::{Live, Service};
use crate::tables::{Key, MANIFESTS_KEPT, ShareId, Tables};

/// A manifest begins so long before now, for brokers whose clocks are behind.
const BACKDATED_SECS: u64 = 300;

/// A manifest with less than this left is followed by the next: half of its life, so brokers see both.
const RENEW_BEFORE_SECS: u64 = VALIDITY_SECS_MAX / 2;

impl Service {
    /// Signs the next manifest of a key that this service holds alone.
    pub(crate) fn append_manifest(&self, id: KeyId, row: &mut Key, public: PublicKey, now: Now) {
        if row.group.is_some() {
            return;
        }
        let (key_epoch, share_epoch) = match (row.newest(), self.newest_manifest(row)) {
            (Some(newest), _) => (newest.key_epoch, newest.share_epoch()),
            (None, Some(last)) => (last.key_epoch, last.share_epoch),
            (None, None) => return,
        };
        let manifest = self.next_manifest(id, row, (key_epoch, share_epoch), public, now);
        row.manifests.push((manifest.seq, manifest.sign(&self.identity.root, &[&self.identity.node])));
        let surplus = row.manifests.len().saturating_sub(MANIFESTS_KEPT);
        row.manifests.drain(..surplus);
    }

    /// What follows the newest manifest of a key, valid from now.
    fn next_manifest(
        &self,
        id: KeyId,
        row: &Key,
        (key_epoch, share_epoch): (u32, u32),
        public: PublicKey,
        now: Now,
    ) -> Manifest {
        let grants = self.options.grants_of(row.deployment);
        let (seq, prev_hash) = match row.manifests.last() {
            Some((seq, bytes)) => (seq + 1, request_hash(bytes)),
            None => (1, [0; 32]),
        };
        let not_before_secs = now.unix_secs.saturating_sub(BACKDATED_SECS);
        Manifest {
            deployment: row.deployment,
            key: id,
            state: row.state.into(),
            key_epoch,
            share_epoch,
            public,
            commitments: Vec::new(),
            nodes: vec![ManifestNode {
                index: NODE_INDEX,
                node: self.identity.node_id,
                public,
                signing: self.identity.node.public_key(),
                spki_sha256: *self.identity.tls.spki(),
            }],
            lease_ttl_secs: grants.lease_ttl_secs,
            quota_burst: row.quota.burst,
            quota_per_hour: row.quota.per_hour,
            grace_secs: grants.grace_secs,
            not_before_secs,
            not_after_secs: not_before_secs + VALIDITY_SECS_MAX,
            seq,
            prev_hash,
        }
    }

    /// Signs new manifests for keys whose newest is half-way through, or no longer says what is granted.
    pub(crate) fn renew_manifests(&self) -> Result<(), ServiceError> {
        let now = self.now();
        let mut live = self.live();
        let mut tables = live.tables.clone();
        let mut changed = false;
        for (id, row) in &mut tables.keys {
            if row.group.is_some() {
                continue; // its broker renews what all nodes sign
            }
            let Some((public, current)) = self.announced(&live, *id, row)? else { continue };
            let grants = self.options.grants_of(row.deployment);
            if !is_outdated(&current, &grants, now) {
                continue;
            }
            row.quota = grants.quota;
            self.append_manifest(*id, row, public, now);
            changed = true;
        }
        if changed {
            self.write_tables(&tables)?;
            live.tables = tables;
        }
        Ok(())
    }

    /// The public key of the newest epoch and the manifest that names it; none if there is no epoch.
    fn announced(
        &self,
        live: &Live,
        id: KeyId,
        row: &Key,
    ) -> Result<Option<(PublicKey, Manifest)>, ServiceError> {
        let Some(newest) = row.newest() else { return Ok(None) };
        let share = ShareId { key: id, key_epoch: newest.key_epoch, share_epoch: newest.share_epoch() };
        let public = live.keys.get(&share).map(|key| *key.public_key());
        match public.zip(self.newest_manifest(row)) {
            Some((public, current)) if current.public == public => Ok(Some((public, current))),
            _ => Err(ServiceError::ForeignKey { key: id }),
        }
    }

    /// The newest manifest of a key, if it is ours.
    pub(crate) fn newest_manifest(&self, row: &Key) -> Option<Manifest> {
        let (_, bytes) = row.manifests.last()?;
        let newest =
            VerifiedManifest::first(bytes, &self.identity.root.public_key(), &row.deployment).ok()?;
        Some(newest.manifest().clone())
    }

    /// Signs a manifest that says a key's new state, where this service signs alone.
    pub(crate) fn announce(&self, live: &Live, tables: &mut Tables, key: KeyId) {
        let Some(row) = tables.keys.get_mut(&key) else { return };
        let loaded = row.newest().and_then(|newest| {
            let share = ShareId { key, key_epoch: newest.key_epoch, share_epoch: newest.share_epoch() };
            live.keys.get(&share).map(|share| *share.public_key())
        });
        // A destroyed key has none, but its last manifest still says which it was.
        let told = || self.newest_manifest(row).map(|manifest| manifest.public);
        if let Some(public) = loaded.or_else(told) {
            self.append_manifest(key, row, public, self.now());
        }
    }
}

fn is_outdated(current: &Manifest, grants: &Grants, now: Now) -> bool {
    let said = (current.lease_ttl_secs, current.grace_secs, current.quota_burst, current.quota_per_hour);
    let Grants { lease_ttl_secs, grace_secs, quota } = *grants;
    current.not_after_secs.saturating_sub(now.unix_secs) <= RENEW_BEFORE_SECS
        || said != (lease_ttl_secs, grace_secs, quota.burst, quota.per_hour)
}
