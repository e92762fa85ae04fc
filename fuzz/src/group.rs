//! Targets of the group ceremony: cards, proposals, dealings and what is stored between the rounds.
//!
//! Signatures cannot be guessed, so what is behind them is reached by the seeds only, which are made with the
//! keys here.

use symbolon_proto::card::{NodeCard, VerifiedCard};
use symbolon_proto::dkg::{
    Before, Dealers, GroupKey, OFFER_BYTES, PendingShare, ReceiveKey, Roster, Run, RunKind, StaticKey,
};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, NodeId, SessionId};
use symbolon_proto::manifest::Manifest;
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

/// Node cards.
pub fn card(data: &[u8]) {
    if let Ok(card) = VerifiedCard::parse(data) {
        assert_eq!(card.as_bytes().as_slice(), data);
    }
}

/// Group proposals.
pub fn proposal(data: &[u8]) {
    if let Ok(proposal) = Proposal::parse(data) {
        assert_eq!(proposal.to_bytes(), data);
    }
}

/// Runs, receive keys, dealings, pending shares and the bodies of manifests.
pub fn dkg(data: &[u8]) {
    if let Ok(run) = Run::parse(data) {
        assert_eq!(run.to_bytes().as_slice(), data);
    }
    if let Ok(pending) = PendingShare::from_secret_bytes(data) {
        assert_eq!(pending.to_secret_bytes().as_slice(), data);
    }
    if let Ok(manifest) = Manifest::parse_body(data) {
        assert_eq!(manifest.signed_bytes(), data);
    }
    let (_, roster) = seed_run();
    let mut offers = seed_offers(&roster);
    let session = roster.session(&offers).expect("offers of these nodes");
    let dealings = [data.to_vec()];
    let seen = session.outcome(&dealings);
    let received = session.receive(&seed_static_key(2), &seed_receive_key(2), None, &dealings);
    assert!(seen.is_ok() || received.is_err(), "a receiver accepted what the broker refused");
    if let Some(offer) = data.first_chunk() {
        let is_own = offers[0] == *offer;
        offers[0] = *offer;
        assert_eq!(roster.session(&offers).is_ok(), is_own, "a receive key that its node did not show");
    }
}

/// A resharing by one node to two of three, of which the dealer is none: a run that needs a single dealing.
pub fn seed_run() -> (Run, Roster) {
    let (old, new) = (seed_group(1, &[1], None), seed_group(2, &[2, 3, 4], Some(&seed_group(1, &[1], None))));
    let key = GroupKey::new(vec![*seed_share().public_key().point()]).expect("one commitment");
    let run = Run {
        kind: RunKind::Reshare,
        session: SessionId::from_bytes([4; 16]),
        key: new.terms().key,
        key_epoch: 1,
        share_epoch: 2,
        group: new.id(),
        previous: old.id(),
        base: key.hash(),
        dealers: Dealers::all(1).expect("one dealer"),
    };
    let roster =
        Roster::new(&run, &new, Some(Before { group: &old, key: &key })).expect("a run of these groups");
    (run, roster)
}

/// What the receivers of that run show.
pub fn seed_offers(roster: &Roster) -> Vec<[u8; OFFER_BYTES]> {
    let offer = |node| roster.offer(&seed_static_key(node), &seed_receive_key(node)).expect("a receiver");
    (2..=4).map(offer).collect()
}

/// The receive key of the node with this number.
pub fn seed_receive_key(node: u8) -> ReceiveKey {
    ReceiveKey::from_secret(Secret::filled_by(|out| out[0] = 0x80 + node)).expect("a small number")
}

/// A group of nodes whose keys are made of their numbers.
pub fn seed_group(threshold: u16, nodes: &[u8], before: Option<&Proposal>) -> Proposal {
    let terms = ProposalTerms {
        deployment: DeploymentId::from_bytes([1; 16]),
        key: KeyId::from_bytes([3; 16]),
        broker: BrokerId::from_bytes([2; 16]),
        broker_spki_sha256: [5; 32],
        broker_signing: seed_signing(0x70).public_key(),
        number: before.map_or(1, |before| before.terms().number + 1),
        previous: before.map_or([0; 32], Proposal::id),
        threshold,
    };
    Proposal::new(terms, nodes.iter().map(|node| seed_card(*node)).collect()).expect("a well-formed group")
}

/// The card of the node with this number.
pub fn seed_card(node: u8) -> VerifiedCard {
    let root = seed_signing(0x40 + node);
    let card = NodeCard {
        node: NodeId::from_bytes([node; 16]),
        signing: seed_signing(0x50 + node).public_key(),
        spki_sha256: [node; 32],
        dkg: *seed_static_key(node).public(),
        root: root.public_key(),
    };
    card.sign(&root)
}

/// The static DKG key of the node with this number.
pub fn seed_static_key(node: u8) -> StaticKey {
    StaticKey::from_secret(Secret::filled_by(|out| out[0] = node)).expect("a small number")
}

/// The share that the seeds pass on.
pub fn seed_share() -> RemoteKey {
    RemoteKey::from_secret(Secret::filled_by(|out| out[0] = 0x60)).expect("a small number")
}

fn seed_signing(byte: u8) -> SigningSeed {
    SigningSeed::from_secret(Secret::filled_by(|out| out.fill(byte)))
}
