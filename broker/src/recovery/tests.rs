//! A drill on a store in memory: one node, two secrets, an escrow 2 of 3.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use symbolon_core::kv::{SecretMeta, VersionMeta};
use symbolon_core::path::MountPath;
use symbolon_core::seal::FIRST_EPOCH;
use symbolon_core::succession::Change;
use symbolon_proto::capsule::{self, Kek};
use symbolon_proto::context::{CapsuleContext, RecordContext, RecordKind, Scope};
use symbolon_proto::custody::escrow::EscrowedShare;
use symbolon_proto::id::{CapsuleId, DeploymentId, KeyId, MountId, NodeId, SecretId, TenantId};
use symbolon_proto::lease::KeyState;
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::record;
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Ceremony, Share, ShareKind};
use symbolon_proto::signing::SigningSeed;

use super::*;
use crate::access::mounts::{Mount, MountList};
use crate::access::mounts::{Side, first_write};
use crate::custody::enrolment_rows;
use crate::engines::kv::values::row_key;
use crate::engines::kv::{ENTRIES, SECRETS};
use crate::keys::slots::capsule_key;
use crate::keys::{CapsulePlace, VersionSlot};
use crate::random::os_rng;
use crate::remote::Enrolled;
use crate::rows::Place;
use crate::store::memory::MemoryStore;
use crate::store::{Expect, Write};
use crate::testing::{DEPLOYMENT, deal, seal_record};

const PEOPLE: [&str; 3] = ["Ann", "Bob", "Zoë"];
const KEY: KeyId = KeyId::from_bytes([3; 16]);
const MOUNT: MountId = MountId::from_bytes([7; 16]);
const DAY: u64 = 24 * 60 * 60;

struct World {
    fragment: Fragment,
    escrow: EscrowKey,
    escrow_shares: Vec<Share>,
    store: Arc<MemoryStore>,
    rows: Rows,
    unsealed: Arc<Unsealed>,
    manifest: VerifiedManifest,
    node: RemoteKey,
}

fn manifest(node: &RemoteKey, root: &SigningSeed) -> VerifiedManifest {
    let signing = SigningSeed::random(&mut os_rng());
    let manifest = Manifest {
        deployment: DEPLOYMENT,
        key: KEY,
        state: KeyState::Active,
        key_epoch: 1,
        share_epoch: 1,
        public: *node.public_key(),
        commitments: Vec::new(),
        nodes: vec![ManifestNode {
            index: 1,
            node: NodeId::from_bytes([9; 16]),
            public: *node.public_key(),
            signing: signing.public_key(),
            spki_sha256: [6; 32],
        }],
        lease_ttl_secs: 3600,
        quota_burst: 64,
        quota_per_hour: 64,
        grace_secs: 0,
        not_before_secs: 1_790_000_000,
        not_after_secs: 1_790_000_000 + 20 * DAY,
        seq: 1,
        prev_hash: [0; 32],
    };
    VerifiedManifest::first(&manifest.sign(root, &[&signing]), &root.public_key(), &DEPLOYMENT).unwrap()
}

fn sealed(fragment: &Fragment, root: &SigningSeed) -> Sealed {
    let (set, _) = deal(ShareKind::Fragment, DEPLOYMENT, fragment, &PEOPLE);
    let service_root = HEXLOWER.encode(root.public_key().as_bytes());
    Sealed::open(SealRecord { service_root, ..seal_record(&set) }).unwrap()
}

