//! A remote in this process, with real keys of several epochs, that a test takes away and gives back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use symbolon_core::clock::Clock;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{EncapsulationKey, SharedSecret};
use symbolon_proto::evaluate::{self, Answer, Evaluation, RemoteKey};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateResponse, Target};
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, NodeId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::{Manifest, ManifestNode};
use symbolon_proto::signing::SigningSeed;

use crate::access::Session;
use crate::random::os_rng;
use crate::remote::{EvaluateError, Evaluated, Evaluator, Leases, Quota};
use crate::upkeep::rotation::remote::{RemoteRotation, RotateError, Rotated};

const SHARE_EPOCH: u32 = 1;
const KEY: KeyId = KeyId::from_bytes([5; 16]);
const AWAY: EvaluateError = EvaluateError::Silent { node: 1, deadline_ms: 1 };

/// The service. It outlives sessions.
pub struct LocalRemote {
    /// Living epochs and their keys, oldest first.
    keys: Mutex<Vec<(u32, Arc<RemoteKey>)>>,
    signing: SigningSeed,
    seq: AtomicU64,
    /// Evaluations that are still answered.
    answers_left: AtomicU64,
    evaluations: AtomicU64,
    /// What may be evaluated; nobody counts at first.
    quota: Mutex<Option<Quota>>,
}

impl LocalRemote {
    pub fn new() -> Arc<Self> {
        let first = Arc::new(RemoteKey::generate(&mut os_rng()));
        Arc::new(Self {
            keys: Mutex::new(vec![(1, first)]),
            signing: SigningSeed::random(&mut os_rng()),
            seq: AtomicU64::new(0),
            answers_left: AtomicU64::new(u64::MAX),
            evaluations: AtomicU64::new(0),
            quota: Mutex::default(),
        })
    }

    /// Counts elements from now on.
    pub fn count(&self, quota: Quota) {
        *self.quota.lock().unwrap() = Some(quota);
    }

    pub fn quota(&self) -> Option<Quota> {
        *self.quota.lock().unwrap()
    }

    fn spend(&self, elements: usize) -> Result<(), EvaluateError> {
        let mut quota = self.quota.lock().unwrap();
        let Some(quota) = quota.as_mut() else { return Ok(()) };
        let left = quota.left.checked_sub(u32::try_from(elements).unwrap());
        quota.left = left.ok_or(EvaluateError::QuotaExhausted)?;
        Ok(())
    }

    /// Goes away after so many further evaluations.
    pub fn leave_after(&self, evaluations: u64) {
        self.answers_left.store(evaluations, Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.leave_after(u64::MAX);
    }

    /// Evaluations answered so far.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::SeqCst)
    }

    fn living(&self) -> Vec<(u32, Arc<RemoteKey>)> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn of_epoch(&self, key_epoch: u32) -> Result<Arc<RemoteKey>, EvaluateError> {
        let found = self.living().into_iter().find(|(epoch, _)| *epoch == key_epoch);
        found.map(|(_, key)| key).ok_or(EvaluateError::KeyEpoch { key_epoch })
    }

    fn answers(&self) -> bool {
        let spend = |left: u64| match left {
            u64::MAX => Some(left),
            left => left.checked_sub(1),
        };
        let answers = self.answers_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok();
        self.evaluations.fetch_add(u64::from(answers), Ordering::SeqCst);
        answers
    }
}

/// The service as one session asks it.
pub struct Connected {
    pub service: Arc<LocalRemote>,
    pub holder: LeaseHolder,
    pub leases: Leases,
    pub clock: Arc<dyn Clock>,
}

impl Connected {
    pub fn new(
        service: &Arc<LocalRemote>,
        deployment: DeploymentId,
        broker: BrokerId,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let holder = LeaseHolder { deployment, broker, key: KEY, generation: 1 };
        let connected = Self { service: Arc::clone(service), holder, leases: Leases::default(), clock };
        connected.leases.govern(&connected.manifest());
        Arc::new(connected)
    }

    fn node(&self, key: &RemoteKey) -> ManifestNode {
        ManifestNode {
            index: 1,
            node: NodeId::from_bytes([9; 16]),
            public: *key.public_key(),
            signing: self.service.signing.public_key(),
            spki_sha256: [0; 32],
        }
    }

