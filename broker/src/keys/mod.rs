//! KEKs, opened with the remote half and kept only as long as its lease lasts.
//!
//! ```text
//! key(place) ── cached and lease alive? ──▶ Arc<OpenKek>
//!     └─ queue ─▶ loader: one frame for up to 64 places of a key epoch ─▶ evaluate ─▶ open capsules
//!                 ─▶ keyring ─▶ all who wait
//!
//! place.rs      where capsules are, and the contexts that bind them there
//! capsules.rs   closing and opening them
//! loader.rs     batches
//! budget.rs     who may spend the evaluations
//! canary.rs     proof that what is written now can be read again
//! own.rs        which KEKs the deployment's own records have
//! gate.rs       who may be at work with keys of an old epoch
//! ```
//!
//! Requests for the same place are answered by one evaluation. The keyring is flushed when the lease ends,
//! when the remote suspends the key under its signature, and when the session closes. Keys of the high tier
//! never enter it.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use symbolon_core::clock::{Clock, Now};
use symbolon_core::keyring::{KEKS_MAX, KekSlot, Keyring, OpenKek, SECRETS_PER_BUCKET};
use symbolon_core::seal::Unsealed;
use symbolon_proto::Zeroizing;
use symbolon_proto::context::RecordContext;
use symbolon_proto::record;
use symbolon_proto::secret::MemoryError;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use crate::config::HighTier;
use crate::error::{OpError, Text};
use crate::random::os_rng;
use crate::remote::{Evaluations, Evaluator, FragmentProblem, Leases};
use crate::rows::{Layout, Life, Table};
use crate::store::{Expect, Store, Write};

pub mod buckets;
mod budget;
mod canary;
mod capsules;
mod epoch_guard;
mod loader;
mod mount_keks;
pub(crate) mod slots;
mod system_keks;

use budget::Budget;
use canary::Canary;
use epoch_guard::Gate;
use loader::{LOADS_MAX, Load, load_all};

pub use buckets::Ledger;
pub use budget::{Payer, Spent};
pub use canary::CANARY_MS_MAX;
pub use capsules::{Aim, Placed, Rewrapped};
pub use epoch_guard::{Barrier, Pass};
pub use loader::BATCH_MAX;
pub use mount_keks::{MountKeks, Phase};
pub use slots::{CapsulePlace, FIRST_KEK_EPOCH, SYSTEM_SLOT, TOKEN_SLOT, VersionSlot, slot};
pub use system_keks::{OLDER_TOKEN_KEKS_MAX, OlderTokens, SYSTEM_KEKS, SystemKeks};

/// KEKs: SKB1 capsules.
pub const CAPSULES: Table = Table::new(0x13, "capsules of buckets", Layout::Capsule, Life::Kept);
/// Keys of single versions: SKB1 capsules of the high tier.
pub const VERSION_CAPSULES: Table = Table::new(0x14, "capsules of versions", Layout::Capsule, Life::Kept);

/// Tables of this room.
pub const TABLES: &[Table] = &[CAPSULES, VERSION_CAPSULES];

/// KEKs that there can be at once: those that are cached, and those that were opened for everybody who waits.
/// Secret memory for them is taken at the start.
pub const KEPT_MAX: usize = KEKS_MAX + LOADS_MAX;

/// Secrets that fit into a bucket, for whoever assigns them.
pub const BUCKET_SECRETS_MAX: u32 = SECRETS_PER_BUCKET;

/// What opens and closes capsules in one unsealed period. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    shared: Arc<Shared>,
    loads: mpsc::Sender<Load>,
}

type Attached = Arc<dyn Any + Send + Sync>;

struct Shared {
    unsealed: Arc<Unsealed>,
    store: Arc<dyn Store>,
    evaluator: Arc<dyn Evaluator>,
    leases: Leases,
    clock: Arc<dyn Clock>,
    keyring: Mutex<Keyring>,
    /// Something opened with these keys; it goes when they go.
    attached: Mutex<Option<Attached>>,
    canary: Canary,
    budget: Budget,
    own: RwLock<SystemKeks>,
    gate: Gate,
    /// True once the session has closed; background tasks end with it.
    closed: watch::Sender<bool>,
}

