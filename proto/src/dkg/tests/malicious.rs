//! Participants and brokers that cheat. Each is named; nobody gets a share.

use super::super::dealing::Dealing;
use super::super::envelope::{self, Secrets};
use super::super::polynomial::Polynomial;
use super::*;
use crate::group::{Point, Scalar};
use crate::label;

/// A 2 of 3 generation in which participant 2 cheats.
struct Scene {
    group: Group,
    session: Open,
    dealings: Vec<Vec<u8>>,
}

const CHEAT: usize = 1;

impl Scene {
    fn new() -> Self {
        let group = Group::new(2, 3);
        let session = group.session(&group.generation());
        let dealings =
            group.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
        Self { group, session, dealings }
    }

    /// The same once more; keys are copied byte by byte because secrets have no `Clone`.
    fn again(&self) -> Self {
        let copy = |member: &TestMember| {
            let secret =
                crate::secret::Secret::filled_by(|out| out.copy_from_slice(member.dkg.secret().expose()));
            let root = crate::signing::SigningSeed::random(&mut rng());
            TestMember { root, dkg: StaticKey::from_secret(secret).unwrap() }
        };
        let members = self.group.members.iter().map(copy).collect();
        let group = Group { proposal: self.group.proposal.clone(), members };
        Self { group, session: self.session.clone(), dealings: self.dealings.clone() }
    }

    fn key(&self, place: usize) -> &StaticKey {
        &self.group.members[place].dkg
    }

    /// Signs a message as the cheat and puts it in the place of its dealing.
    fn send(&mut self, mut message: Vec<u8>) {
        let signature = self.key(CHEAT).sign(&[label::DEALING, &self.session.context, &message]);
        message.extend(signature);
        self.dealings[CHEAT] = message;
    }

    /// The cheat's message without its signature.
    fn message(&self) -> Vec<u8> {
        let dealing = &self.dealings[CHEAT];
        dealing[..dealing.len() - SCHNORR_BYTES].to_vec()
    }

    /// What participant 1, participant 3 and the broker find.
    fn found_by_all(&self) -> DkgError {
        let found = self.found_by(0);
        assert_eq!(self.found_by(2), found);
        assert_eq!(self.session.outcome(&self.dealings).unwrap_err(), found);
        found
    }

    fn found_by(&self, place: usize) -> DkgError {
        self.session.receive(self.key(place), None, &self.dealings).err().unwrap()
    }
}

fn blamed(fault: DkgFault) -> DkgError {
    fault.by(2)
}

#[test]
fn a_missing_or_an_extra_commitment() {
    for threshold in [1, 3] {
        let mut scene = Scene::new();
        let polynomial = Polynomial::random(threshold, &mut rng());
        let ephemeral = Scalar::random(&mut rng());
        let message = scene.session.message(scene.key(CHEAT), &polynomial, &ephemeral).unwrap();
        scene.send(message);
        assert_eq!(scene.found_by_all(), blamed(DkgFault::Length));
    }
}

#[test]
fn missing_extra_or_misframed_shares() {
    let scene = Scene::new();
    let message = scene.message();
    let frame = 8 + CIPHERTEXT_BYTES;
    let mut misframed = message.clone();
    let at = message.len() - frame + 7;
    misframed[at] = 47;
    for wrong in
        [message[..message.len() - frame].to_vec(), [message.as_slice(), &[0; 56]].concat(), misframed]
    {
        let mut scene = scene.again();
        scene.send(wrong);
        assert_eq!(scene.found_by_all(), blamed(DkgFault::Length));
    }
}

#[test]
fn points_that_are_none() {
    for (at, bytes) in [(0, [0; 32]), (32, [0xff; 32]), (2 * 32 + SCHNORR_BYTES, [0; 32])] {
        let mut scene = Scene::new();
        let mut message = scene.message();
        message[at..at + 32].copy_from_slice(&bytes);
        scene.send(message);
        assert_eq!(scene.found_by_all(), blamed(DkgFault::Point));
    }
}

#[test]
fn a_wrong_proof_of_possession() {
    for at in [64, 64 + 32] {
        let mut scene = Scene::new();
        let mut message = scene.message();
        message[at] ^= 1;
        scene.send(message);
        assert_eq!(scene.found_by_all(), blamed(DkgFault::Possession));
    }
}

