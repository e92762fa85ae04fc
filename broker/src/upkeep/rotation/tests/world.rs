//! A deployment on the store that fails on demand: killed and opened again as often as a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use symbolon_core::clock::Clock;
use symbolon_core::json::Map;
use symbolon_core::path::{MountPath, SecretPath};
use symbolon_core::seal::{EpochKeys, Sealed};
use symbolon_core::succession::{Change, Changed};
use symbolon_core::token::TokenClaims;
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::transcript::{Event, EventKind, Transcript};
use symbolon_proto::custody::{Card, KeyKind, KeyPair};
use symbolon_proto::hierarchy::Fragment;
use tokio::task::JoinSet;

use super::remote::{Connected, LocalRemote};
use crate::access::mounts::{Enable, Mount, MountList, Mounts, Side, Tier};
use crate::access::mounts::{first_write, new_mount};
use crate::access::shape::Shape;
use crate::access::{Asker, tokens};
use crate::access::{Requester, Session};
use crate::audit::writer::tests::HandClock;
use crate::auth::workload;
use crate::config::Config;
use crate::custody::App;
use crate::custody::ceremony::{Over, commit};
use crate::custody::deployment::{self, Deployment};
use crate::custody::initialising::Initialising;
use crate::custody::places::SEAL_COPY;
use crate::custody::seal::SealHandle;
use crate::custody::unattended::Keeper;
use crate::engines::kv::{self, KvTarget, ReadSecret, VersionsChange, WriteSecret, WroteSecret};
use crate::error::OpError;
use crate::keys::SystemKeks;
use crate::keys::{CapsulePlace, MountKeks, Phase, SYSTEM_SLOT, TOKEN_SLOT};
use crate::ops::rotate;
use crate::random::os_rng;
use crate::rows;
use crate::rows::{NO_SCOPE, Table, seal_record_key};
use crate::store::memory::MemoryStore;
use crate::store::{Expect, Store, Write};
use crate::testing::Ground;
use crate::upkeep::collect;
use crate::upkeep::rotation::{Rotation, census, finish};
use symbolon_core::audit::Draft;

pub const NOW_MS: u64 = 1_709_210_096_000;

/// What outlives a kill.
#[derive(Clone)]
pub struct World {
    /// Every fragment that there ever was, and the people who hold the later ones.
    fragments: Arc<Mutex<Vec<Arc<Fragment>>>>,
    pub people: Arc<Vec<(KeyPair, Card)>>,
    /// As `init` made it.
    first: Sealed,
    pub store: Arc<MemoryStore>,
    pub remote: Arc<LocalRemote>,
    pub clock: Arc<HandClock>,
    pub root: Arc<Zeroizing<String>>,
    /// What sessions know of engines and tables.
    pub shape: Arc<Shape>,
    /// What was written: mount, name and version, with the value.
    pub written: BTreeMap<(String, String, u64), String>,
}

/// An open broker.
pub struct Site {
    pub app: App,
    pub session: Arc<Session>,
    root: Arc<Zeroizing<String>>,
}

pub fn kv_mount(path: &str, tier: Tier) -> Mount {
    let options = BTreeMap::from([(Tier::OPTION.to_owned(), tier.as_str().to_owned())]);
    let path = MountPath::parse(path).unwrap();
    let kind = "kv".to_owned();
    new_mount(path, Enable { kind, options, ..Enable::default() })
}