/// Why a KEK is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The remote half is missing.
    Fragment(FragmentProblem),
    /// The capsule is damaged or from elsewhere.
    Integrity,
    /// A capsule could not be made, although its key is there: a bug.
    NotMade,
    /// The capsule is not there, or the record is encrypted with another one: somebody may have moved both
    /// meanwhile. Read again; if nothing has changed, this is damage.
    Moved,
    /// The store failed, or too many wait.
    Busy,
    /// Whoever asks has to wait for evaluations.
    Spent(Spent),
    /// There is no memory for another key. Nothing was changed.
    Memory,
}

impl From<MemoryError> for KeyError {
    fn from(error: MemoryError) -> Self {
        warn!(%error, "no memory for another key");
        Self::Memory
    }
}

/// On whose account the key of a version is opened. KEKs of buckets are kept and cost nobody anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The broker's own work.
    Broker,
    /// Somebody's who reads.
    Reader(Payer),
}

impl From<KeyError> for OpError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Fragment(problem) => problem.into(),
            KeyError::Integrity | KeyError::Moved => Self::INTEGRITY,
            KeyError::NotMade => Self::bug("a key could not be put into a capsule"),
            KeyError::Busy => Self::BUSY,
            KeyError::Spent(spent) => spent.into(),
            KeyError::Memory => Self::Unavailable(Text::fixed(
                "the broker has no protected memory left for another key; its operator raises RLIMIT_MEMLOCK",
            )),
        }
    }
}

impl Keys {
    /// Starts the loader. It ends when the last clone is dropped.
    #[must_use]
    pub fn start(
        unsealed: Arc<Unsealed>,
        store: Arc<dyn Store>,
        evaluator: Arc<dyn Evaluator>,
        leases: Leases,
        clock: Arc<dyn Clock>,
        shares: HighTier,
    ) -> Self {
        let (loads, queue) = mpsc::channel(LOADS_MAX);
        let shared = Arc::new(Shared {
            unsealed,
            store,
            evaluator,
            leases,
            clock,
            keyring: Mutex::default(),
            attached: Mutex::default(),
            canary: Canary::default(),
            budget: Budget::new(shares),
            own: RwLock::default(),
            gate: Gate::default(),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(load_all(queue, Arc::clone(&shared)));
        Self { shared, loads }
    }

    /// The key of a place, from the keyring or through the remote. A version's is opened again for each batch
    /// of requests.
    pub async fn key(
        &self,
        place: impl Into<CapsulePlace>,
        account: Account,
    ) -> Result<Arc<OpenKek>, KeyError> {
        let place = place.into();
        if let Some(kek) = self.shared.cached(&place) {
            return Ok(kek);
        }
        self.shared.charge(place, account)?;
        let (answer, wait) = oneshot::channel();
        self.loads.try_send(Load { place, account, answer }).map_err(|_| KeyError::Busy)?;
        wait.await.map_err(|_| KeyError::Busy)?
    }

    /// The KEK of a bucket.
    pub async fn kek(&self, slot: KekSlot) -> Result<Arc<OpenKek>, KeyError> {
        self.key(slot, Account::Broker).await
    }

    /// Opens a stored record with the key of its place.
    pub async fn open_record(
        &self,
        place: impl Into<CapsulePlace>,
        account: Account,
        context: &RecordContext,
        record: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let kek = self.key(place, account).await?;
        match record::capsule_of(record) {
            Ok(capsule) if capsule != kek.capsule => Err(KeyError::Moved),
            _ => record::open(&kek.kek, context, &kek.capsule, record).map_err(|_| KeyError::Integrity),
        }
    }

    /// Seals a record for its slot. Refused without a living lease, so that nothing is written that could not
    /// be read.
    pub async fn seal_record(
        &self,
        slot: KekSlot,
        context: &RecordContext,
        value: &[u8],
    ) -> Result<Vec<u8>, OpError> {
        seal_with(&*self.kek(slot).await?, context, value)
    }

    /// A new key and the change that stores its capsule. Needs a fresh canary ([`Self::ensure_canary`]);
    /// whoever commits the change holds a pass from before this call.
    pub fn create(&self, place: impl Into<CapsulePlace>) -> Result<(Write, OpenKek), KeyError> {
        let place = place.into();
        self.shared.require_canary()?;
        let (capsule, kek) = self.shared.close(place)?;
        Ok((Write::Put { key: place.key(), value: capsule.to_bytes(), expect: Expect::Absent }, kek))
    }

    /// Takes a new KEK into use, after its capsule is durable.
    pub fn keep(&self, slot: KekSlot, kek: OpenKek) {
        let _ = self.shared.keep(slot.into(), kek);
    }

    /// Forgets a KEK whose capsule is gone.
    pub fn forget(&self, slot: &KekSlot) {
        self.shared.ring().forget(slot);
    }

    /// Leave to choose a key and commit with it; see [`Pass`].
    pub async fn pass(&self) -> Pass {
        self.shared.gate.pass().await
    }

    /// Waits for all passes and keeps new ones back; see [`Barrier`].
    pub async fn barrier(&self) -> Barrier {
        self.shared.gate.barrier().await
    }

    /// KEK epochs of the deployment's own records.
    #[must_use]
    pub fn system_keks(&self) -> SystemKeks {
        self.shared.own.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other epochs of the deployment's own records into use, after they are durable.
    pub fn replace_system_keks(&self, epochs: SystemKeks) {
        *self.shared.own.write().unwrap_or_else(PoisonError::into_inner) = epochs;
    }

    /// Opens the KEK of the deployment's own records: succeeds only while the remote half is available.
    pub async fn system_kek(&self) -> Result<Arc<OpenKek>, KeyError> {
        let slot = self.system_keks().system();
        match self.kek(slot).await {
            // Rolled between the two lines above.
            Err(KeyError::Moved) if self.system_keks().system() != slot => {
                self.kek(self.system_keks().system()).await
            }
            kek => kek,
        }
    }

    /// Wipes cached keys and what was attached to them. Requests under way keep theirs until they end.
    pub fn flush(&self) {
        self.shared.ring().flush();
        self.detach();
    }

    /// Keeps something that was opened with these keys for as long as the lease lasts, and hands it back for
    /// use.
    pub fn attach<T: Send + Sync + 'static>(&self, opened: T) -> Arc<T> {
        let opened = Arc::new(opened);
        *self.shared.attached() = Some(Arc::clone(&opened) as _);
        opened
    }

    /// What was attached, unless the lease has ended since.
    #[must_use]
    pub fn attached<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared.attached().clone()?.downcast().ok()
    }

    /// Forgets what was attached.
    pub fn detach(&self) {
        *self.shared.attached() = None;
    }

    /// Wipes cached keys and answers nothing any more.
    pub fn close(&self) {
        self.shared.closed.send_replace(true);
        self.flush();
    }

    /// The time, as leases count it.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Becomes true when the session closes.
    #[must_use]
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.shared.closed.subscribe()
    }