    fn manifest(&self) -> Manifest {
        let (key_epoch, key) = self.service.living().pop().unwrap();
        Manifest {
            deployment: self.holder.deployment,
            key: KEY,
            state: KeyState::Active,
            key_epoch,
            share_epoch: SHARE_EPOCH,
            public: *key.public_key(),
            commitments: Vec::new(),
            nodes: vec![self.node(&key)],
            lease_ttl_secs: 3600,
            quota_burst: 64,
            quota_per_hour: 64,
            grace_secs: 0,
            not_before_secs: 0,
            not_after_secs: u64::MAX,
            seq: 1,
            prev_hash: [0; 32],
        }
    }

    fn lease(&self) -> Lease {
        let LeaseHolder { deployment, broker, key, generation } = self.holder;
        let terms = LeaseTerms {
            deployment,
            broker,
            key,
            generation,
            seq: self.service.seq.fetch_add(1, Ordering::SeqCst) + 1,
            issued_secs: self.clock.now().unix_secs(),
            ttl_secs: 3600,
            status: KeyState::Active,
            node: 1,
        };
        Lease::sign(terms, &self.service.signing)
    }

    fn evaluate_now(&self, blinded: Blinded) -> Result<Vec<SharedSecret>, EvaluateError> {
        let request = blinded.request();
        let key = self.service.of_epoch(request.target().key_epoch)?;
        if !self.service.answers() {
            return Err(AWAY);
        }
        self.service.spend(request.points().len())?;
        let asked = self.clock.now();
        let Evaluation { points, proof } = key.evaluate(request, &mut os_rng());
        let response = EvaluateResponse {
            target: *request.target(),
            node_index: 1,
            request_hash: *request.hash(),
            quota_left: 64,
            time_secs: asked.unix_secs(),
            outcome: EvaluateOutcome::Done { points, proof, lease: self.lease() },
        };
        let answer = evaluate::verify(request, &response.to_bytes(), &self.holder, &self.node(&key));
        let Ok(Answer::Evaluated(evaluation, lease)) = answer else { panic!("an honest answer is believed") };
        self.leases.accept(&lease, asked, self.clock.now());
        Ok(blinded.finalize(evaluation).unwrap())
    }
}

impl Evaluator for Connected {
    fn key_id(&self) -> KeyId {
        KEY
    }

    fn key_epochs(&self) -> Vec<u32> {
        self.service.living().into_iter().map(|(epoch, _)| epoch).collect()
    }

    fn target(&self, key_epoch: u32) -> Result<Target, EvaluateError> {
        let _lives = self.service.of_epoch(key_epoch)?;
        Ok(Target { key: KEY, key_epoch, share_epoch: SHARE_EPOCH })
    }

    fn encapsulation_key(&self) -> Result<EncapsulationKey, EvaluateError> {
        let (key_epoch, key) = self.service.living().pop().unwrap();
        Ok(EncapsulationKey { key_epoch, public: *key.public_key() })
    }

    fn evaluate(&self, blinded: Blinded) -> Evaluated<'_> {
        Box::pin(async move { self.evaluate_now(blinded) })
    }

    fn quota(&self) -> Option<Quota> {
        self.service.quota()
    }
}

impl RemoteRotation for Connected {
    fn new_epoch<'a>(&'a self, _: &'a Session) -> Rotated<'a, u32> {
        Box::pin(async {
            let mut keys = self.service.keys.lock().unwrap();
            if keys.len() > 1 {
                return Err(RotateError::Refused("two epochs live already"));
            }
            let epoch = keys.last().unwrap().0 + 1;
            keys.push((epoch, Arc::new(RemoteKey::generate(&mut os_rng()))));
            Ok(epoch)
        })
    }

    fn retire<'a>(&'a self, _: &'a Session, key_epoch: u32) -> Rotated<'a, ()> {
        Box::pin(async move {
            self.service.keys.lock().unwrap().retain(|(epoch, _)| *epoch != key_epoch);
            Ok(())
        })
    }
}