/// A deployment with everything that recovery reads, but no envelope yet.
async fn world() -> World {
    let (fragment, root) = (Fragment::random(&mut os_rng()), SigningSeed::random(&mut os_rng()));
    let sealed = sealed(&fragment, &root);
    let node = RemoteKey::generate(&mut os_rng());
    let manifest = manifest(&node, &root);
    let seed = XWingSeed::random(&mut os_rng());
    let secret = Fragment::from_secret(Secret::filled_by(|out| *out = *seed.secret().expose()));
    let (set, escrow_shares) = deal(ShareKind::Escrow, DeploymentId::random(&mut os_rng()), &secret, &PEOPLE);
    let escrow = EscrowKey::new(seed.public_key(), set).unwrap();

    let unsealed = Arc::new(Unsealed::first(&fragment, &sealed));
    let store = Arc::new(MemoryStore::default());
    let rows = Rows::new(Arc::clone(&store) as _, Arc::clone(&unsealed));
    let record = serde_json::to_vec(sealed.record()).unwrap();
    let mut changes = Deployment::generate().unwrap().rows(&unsealed).unwrap();
    changes.push(Write::Put { key: seal_record_key(), value: record, expect: Expect::Absent });
    let enrolled = Enrolled::alone(root.public_key(), manifest.clone());
    changes.extend(enrolment_rows::first_rows(&rows, &enrolled).unwrap());
    let mount = Mount {
        path: MountPath::parse("secret").unwrap(),
        kind: "kv".into(),
        description: String::new(),
        id: MOUNT,
        accessor: "kv_00000000".into(),
        options: BTreeMap::new(),
        default_ttl_secs: 0,
        max_ttl_secs: 0,
        listing: Default::default(),
        token_type: Default::default(),
    };
    changes.push(first_write(&rows, Side::Secrets, &MountList(vec![mount])).unwrap());
    changes.push(first_write(&rows, Side::Logins, &MountList(Vec::new())).unwrap());
    store.commit(changes).await.unwrap();
    World { fragment, escrow, escrow_shares, store, rows, unsealed, manifest, node }
}

impl World {
    /// The escrow as a broker stores it, with an envelope that holds `share` under the name of node 1.
    async fn put_escrow(&self, share: &RemoteKey) {
        let place =
            EscrowedShare { deployment: DEPLOYMENT, key: KEY, key_epoch: 1, share_epoch: 1, node: 1, share };
        let mut envelopes = StoredEnvelopes::default();
        envelopes.put(&EscrowEnvelope::seal(&place, self.escrow.public(), &mut os_rng())).unwrap();
        let key = StoredEscrowKey::from(&self.escrow);
        let changes = vec![
            self.rows.put(ESCROW_KEY, &key, Expect::Any).unwrap(),
            self.rows.put(ESCROW_ENVELOPES, &envelopes, Expect::Any).unwrap(),
        ];
        self.store.commit(changes).await.unwrap();
    }

    /// One bucket and its secrets `team/db` (a deleted version, a live and a destroyed one) and `a`.
    async fn put_secrets(&self) {
        let (kek, id) = (Kek::random(&mut os_rng()), CapsuleId::random(&mut os_rng()));
        let context = CapsuleContext {
            deployment: DEPLOYMENT,
            tenant: TenantId::SYSTEM,
            mount: MOUNT,
            bucket: 0,
            kek_epoch: 1,
            capsule: id,
            key: KEY,
            fragment_epoch: FIRST_EPOCH,
            scope: Scope::Bucket,
        };
        let remote = self.manifest.encapsulation_key(1_790_000_001).unwrap();
        let capsule =
            capsule::encapsulate(&context, &remote, self.unsealed.keys(), &kek, &mut os_rng()).unwrap();
        let key = capsule_key(TenantId::SYSTEM, MOUNT, 0, 1);
        let mut changes = vec![Write::Put { key, value: capsule.to_bytes(), expect: Expect::Absent }];
        changes.extend(self.secret("a", 1, &[(1, None, false)], &kek, id));
        changes.extend(self.secret(
            "team/db",
            2,
            &[(1, Some(5), false), (2, None, false), (3, None, true)],
            &kek,
            id,
        ));
        for (group, name) in [("", "a"), ("", "team/"), ("team", "db")] {
            let place = Place { tenant: TenantId::SYSTEM, table: ENTRIES, scope: MOUNT, group, name };
            changes.push(self.rows.put(place, &name, Expect::Absent).unwrap());
        }
        self.store.commit(changes).await.unwrap();
    }