    /// Lets time do its work: wipes cached keys whose lease has ended, though nobody asks for them.
    pub fn expire(&self) {
        let now = self.shared.clock.now();
        if self.shared.leases.usable_until(now) <= now.boot_ms {
            self.flush();
        }
    }

    /// KEKs held now.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.shared.ring().len()
    }

    /// Shares the quota out otherwise from now on.
    pub fn share(&self, shares: HighTier) {
        self.shared.budget.share(shares);
    }

    /// What the evaluations of each fragment service came to.
    #[must_use]
    pub fn evaluations(&self) -> Vec<Arc<Evaluations>> {
        self.shared.evaluator.evaluations()
    }

    /// State of the lease.
    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.shared.leases
    }
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attached(&self) -> MutexGuard<'_, Option<Attached>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge(&self, place: CapsulePlace, account: Account) -> Result<(), KeyError> {
        let (CapsulePlace::Version(_), Account::Reader(payer)) = (place, account) else { return Ok(()) };
        let Some(quota) = self.evaluator.quota() else { return Ok(()) };
        self.budget.charge(payer, quota, self.clock.now().boot_ms).map_err(KeyError::Spent)
    }

    fn cached(&self, place: &CapsulePlace) -> Option<Arc<OpenKek>> {
        let CapsulePlace::Bucket(slot) = place else { return None };
        let now = self.clock.now();
        let usable_until = self.leases.usable_until(now);
        let mut ring = self.ring();
        ring.set_usable_until(usable_until);
        ring.find(slot, now)
    }
}

/// Seals a record with an opened key.
pub fn seal_with(kek: &OpenKek, context: &RecordContext, value: &[u8]) -> Result<Vec<u8>, OpError> {
    record::seal(&kek.kek, context, &kek.capsule, value, &mut os_rng())
        .map_err(|_| OpError::invalid("the value is longer than 1 MiB"))
}
