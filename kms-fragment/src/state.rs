//! The state of a service: what it holds in memory, and how that comes from the disk and goes back to it.
//!
//! State changes are made on a copy, written to disk, and only then take effect, so what a broker was told is
//! never forgotten by a crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_proto::Zeroizing;
use symbolon_proto::custody::XWingPublicKey;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::{DeploymentId, KeyId};
use symbolon_proto::order::Officers;
use symbolon_proto::proposal::Proposal;
use symbolon_proto::secret::Secret;
use tokio::sync::Semaphore;

use crate::clock::{Clock, Now, SystemClock};
use crate::config::{Config, Destruction, Grants, Limits};
use crate::disk::{DiskError, StateDir};
use crate::error::ServiceError;
use crate::evaluation_log::{Anchor, EvaluationLog, LastUse, SEGMENT_BYTES_MAX};
use crate::identity::{self, Identity};
use crate::quota::{Bucket, Quota};
use crate::sealing::{Header, SealKey, Sealing, SealingError};
use crate::tables::{Key, KeyState, ShareId, Tables};
use crate::tls::{SpkiHash, TlsIdentity};
use crate::tombstones::Tombstones;

/// Requests of strangers at once.
const STRANGERS_AT_ONCE: usize = 4;
const SEALING_FILE: &str = "sealing.toml";
const IDENTITY_FILE: &str = "identity";
const TABLES_FILE: &str = "tables";
pub(crate) const TOMBSTONES_FILE: &str = "tombstones";
const LOG_FILE: &str = "evaluations.log";
const HEAD_FILE: &str = "evaluations.head";
/// What is there before a service is. [`TABLES_FILE`] ends that, and is none of them.
const FIRST_FILES: [&str; 3] = [SEALING_FILE, IDENTITY_FILE, HEAD_FILE];

/// What may differ between services.
#[derive(Clone, Debug)]
pub struct Options {
    /// What brokers are granted.
    pub grants: Grants,
    /// What the brokers of single deployments are granted instead.
    pub deployments: BTreeMap<DeploymentId, Grants>,
    /// Whose orders count.
    pub officers: Officers,
    /// How keys are destroyed.
    pub destruction: Destruction,
    /// What the listener tolerates.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grants: Grants::default(),
            deployments: BTreeMap::new(),
            officers: Officers::default(),
            destruction: Destruction::default(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Options {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            grants: config.grants,
            deployments: config.deployment_grants(),
            officers: config.officers.clone(),
            destruction: config.destruction,
            limits: config.limits,
            ..Self::default()
        }
    }

    /// What the brokers of a deployment are granted.
    #[must_use]
    pub fn grants_of(&self, deployment: DeploymentId) -> Grants {
        self.deployments.get(&deployment).copied().unwrap_or(self.grants)
    }
}

/// A fragment service. One per state directory and process.
pub struct Service {
    pub(crate) dir: StateDir,
    pub(crate) seal: SealKey,
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) log: EvaluationLog,
    pub(crate) permits: Semaphore,
    pub(crate) stranger_permits: Semaphore,
    pub(crate) live: Mutex<Live>,
    /// What `evaluations.head` says. Held by whoever writes it.
    anchored: Mutex<Anchor>,
}

/// Groups and escrow keys that wait for the operator, with the time at which they were first asked for.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) groups: Vec<(Proposal, u64)>,
    pub(crate) escrows: Vec<(KeyId, XWingPublicKey, u64)>,
}

/// What changes while the service runs.
pub(crate) struct Live {
    pub(crate) tables: Tables,
    pub(crate) tombstones: Tombstones,
    pub(crate) keys: BTreeMap<ShareId, Arc<RemoteKey>>,
    pub(crate) buckets: BTreeMap<KeyId, Bucket>,
    /// Groups and escrow keys that wait for the operator. In memory only, like strangers.
    pub(crate) waiting: Waiting,
    /// Leases signed since the start.
    pub(crate) leases: u64,
}

impl Service {
    /// Makes the keys of a new service in an empty or absent directory, and reads them back.
    pub(crate) fn create(path: &Path, sealing: &Sealing, options: Options) -> Result<Self, ServiceError> {
        options.grants.check()?;
        let dir = StateDir::create(path, &FIRST_FILES)?;
        match Self::first_files(&dir, sealing) {
            Ok(seal) => Self::load(dir, seal, options),
            Err(error) => {
                // The same command again would clear them as well.
                drop(dir.clear(&FIRST_FILES));
                Err(error)
            }
        }
    }

