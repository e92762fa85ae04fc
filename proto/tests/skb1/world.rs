//! One broker, one remote, and everything they share.

use rand_core::{CryptoRng, Infallible, TryCryptoRng, TryRng};
use sha2::{Digest, Sha512};
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{Capsule, EncapsulationKey, Kek, SharedSecret, encapsulate};
use symbolon_proto::context::{CapsuleContext, RecordContext, RecordKind, Scope};
use symbolon_proto::evaluate::{self, Answer, EvaluateError, Evaluation, RemoteKey};
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse, Target};
use symbolon_proto::hierarchy::{Fragment, PurposeKeys};
use symbolon_proto::id::{BrokerId, CapsuleId, DeploymentId, KeyId, MountId, NodeId, SecretId, TenantId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::signing::SigningSeed;

/// Deterministic randomness, so that a failing case can be repeated.
pub struct TestRng {
    seed: u64,
    block: u64,
    ready: Vec<u8>,
}

impl TestRng {
    pub fn new(seed: u64) -> Self {
        Self { seed, block: 0, ready: Vec::new() }
    }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for byte in out {
            if self.ready.is_empty() {
                let block = Sha512::new().chain_update(self.seed.to_be_bytes());
                self.ready = block.chain_update(self.block.to_be_bytes()).finalize().to_vec();
                self.block += 1;
            }
            *byte = self.ready.pop().unwrap();
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

pub struct World {
    pub keys: PurposeKeys,
    pub remote: RemoteKey,
    pub node_seed: SigningSeed,
    pub holder: LeaseHolder,
    pub rng: TestRng,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = TestRng::new(seed);
        let holder = LeaseHolder {
            deployment: DeploymentId::random(&mut rng),
            broker: BrokerId::random(&mut rng),
            key: KeyId::random(&mut rng),
            generation: 3,
        };
        Self {
            keys: Fragment::random(&mut rng).root(&holder.deployment).purposes(1),
            remote: RemoteKey::generate(&mut rng),
            node_seed: SigningSeed::random(&mut rng),
            holder,
            rng,
        }
    }

    pub fn node(&self) -> ManifestNode {
        ManifestNode {
            index: 1,
            node: NodeId::from_bytes([7; 16]),
            public: *self.remote.public_key(),
            signing: self.node_seed.public_key(),
            spki_sha256: [0; 32],
        }
    }

    pub fn target(&self) -> Target {
        Target { key: self.holder.key, key_epoch: 2, share_epoch: 4 }
    }

    pub fn capsule_context(&mut self, scope: Scope) -> CapsuleContext {
        CapsuleContext {
            deployment: self.holder.deployment,
            tenant: TenantId::random(&mut self.rng),
            mount: MountId::random(&mut self.rng),
            bucket: 5,
            kek_epoch: 6,
            capsule: CapsuleId::random(&mut self.rng),
            key: self.holder.key,
            fragment_epoch: 1,
            scope,
        }
    }

    pub fn record_context(&mut self) -> RecordContext {
        RecordContext {
            kind: RecordKind::Value,
            deployment: self.holder.deployment,
            tenant: TenantId::random(&mut self.rng),
            mount: MountId::random(&mut self.rng),
            secret: SecretId::random(&mut self.rng),
            version: 7,
        }
    }

    /// A capsule in `context` and the KEK in it.
    pub fn close(&mut self, context: &CapsuleContext) -> (Capsule, Kek) {
        let kek = Kek::random(&mut self.rng);
        let remote = EncapsulationKey { key_epoch: 2, public: *self.remote.public_key() };
        let capsule = encapsulate(context, &remote, &self.keys, &kek, &mut self.rng).unwrap();
        (Capsule::parse(&capsule.to_bytes()).unwrap(), kek)
    }

    /// `count` capsules, in one blinded request.
    pub fn blinded(&mut self, count: usize) -> (Vec<Capsule>, Blinded) {
        let context = self.capsule_context(Scope::Bucket);
        let capsules: Vec<_> = (0..count).map(|_| self.close(&context).0).collect();
        let target = self.target();
        let blinded = Blinded::blind(&capsules.iter().collect::<Vec<_>>(), target, &mut self.rng).unwrap();
        (capsules, blinded)
    }

    /// The secret that the honest remote gives for a capsule.
    pub fn shared(&mut self, capsule: &Capsule) -> SharedSecret {
        let target = self.target();
        let blinded = Blinded::blind(&[capsule], target, &mut self.rng).unwrap();
        let frame = self.honest(blinded.request()).to_bytes();
        match self.verify(blinded.request(), &frame) {
            Ok(Answer::Evaluated(evaluation, _)) => blinded.finalize(evaluation).unwrap().pop().unwrap(),
            other => panic!("an honest answer is {other:?}"),
        }
    }

    pub fn verify(&self, request: &EvaluateRequest, frame: &[u8]) -> Result<Answer, EvaluateError> {
        evaluate::verify(request, frame, &self.holder, &self.node())
    }

    pub fn terms(&self) -> LeaseTerms {
        LeaseTerms {
            deployment: self.holder.deployment,
            broker: self.holder.broker,
            key: self.holder.key,
            generation: self.holder.generation,
            seq: 1,
            issued_secs: 1_700_000_000,
            ttl_secs: 3600,
            status: KeyState::Active,
            node: 1,
        }
    }

    pub fn lease(&self) -> Lease {
        Lease::sign(self.terms(), &self.node_seed)
    }

    /// The answer of the honest remote.
    pub fn honest(&mut self, request: &EvaluateRequest) -> EvaluateResponse {
        let evaluation = self.remote.evaluate(request, &mut self.rng);
        self.response(request, evaluation)
    }

    pub fn response(&self, request: &EvaluateRequest, evaluation: Evaluation) -> EvaluateResponse {
        let Evaluation { points, proof } = evaluation;
        let outcome = EvaluateOutcome::Done { points, proof, lease: self.lease() };
        self.outcome(request, outcome)
    }

    pub fn outcome(&self, request: &EvaluateRequest, outcome: EvaluateOutcome) -> EvaluateResponse {
        EvaluateResponse {
            target: *request.target(),
            node_index: 1,
            request_hash: *request.hash(),
            quota_left: 100,
            time_secs: 1_700_000_000,
            outcome,
        }
    }

    pub fn rng(&mut self) -> &mut dyn CryptoRng {
        &mut self.rng
    }
}