impl World {
    /// An initialised deployment with a mount `std` of the standard tier and one `top` of the high tier.
    pub async fn new() -> Self {
        let fragment = Fragment::random(&mut os_rng());
        let person = |name| {
            let keys = KeyPair::generate(KeyKind::Custodian, &mut os_rng());
            let card = keys.card(name).unwrap();
            (keys, card)
        };
        let mut world = Self {
            first: crate::testing::sealed(&fragment),
            fragments: Arc::new(Mutex::new(vec![Arc::new(fragment)])),
            people: Arc::new(["Cid", "Dan"].map(person).into()),
            store: Arc::new(MemoryStore::new()),
            remote: LocalRemote::new(),
            clock: Arc::new(HandClock(AtomicU64::new(NOW_MS))),
            root: Arc::default(),
            shape: crate::ops::shape(),
            written: BTreeMap::new(),
        };
        let site = world.open().await;
        let (rows, keys) = (&site.session.rows, &site.session.keys);
        let (system, kek) = keys.create(SYSTEM_SLOT).unwrap();
        let (tokens, _) = keys.create(TOKEN_SLOT).unwrap();
        let mut changes = vec![system, tokens];
        let record = world.first.record();
        let public = serde_json::to_vec(record).unwrap();
        changes.push(Write::Put { key: seal_record_key(), value: public, expect: Expect::Absent });
        changes.push(rows.put(SEAL_COPY, record, Expect::Absent).unwrap());
        changes.extend(Deployment::generate().unwrap().rows(site.session.unsealed()).unwrap());
        changes
            .extend(workload::first_keys(rows, site.session.unsealed(), &kek, site.session.now()).unwrap());
        let list = MountList(vec![kv_mount("std", Tier::Standard), kv_mount("top", Tier::High)]);
        changes.push(first_write(rows, Side::Secrets, &list).unwrap());
        changes.push(first_write(rows, Side::Logins, &MountList::default()).unwrap());
        let root = symbolon_core::token::new_service_token(&mut os_rng());
        let index = site.session.unsealed().names().secret();
        let claims = TokenClaims::root(NOW_MS / 1000);
        changes.extend(tokens::service_rows(rows, index, &root, claims).unwrap().1);
        let draft = Draft::by_broker(symbolon_core::audit::Action::Init, "test");
        drop(site.session.commit(changes, draft).await.unwrap());
        site.kill().await;
        world.root = Arc::new(root);
        world
    }

    /// The same with `count` secrets in each mount, every third of them with two versions.
    pub async fn filled(count: usize) -> Self {
        let mut world = Self::new().await;
        let site = Arc::new(world.open().await);
        for mount in ["std", "top"] {
            for number in 0..count {
                for version in 1..=if number % 3 == 0 { 2 } else { 1 } {
                    let (name, value) = (format!("s{number}"), format!("{mount} {number} v{version}"));
                    site.write(mount, &name, &value).await.unwrap();
                    world.written.insert((mount.to_owned(), name, version), value);
                }
            }
        }
        Arc::into_inner(site).unwrap().kill().await;
        world
    }

    /// An equal world on a store of its own, to be ruined independently. The remote is shared.
    pub fn copy(&self) -> Self {
        let store = MemoryStore::new();
        for (key, row) in self.store.rows() {
            store.tamper(&key, Some(row.value));
        }
        Self { store: Arc::new(store), ..self.clone() }
    }

    /// The seal as the store has it.
    pub async fn sealed(&self) -> Sealed {
        let row = self.store.get(&seal_record_key()).await.unwrap();
        row.map_or(self.first.clone(), |row| {
            Sealed::open(serde_json::from_slice(&row.value).unwrap()).unwrap()
        })
    }

    /// The fragment that its custodians would put together.
    pub fn fragment_of(&self, sealed: &Sealed) -> Arc<Fragment> {
        let fragments = self.fragments.lock().unwrap();
        let ours = fragments.iter().find(|fragment| sealed.share_set().is_fragment(fragment));
        Arc::clone(ours.expect("one of them is in force"))
    }

    /// Everything of a ceremony but the custodians: the change is prepared and committed. The site is closed
    /// then.
    pub async fn change(&self, site: Site, change: &Change) -> Result<(), OpError> {
        let sealed = self.sealed().await;
        let fragment = self.fragment_of(&sealed);
        let now = site.session.now();
        let changed = change.apply(&sealed, &fragment, now, &mut os_rng()).unwrap().unwrap();
        self.keep_fragment(&changed);
        let mut transcript = Transcript::begin_fresh(change.ceremony(), sealed.deployment(), &mut os_rng());
        let event = Event::of_ceremony(EventKind::Committed, now.unix_ms, [0; 32]);
        transcript.record(event).unwrap();
        let given = sealed.share_set().clone();
        let over = Over { changed: Some(changed), asker: None, given, transcript };
        let committed = commit::commit(&site.session, over).await;
        site.kill().await;
        committed.map(drop)
    }