    fn first_files(dir: &StateDir, sealing: &Sealing) -> Result<SealKey, ServiceError> {
        let (seal, header) = SealKey::create(sealing)?;
        let header = toml::to_string(&header).map_err(|_| SealingError::HeaderNotMade)?;
        dir.write(SEALING_FILE, header.as_bytes())?;
        dir.write(IDENTITY_FILE, &seal.seal(IDENTITY_FILE, &Identity::generate()?.to_bytes()))?;
        dir.write(HEAD_FILE, &seal.seal(HEAD_FILE, &Anchor::EMPTY.to_bytes()))?;
        // Last, because its presence says that the others are complete.
        dir.write(TABLES_FILE, &seal.seal(TABLES_FILE, &Tables::default().to_json()))?;
        Ok(seal)
    }

    /// Reads the state of an existing service.
    pub(crate) fn read(path: &Path, sealing: &Sealing, options: Options) -> Result<Self, ServiceError> {
        options.grants.check()?;
        let dir = StateDir::open(path, TABLES_FILE)?;
        let header = String::from_utf8(present(&dir, SEALING_FILE)?).map_err(|_| SealingError::Header)?;
        let header: Header = toml::from_str(&header).map_err(|_| SealingError::Header)?;
        let seal = SealKey::open(sealing, &header)?;
        Self::load(dir, seal, options)
    }

    fn load(dir: StateDir, seal: SealKey, options: Options) -> Result<Self, ServiceError> {
        let files = Files { dir: &dir, seal: &seal };
        let identity = files.identity()?;
        let mut tables = Tables::from_json(&files.open(TABLES_FILE)?)?;
        let tombstones = files.tombstones(&identity)?;
        check_tombstones(&tables, &tombstones)?;
        let keys = files.keys(&tables, &tombstones)?;
        let anchor =
            Anchor::from_bytes(&files.open(HEAD_FILE)?).map_err(|_| SealingError::foreign(HEAD_FILE))?;
        let (log, last_uses) = EvaluationLog::open(&dir.path(LOG_FILE), anchor)?;
        tables.starts += 1;
        let buckets = buckets(&tables, &options, &last_uses);
        let live = Live { tables, tombstones, keys, buckets, waiting: Waiting::default(), leases: 0 };
        let permits = Semaphore::new(options.limits.evaluations_max);
        let stranger_permits = Semaphore::new(STRANGERS_AT_ONCE);
        let (live, anchored) = (Mutex::new(live), Mutex::new(anchor));
        Ok(Self { dir, seal, identity, options, log, permits, stranger_permits, live, anchored })
    }

    /// What brokers' operators must be told, over a channel they trust.
    #[must_use]
    pub fn root_fingerprint(&self) -> Fingerprint {
        self.identity.root_fingerprint()
    }

    pub(crate) fn tls(&self) -> &TlsIdentity {
        &self.identity.tls
    }

    /// Whether a TLS key belongs to an enrolled broker.
    pub(crate) fn knows(&self, peer: &SpkiHash) -> bool {
        self.live().tables.broker_by_spki(peer).is_some()
    }

    pub(crate) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Now {
        self.options.clock.now()
    }

    pub(crate) fn write_tables(&self, tables: &Tables) -> Result<(), DiskError> {
        self.dir.write(TABLES_FILE, &self.seal.seal(TABLES_FILE, &tables.to_json()))
    }

    /// Seals k into its own file, before any table mentions it.
    pub(crate) fn write_key(&self, share: &ShareId, key: &RemoteKey) -> Result<(), DiskError> {
        let name = share.file();
        self.dir.write(&name, &self.seal.seal(&name, key.secret().expose()))
    }

