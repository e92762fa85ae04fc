//! Three services and a broker that relays between them, on real sockets.

use symbolon_proto::card::VerifiedCard;
use symbolon_proto::custody::XWingSeed;
use symbolon_proto::custody::escrow::EscrowEnvelope;
use symbolon_proto::dkg::{Dealers, GroupKey, OFFER_BYTES, Run, RunKind, SCHNORR_BYTES};
use symbolon_proto::evaluate::{self, Answer};
use symbolon_proto::frame::{
    Approval, Base, EpochKey, EvaluateRequest, GroupAnswer, GroupOp, GroupRefusal, GroupReply, GroupRequest,
    Hello, Presence, Status, Target,
};
use symbolon_proto::group::{PublicKey, Scalar};
use symbolon_proto::id::{KeyId, RequestId, SessionId};
use symbolon_proto::lease::{KeyState, LeaseHolder};
use symbolon_proto::manifest::{Manifest, ManifestNode, VerifiedManifest};
use symbolon_proto::order::Action;
use symbolon_proto::possession::PossessionClaim;
use symbolon_proto::proposal::{Proposal, ProposalTerms};

use super::client::{Broker, Fixture};
use super::people::{People, any};
use crate::AdminError;
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
        let club = Self::new(3).await;
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

    /// One step at node 0, whose disk fails at each write of it in turn; after each crash it is started
    /// again.
    pub(super) async fn survive(&mut self, op: GroupOp) -> GroupReply {
        for reached in [false, true] {
            for at in 0.. {
                *self.nodes[0].service.dir.fault.lock().unwrap() = Fault(Some((at, reached)));
                let request = GroupRequest { nonce: RequestId::random(&mut os_rng()), op: op.clone() };
                let answer = self.links[0].frame(request.to_bytes()).await;
                let outcome = GroupAnswer::parse(&answer).unwrap().outcome;
                let node = self.nodes.remove(0).restart().await;
                self.links[0].connect(node.address).await;
                self.nodes.insert(0, node);
                match outcome {
                    Ok(_) => break,
                    Err(refusal) => assert_eq!(refusal.status, Status::Busy, "write {at}"),
                }
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

fn public(keys: &[EpochKey]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public).collect()
}

#[tokio::test]
async fn three_services_make_a_key_that_none_of_them_has() {
    let (club, proposal, manifest) = Club::founded().await;
    for node in 0..3 {
        assert!(matches!(club.hello(node, &manifest, 1).await, Presence::Lease(_)));
        assert!(club.evaluates(node, &manifest, 1).await, "node {node}");
        let report = &club.nodes[node].service.status().keys[0];
        assert_eq!((report.threshold, report.nodes), (2, 3));
        assert_eq!(usize::from(report.index), node + 1);
    }
    let club = club.restart().await;
    for node in 0..3 {
        club.hello(node, &manifest, 1).await;
        assert!(club.evaluates(node, &manifest, 1).await, "node {node} after a restart");
    }
    assert_eq!(club.sharing(0, 1, 1), club.sharing(2, 1, 1));
    drop(proposal);
}

#[tokio::test]
async fn shares_are_refreshed_and_the_old_ones_erased_when_acknowledged() {
    let (mut club, proposal, first) = Club::founded().await;
    let sharing = club.sharing(0, 1, 1);
    let run = club.refresh(&proposal, &sharing, 2);
    let keys = club.run(&run, None, &[0, 1, 2], &[0, 1, 2]).await;
    let refreshed = club.sharing(0, 1, 2);
    assert_eq!(refreshed.public(), sharing.public());
    assert_eq!(public(&keys), (1..=3).map(|index| refreshed.share(index).unwrap()).collect::<Vec<_>>());
    let second = club.manifest(&refreshed, &proposal, (1, 2), Some(&first));
    let second = club.publish(&second, &[0, 1, 2], &[0, 1, 2]).await;
    club = club.restart().await;
    for node in 0..3 {
        club.hello(node, &second, 1).await;
        assert!(club.evaluates(node, &first, 1).await && club.evaluates(node, &second, 1).await);
    }
    let another = club.refresh(&proposal, &refreshed, 3);
    assert_eq!(club.refused(0, GroupOp::Offer { run: another, base: None }).await, Status::OtherRun);
    for node in 0..3 {
        let op = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 };
        assert_eq!(club.ask(node, op).await, Ok(GroupReply::Done));
        assert!(!club.evaluates(node, &first, 1).await && club.evaluates(node, &second, 1).await);
        assert_eq!(club.nodes[node].service.dir.list("keys").unwrap(), [format!("{}-1-2", club.key)]);
    }
}

#[tokio::test]
async fn a_key_passes_to_another_group_and_who_left_forgets_it() {
    let mut club = Club::new(4).await;
    let proposal = club.proposal(2, &[0, 1, 2], None).await;
    club.approve(&proposal, &[0, 1, 2]).await;
    club.run(&club.first_run(&proposal), None, &[0, 1, 2], &[0, 1, 2]).await;
    let sharing = club.sharing(0, 1, 1);
    let first = club.manifest(&sharing, &proposal, (1, 1), None);
    let first = club.publish(&first, &[0, 1, 2], &[0, 1, 2]).await;
    // Node 0 leaves, node 3 joins.
    let next = club.proposal(2, &[1, 2, 3], Some(&proposal)).await;
    club.approve(&next, &[0, 1, 2, 3]).await;
    let run = Run {
        kind: RunKind::Reshare,
        share_epoch: 2,
        group: next.id(),
        previous: proposal.id(),
        base: sharing.hash(),
        dealers: Dealers::new([1, 3]).unwrap(),
        ..club.first_run(&next)
    };
    let base = Some(Base { group: proposal.to_bytes(), key: sharing.clone() });
    club.run(&run, base, &[0, 2], &[1, 2, 3]).await;
    let passed = club.sharing(3, 1, 2);
    assert_eq!(passed.public(), sharing.public());
    let second = club.manifest(&passed, &next, (1, 2), Some(&first));
    let early = GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 };
    assert_eq!(
        club.refused(0, early.clone()).await,
        Status::Disagrees,
        "nobody has shown that others hold it"
    );
    let second = club.publish(&second, &[1, 2, 3], &[0, 1, 2, 3]).await;
    for node in [1, 2, 3, 0] {
        assert_eq!(club.ask(node, early.clone()).await, Ok(GroupReply::Done), "node {node}");
    }
    club = club.restart().await;
    for node in 1..4 {
        club.hello(node, &second, 1).await;
        assert!(club.evaluates(node, &second, 1).await);
    }
    assert!(club.nodes[0].service.dir.list("keys").unwrap().is_empty());
}