    /// What the new custodians have together.
    fn keep_fragment(&self, changed: &Changed) {
        if changed.envelopes.is_empty() {
            return;
        }
        let set = changed.sealed.share_set();
        let mut ceremony = symbolon_proto::share::Ceremony::new(set.clone());
        for (x, ((keys, _), envelope)) in (1..).zip(self.people.iter().zip(&changed.envelopes)) {
            ceremony.submit(envelope.open(set, x, keys.sealing().unwrap()).unwrap(), 0).unwrap();
        }
        self.fragments.lock().unwrap().push(Arc::new(ceremony.recombine().unwrap()));
    }

    pub async fn open(&self) -> Site {
        let sealed = self.sealed().await;
        let keys = EpochKeys::derive(&self.fragment_of(&sealed), &sealed);
        let unsealed = Arc::new(deployment::complete(self.store.as_ref(), keys).await.unwrap());
        let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) = (self.store.clone(), self.clock.clone());
        let remote =
            Connected::new(&self.remote, unsealed.deployment(), unsealed.broker(), Arc::clone(&clock));
        let shape = Arc::clone(&self.shape);
        let ground = Ground { store: Arc::clone(&store), clock: Arc::clone(&clock), unsealed, shape };
        let (keys, rows) = (ground.keys(Arc::clone(&remote) as _, remote.leases.clone()), ground.rows());
        keys.replace_system_keks(SystemKeks::read(&rows).await.unwrap());
        let _may_be_away = keys.canary().await;
        let secrets = Mounts::read(&rows).await.unwrap().secrets;
        let session = ground.session(keys, Mounts { secrets, logins: MountList::default() }).await;
        Rotation::begin(&session, remote);
        let config = Config::parse(
            "listen = \"127.0.0.1:8200\"\n[store]\npath = \"nowhere\"\n[remote]\nurl = \"https://f.example\"\nfingerprint = \"0\"",
        )
        .unwrap();
        let seal = SealHandle::holding(sealed, Arc::clone(&session));
        let sources = Keeper::new(config.lives.clone(), Arc::clone(&store), Arc::clone(&clock));
        let app = App {
            sources,
            backups: Arc::default(),
            retention: Arc::default(),
            config,
            store,
            seal,
            clock,
            shape: crate::ops::shape(),
            init: Initialising::default(),
            alarms: Arc::default(),
        };
        Site { app, session, root: Arc::clone(&self.root) }
    }
}

impl Site {
    /// One round of the collector.
    pub async fn collect(&self) {
        collect::round(&Arc::downgrade(&self.session), collect::Pace::FULL).await;
    }

    /// Ends without goodbye: what is not in the store is gone.
    pub async fn kill(self) {
        drop(self.session.close());
    }

