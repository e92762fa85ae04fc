//! Keys of one run: nobody can put another in their place, and without them recorded dealings stay closed.

use super::*;
use crate::group::{Point, Scalar};
use crate::label;
use crate::secret::Secret;

/// A 2 of 3 generation whose receivers have shown their keys.
struct Shown {
    group: Group,
    roster: Roster,
    keys: Vec<ReceiveKey>,
    offers: Vec<[u8; OFFER_BYTES]>,
}

impl Shown {
    fn new() -> Self {
        let group = Group::new(2, 3);
        let roster = Roster::new(&group.generation(), &group.proposal, None).unwrap();
        let keys: Vec<_> = (0..3).map(|_| ReceiveKey::generate(&mut rng())).collect();
        let offers = group.offers(&roster, &keys);
        Self { group, roster, keys, offers }
    }

    /// What everybody finds who is shown these offers.
    fn refused(&self, offers: &[[u8; OFFER_BYTES]]) -> DkgError {
        self.roster.session(offers).unwrap_err()
    }

    /// The offers with this one in the place of participant 2's.
    fn with(&self, offer: [u8; OFFER_BYTES]) -> Vec<[u8; OFFER_BYTES]> {
        let mut offers = self.offers.clone();
        offers[1] = offer;
        offers
    }

    /// An offer of participant 2 for the key of `receive`, honest but for its public key.
    fn signed_for(&self, receive: &ReceiveKey, shown: &Point) -> [u8; OFFER_BYTES] {
        let (key, context) = (&self.group.members[1].dkg, &self.roster.context);
        let possession = receive.sign(&[label::RECEIVE_KEY, context, key.public().as_bytes()]);
        let signature = key.sign(&[label::RECEIVE_KEY, context, shown.as_bytes(), &possession]);
        [shown.as_bytes().as_slice(), &possession, &signature].concat().try_into().unwrap()
    }
}

fn copy(key: &StaticKey) -> Secret<SCALAR_BYTES> {
    Secret::filled_by(|out| out.copy_from_slice(key.secret().expose()))
}

const BLAMED: DkgError = DkgFault::ReceiveKey.by(2);

#[test]
fn every_byte_of_an_offer_is_signed() {
    let shown = Shown::new();
    assert!(shown.roster.session(&shown.offers).is_ok());
    for position in 0..OFFER_BYTES {
        let mut offer = shown.offers[1];
        offer[position] ^= 1;
        assert_eq!(shown.refused(&shown.with(offer)), BLAMED, "byte {position}");
    }
}

#[test]
fn a_key_of_the_brokers_own_is_refused() {
    let shown = Shown::new();
    let stranger = StaticKey::generate(&mut rng());
    let own = ReceiveKey::generate(&mut rng());
    assert_eq!(shown.roster.offer(&stranger, &own), Err(DkgError::NoPart));
    let as_another = shown.roster.offer(&shown.group.members[0].dkg, &own).unwrap();
    assert_eq!(shown.refused(&shown.with(as_another)), BLAMED);
    // Possessed, and meant for participant 2, but signed by the broker.
    let (context, own_public) = (&shown.roster.context, own.public().as_bytes());
    let possession = own.sign(&[label::RECEIVE_KEY, context, shown.group.members[1].dkg.public().as_bytes()]);
    let signature = stranger.sign(&[label::RECEIVE_KEY, context, own_public, &possession]);
    let unsigned = [own_public.as_slice(), &possession, &signature].concat().try_into().unwrap();
    assert_eq!(shown.refused(&shown.with(unsigned)), BLAMED);
    let mut grafted = shown.offers[1];
    grafted[..96].copy_from_slice(&as_another[..96]);
    assert_eq!(shown.refused(&shown.with(grafted)), BLAMED);
}

#[test]
fn an_offer_counts_in_its_run_only() {
    let shown = Shown::new();
    let other = Roster::new(&shown.group.generation(), &shown.group.proposal, None).unwrap();
    let offer = other.offer(&shown.group.members[1].dkg, &shown.keys[1]).unwrap();
    assert_eq!(shown.refused(&shown.with(offer)), BLAMED, "of another session");
}

#[test]
fn missing_and_extra_offers() {
    let shown = Shown::new();
    assert_eq!(shown.refused(&[]), DkgFault::ReceiveKey.by(1));
    assert_eq!(shown.refused(&shown.offers[..2]), DkgFault::ReceiveKey.by(3));
    assert_eq!(shown.refused(&[shown.offers[0], shown.offers[2]]), BLAMED);
    let extra = [shown.offers.as_slice(), &shown.offers[..1]].concat();
    assert_eq!(shown.refused(&extra), DkgError::Count { found: 4, expected: 3 });
}

