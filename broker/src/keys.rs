//! KEKs, opened with the remote half and kept only as long as its lease lasts.
//!
//! ```text
//! kek(slot) ── cached and lease alive? ──▶ Arc<OpenKek>
//!     └─ queue ─▶ loader: one frame for up to 64 slots ─▶ evaluate ─▶ open capsules ─▶ keyring ─▶ all who wait
//! ```
//!
//! Requests for the same slot are answered by one evaluation. The keyring is flushed when the lease ends, when the remote
//! suspends the key under its signature, and when the session closes.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_core::clock::{Clock, Now};
use symbolon_core::keyring::{KekSlot, Keyring, OpenKek, SECRETS_PER_BUCKET};
use symbolon_core::seal::Unsealed;
use symbolon_proto::Zeroizing;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{self, Capsule, Kek};
use symbolon_proto::context::{CapsuleContext, RecordContext, Scope};
use symbolon_proto::id::{CapsuleId, MountId, TenantId};
use symbolon_proto::record;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use crate::fragment::{Evaluator, Leases};
use crate::ops::{FragmentProblem, OpError};
use crate::random::os_rng;
use crate::records::{NO_SCOPE, capsule_key};
use crate::store::{Expect, Op, Store};

/// Requests for closed KEKs that may wait; beyond it the broker is busy.
const LOADS_MAX: usize = 4096;
/// Slots in one evaluation (`docs/skb1.md` 6.6).
const BATCH_MAX: usize = 64;
/// New capsules need a canary at most this old (`docs/skb1.md` 5).
pub const CANARY_MS_MAX: u64 = 60 * 60 * 1000;
/// The first KEK epoch.
pub const FIRST_KEK_EPOCH: u32 = 1;

/// The KEK of the deployment's own records, such as the key that signs workload tokens.
pub const SYSTEM_SLOT: KekSlot =
    KekSlot { tenant: TenantId::SYSTEM, mount: NO_SCOPE, bucket: 0, epoch: FIRST_KEK_EPOCH };
/// The KEK that seals machine tokens. It is used for nothing else.
pub const TOKEN_SLOT: KekSlot = KekSlot { bucket: 1, ..SYSTEM_SLOT };
/// Where the canary lives: in memory only, at a place that no mount can have.
const CANARY_SLOT: KekSlot = KekSlot { bucket: u32::MAX, ..SYSTEM_SLOT };

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
    /// Boot clock of the last successful canary, 0 if none.
    canary_boot_ms: AtomicU64,
    /// True once the session has closed; background tasks end with it.
    closed: watch::Sender<bool>,
}

struct Load {
    slot: KekSlot,
    answer: oneshot::Sender<Result<Arc<OpenKek>, KeyError>>,
}

/// Why a KEK is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The remote half is missing.
    Fragment(FragmentProblem),
    /// The capsule is absent, damaged or from elsewhere.
    Integrity,
    /// The store failed, or too many wait.
    Busy,
}

