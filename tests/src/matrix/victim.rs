//! A deployment with three secrets, and what thieves carry out of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use symbolon_broker::access::session::Session;
use symbolon_broker::config;
use symbolon_broker::keys::CAPSULES;
use symbolon_broker::keys::FIRST_KEK_EPOCH;
use symbolon_core::keyring::{KekSlot, OpenKek};
use symbolon_core::seal::Sealed;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::hierarchy::CapsuleKey;
use symbolon_proto::id::{MountId, TenantId};
use symbolon_proto::secret::Secret;

use super::attacker::{Disk, StolenService};
use crate::site::{CALM, Site};

/// In a bucket whose KEK was in memory.
pub const CACHED: &str = "the secret in a cached bucket";
/// In another engine, which nobody had read since the unseal.
pub const OTHER: &str = "the secret in another engine";
/// In the cached bucket, but written after the backup.
pub const LATER: &str = "the secret written after the backup";

/// What lay in the memory of the unsealed broker.
pub struct Memory {
    /// Of its purpose keys the one that matters for data.
    pub capsule_key: CapsuleKey,
    /// The KEKs that were cached.
    pub keks: Vec<Arc<OpenKek>>,
}

/// The deployment after the thieves were there. The fragment service runs, the broker does not.
pub struct Victim {
    pub site: Site,
    pub disk: Disk,
    pub backup: Disk,
    pub memory: Memory,
    pub stolen_service: StolenService,
    pub broken_key: RemoteKey,
    pub remote_config: config::Remote,
}

impl Victim {
    pub async fn robbed() -> Self {
        let mut site = Site::open(CALM).await;
        fill(&site).await;
        let mut backup = None;
        site.restart(async |world| backup = Some(copy_store(&world.path("store.redb"), "backup.redb").await))
            .await;
        site.unseal().await;
        site.read("app/db").await.expect(200);
        site.write("app/later", LATER).await;

        let remote_config = site.world.broker_config(false).unwrap().remote;
        site.world.stop_fragment().await.unwrap();
        let session = site.world.session().unwrap();
        let now = copy_store(&site.world.path("store.redb"), "now.redb").await;
        let memory = Memory { keks: cached(&session, &now).await, capsule_key: copy_key(&session) };
        drop(session); // it would keep the broker from stopping
        site.world.stop_broker().await.unwrap();
        let disk = copy_store(&site.world.path("store.redb"), "disk.redb").await;
        let stolen_service =
            StolenService::copy(1, &site.world.path("fragment"), &site.world.path("fragment.key"));
        site.world.start_fragment().await.unwrap();
        let broken_key = stolen_service.keys().pop().unwrap();
        Self { site, disk, backup: backup.unwrap(), memory, stolen_service, broken_key, remote_config }
    }
}

/// A secret in each of two engines.
pub async fn fill(site: &Site) {
    site.root_put("sys/mounts/other", &json!({ "type": "kv-v2" })).await.expect(204);
    site.write("app/db", CACHED).await;
    site.root_put("other/data/app", &json!({ "data": { "value": OTHER } })).await.expect(200);
}

pub fn copy_key(session: &Session) -> CapsuleKey {
    let key = session.unsealed().keys().capsule.secret().expose();
    CapsuleKey::from_secret(Secret::filled_by(|out| *out = *key))
}

/// A copy of a store file and its rows.
pub async fn copy_store(store: &Path, name: &str) -> Disk {
    let path: PathBuf = store.with_file_name(name);
    crate::rows::copy(store, &path);
    Disk::read(path).await
}

/// The KEKs that a broker without its remote still has: those in its cache.
async fn cached(session: &Session, disk: &Disk) -> Vec<Arc<OpenKek>> {
    let mut keks = Vec::new();
    for slot in slots(disk) {
        keks.extend(session.keys.kek(slot).await.ok());
    }
    assert!(!keks.is_empty() && keks.len() < slots(disk).len(), "the test has lost its subject");
    keks
}

/// The slots that a store has capsules for.
pub fn slots(disk: &Disk) -> Vec<KekSlot> {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let capsules = crate::rows::of(&disk.rows, CAPSULES);
    let slot = |key: &[u8]| KekSlot {
        tenant: TenantId::from_bytes(key[..16].try_into().unwrap()),
        mount: MountId::from_bytes(key[17..33].try_into().unwrap()),
        bucket: number(&key[33..37]),
        epoch: number(&key[37..41]),
    };
    let slots: Vec<_> = capsules.into_iter().map(|(key, _)| slot(key)).collect();
    assert!(slots.iter().all(|slot| slot.epoch >= FIRST_KEK_EPOCH));
    slots
}

/// The public seal record of a store.
pub fn sealed(disk: &Disk) -> Sealed {
    let record = &disk.rows[&symbolon_broker::rows::seal_record_key()];
    Sealed::open(serde_json::from_slice(record).unwrap()).unwrap()
}
