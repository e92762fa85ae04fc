//! Somebody with stolen things and all of our code.
//!
//! ```text
//! fragment  = from the shares, however few: what is missing he guesses
//! k         = from the services' files, or from the quantum computer: what is missing he guesses
//! KEK       = from memory; or a capsule opened with fragment and k; or asked from the live service with
//!             the broker's keys
//! secret    = a record opened with some KEK
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_broker::access::session::Session;
use symbolon_broker::clock::SystemClock;
use symbolon_broker::config;
use symbolon_broker::custody::unseal::Unsealer;
use symbolon_broker::custody::unseal::alarm::Alarm;
use symbolon_broker::engines::kv::VERSIONS;
use symbolon_broker::keys::CAPSULES;
use symbolon_broker::run::furnishing;
use symbolon_broker::store::Store;
use symbolon_broker::store::embedded::EmbeddedStore;
use symbolon_core::keyring::OpenKek;
use symbolon_core::seal::EpochKeys;
use symbolon_proto::Zeroizing;
use symbolon_proto::capsule::Capsule;
use symbolon_proto::codec::{Reader, Writer};
use symbolon_proto::context::{CapsuleContext, RecordContext, RecordKind, Scope};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::hierarchy::{CapsuleKey, Fragment};
use symbolon_proto::id::{MountId, SecretId};
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Share, shamir};
use symbolon_proto::{label, record, sealedbox};

use super::victim::{Memory, sealed, slots};
use crate::rows::{self, Rows};
use crate::selfplay;

/// A stolen store.
pub struct Disk {
    path: PathBuf,
    pub rows: Rows,
}

impl Disk {
    pub async fn read(path: PathBuf) -> Self {
        let store = EmbeddedStore::open(&path, 1 << 20).unwrap();
        Self { rows: rows::rows_of(&store).await, path }
    }
}

/// The state directory of a fragment service and its key file.
pub struct StolenService {
    /// Its number in the group, which is in every manifest.
    index: u16,
    key: Secret<32>,
    files: Vec<(String, Vec<u8>)>,
}

impl StolenService {
    pub fn copy(index: u16, directory: &Path, key_file: &Path) -> Self {
        let key = std::fs::read(key_file).unwrap();
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory.join("keys")).unwrap() {
            let entry = entry.unwrap();
            let name = format!("keys/{}", entry.file_name().to_string_lossy());
            files.push((name, std::fs::read(entry.path()).unwrap()));
        }
        Self { index, key: Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(&key)), files }
    }

    /// Every scalar in its key files, at whatever place.
    pub fn keys(&self) -> Vec<RemoteKey> {
        let contents = self.files.iter().map(|(name, file)| self.open(name, file));
        contents.flat_map(|content| content.windows(32).filter_map(scalar).collect::<Vec<_>>()).collect()
    }

    /// What its files with one scalar hold, so none of a run that has not ended.
    pub fn shares(&self) -> Vec<RemoteKey> {
        let contents = self.files.iter().map(|(name, file)| self.open(name, file));
        contents.filter(|content| content.len() == 32).filter_map(|content| scalar(&content)).collect()
    }

    /// A file of one box: `LP32(box)`, bound to its name and to being the only one.
    fn open(&self, name: &str, file: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut context = Writer::with_capacity(96);
        context.lp(label::CONTEXT_FRAGMENT_FILE).lp(name.as_bytes()).u64(0).u8(1);
        let boxed = Reader::new(file).lp32(1 << 20).unwrap();
        sealedbox::open(&self.key, &context.finish(), boxed).unwrap()
    }
}

fn scalar(bytes: &[u8]) -> Option<RemoteKey> {
    RemoteKey::from_secret(Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(bytes))).ok()
}

/// What one attacker has. `None` and empty mean that he does not have it.
pub struct Loot<'a> {
    pub disk: Option<&'a Disk>,
    pub shares: &'a [Zeroizing<String>],
    pub remote: Vec<&'a StolenService>,
    /// How many of the services are needed; that is in every manifest.
    pub threshold: usize,
    pub quantum: Option<&'a RemoteKey>,
    pub memory: Option<&'a Memory>,
    /// Where the service is; that is no secret.
    pub address: &'a config::Remote,
}

impl<'a> Loot<'a> {
    pub fn nothing(address: &'a config::Remote) -> Self {
        Self {
            disk: None,
            shares: &[],
            remote: Vec::new(),
            threshold: 1,
            quantum: None,
            memory: None,
            address,
        }
    }

    /// Everything that he can read.
    pub async fn secrets(&self) -> BTreeSet<String> {
        let Some(disk) = self.disk else { return BTreeSet::new() };
        let mut keks: Vec<Arc<OpenKek>> = self.memory.map(|memory| memory.keks.clone()).unwrap_or_default();
        keks.extend(self.opened_alone(disk));
        keks.extend(self.opened_by_the_service(disk).await);
        records(disk, &keks)
    }

    /// The names of engines.
    pub async fn mounts(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Some(session) = self.sessions(self.disk.unwrap()).await {
            names.extend(session.mounts().secrets.0.iter().map(|mount| mount.path.to_string()));
            drop(session.close());
        }
        names
    }

    /// The fragment that the shares give; with too few of them, a guess at the others.
    fn fragment(&self) -> Fragment {
        let mut points: Vec<_> = self.shares.iter().map(|text| point(&Share::parse(text).unwrap())).collect();
        let guesses = (200..).map(|x| shamir::Point { x, y: Secret::random(&mut rng()) });
        points.extend(guesses.take(2_usize.saturating_sub(points.len())));
        Fragment::from_secret(shamir::recombine(&points.iter().collect::<Vec<_>>()).unwrap())
    }