#[test]
fn nobody_shows_the_key_of_another() {
    let shown = Shown::new();
    // It cannot prove to possess it …
    let others = *shown.keys[2].public();
    assert_eq!(shown.refused(&shown.with(shown.signed_for(&shown.keys[1], &others))), BLAMED);
    // … unless the other gave it away; and its own static key would last.
    let given = shown.signed_for(&shown.keys[0], shown.keys[0].public());
    assert_eq!(shown.refused(&shown.with(given)), BLAMED);
    let lasting = ReceiveKey::from_secret(copy(&shown.group.members[1].dkg)).unwrap();
    let lasting = shown.roster.offer(&shown.group.members[1].dkg, &lasting).unwrap();
    assert_eq!(shown.refused(&shown.with(lasting)), BLAMED);
    let identity = [[0; 32].as_slice(), &shown.offers[1][32..]].concat().try_into().unwrap();
    assert_eq!(shown.refused(&shown.with(identity)), BLAMED);
}

#[test]
fn who_was_shown_other_keys_certifies_nothing_in_common() {
    let shown = Shown::new();
    let again = ReceiveKey::generate(&mut rng());
    let second = shown.roster.offer(&shown.group.members[1].dkg, &again).unwrap();
    let (one, other) =
        (shown.roster.session(&shown.offers).unwrap(), shown.roster.session(&shown.with(second)).unwrap());
    let deal = |session: &Session, place: usize| {
        session.deal(&shown.group.members[place].dkg, None, &mut rng()).unwrap()
    };
    let dealings = [deal(&one, 0), deal(&other, 1), deal(&one, 2)];
    assert_eq!(one.outcome(&dealings).unwrap_err(), DkgFault::Signature.by(2));
    assert_eq!(other.outcome(&dealings).unwrap_err(), DkgFault::Signature.by(1));
    // The transcript that all certify says which keys it was.
    let dealings = [deal(&one, 0), deal(&one, 1), deal(&one, 2)];
    let transcript = one.outcome(&dealings).unwrap().transcript;
    for key in &shown.keys {
        assert!(transcript.windows(32).any(|window| window == key.public().as_bytes()));
    }
    let key = &shown.group.members[1].dkg;
    assert_eq!(one.receive(key, &again, None, &dealings).err(), Some(BLAMED), "not the key that was shown");
    assert!(one.receive(key, &shown.keys[1], None, &dealings).is_ok());
}

/// A refresh of a 2 of 3 key, as it was recorded on its way: the share of the first member afterwards, if the
/// receive key is `secret`.
fn followed(
    group: &Group,
    held: &Held,
    open: &Open,
    dealings: &[Vec<u8>],
    secret: Secret<SCALAR_BYTES>,
) -> bool {
    let stolen = ReceiveKey::from_secret(secret).unwrap();
    // The thief computes what it likes, so no check of the session may be what stops it.
    let mut session = open.session.clone();
    session.receive_keys[0] = *stolen.public();
    let key = &group.members[0].dkg;
    let opened = session.dealers.iter().zip(dealings).map(|(dealer, dealing)| {
        let dealing = dealing::Dealing::check(&open.session, dealer, dealing).unwrap();
        dealing.open(&session, dealer, (1, &stolen, &stolen.scalar()))
    });
    let all = opened.collect::<Result<Vec<_>, _>>().is_ok();
    assert_eq!(all, open.session.receive(key, &stolen, Some(&held.shares[0]), dealings).is_ok());
    all
}

#[test]
fn a_stolen_static_key_does_not_follow_a_share_through_a_refresh() {
    let group = Group::new(2, 3);
    let held = group.generate();
    let open = group.session_after(&group.refresh(&held.key), &group, &held.key);
    let deal = |member: &TestMember| open.deal(&member.dkg, None, &mut rng()).unwrap();
    let dealings: Vec<_> = group.members.iter().map(deal).collect();
    let stolen = || group.members.iter().map(|member| copy(&member.dkg));
    let shares = held.shares.iter().map(|share| Secret::filled_by(|out| *out = *share.secret().expose()));
    for secret in stolen().chain(shares) {
        assert!(!followed(&group, &held, &open, &dealings, secret));
    }
    let kept = Secret::filled_by(|out| *out = *open.keys[0].secret().expose());
    assert!(
        followed(&group, &held, &open, &dealings, kept),
        "the control: with the receive key it is followed"
    );
    let unused = Scalar::random(&mut rng());
    let unused = Secret::filled_by(|out| out.copy_from_slice(unused.element().as_bytes()));
    assert!(!followed(&group, &held, &open, &dealings, unused));
}