#[test]
fn a_commitment_whose_secret_is_unknown() {
    // The rogue key: C_0 chosen so that the sum would be a key of the cheat's own.
    let mut scene = Scene::new();
    let mut message = scene.message();
    let honest: Vec<_> =
        [0, 2].iter().map(|place| scene.dealings[*place][..32].try_into().unwrap()).collect();
    let sum = honest
        .iter()
        .map(|bytes| *Point::decode(bytes).unwrap().element())
        .sum::<curve25519_dalek::RistrettoPoint>();
    let own = Scalar::random(&mut rng()).public_key();
    let rogue = Point::from_element(own.point().element() - sum).unwrap();
    message[..32].copy_from_slice(rogue.as_bytes());
    scene.send(message);
    assert_eq!(scene.found_by_all(), blamed(DkgFault::Possession));
}

#[test]
fn a_share_that_is_not_on_the_polynomial() {
    let mut scene = Scene::new();
    let polynomial = Polynomial::random(2, &mut rng());
    let ephemeral = Scalar::random(&mut rng());
    let mut message = scene.session.message(scene.key(CHEAT), &polynomial, &ephemeral).unwrap();
    let public = *ephemeral.public_key().point();
    let route = scene.session.route(&public, scene.key(CHEAT).public(), scene.session.keys[2].public());
    let wrong = Scalar::random(&mut rng());
    let sealed =
        envelope::seal(&Secrets::of_dealer(&route, &scene.key(CHEAT).scalar(), &ephemeral), &route, &wrong);
    let last = message.len() - CIPHERTEXT_BYTES;
    message[last..].copy_from_slice(&sealed);
    scene.send(message);
    assert_eq!(scene.found_by(2), blamed(DkgFault::Share));
    // Only the cheated one can see it; the run ends there, because its signature never comes.
    assert!(scene.session.receive(scene.key(0), None, &scene.dealings).is_ok());
}

#[test]
fn swapped_and_broken_ciphertexts() {
    let frame = 8 + CIPHERTEXT_BYTES;
    let mut scene = Scene::new();
    let mut message = scene.message();
    let start = message.len() - 3 * frame;
    let (first, last) = (start..start + frame, start + 2 * frame..start + 3 * frame);
    let moved = message[first.clone()].to_vec();
    message.copy_within(last.clone(), first.start);
    message[last].copy_from_slice(&moved);
    scene.send(message);
    assert_eq!(scene.found_by(0), blamed(DkgFault::Ciphertext));
    assert_eq!(scene.found_by(2), blamed(DkgFault::Ciphertext));
    assert!(scene.session.receive(scene.key(CHEAT), None, &scene.dealings).is_ok());
}

#[test]
fn a_dealing_of_another_session_or_of_somebody_else() {
    let mut scene = Scene::new();
    let earlier = scene.group.session(&scene.group.generation());
    scene.dealings[CHEAT] = earlier.deal(scene.key(CHEAT), None, &mut rng()).unwrap();
    assert_eq!(scene.found_by_all(), blamed(DkgFault::Signature));
    let mut scene = Scene::new();
    scene.dealings[CHEAT] = scene.dealings[2].clone();
    assert_eq!(scene.found_by_all(), blamed(DkgFault::Signature));
}

#[test]
fn the_broker_changes_a_dealing_on_its_way() {
    let scene = Scene::new();
    for position in (0..scene.dealings[CHEAT].len()).step_by(7) {
        let mut dealings = scene.dealings.clone();
        dealings[CHEAT][position] ^= 1;
        let found = scene.session.receive(scene.key(0), None, &dealings).err();
        assert_eq!(found, Some(blamed(DkgFault::Signature)), "byte {position}");
    }
}

#[test]
fn a_dealer_shows_two_faces() {
    let scene = Scene::new();
    let mut others = scene.dealings.clone();
    others[CHEAT] = scene.session.deal(scene.key(CHEAT), None, &mut rng()).unwrap();
    let receive = |place: usize, dealings| scene.session.receive(scene.key(place), None, dealings).unwrap();
    let pending = [receive(0, &scene.dealings), receive(1, &scene.dealings), receive(2, &others)];
    let signatures: Vec<_> = pending.iter().map(|pending| *pending.signature()).collect();
    assert_eq!(pending[0].finish(&signatures).err(), Some(DkgFault::Certificate.by(3)));
    assert_eq!(pending[2].finish(&signatures).err(), Some(DkgFault::Certificate.by(1)));
}

