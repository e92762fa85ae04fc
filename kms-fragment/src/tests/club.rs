//! Some services that hold a key together, and a broker that relays between them, on real sockets.

use symbolon_proto::card::VerifiedCard;
use symbolon_proto::dkg::{Dealers, GroupKey, OFFER_BYTES, Run, RunKind, SCHNORR_BYTES};
use symbolon_proto::evaluate::{self, Answer};
use symbolon_proto::frame::{
    Approval, Base, EpochKey, EvaluateRequest, GroupAnswer, GroupOp, GroupRefusal, GroupReply, GroupRequest,
    Hello, Presence, Status, Target,
};
use symbolon_proto::group::Scalar;
use symbolon_proto::id::{KeyId, RequestId, SessionId};
use symbolon_proto::lease::{KeyState, LeaseHolder};
use symbolon_proto::manifest::{Manifest, ManifestNode, VerifiedManifest};
use symbolon_proto::possession::PossessionClaim;
use symbolon_proto::proposal::{Proposal, ProposalTerms};

use super::client::{Broker, Fixture};
use super::people::People;
use crate::disk::fault::Fault;
use crate::rng::os_rng;

pub(super) type Outcome = Result<GroupReply, GroupRefusal>;

pub(super) const NOW: u64 = 1_760_001_000;

pub(super) type Offers = Vec<[u8; OFFER_BYTES]>;

/// What was said in a run: everything that its broker sees of it.
pub(super) struct Said {
    pub(super) run: Run,
    pub(super) offers: Offers,
    pub(super) dealings: Vec<Vec<u8>>,
    pub(super) signatures: Vec<[u8; SCHNORR_BYTES]>,
}

impl Said {
    pub(super) fn verify(&self, base: Option<&Base>) -> GroupOp {
        let (offers, dealings) = (self.offers.clone(), self.dealings.clone());
        GroupOp::Verify { run: self.run, base: base.cloned(), offers, dealings }
    }
}

/// Some services and one broker.
pub(super) struct Club {
    pub(super) nodes: Vec<Fixture>,
    pub(super) links: Vec<Broker>,
    pub(super) people: People,
    pub(super) key: KeyId,
}

impl Club {
    pub(super) async fn new(count: usize) -> Self {
        let people = People::new();
        let (mut nodes, mut links) = (Vec::new(), Vec::new());
        let broker = Broker::new();
        for _ in 0..count {
            let node = Fixture::with(|options| people.enter(options)).await;
            let mut link = Broker { id: broker.id, deployment: broker.deployment, ..broker.twin() };
            link.signing = symbolon_proto::signing::SigningSeed::from_secret(
                symbolon_proto::secret::Secret::filled_by(|out| *out = *broker.signing.secret().expose()),
            );
            link.connect(node.address).await;
            nodes.push(node);
            links.push(link);
        }
        Self { nodes, links, people, key: KeyId::random(&mut os_rng()) }
    }