impl From<KeyError> for OpError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Fragment(problem) => Self::FragmentUnavailable(problem),
            KeyError::Integrity => Self::Integrity,
            KeyError::Busy => Self::Busy,
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
            canary_boot_ms: AtomicU64::new(0),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(load_all(queue, Arc::clone(&shared)));
        Self { shared, loads }
    }

    /// The KEK of a slot, from the keyring or through the remote.
    pub async fn kek(&self, slot: KekSlot) -> Result<Arc<OpenKek>, KeyError> {
        if let Some(kek) = self.shared.cached(&slot) {
            return Ok(kek);
        }
        let (answer, wait) = oneshot::channel();
        self.loads.try_send(Load { slot, answer }).map_err(|_| KeyError::Busy)?;
        wait.await.map_err(|_| KeyError::Busy)?
    }

    /// Opens a stored record with the KEK of its slot.
    pub async fn open_record(
        &self,
        slot: KekSlot,
        context: &RecordContext,
        record: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let kek = self.kek(slot).await?;
        record::open(&kek.kek, context, &kek.capsule, record).map_err(|_| KeyError::Integrity)
    }

    /// Seals a record for its slot. Refused without a living lease, so that nothing is written that could not be read.
    pub async fn seal_record(
        &self,
        slot: KekSlot,
        context: &RecordContext,
        value: &[u8],
    ) -> Result<Vec<u8>, OpError> {
        let kek = self.kek(slot).await?;
        record::seal(&kek.kek, context, &kek.capsule, value, &mut os_rng())
            .map_err(|_| OpError::Invalid("the value is longer than 1 MiB"))
    }

    /// A new KEK and the change that stores its capsule. Needs a fresh canary.
    pub fn create(&self, slot: KekSlot) -> Result<(Op, OpenKek), KeyError> {
        self.shared.require_canary()?;
        let (capsule, kek) = self.shared.close(slot)?;
        let key = capsule_key(slot.tenant, slot.mount, slot.bucket, slot.epoch);
        Ok((Op::Put { key, value: capsule.to_bytes(), expect: Expect::Absent }, kek))
    }

    /// Takes a new KEK into use, after its capsule is durable.
    pub fn keep(&self, slot: KekSlot, kek: OpenKek) {
        let _ = self.shared.keep(slot, kek);
    }

    /// Encapsulates a throwaway key and opens it through the remote: proof that what is written now can be read again.
    pub async fn canary(&self) -> Result<(), KeyError> {
        let shared = &self.shared;
        let (capsule, made) = shared.close(CANARY_SLOT)?;
        let opened = shared.open_capsules(&[(CANARY_SLOT, capsule)]).await?;
        let same = matches!(opened.as_slice(), [Ok(opened)] if opened.kek.same_as(&made.kek));
        if !same {
            return Err(KeyError::Fragment(FragmentProblem::Lied));
        }
        shared.canary_boot_ms.store(shared.clock.now().boot_ms.max(1), Ordering::Release);
        Ok(())
    }

    /// Wipes cached keys and what was attached to them. Requests under way keep theirs until they end.
    pub fn flush(&self) {
        self.shared.ring().flush();
        self.detach();
    }

    /// Keeps something that was opened with these keys for as long as the lease lasts, and hands it back for use.
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

    /// Whether the last successful canary is too old, or half as old as it may become.
    #[must_use]
    pub fn canary_due(&self) -> bool {
        let last = self.shared.canary_boot_ms.load(Ordering::Acquire);
        last == 0 || self.shared.clock.now().boot_ms.saturating_sub(last) > CANARY_MS_MAX / 2
    }

    /// KEKs held now.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.shared.ring().len()
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

    fn cached(&self, slot: &KekSlot) -> Option<Arc<OpenKek>> {
        let now = self.clock.now();
        let usable_until = self.leases.usable_until(now);
        let mut ring = self.ring();
        ring.set_usable_until(usable_until);
        ring.find(slot, now)
    }

    fn require_canary(&self) -> Result<(), KeyError> {
        let now = self.clock.now();
        let last = self.canary_boot_ms.load(Ordering::Acquire);
        let fresh = last != 0 && now.boot_ms.saturating_sub(last) <= CANARY_MS_MAX;
        if !fresh || self.leases.usable_until(now) <= now.boot_ms {
            return Err(KeyError::Fragment(FragmentProblem::NoCanary));
        }
        Ok(())
    }

    /// A fresh KEK for a slot, and the capsule around it.
    fn close(&self, slot: KekSlot) -> Result<(Capsule, OpenKek), KeyError> {
        let mut rng = os_rng();
        let kek = Kek::random(&mut rng);
        let id = CapsuleId::random(&mut rng);
        let context = self.context(slot, id);
        let remote =
            self.evaluator.encapsulation_key().map_err(|error| KeyError::Fragment(error.problem()))?;
        let capsule = capsule::encapsulate(&context, &remote, self.unsealed.keys(), &kek, &mut rng)
            .map_err(|_| KeyError::Integrity)?;
        Ok((capsule, OpenKek { kek, capsule: id }))
    }

    fn context(&self, slot: KekSlot, capsule: CapsuleId) -> CapsuleContext {
        CapsuleContext {
            deployment: self.unsealed.deployment(),
            tenant: slot.tenant,
            mount: slot.mount,
            bucket: slot.bucket,
            kek_epoch: slot.epoch,
            capsule,
            key: self.evaluator.key_id(),
            fragment_epoch: self.unsealed.keys().epoch,
            scope: Scope::Bucket,
        }
    }

    /// One evaluation for capsules of one key epoch; each then opens or fails on its own.
    async fn open_capsules(
        &self,
        capsules: &[(KekSlot, Capsule)],
    ) -> Result<Vec<Result<OpenKek, KeyError>>, KeyError> {
        let closed: Vec<_> = capsules.iter().map(|(_, capsule)| capsule).collect();
        let key_epoch = capsules.first().map_or(0, |(_, capsule)| capsule.key_epoch());
        let target = self.evaluator.target(key_epoch).map_err(|error| KeyError::Fragment(error.problem()))?;
        let blinded = Blinded::blind(&closed, target, &mut os_rng()).map_err(|_| KeyError::Integrity)?;
        let shared = self.evaluator.evaluate(blinded).await.map_err(|error| {
            warn!(%error, "evaluation failed");
            KeyError::Fragment(error.problem())
        })?;
        let opened = shared.into_iter().zip(capsules).map(|(shared, (slot, capsule))| {
            let context = self.context(*slot, capsule.id());
            let kek = capsule.open(&context, &self.unsealed.keys().capsule, shared);
            kek.map(|kek| OpenKek { kek, capsule: capsule.id() }).map_err(|_| KeyError::Integrity)
        });
        Ok(opened.collect())
    }

    /// The capsule of a slot. One that names another remote key, or an epoch that does not live, is damaged, and is told
    /// apart here: in a batch it would keep the others from being opened.
    async fn stored_capsule(&self, slot: KekSlot) -> Result<Capsule, KeyError> {
        let key = capsule_key(slot.tenant, slot.mount, slot.bucket, slot.epoch);
        let row = self.store.get(&key).await.map_err(|_| KeyError::Busy)?.ok_or(KeyError::Integrity)?;
        let capsule = Capsule::parse(&row.value).map_err(|_| KeyError::Integrity)?;
        let lives = self.evaluator.key_epochs().contains(&capsule.key_epoch());
        if lives && capsule.key() == self.evaluator.key_id() { Ok(capsule) } else { Err(KeyError::Integrity) }
    }

    /// Loads the slots that are not cached yet.
    async fn load(&self, slots: &[KekSlot]) -> HashMap<KekSlot, Result<Arc<OpenKek>, KeyError>> {
        let mut answers = HashMap::with_capacity(slots.len());
        let mut capsules = BTreeMap::<u32, Vec<_>>::new();
        for &slot in slots {
            match self.cached(&slot) {
                Some(kek) => drop(answers.insert(slot, Ok(kek))),
                None => match self.stored_capsule(slot).await {
                    Ok(capsule) => capsules.entry(capsule.key_epoch()).or_default().push((slot, capsule)),
                    Err(error) => drop(answers.insert(slot, Err(error))),
                },
            }
        }
        for capsules in capsules.into_values() {
            match self.open_capsules(&capsules).await {
                Ok(opened) => {
                    for ((slot, _), kek) in capsules.iter().zip(opened) {
                        answers.insert(*slot, kek.map(|kek| self.keep(*slot, kek)));
                    }
                }
                Err(error) => answers.extend(capsules.iter().map(|(slot, _)| (*slot, Err(error)))),
            }
        }
        answers
    }

    /// A key whose session has closed meanwhile serves its waiters and is not kept.
    fn keep(&self, slot: KekSlot, kek: OpenKek) -> Arc<OpenKek> {
        if *self.closed.borrow() { Arc::new(kek) } else { self.ring().keep(slot, kek) }
    }
}

/// Gathers what waits, asks the remote once per batch, and answers everybody.
async fn load_all(mut queue: mpsc::Receiver<Load>, shared: Arc<Shared>) {
    let mut waiting: Vec<Load> = Vec::new();
    while queue.recv_many(&mut waiting, LOADS_MAX).await > 0 {
        let mut slots: Vec<_> = waiting.iter().map(|load| load.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        let mut answers = HashMap::with_capacity(slots.len());
        for batch in slots.chunks(BATCH_MAX) {
            answers.extend(shared.load(batch).await);
        }
        for Load { slot, answer } in waiting.drain(..) {
            let _ = answer.send(answers.get(&slot).cloned().unwrap_or(Err(KeyError::Busy)));
        }
    }
}

/// Secrets that fit into a bucket, for whoever assigns them.
pub const BUCKET_SECRETS_MAX: u32 = SECRETS_PER_BUCKET;

/// A mount's place for new secrets.
#[must_use]
pub fn slot(mount: MountId, bucket: u32) -> KekSlot {
    KekSlot { tenant: TenantId::SYSTEM, mount, bucket, epoch: FIRST_KEK_EPOCH }
}