#[tokio::test]
async fn a_node_that_crashes_at_any_write_goes_on() {
    let (mut club, proposal, first) = Club::founded().await;
    let sharing = club.sharing(0, 1, 1);
    let run = club.refresh(&proposal, &sharing, 2);
    let GroupReply::Offer(offer) = club.survive(GroupOp::Offer { run, base: None }).await else { panic!() };
    let offers = club.offers(&run, None, &[0, 1, 2]).await;
    assert_eq!(offers[0], offer);
    club.survive(GroupOp::Deal { run, base: None, offers: offers.clone() }).await;
    let dealings = club.deal(&run, None, &offers, &[0, 1, 2]).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    club.survive(said.verify(None)).await;
    let signatures = club.verify(&said, None, &[0, 1, 2]).await;
    let commit = GroupOp::Commit { run, signatures };
    assert!(matches!(club.survive(commit.clone()).await, GroupReply::Committed(_)));
    for node in 1..3 {
        club.ask(node, commit.clone()).await.unwrap();
    }
    let manifest = club.manifest(&club.sharing(0, 1, 2), &proposal, (1, 2), Some(&first));
    club.survive(GroupOp::SignManifest { body: manifest.signed_bytes() }).await;
    let manifest = club.publish(&manifest, &[0, 1, 2], &[1, 2]).await;
    club.survive(GroupOp::StoreManifest { manifest: manifest.as_bytes().to_vec() }).await;
    club.survive(GroupOp::Acknowledge { key: club.key, key_epoch: 1, share_epoch: 2 }).await;
    club.hello(0, &manifest, 1).await;
    assert!(club.evaluates(0, &manifest, 1).await);
    assert_eq!(club.nodes[0].service.dir.list("keys").unwrap(), [format!("{}-1-2", club.key)]);
}