    /// Asks one node, twice: the same answer comes again.
    pub(super) async fn ask(&self, node: usize, op: GroupOp) -> Outcome {
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let request = GroupRequest { nonce: RequestId::random(&mut os_rng()), op: op.clone() };
            let answer = self.links[node].frame(request.to_bytes()).await;
            let answer = GroupAnswer::parse(&answer).unwrap();
            assert_eq!(answer.op, op.code());
            outcomes.push(answer.outcome);
        }
        let again = outcomes.pop().unwrap();
        let is_proof = matches!(again, Ok(GroupReply::Committed(_) | GroupReply::Epoch(_)));
        assert!(is_proof || Some(&again) == outcomes.last(), "another answer: {again:?}");
        again
    }

    pub(super) async fn refused(&self, node: usize, op: GroupOp) -> Status {
        self.ask(node, op).await.unwrap_err().status
    }

    pub(super) async fn proposal(
        &self,
        threshold: u16,
        members: &[usize],
        previous: Option<&Proposal>,
    ) -> Proposal {
        let mut cards = Vec::new();
        for node in members {
            let Ok(GroupReply::Card(card)) = self.ask(*node, GroupOp::Card).await else { panic!("no card") };
            cards.push(VerifiedCard::parse(&card).unwrap());
            assert_eq!(cards.last().unwrap().card().fingerprint(), self.nodes[*node].root);
        }
        let broker = &self.links[0];
        let terms = ProposalTerms {
            deployment: broker.deployment,
            key: self.key,
            broker: broker.id,
            broker_spki_sha256: *broker.tls.spki(),
            broker_signing: broker.signing.public_key(),
            number: previous.map_or(1, |previous| previous.terms().number + 1),
            previous: previous.map_or([0; 32], Proposal::id),
            threshold,
        };
        Proposal::new(terms, cards).unwrap()
    }

    pub(super) async fn approve(&self, proposal: &Proposal, nodes: &[usize]) {
        let op = || GroupOp::Propose { proposal: proposal.to_bytes() };
        for node in nodes {
            assert_eq!(self.ask(*node, op()).await, Ok(GroupReply::Approval(Approval::Pending)));
            self.nodes[*node].service.approve(&proposal.fingerprint(), false).unwrap();
            assert_eq!(self.ask(*node, op()).await, Ok(GroupReply::Approval(Approval::Approved)));
        }
    }

    /// What each receiver shows before round 1.
    pub(super) async fn offers(&self, run: &Run, base: Option<&Base>, receivers: &[usize]) -> Offers {
        let mut offers = Vec::new();
        for node in receivers {
            let op = GroupOp::Offer { run: *run, base: base.cloned() };
            let Ok(GroupReply::Offer(offer)) = self.ask(*node, op).await else { panic!("nothing offered") };
            offers.push(offer);
        }
        offers
    }

    /// Round 1.
    pub(super) async fn deal(
        &self,
        run: &Run,
        base: Option<&Base>,
        offers: &Offers,
        dealers: &[usize],
    ) -> Vec<Vec<u8>> {
        let mut dealings = Vec::new();
        for node in dealers {
            let op = GroupOp::Deal { run: *run, base: base.cloned(), offers: offers.clone() };
            let Ok(GroupReply::Dealing(dealing)) = self.ask(*node, op).await else { panic!("not dealt") };
            dealings.push(dealing);
        }
        dealings
    }

    /// Round 2, of whatever was said before.
    pub(super) async fn verify(
        &self,
        said: &Said,
        base: Option<&Base>,
        receivers: &[usize],
    ) -> Vec<[u8; SCHNORR_BYTES]> {
        let mut signatures = Vec::new();
        for node in receivers {
            let Ok(GroupReply::Certified(signature)) = self.ask(*node, said.verify(base)).await else {
                panic!("not certified")
            };
            signatures.push(signature);
        }
        signatures
    }

    /// Everything up to round 2, as the broker carries it.
    pub(super) async fn certify(
        &self,
        run: &Run,
        base: Option<&Base>,
        dealers: &[usize],
        receivers: &[usize],
    ) -> Said {
        let offers = self.offers(run, base, receivers).await;
        let dealings = self.deal(run, base, &offers, dealers).await;
        let said = Said { run: *run, offers, dealings, signatures: Vec::new() };
        let signatures = self.verify(&said, base, receivers).await;
        Said { signatures, ..said }
    }

    /// All rounds; `dealers` and `receivers` are nodes in the order of their indices.
    pub(super) async fn run(
        &self,
        run: &Run,
        base: Option<Base>,
        dealers: &[usize],
        receivers: &[usize],
    ) -> Vec<EpochKey> {
        let said = self.certify(run, base.as_ref(), dealers, receivers).await;
        self.commit(&said, receivers).await
    }

    /// Round 3.
    pub(super) async fn commit(&self, said: &Said, receivers: &[usize]) -> Vec<EpochKey> {
        let mut keys = Vec::new();
        for node in receivers {
            let op = GroupOp::Commit { run: said.run, signatures: said.signatures.clone() };
            let Ok(GroupReply::Committed(key)) = self.ask(*node, op).await else { panic!("not committed") };
            let claim = PossessionClaim {
                deployment: self.links[0].deployment,
                key: self.key,
                key_epoch: said.run.key_epoch,
            };
            assert!(key.possession.verifies(&claim, &key.public));
            keys.push(key);
        }
        keys
    }

    pub(super) fn sharing(&self, node: usize, key_epoch: u32, share_epoch: u32) -> GroupKey {
        let live = self.nodes[node].service.live();
        live.tables.keys[&self.key].sharing(key_epoch, share_epoch).unwrap().key.clone()
    }

    pub(super) fn manifest(
        &self,
        sharing: &GroupKey,
        proposal: &Proposal,
        epochs: (u32, u32),
        last: Option<&VerifiedManifest>,
    ) -> Manifest {
        let nodes = (1..).zip(proposal.cards()).map(|(index, card)| ManifestNode {
            index,
            node: card.card().node,
            public: sharing.share(index).unwrap(),
            signing: card.card().signing,
            spki_sha256: card.card().spki_sha256,
        });
        Manifest {
            deployment: self.links[0].deployment,
            key: self.key,
            state: KeyState::Active,
            key_epoch: epochs.0,
            share_epoch: epochs.1,
            public: sharing.public(),
            commitments: sharing.commitments()[1..].to_vec(),
            nodes: nodes.collect(),
            lease_ttl_secs: 3600,
            quota_burst: 1000,
            quota_per_hour: 1000,
            grace_secs: 0,
            not_before_secs: NOW,
            not_after_secs: NOW + 86_400,
            seq: last.map_or(1, |last| last.manifest().seq + 1),
            prev_hash: last.map_or([0; 32], VerifiedManifest::hash),
        }
    }

    /// Has all members sign a manifest, and all `nodes` store it.
    pub(super) async fn publish(
        &self,
        manifest: &Manifest,
        members: &[usize],
        nodes: &[usize],
    ) -> VerifiedManifest {
        let body = manifest.signed_bytes();
        let (mut of_root, mut of_nodes) = (Vec::new(), Vec::new());
        for node in members {
            let op = GroupOp::SignManifest { body: body.clone() };
            let Ok(GroupReply::ManifestSigned { node, root }) = self.ask(*node, op).await else {
                panic!("unsigned")
            };
            of_nodes.extend(node);
            of_root.extend(root.into_iter().flatten());
        }
        let bytes = [body, of_root, of_nodes].concat();
        let root = self.nodes[members[0]].service.identity.root.public_key();
        let verified = VerifiedManifest::first(&bytes, &root, &manifest.deployment).unwrap();
        for node in nodes {
            let op = GroupOp::StoreManifest { manifest: bytes.clone() };
            assert_eq!(self.ask(*node, op).await, Ok(GroupReply::Done));
        }
        verified
    }

    pub(super) fn first_run(&self, proposal: &Proposal) -> Run {
        Run {
            kind: RunKind::Generate,
            session: SessionId::random(&mut os_rng()),
            key: self.key,
            key_epoch: 1,
            share_epoch: 1,
            group: proposal.id(),
            previous: [0; 32],
            base: [0; 32],
            dealers: Dealers::all(proposal.nodes()).unwrap(),
        }
    }

    /// A 2-of-3 key with its first manifest.
    pub(super) async fn founded() -> (Self, Proposal, VerifiedManifest) {
        Self::founded_by(3).await
    }

    /// The same, by the first three of so many.
    async fn founded_by(count: usize) -> (Self, Proposal, VerifiedManifest) {
        let club = Self::new(count).await;
        let proposal = club.proposal(2, &[0, 1, 2], None).await;
        club.approve(&proposal, &[0, 1, 2]).await;
        club.run(&club.first_run(&proposal), None, &[0, 1, 2], &[0, 1, 2]).await;
        let sharing = club.sharing(0, 1, 1);
        let manifest = club.manifest(&sharing, &proposal, (1, 1), None);
        let manifest = club.publish(&manifest, &[0, 1, 2], &[0, 1, 2]).await;
        (club, proposal, manifest)
    }

    pub(super) async fn hello(&self, node: usize, manifest: &VerifiedManifest, generation: u64) -> Presence {
        let link = &self.links[node];
        let holder = LeaseHolder { deployment: link.deployment, broker: link.id, key: self.key, generation };
        let hello = Hello::new(holder, RequestId::random(&mut os_rng()));
        let answer = link.frame(hello.to_bytes()).await;
        let id = self.nodes[node].service.identity.node_id;
        let node = manifest.manifest().nodes.iter().find(|node| node.node == id).unwrap();
        hello.verify(&answer, node).unwrap()
    }

    /// Whether a node evaluates, provably, as the manifest names it.
    pub(super) async fn evaluates(&self, node: usize, manifest: &VerifiedManifest, generation: u64) -> bool {
        let (fields, link) = (manifest.manifest(), &self.links[node]);
        let target = Target { key: self.key, key_epoch: fields.key_epoch, share_epoch: fields.share_epoch };
        let points = vec![*Scalar::random(&mut os_rng()).public_key().point()];
        let request = EvaluateRequest::new(target, RequestId::random(&mut os_rng()), points).unwrap();
        let answer = link.frame(request.to_bytes()).await;
        let holder = LeaseHolder { deployment: link.deployment, broker: link.id, key: self.key, generation };
        let id = self.nodes[node].service.identity.node_id;
        let node = fields.nodes.iter().find(|node| node.node == id).unwrap();
        matches!(evaluate::verify(&request, &answer, &holder, node).unwrap(), Answer::Evaluated(..))
    }

    pub(super) async fn restart(mut self) -> Self {
        for (place, node) in std::mem::take(&mut self.nodes).into_iter().enumerate() {
            let node = node.restart().await;
            self.links[place].connect(node.address).await;
            self.nodes.push(node);
        }
        self
    }

    /// A key of nodes 0 to 2 that goes to 1 to 3, if these operators have approved the group that follows and
    /// these of its old indices deal.
    pub(super) async fn passing(
        approving: &[usize],
        dealers: [u16; 2],
    ) -> (Self, [Proposal; 2], VerifiedManifest, Run, Base) {
        let (club, proposal, first) = Self::founded_by(4).await;
        let sharing = club.sharing(0, 1, 1);
        let next = club.proposal(2, &[1, 2, 3], Some(&proposal)).await;
        club.approve(&next, approving).await;
        let run = Run {
            kind: RunKind::Reshare,
            share_epoch: 2,
            group: next.id(),
            previous: proposal.id(),
            base: sharing.hash(),
            dealers: Dealers::new(dealers).unwrap(),
            ..club.first_run(&next)
        };
        let base = Base { group: proposal.to_bytes(), key: sharing };
        (club, [proposal, next], first, run, base)
    }

    /// One step at node 0 with its disk failing at one write, and a restart. Refused is only what the disk
    /// failed at.
    pub(super) async fn crash(&mut self, op: &GroupOp, fault: Fault) -> Outcome {
        *self.nodes[0].service.dir.fault.lock().unwrap() = fault;
        let request = GroupRequest { nonce: RequestId::random(&mut os_rng()), op: op.clone() };
        let answer = self.links[0].frame(request.to_bytes()).await;
        let outcome = GroupAnswer::parse(&answer).unwrap().outcome;
        let node = self.nodes.remove(0).restart().await;
        self.links[0].connect(node.address).await;
        self.nodes.insert(0, node);
        if let Err(refusal) = &outcome {
            assert_eq!(refusal.status, Status::Busy, "{op:?}");
        }
        outcome
    }

    /// One step at node 0, whose disk fails at each write of it in turn; after each crash it is started
    /// again.
    pub(super) async fn survive(&mut self, op: GroupOp) -> GroupReply {
        for reached in [false, true] {
            let mut at = 0;
            while self.crash(&op, Fault(Some((at, reached)))).await.is_err() {
                at += 1;
            }
        }
        self.ask(0, op).await.unwrap()
    }

    pub(super) fn refresh(&self, proposal: &Proposal, sharing: &GroupKey, share_epoch: u32) -> Run {
        Run {
            kind: RunKind::Refresh,
            share_epoch,
            previous: proposal.id(),
            base: sharing.hash(),
            ..self.first_run(proposal)
        }
    }
}
