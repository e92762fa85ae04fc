//! The service: its state, how it is made and opened, and what its operator may ask.
//!
//! State changes are made on a copy, written to disk, and only then take effect, so what a broker was told is never
//! forgotten by a crash. Answering brokers is in `answer.rs`, enrolment and manifests in `enrolment.rs`.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::KeyId;
use symbolon_proto::secret::Secret;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::admin;
use crate::clock::{Clock, Now, SystemClock};
use crate::config::{Config, Grants, Limits};
use crate::disk::{DiskError, StateDir};
use crate::error::{AdminError, ServiceError};
use crate::evaluation_log::{Anchor, EvaluationLog, LastUse, SEGMENT_BYTES_MAX};
use crate::identity::Identity;
use crate::quota::{Bucket, Quota};
use crate::report::{BrokerReport, KeyReport, LogReport, PendingReport, Status};
use crate::sealing::{Header, SealKey, Sealing, SealingError};
use crate::server::{self, ServeError};
use crate::tables::{KeyState, Tables};
use crate::tls::{SpkiHash, TlsIdentity};

const SEALING_FILE: &str = "sealing.toml";
const IDENTITY_FILE: &str = "identity";
const TABLES_FILE: &str = "tables";
const LOG_FILE: &str = "evaluations.log";
const HEAD_FILE: &str = "evaluations.head";

/// How often the head of the log and the age of manifests are looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

/// What may differ between services.
#[derive(Clone, Debug)]
pub struct Options {
    /// What brokers are granted.
    pub grants: Grants,
    /// What the listener tolerates.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { grants: Grants::default(), limits: Limits::default(), clock: Arc::new(SystemClock) }
    }
}

impl Options {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { grants: config.grants, limits: config.limits, ..Self::default() }
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
    pub(crate) live: Mutex<Live>,
    /// What `evaluations.head` says. Held by whoever writes it.
    anchored: Mutex<Anchor>,
}

/// What changes while the service runs.
pub(crate) struct Live {
    pub(crate) tables: Tables,
    pub(crate) keys: BTreeMap<KeyId, Arc<RemoteKey>>,
    pub(crate) buckets: BTreeMap<KeyId, Bucket>,
    /// Leases signed since the start.
    pub(crate) leases: u64,
}

impl Service {
    /// Makes the keys of a new service in an empty or absent directory.
    pub fn init(path: &Path, sealing: &Sealing, options: Options) -> Result<Arc<Self>, ServiceError> {
        options.grants.check()?;
        let dir = StateDir::create(path)?;
        let (seal, header) = SealKey::create(sealing)?;
        let header = toml::to_string(&header).map_err(|_| SealingError::Header)?;
        dir.write(SEALING_FILE, header.as_bytes())?;
        dir.write(IDENTITY_FILE, &seal.seal(IDENTITY_FILE, &Identity::generate()?.to_bytes()))?;
        dir.write(HEAD_FILE, &seal.seal(HEAD_FILE, &Anchor::EMPTY.to_bytes()))?;
        // Last, because its presence says that the others are complete.
        dir.write(TABLES_FILE, &seal.seal(TABLES_FILE, &Tables::default().to_json()))?;
        Self::load(dir, seal, options)
    }

    /// Opens an existing service.
    pub fn open(path: &Path, sealing: &Sealing, options: Options) -> Result<Arc<Self>, ServiceError> {
        options.grants.check()?;
        let dir = StateDir::open(path, TABLES_FILE)?;
        let header = String::from_utf8(present(&dir, SEALING_FILE)?).map_err(|_| SealingError::Header)?;
        let header: Header = toml::from_str(&header).map_err(|_| SealingError::Header)?;
        let seal = SealKey::open(sealing, &header)?;
        Self::load(dir, seal, options)
    }

    fn load(dir: StateDir, seal: SealKey, options: Options) -> Result<Arc<Self>, ServiceError> {
        let open =
            |name: &str| -> Result<_, ServiceError> { Ok(seal.open_file(name, &present(&dir, name)?)?) };
        let identity = Identity::from_bytes(&open(IDENTITY_FILE)?)?;
        let mut tables = Tables::from_json(&open(TABLES_FILE)?)?;
        let keys: Result<BTreeMap<_, _>, ServiceError> = tables
            .keys
            .keys()
            .map(|id| Ok((*id, Arc::new(read_key(*id, &open(&key_file(*id))?)?))))
            .collect();
        let keys = keys?;
        let anchor = Anchor::from_bytes(&open(HEAD_FILE)?)
            .map_err(|_| SealingError::DoesNotOpen { file: HEAD_FILE.to_owned() })?;
        let (log, last_uses) = EvaluationLog::open(&dir.path(LOG_FILE), anchor)?;
        tables.starts += 1;
        let now = options.clock.now();
        let buckets = tables.keys.keys();
        let buckets = buckets.map(|id| (*id, bucket(options.grants.quota, last_uses.get(id), now))).collect();
        let live = Live { tables, keys, buckets, leases: 0 };
        let permits = Semaphore::new(options.limits.evaluations_max);
        let service = Self {
            dir,
            seal,
            identity,
            options,
            log,
            permits,
            live: Mutex::new(live),
            anchored: Mutex::new(anchor),
        };
        service.renew_manifests()?;
        service.write_tables(&service.live().tables)?;
        service.tend_log();
        Ok(Arc::new(service))
    }