    /// Sets a long log aside and notes how far it has come. Best effort: the next minute tries again.
    pub(crate) fn tend_log(&self) {
        let mut anchored = self.anchored.lock().unwrap_or_else(PoisonError::into_inner);
        let write = |anchor: Anchor| -> Result<(), ServiceError> {
            Ok(self.dir.write(HEAD_FILE, &self.seal.seal(HEAD_FILE, &anchor.to_bytes()))?)
        };
        let tended = self.log.set_aside(SEGMENT_BYTES_MAX, write).and_then(|()| {
            let anchor = self.log.anchor();
            if anchor != *anchored {
                write(anchor)?;
                *anchored = anchor;
            }
            Ok(())
        });
        if let Err(error) = tended {
            tracing::error!(%error, "the evaluation log could not be set aside or anchored; free disk space");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tend_log();
    }
}

/// Whether tables and tombstones can be of one service, one of them perhaps older than the other.
fn check_tombstones(tables: &Tables, tombstones: &Tombstones) -> Result<(), ServiceError> {
    if tombstones.count() < tables.tombstones {
        return Err(ServiceError::OldTombstones);
    }
    let mut applied = tables.clone();
    tombstones.apply(&mut applied);
    let is_whole = |row: &Key, before: &Key| {
        // A node of a group may have left for every other epoch; its tables are none the older for it.
        let may_be_empty = row.state == KeyState::Destroyed || row.group.is_some();
        may_be_empty || !row.epochs.is_empty() || before.epochs.is_empty()
    };
    let mut pairs = applied.keys.values().zip(tables.keys.values());
    if pairs.all(|(row, before)| is_whole(row, before)) { Ok(()) } else { Err(ServiceError::OldTables) }
}

/// The sealed files of a state directory.
struct Files<'a> {
    dir: &'a StateDir,
    seal: &'a SealKey,
}

impl Files<'_> {
    fn open(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        Ok(self.seal.open_file(name, &present(self.dir, name)?)?)
    }

    fn identity(&self) -> Result<Identity, ServiceError> {
        let stored = self.open(IDENTITY_FILE)?;
        let identity = Identity::from_bytes(&stored)?;
        if !identity::is_current(&stored) {
            self.dir.write(IDENTITY_FILE, &self.seal.seal(IDENTITY_FILE, &identity.to_bytes()))?;
        }
        Ok(identity)
    }

    fn tombstones(&self, identity: &Identity) -> Result<Tombstones, ServiceError> {
        let Some(sealed) = self.dir.read(TOMBSTONES_FILE)? else { return Ok(Tombstones::default()) };
        let json = self.seal.open_file(TOMBSTONES_FILE, &sealed)?;
        Ok(Tombstones::from_json(&json, &identity.root_fingerprint())?)
    }

    /// The scalars of all shares that no tombstone covers.
    fn keys(
        &self,
        tables: &Tables,
        tombstones: &Tombstones,
    ) -> Result<BTreeMap<ShareId, Arc<RemoteKey>>, ServiceError> {
        let shares = tables.keys.iter().flat_map(|(id, row)| row.shares(*id));
        let shares = shares.filter(|share| !tombstones.cover(share));
        shares.map(|share| Ok((share, Arc::new(read_key(&share, &self.open(&share.file())?)?)))).collect()
    }
}

fn present(dir: &StateDir, name: &str) -> Result<Vec<u8>, ServiceError> {
    dir.read(name)?.ok_or_else(|| ServiceError::Missing { file: name.to_owned() })
}

fn read_key(share: &ShareId, bytes: &[u8]) -> Result<RemoteKey, ServiceError> {
    let foreign = || ServiceError::ForeignKey { key: share.key };
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| foreign())?;
    let secret = Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(bytes));
    RemoteKey::from_secret(secret).map_err(|_| foreign())
}

fn buckets(
    tables: &Tables,
    options: &Options,
    last_uses: &BTreeMap<KeyId, LastUse>,
) -> BTreeMap<KeyId, Bucket> {
    let now = options.clock.now();
    let keys = tables.keys.iter();
    keys.map(|(id, row)| {
        let quota = options.grants_of(row.deployment).quota;
        (*id, bucket(quota, last_uses.get(id), now))
    })
    .collect()
}

/// What is left of a quota after a restart: as much as at the last record, and what has come back since.
fn bucket(quota: Quota, last_use: Option<&LastUse>, now: Now) -> Bucket {
    let left = last_use.map_or(quota.burst, |last| {
        let secs = now.unix_secs.saturating_sub(last.time);
        let back = secs.saturating_mul(u64::from(quota.per_hour)) / 3600;
        u32::try_from(u64::from(last.quota_left).saturating_add(back)).unwrap_or(u32::MAX)
    });
    Bucket::holding(quota, left, now.boot_ms)
}