#[tokio::test]
async fn nothing_happens_without_the_operators_approval() {
    let club = Club::new(3).await;
    let proposal = club.proposal(2, &[0, 1, 2], None).await;
    let run = club.first_run(&proposal);
    let offer =
        GroupRequest { nonce: RequestId::random(&mut os_rng()), op: GroupOp::Offer { run, base: None } };
    let (status, _) = club.links[0].post(offer.to_bytes()).await;
    assert_eq!(status, hyper::StatusCode::FORBIDDEN, "a stranger");
    let without = club.proposal(2, &[1, 2], None).await;
    assert_eq!(club.refused(0, GroupOp::Propose { proposal: without.to_bytes() }).await, Status::Disagrees);
    club.approve(&proposal, &[0]).await;
    let pending = club.nodes[0].service.pending();
    assert!(pending.is_empty());
    // Another group for the same key, which nobody here approved.
    let other = club.proposal(1, &[0, 1, 2], None).await;
    let run = Run { group: other.id(), ..club.first_run(&other) };
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::NotApproved);
    let deal = GroupOp::Deal { run, base: None, offers: vec![[0; OFFER_BYTES]; 3] };
    assert_eq!(club.refused(0, deal).await, Status::NotApproved);
    let foreign = Run { key: KeyId::from_bytes([9; 16]), ..run };
    assert_eq!(club.refused(0, GroupOp::Offer { run: foreign, base: None }).await, Status::UnknownKey);
}

#[tokio::test]
async fn dealings_that_were_changed_name_their_dealer() {
    let club = Club::new(3).await;
    let proposal = club.proposal(2, &[0, 1, 2], None).await;
    club.approve(&proposal, &[0, 1, 2]).await;
    let run = club.first_run(&proposal);
    assert_eq!(
        club.refused(0, GroupOp::Commit { run, signatures: vec![[1; 64]; 3] }).await,
        Status::UnknownRun
    );
    let offers = club.offers(&run, None, &[0, 1, 2]).await;
    let dealings = club.deal(&run, None, &offers, &[0, 1, 2]).await;
    let said = Said { run, offers, dealings, signatures: Vec::new() };
    let GroupOp::Verify { mut dealings, offers, .. } = said.verify(None) else { unreachable!() };
    dealings[1][5] ^= 1;
    let changed = GroupOp::Verify { run, base: None, offers, dealings };
    let refusal = club.ask(0, changed).await.unwrap_err();
    assert_eq!(refusal.blame.unwrap().participant, 2);
    let Ok(GroupReply::Certified(signature)) = club.ask(0, said.verify(None)).await else { panic!() };
    let refusal = club.ask(0, GroupOp::Commit { run, signatures: vec![signature; 3] }).await.unwrap_err();
    assert_eq!(refusal.blame.unwrap().participant, 2);
    // Another session takes the place of one that was not committed, and works.
    let again = club.first_run(&proposal);
    club.run(&again, None, &[0, 1, 2], &[0, 1, 2]).await;
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::OtherRun);
}

#[tokio::test]
async fn a_node_signs_only_what_it_knows_and_never_two_of_one_number() {
    let (club, proposal, first) = Club::founded().await;
    let good = club.manifest(&club.sharing(0, 1, 1), &proposal, (1, 1), Some(&first));
    let other_key = club.sharing(0, 1, 1).share(2).unwrap();
    let mut nodes = good.nodes.clone();
    nodes.swap(0, 1);
    let wrong = [
        Manifest { public: other_key, ..good.clone() },
        Manifest { key_epoch: 2, ..good.clone() },
        Manifest { share_epoch: 2, ..good.clone() },
        Manifest { state: KeyState::Suspended, ..good.clone() },
        Manifest { nodes, ..good.clone() },
        Manifest { commitments: Vec::new(), ..good.clone() },
        Manifest { lease_ttl_secs: 3601, ..good.clone() },
        Manifest { grace_secs: 1, ..good.clone() },
        Manifest { quota_burst: 16_385, ..good.clone() },
        Manifest { quota_per_hour: 16_385, ..good.clone() },
        Manifest { not_after_secs: NOW + 40 * 86_400, ..good.clone() },
        Manifest { not_before_secs: NOW + 86_400, ..good.clone() },
        Manifest { seq: 3, ..good.clone() },
        Manifest { prev_hash: [1; 32], ..good.clone() },
    ];
    for (case, manifest) in wrong.iter().enumerate() {
        let op = GroupOp::SignManifest { body: manifest.signed_bytes() };
        assert_eq!(club.refused(0, op).await, Status::Disagrees, "case {case}");
    }
    let sign = |manifest: &Manifest| GroupOp::SignManifest { body: manifest.signed_bytes() };
    assert!(club.ask(0, sign(&good)).await.is_ok());
    let other = Manifest { lease_ttl_secs: 60, ..good.clone() };
    assert_eq!(club.refused(0, sign(&other)).await, Status::Disagrees);
    let club = club.restart().await;
    assert_eq!(club.refused(0, sign(&other)).await, Status::Disagrees, "not forgotten");
    assert!(club.ask(0, sign(&good)).await.is_ok());
    let unsigned = [good.signed_bytes(), vec![0; 256]].concat();
    assert_eq!(club.refused(0, GroupOp::StoreManifest { manifest: unsigned }).await, Status::Disagrees);
}