    /// Serves brokers on `socket` and operators on the admin socket until `shutdown` resolves.
    pub async fn serve(
        self: &Arc<Self>,
        socket: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let admin = self.dir.path(admin::SOCKET);
        let result = tokio::select! {
            result = server::serve(Arc::clone(self), socket, self.options.limits, shutdown) => result,
            failed = admin::serve(Arc::clone(self), &admin) => match failed {
                Err(error) => Err(ServeError::Admin(error)),
                Ok(never) => match never {},
            },
            () = Arc::clone(self).keep_up() => Ok(()),
        };
        // Nobody answers there any more; a leftover would only be replaced at the next start.
        drop(std::fs::remove_file(&admin));
        self.tend_log();
        result
    }

    async fn keep_up(self: Arc<Self>) {
        let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            tick.tick().await;
            let service = Arc::clone(&self);
            let upkeep = tokio::task::spawn_blocking(move || {
                service.tend_log();
                if let Err(error) = service.renew_manifests() {
                    tracing::error!(%error, "manifests could not be renewed; free disk space");
                }
            });
            if upkeep.await.is_err() {
                tracing::error!("upkeep failed");
            }
        }
    }

    /// What brokers' operators must be told, over a channel they trust.
    #[must_use]
    pub fn root_fingerprint(&self) -> Fingerprint {
        self.identity.root_fingerprint()
    }

    /// Brokers that wait for approval.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingReport> {
        let live = self.live();
        let report = |pending: &crate::tables::Pending| PendingReport {
            fingerprint: pending.fingerprint.to_string(),
            deployment: pending.deployment.to_string(),
            broker: pending.broker.to_string(),
            joins: live.tables.keys_of(pending.deployment).next().is_some(),
            asked_at: pending.asked_at,
        };
        live.tables.pending.iter().map(report).collect()
    }

    /// Stops answering for one key, or for all. Returns how many were active.
    pub fn suspend(&self, key: Option<KeyId>) -> Result<usize, AdminError> {
        self.set_state(key, KeyState::Suspended)
    }

    /// Answers again for one key, or for all. Returns how many were suspended.
    pub fn resume(&self, key: Option<KeyId>) -> Result<usize, AdminError> {
        self.set_state(key, KeyState::Active)
    }

    fn set_state(&self, key: Option<KeyId>, state: KeyState) -> Result<usize, AdminError> {
        let mut live = self.live();
        if key.is_some_and(|id| !live.tables.keys.contains_key(&id)) {
            return Err(AdminError::UnknownKey);
        }
        let mut tables = live.tables.clone();
        let selected = tables
            .keys
            .iter_mut()
            .filter(|(id, row)| row.state != state && key.is_none_or(|key| key == **id));
        let mut changed = 0;
        for (id, row) in selected {
            row.state = state;
            self.append_manifest(*id, row, &live.keys[id], self.now());
            changed += 1;
            tracing::warn!(key = %id, ?state, "the operator changed the state of a key");
        }
        if state == KeyState::Suspended {
            // Refusing begins now, even if the disk is full and the change is forgotten at the next start.
            live.tables = tables.clone();
        }
        self.write_tables(&tables)?;
        live.tables = tables;
        Ok(changed)
    }

    /// How the service is.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.now();
        let mut live = self.live();
        let Live { tables, buckets, .. } = &mut *live;
        let keys = tables.keys.iter().map(|(id, key)| KeyReport {
            key: id.to_string(),
            deployment: key.deployment.to_string(),
            state: key.state,
            key_epoch: key.key_epoch,
            manifest_seq: key.manifests.last().map_or(0, |(seq, _)| *seq),
            quota_left: buckets.get_mut(id).map_or(0, |bucket| bucket.left(now.boot_ms)),
        });
        let brokers = tables.brokers.iter().map(|(id, broker)| BrokerReport {
            broker: id.to_string(),
            deployment: broker.deployment.to_string(),
            fingerprint: Fingerprint::of_broker(&broker.spki, &broker.sign_key).to_string(),
            generation: broker.generation,
            approved_at: broker.approved_at,
        });
        let head = self.log.head();
        Status {
            root_fingerprint: self.root_fingerprint().to_string(),
            node: self.identity.node_id.to_string(),
            memory: symbolon_proto::secret::memory_mode().to_string(),
            pending: tables.pending.len(),
            brokers: brokers.collect(),
            keys: keys.collect(),
            log: LogReport { records: head.records, hash: crate::hex::encode(&head.hash) },
        }
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
    pub(crate) fn write_key(&self, id: KeyId, key: &RemoteKey) -> Result<(), DiskError> {
        let name = key_file(id);
        self.dir.write(&name, &self.seal.seal(&name, key.secret().expose()))
    }

    /// Sets a long log aside and notes how far it has come. Best effort: the next minute tries again.
    fn tend_log(&self) {
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

fn key_file(id: KeyId) -> String {
    format!("keys/{id}")
}

fn present(dir: &StateDir, name: &str) -> Result<Vec<u8>, ServiceError> {
    dir.read(name)?.ok_or_else(|| ServiceError::Missing { file: name.to_owned() })
}

fn read_key(id: KeyId, bytes: &[u8]) -> Result<RemoteKey, ServiceError> {
    let bytes: &[u8; 32] = bytes.try_into().map_err(|_| ServiceError::ForeignKey { key: id })?;
    let secret = Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(bytes));
    RemoteKey::from_secret(secret).map_err(|_| ServiceError::ForeignKey { key: id })
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