    /// Every capsule with every pair of halves.
    fn opened_alone(&self, disk: &Disk) -> Vec<Arc<OpenKek>> {
        let fragment = self.fragment().root(&sealed(disk).deployment());
        let services = self.services();
        let remotes = halves(&services, self.threshold).into_iter();
        let remotes: Vec<_> = remotes.chain(self.quantum.map(|k| vec![(1, k)])).collect();
        let mut keks = Vec::new();
        for (capsule, context) in capsules(disk) {
            let derived = fragment.purposes(capsule.fragment_epoch()).capsule;
            let stolen = self.memory.map(|memory| &memory.capsule_key);
            let keys: Vec<&CapsuleKey> = std::iter::once(&derived).chain(stolen).collect();
            for (key, shares) in keys.iter().flat_map(|key| remotes.iter().map(move |half| (key, half))) {
                let kek = selfplay::open_with_shares(&capsule, &context, key, shares).ok();
                keks.extend(kek.map(|kek| Arc::new(OpenKek { kek, capsule: capsule.id() })));
            }
        }
        keks
    }

    /// What each service holds; in the place of those that he has not, guesses.
    fn services(&self) -> Vec<(u16, Vec<RemoteKey>)> {
        let stolen = self.remote.iter().map(|service| (service.index, service.keys()));
        let guesses = (200..).map(|index| (index, vec![RemoteKey::generate(&mut rng())]));
        stolen.chain(guesses.take(self.threshold)).collect()
    }

    /// Unseals a broker of his own on the stolen store and lets it ask for every KEK.
    async fn opened_by_the_service(&self, disk: &Disk) -> Vec<Arc<OpenKek>> {
        let mut keks = Vec::new();
        if let Some(session) = self.sessions(disk).await {
            for slot in slots(disk) {
                keks.extend(session.keys.kek(slot).await.ok());
            }
            drop(session.close());
        }
        keks
    }

    /// A session, if the fragment is the right one: without it not even the client key comes out of the
    /// store.
    async fn sessions(&self, disk: &Disk) -> Option<Arc<Session>> {
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(&disk.path, copy.path()).unwrap();
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(copy.path(), 1 << 20).unwrap());
        let sealed = sealed(disk);
        let keys = EpochKeys::derive(&self.fragment(), &sealed);
        let unsealer = Unsealer::new(
            store,
            Arc::new(SystemClock),
            self.address.clone(),
            furnishing(&Arc::default(), &Arc::default()),
        );
        unsealer.open(&sealed, keys, &[], &Alarm::new().0).await.ok().map(|opened| opened.session)
    }
}

/// Every choice of `count` services with one key of each.
fn halves(services: &[(u16, Vec<RemoteKey>)], count: usize) -> Vec<Vec<(u16, &RemoteKey)>> {
    let (Some(fewer), Some(((index, keys), others))) = (count.checked_sub(1), services.split_first()) else {
        return if count == 0 { vec![Vec::new()] } else { Vec::new() };
    };
    let with_the_first = halves(others, fewer)
        .into_iter()
        .flat_map(|half| keys.iter().map(move |key| half.iter().copied().chain([(*index, key)]).collect()));
    with_the_first.chain(halves(others, count)).collect()
}

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn point(share: &Share) -> shamir::Point {
    let y = Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(&share.to_bytes().expose()[12..]));
    shamir::Point { x: share.x(), y }
}

/// The capsules of a store, each with the context of its place.
pub fn capsules(disk: &Disk) -> Vec<(Capsule, CapsuleContext)> {
    let rows = rows::of(&disk.rows, CAPSULES);
    let with_context = |(slot, (_, bytes)): (_, (&Vec<u8>, &Vec<u8>))| {
        let capsule = Capsule::parse(bytes).unwrap();
        let symbolon_core::keyring::KekSlot { tenant, mount, bucket, epoch } = slot;
        let context = CapsuleContext {
            deployment: sealed(disk).deployment(),
            tenant,
            mount,
            bucket,
            kek_epoch: epoch,
            capsule: capsule.id(),
            key: capsule.key(),
            fragment_epoch: capsule.fragment_epoch(),
            scope: Scope::Bucket,
        };
        (capsule, context)
    };
    slots(disk).into_iter().zip(rows).map(with_context).collect()
}

/// The values of all records that one of these KEKs opens.
fn records(disk: &Disk, keks: &[Arc<OpenKek>]) -> BTreeSet<String> {
    let deployment = sealed(disk).deployment();
    let mut found = BTreeSet::new();
    for (key, bytes) in rows::of(&disk.rows, VERSIONS) {
        let context = RecordContext {
            kind: RecordKind::Value,
            deployment,
            tenant: symbolon_proto::id::TenantId::from_bytes(key[..16].try_into().unwrap()),
            mount: MountId::from_bytes(key[17..33].try_into().unwrap()),
            secret: SecretId::from_bytes(key[33..49].try_into().unwrap()),
            version: u64::from_be_bytes(key[49..57].try_into().unwrap()),
        };
        for kek in keks {
            if let Ok(plain) = record::open(&kek.kek, &context, &kek.capsule, bytes) {
                let value: serde_json::Value = serde_json::from_slice(&plain).unwrap();
                found.insert(value["value"].as_str().unwrap().to_owned());
            }
        }
    }
    found
}