    fn secret(
        &self,
        name: &str,
        id: u8,
        versions: &[(u64, Option<u64>, bool)],
        kek: &Kek,
        capsule: CapsuleId,
    ) -> Vec<Write> {
        let secret = SecretId::from_bytes([id; 16]);
        let mut meta = SecretMeta::new(secret, 0, 1);
        let mut changes = Vec::new();
        for &(version, deletion, destroyed) in versions {
            meta.current = version;
            meta.versions.insert(version, VersionMeta { created: 1, deletion, destroyed, kek_epoch: 1 });
            let context = RecordContext {
                kind: RecordKind::Value,
                deployment: DEPLOYMENT,
                tenant: TenantId::SYSTEM,
                mount: MOUNT,
                secret,
                version,
            };
            let value = format!("{{\"password\":\"{name} {version}\"}}");
            let value = record::seal(kek, &context, &capsule, value.as_bytes(), &mut os_rng()).unwrap();
            let key = row_key(MOUNT, secret, version);
            if !destroyed {
                changes.push(Write::Put { key, value, expect: Expect::Absent });
            }
        }
        let place = Place { tenant: TenantId::SYSTEM, table: SECRETS, scope: MOUNT, group: "", name };
        changes.push(self.rows.put(place, &meta, Expect::Absent).unwrap());
        changes
    }

    /// The commit of an epoch ceremony, after which nothing has been re-encrypted yet.
    async fn begin_next_epoch(&self) {
        let row = self.store.get(&seal_record_key()).await.unwrap().unwrap();
        let sealed = Sealed::open(serde_json::from_slice(&row.value).unwrap()).unwrap();
        let now = Now { unix_ms: 1, boot_ms: 1 };
        let changed = Change::Epoch.apply(&sealed, &self.fragment, now, &mut os_rng()).unwrap().unwrap();
        let after = changed.keys.succeed(&self.unsealed);
        let deployment = Deployment::read(self.store.as_ref(), &self.unsealed).await.unwrap();
        let mut changes = deployment.succession(&after).unwrap();
        let record = serde_json::to_vec(changed.sealed.record()).unwrap();
        changes.push(Write::Put { key: seal_record_key(), value: record, expect: Expect::Any });
        self.store.commit(changes).await.unwrap();
    }

    async fn unlock(&self) -> Result<Unlocked, RecoveryError> {
        Copy::of(Arc::clone(&self.store) as _).await?.unlock(&self.fragment).await
    }