    pub async fn as_root<T>(&self, ask: impl AsyncFnOnce(Asker<'_>) -> T) -> T {
        self.as_one_with(&self.root, ask).await
    }

    pub async fn as_one_with<T>(&self, token: &str, ask: impl AsyncFnOnce(Asker<'_>) -> T) -> T {
        let parameters = Map::new();
        let who = Requester {
            token: Some(token),
            request_id: "test",
            remote: None,
            parameters: &parameters,
            wrap_ttl_secs: 0,
        };
        ask(who.of(&self.session)).await
    }

    pub fn mount(&self, path: &str) -> Mount {
        let path = MountPath::parse(path).unwrap();
        self.session.mounts().secrets.at(&path).unwrap().clone()
    }

    pub fn target(&self, mount: &str, name: &str) -> KvTarget {
        KvTarget::new(self.mount(mount), SecretPath::parse(name).unwrap())
    }

    pub async fn write(&self, mount: &str, name: &str, value: &str) -> Result<WroteSecret, OpError> {
        let data: Map = serde_json::from_value(serde_json::json!({ "value": value })).unwrap();
        let target = self.target(mount, name);
        let input = WriteSecret { data: &data, cas: None };
        self.as_root(async |who| kv::write(&who, &target, &input).await).await
    }

    pub async fn read(&self, mount: &str, name: &str, version: u64) -> Result<ReadSecret, OpError> {
        let target = self.target(mount, name);
        self.as_root(async |who| kv::read(&who, &target, version).await).await
    }

    pub async fn destroy(&self, mount: &str, name: &str, version: u64) -> Result<(), OpError> {
        let target = self.target(mount, name);
        let change = VersionsChange::Destroy;
        self.as_root(async |who| kv::change_versions(&who, &target, change, &[version]).await).await
    }

    pub async fn rotate_remote(&self) -> Result<u32, OpError> {
        self.as_root(async |who| rotate::remote(&who).await).await
    }

    pub async fn retire(&self) -> Result<u32, OpError> {
        self.as_root(async |who| rotate::retire(&who).await).await
    }

    pub async fn rotate_keks(&self) -> Result<(), OpError> {
        self.as_root(async |who| rotate::keks(&who, rotate::Spelling::Vault).await).await
    }

    pub async fn finish(&self) -> Result<(), OpError> {
        finish(&self.session).await
    }

    /// Reads everything that was written, all at once.
    pub async fn read_all(self: &Arc<Self>, world: &World, when: &str) {
        let mut reads = JoinSet::new();
        for ((mount, name, version), value) in world.written.clone() {
            let (site, when) = (Arc::clone(self), when.to_owned());
            reads.spawn(async move {
                let read = site.read(&mount, &name, version).await;
                let read = read.unwrap_or_else(|error| {
                    panic!("{when}: {mount}/{name} version {version}: {} ({error:?})", error.reason())
                });
                let data: Map = serde_json::from_slice(&read.data.unwrap()).unwrap();
                assert_eq!(data["value"], value, "{when}: {mount}/{name} version {version}");
            });
        }
        while let Some(read) = reads.join_next().await {
            read.unwrap();
        }
        // The deployment's own record opens under its own KEK.
        let kek = self.session.keys.system_kek().await.unwrap();
        workload::rolled(&self.session, &kek, &kek).await.unwrap();
    }

    /// No capsule is older than the newest key epoch.
    pub async fn all_newest(&self, when: &str) {
        let census = census(&self.session).await.unwrap();
        let newest = self.session.keys.newest_epoch().unwrap();
        assert_eq!((census.below(newest), census.damaged), (0, 0), "{when}");
        assert!(census.by_epoch[&newest] > 0);
    }

    /// Nothing is left that another fragment epoch than the present one has closed, and its keys are
    /// forgotten.
    pub async fn all_of_this_fragment_epoch(&self, when: &str) {
        let epoch = self.session.unsealed().keys().epoch;
        assert!(self.session.unsealed().previous().is_none(), "{when}");
        for (key, row) in self.app.store.scan(everything()).await.unwrap() {
            if rows::is_row(&key) {
                assert!(self.session.rows.reencrypt(&key, &row).unwrap().is_none(), "{when}: a row");
            } else if CapsulePlace::of_key(&key).is_some() {
                let capsule = symbolon_proto::capsule::Capsule::parse(&row.value).unwrap();
                assert_eq!(capsule.fragment_epoch(), epoch, "{when}: a capsule");
            }
        }
    }

    /// Every mount is settled, and no capsule of another KEK epoch is left.
    pub async fn all_settled(&self, when: &str) {
        let own = self.session.keys.system_keks();
        let tokens: BTreeSet<_> = own.tokens().into_iter().collect();
        for (key, _) in self.app.store.scan(everything()).await.unwrap() {
            let (epoch, mount) = match CapsulePlace::of_key(&key) {
                Some(CapsulePlace::Bucket(slot)) if slot.mount == NO_SCOPE => {
                    assert!(slot == own.system() || tokens.contains(&slot), "{when}: {slot:?}");
                    continue;
                }
                Some(CapsulePlace::Bucket(slot)) => (slot.epoch, slot.mount),
                Some(CapsulePlace::Version(slot)) => (slot.epoch, slot.mount),
                None => continue,
            };
            let keks = MountKeks::read(&self.session.rows, mount).await.unwrap();
            assert_eq!((keks.phase, keks.epoch), (Phase::Settled, epoch), "{when}");
        }
    }

    /// Rows of a table.
    pub async fn count(&self, table: Table) -> usize {
        let rows = self.app.store.scan(everything()).await.unwrap();
        rows.iter().filter(|(key, _)| key[16] == table.number()).count()
    }
}

fn everything() -> crate::store::Scan<'static> {
    crate::store::Scan { from: &[], until: &[u8::MAX; 64], descending: false, limit: usize::MAX }
}