#[tokio::test]
async fn shares_go_to_escrow_only_with_the_operators_approval() {
    let (club, _, _) = Club::founded().await;
    let seed = XWingSeed::random(&mut os_rng());
    let other = XWingSeed::random(&mut os_rng());
    let set = |seed: &XWingSeed| GroupOp::SetEscrow {
        key: club.key,
        escrow: seed.public_key().as_bytes().to_vec(),
    };
    let get = || GroupOp::Escrow { key: club.key, key_epoch: 1, share_epoch: 1 };
    assert_eq!(club.refused(1, get()).await, Status::NotApproved);
    assert_eq!(club.refused(1, set(&seed)).await, Status::NotApproved);
    let fingerprint = seed.public_key().fingerprint();
    assert_eq!(club.nodes[1].service.pending()[0].fingerprint, fingerprint.to_string());
    club.nodes[1].service.approve(&fingerprint, false).unwrap();
    assert_eq!(club.ask(1, set(&seed)).await, Ok(GroupReply::Done));
    assert_eq!(club.refused(1, set(&other)).await, Status::Disagrees);
    let Ok(GroupReply::Escrow(envelope)) = club.ask(1, get()).await else { panic!() };
    let envelope = EscrowEnvelope::decode(&envelope).unwrap();
    assert_eq!(envelope.place().node, 2);
    let share = envelope.open(&seed).unwrap();
    assert_eq!(*share.public_key(), club.sharing(1, 1, 1).share(2).unwrap());
    assert!(club.nodes[1].service.status().keys[0].escrow);
}

#[tokio::test]
async fn the_kill_switch_works_on_a_share() {
    let (club, proposal, manifest) = Club::founded().await;
    club.hello(0, &manifest, 1).await;
    let service = &club.nodes[0].service;
    assert!(matches!(service.new_epoch(club.key, 2), Err(AdminError::HeldByGroup)));
    let text = club.people.order(service, Action::Destroy { key: club.key }, &[0, 1]);
    service.carry_out(&text, any).unwrap();
    assert!(!club.evaluates(0, &manifest, 1).await);
    let run = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    assert!(!service.dir.list("keys").unwrap().is_empty());
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::Suspended);
    club.nodes[0].clock.forward(14 * 86_400);
    service.tend_destructions().unwrap();
    assert_eq!(club.refused(0, GroupOp::Offer { run, base: None }).await, Status::Destroyed);
    assert!(service.dir.list("keys").unwrap().is_empty(), "with its run");
    assert_eq!(service.certificates(club.key).unwrap().len(), 1);
}

#[tokio::test]
async fn a_clone_of_the_broker_takes_no_step() {
    let (club, proposal, manifest) = Club::founded().await;
    club.hello(0, &manifest, 7).await;
    let mut clone = club.links[0].twin();
    clone.connect(club.nodes[0].address).await;
    let run = club.refresh(&proposal, &club.sharing(0, 1, 1), 2);
    let offer =
        GroupRequest { nonce: RequestId::random(&mut os_rng()), op: GroupOp::Offer { run, base: None } };
    let answer = GroupAnswer::parse(&clone.frame(offer.to_bytes()).await).unwrap();
    assert_eq!(answer.outcome.unwrap_err().status, Status::Busy);
    assert!(club.ask(0, GroupOp::Offer { run, base: None }).await.is_ok());
}