    /// What two of three escrow custodians give.
    fn escrow_seed(&self) -> XWingSeed {
        let mut ceremony = Ceremony::new(self.escrow.set().clone());
        for share in self.escrow_shares.iter().skip(1) {
            ceremony.submit(Share::from_bytes(share.to_bytes().expose()).unwrap(), 0).unwrap();
        }
        self.escrow.private(&ceremony.recombine().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn custodians_alone_read_everything() {
    let world = world().await;
    world.put_escrow(&world.node).await;
    world.put_secrets().await;
    let recovered = world.unlock().await.unwrap().recover(&world.escrow_seed()).await.unwrap();
    let mut found = Vec::new();
    let report = recovered
        .go_through::<RecoveryError>(|version| {
            let Found { mount, path, version, value } = version;
            let text = value.transform(|data| String::from_utf8(data.to_vec()).unwrap());
            found.push((format!("{mount}/{path}"), version, text));
            Ok(())
        })
        .await
        .unwrap();
    let expected = [
        ("secret/a", 1, "{\"password\":\"a 1\"}"),
        ("secret/team/db", 1, "{\"password\":\"team/db 1\"}"),
        ("secret/team/db", 2, "{\"password\":\"team/db 2\"}"),
    ];
    let expected = expected.map(|(path, version, data)| (path.to_owned(), version, data.to_owned()));
    assert_eq!(found, expected, "deleted versions too; destroyed ones are gone");
    assert!(report.is_clean());
    assert_eq!((report.capsules, report.secrets, report.versions, report.destroyed), (1, 2, 3, 1));
}

#[tokio::test]
async fn a_copy_from_the_middle_of_a_change_of_keys_is_read_as_well() {
    let world = world().await;
    world.put_escrow(&world.node).await;
    world.put_secrets().await;
    world.begin_next_epoch().await;
    let recovered = world.unlock().await.unwrap().recover(&world.escrow_seed()).await.unwrap();
    let report = recovered.go_through::<RecoveryError>(|_| Ok(())).await.unwrap();
    assert!(report.is_clean());
    assert_eq!((report.capsules, report.secrets, report.versions), (1, 2, 3));
}

#[tokio::test]
async fn what_does_not_open_is_named_and_the_rest_is_read() {
    let world = world().await;
    world.put_escrow(&world.node).await;
    world.put_secrets().await;
    let key = row_key(MOUNT, SecretId::from_bytes([2; 16]), 2);
    let mut value = world.store.get(&key).await.unwrap().unwrap().value;
    *value.last_mut().unwrap() ^= 1;
    world.store.commit(vec![Write::Put { key, value, expect: Expect::Any }]).await.unwrap();
    let recovered = world.unlock().await.unwrap().recover(&world.escrow_seed()).await.unwrap();
    let report = recovered.go_through::<RecoveryError>(|_| Ok(())).await.unwrap();
    assert_eq!((report.wrong, report.versions), (1, 2));
    assert_eq!(report.wrong_names, ["secret/team/db version 2"]);
    assert!(!report.is_clean());
}

#[tokio::test]
async fn capsules_of_the_high_tier_are_opened_too() {
    let world = world().await;
    world.put_escrow(&world.node).await;
    let (kek, id) = (Kek::random(&mut os_rng()), CapsuleId::random(&mut os_rng()));
    let (tenant, secret) = (TenantId::SYSTEM, SecretId::from_bytes([4; 16]));
    let place = |version| CapsulePlace::from(VersionSlot { tenant, mount: MOUNT, secret, version, epoch: 1 });
    let context = place(1).context(DEPLOYMENT, KEY, FIRST_EPOCH, id);
    let remote = world.manifest.encapsulation_key(1_790_000_001).unwrap();
    let keys = world.unsealed.keys();
    let capsule = capsule::encapsulate(&context, &remote, keys, &kek, &mut os_rng()).unwrap();
    let put =
        |version| Write::Put { key: place(version).key(), value: capsule.to_bytes(), expect: Expect::Absent };
    world.store.commit(vec![put(1), put(2)]).await.unwrap(); // the second is out of place
    let recovered = world.unlock().await.unwrap().recover(&world.escrow_seed()).await.unwrap();
    let report = recovered.go_through::<RecoveryError>(|_| Ok(())).await.unwrap();
    assert_eq!((report.capsules, report.wrong), (1, 1));
    let name = format!("capsule of mount {MOUNT}, secret {secret}, version 2, KEK epoch 1");
    assert_eq!(report.wrong_names, [name]);
}

#[tokio::test]
async fn without_escrow_there_is_no_recovery() {
    let world = world().await;
    assert!(matches!(world.unlock().await, Err(RecoveryError::NoEscrow)));
    let empty = Copy::of(Arc::new(MemoryStore::default())).await;
    assert!(matches!(empty, Err(RecoveryError::NotInitialised)));
}

#[tokio::test]
async fn a_node_that_sealed_another_key_is_named() {
    let world = world().await;
    world.put_escrow(&RemoteKey::generate(&mut os_rng())).await;
    let unlocked = world.unlock().await.unwrap();
    let error = unlocked.recover(&world.escrow_seed()).await.err().unwrap();
    let text = "key epoch 1: 0 of 1 remote shares are in escrow; node 1: no envelope of its share";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn another_escrow_key_or_fragment_opens_nothing() {
    let world = world().await;
    world.put_escrow(&world.node).await;
    let other = XWingSeed::random(&mut os_rng());
    let error = world.unlock().await.unwrap().recover(&other).await.err().unwrap();
    assert!(matches!(error, RecoveryError::OtherEscrowKey));
    let copy = Copy::of(Arc::clone(&world.store) as _).await.unwrap();
    let error = copy.unlock(&Fragment::random(&mut os_rng())).await.err().unwrap();
    assert!(matches!(error, RecoveryError::Integrity));
}