#[test]
fn wrong_missing_and_exchanged_signatures() {
    let scene = Scene::new();
    let receive = |place: usize| scene.session.receive(scene.key(place), None, &scene.dealings).unwrap();
    let pending = [receive(0), receive(1), receive(2)];
    let signatures: Vec<_> = pending.iter().map(|pending| *pending.signature()).collect();
    let mut wrong = signatures.clone();
    wrong[CHEAT][40] ^= 1;
    assert_eq!(pending[0].finish(&wrong).err(), Some(blamed(DkgFault::Certificate)));
    let mut exchanged = signatures.clone();
    exchanged.swap(0, 2);
    assert_eq!(pending[0].finish(&exchanged).err(), Some(DkgFault::Certificate.by(1)));
    let few = pending[0].finish(&signatures[..2]).err();
    assert_eq!(few, Some(DkgError::Count { found: 2, expected: 3 }));
    assert!(pending[0].finish(&signatures).is_ok(), "a refused certificate changes nothing");
    let outcome = scene.session.outcome(&scene.dealings).unwrap();
    assert_eq!(scene.session.certify(&outcome, &wrong).err(), Some(blamed(DkgFault::Certificate)));
}

#[test]
fn dealings_are_counted_and_strangers_have_no_part() {
    let scene = Scene::new();
    let few = scene.session.receive(scene.key(0), None, &scene.dealings[..2]).err();
    assert_eq!(few, Some(DkgError::Count { found: 2, expected: 3 }));
    let stranger = StaticKey::generate(&mut rng());
    assert_eq!(scene.session.deal(&stranger, None, &mut rng()).err(), Some(DkgError::NoPart));
    assert_eq!(scene.session.receive(&stranger, None, &scene.dealings).err(), Some(DkgError::NoPart));
}

#[test]
fn a_refresh_that_would_move_the_key() {
    // The cheat deals a polynomial whose constant term is not zero: its shares do not fit x·Σ a_k·x^k.
    let group = Group::new(2, 3);
    let held = group.generate();
    let session = group.session_after(&group.refresh(&held.key), &group, &held.key);
    let mut dealings: Vec<_> =
        group.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
    let key = &group.members[CHEAT].dkg;
    let polynomial = Polynomial::random(1, &mut rng());
    let mut message = session.message(key, &polynomial, &Scalar::random(&mut rng())).unwrap();
    message.extend(key.sign(&[label::DEALING, &session.context, &message]));
    dealings[CHEAT] = message;
    for (place, member) in group.members.iter().enumerate().filter(|(place, _)| *place != 0) {
        let found = session.receive(&member.dkg, Some(&held.shares[place]), &dealings).err();
        assert_eq!(found, Some(blamed(DkgFault::Share)), "participant {}", place + 1);
    }
}

#[test]
fn a_refresh_wants_the_share_until_now() {
    let group = Group::new(2, 3);
    let held = group.generate();
    let session = group.session_after(&group.refresh(&held.key), &group, &held.key);
    let dealings: Vec<_> =
        group.members.iter().map(|member| session.deal(&member.dkg, None, &mut rng()).unwrap()).collect();
    let key = &group.members[0].dkg;
    let other = Some(DkgError::Setup(SetupError::Base));
    assert_eq!(session.receive(key, Some(&held.shares[1]), &dealings).err(), other);
    assert_eq!(session.receive(key, None, &dealings).err(), other);
}

#[test]
fn a_resharing_of_another_share() {
    let group = Group::new(2, 3);
    let held = group.generate();
    let to = group.successor(2, 3);
    let session = to.session_after(&group.reshare(&held.key, &to, &[1, 2]), &group, &held.key);
    let deal = |place: usize, share| session.deal(&group.members[place].dkg, share, &mut rng());
    let wrong = Some(DkgError::Setup(SetupError::Base));
    assert_eq!(deal(1, Some(&held.shares[0])).err(), wrong);
    assert_eq!(deal(1, None).err(), wrong);
    assert_eq!(deal(2, Some(&held.shares[2])).err(), Some(DkgError::NoPart));
    let key = &group.members[CHEAT].dkg;
    let polynomial = Polynomial::random(2, &mut rng());
    let mut message = session.message(key, &polynomial, &Scalar::random(&mut rng())).unwrap();
    message.extend(key.sign(&[label::DEALING, &session.context, &message]));
    let dealings = [deal(0, Some(&held.shares[0])).unwrap(), message];
    let found = session.receive(&to.members[0].dkg, None, &dealings).err();
    assert_eq!(found, Some(blamed(DkgFault::OtherShare)));
}

#[test]
fn checks_do_not_depend_on_who_asks() {
    let scene = Scene::new();
    let dealer = scene.session.dealers[0];
    let dealing = Dealing::check(&scene.session, &dealer, &scene.dealings[0]).unwrap();
    assert_eq!(dealing.commitments.len(), 2);
    assert_eq!(dealing.ciphertexts.len(), 3);
}
