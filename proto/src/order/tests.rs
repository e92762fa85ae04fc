#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::testing::rng;

const NOW: u64 = 1_760_000_000;

fn key() -> KeyId {
    KeyId::from_bytes([3; 16])
}

fn order(action: Action) -> Order {
    Order {
        action,
        node: NodeId::from_bytes([1; 16]),
        deployment: DeploymentId::from_bytes([2; 16]),
        not_before_secs: NOW,
        not_after_secs: NOW + 3600,
        nonce: OrderNonce::random(&mut rng()),
    }
}

fn destroy() -> Order {
    order(Action::Destroy { key: key() })
}

struct People {
    seeds: Vec<SigningSeed>,
    officers: Officers,
}

fn people() -> People {
    let seeds: Vec<_> = (0..3).map(|_| SigningSeed::random(&mut rng())).collect();
    let officer = |(name, seed): (&str, &SigningSeed)| Officer {
        name: name.to_owned(),
        key: OfficerKey::new(seed.public_key()),
    };
    let officers = ["ana", "boris", "carla"].into_iter().zip(&seeds).map(officer).collect();
    People { officers: Officers::new(officers).unwrap(), seeds }
}

impl People {
    fn signed(&self, order: Order, who: &[usize]) -> SignedOrder {
        let mut signed = SignedOrder::new(order).unwrap();
        who.iter().for_each(|index| signed.sign(&self.seeds[*index]).unwrap());
        signed
    }

    fn approve(
        &self,
        used: &UsedOrders,
        signed: &SignedOrder,
        now: u64,
    ) -> Result<ApprovedOrder, OrderError> {
        used.approve(signed, &self.officers, &signed.order().node, now)
    }
}

#[test]
fn two_officers_are_enough_and_once() {
    let people = people();
    let mut used = UsedOrders::default();
    let signed = people.signed(destroy(), &[0, 2]);
    let approved = people.approve(&used, &signed, NOW).unwrap();
    assert_eq!(approved.officers(), ["ana", "carla"]);
    assert_eq!(approved.as_bytes(), signed.to_bytes());
    used.remember(&approved, NOW).unwrap();
    assert_eq!(people.approve(&used, &signed, NOW + 1), Err(OrderError::Used));
    // Signed again by others it is still the same order.
    let again = people.signed(*signed.order(), &[1, 2]);
    assert_eq!(people.approve(&used, &again, NOW + 1), Err(OrderError::Used));
}

#[test]
fn one_person_is_not_two() {
    let people = people();
    let used = UsedOrders::default();
    for (who, found) in [(&[][..], 0), (&[1], 1)] {
        let signed = people.signed(destroy(), who);
        assert_eq!(people.approve(&used, &signed, NOW), Err(OrderError::Officers { found }));
    }
    let mut twice = people.signed(destroy(), &[1]);
    assert_eq!(twice.sign(&people.seeds[1]), Err(OrderError::SignedTwice));
    let mut bytes = twice.to_bytes();
    let signature = bytes[bytes.len() - 96..].to_vec();
    let count = bytes.len() - 97;
    bytes[count] = 2;
    bytes.extend(signature);
    assert_eq!(SignedOrder::from_bytes(&bytes), Err(OrderError::SignedTwice));
    let mut stranger = people.signed(destroy(), &[1]);
    stranger.sign(&SigningSeed::random(&mut rng())).unwrap();
    assert_eq!(people.approve(&used, &stranger, NOW), Err(OrderError::Officers { found: 1 }));
}

#[test]
fn officers_are_different_people() {
    let officer = |name: &str, seed: &SigningSeed| Officer {
        name: name.to_owned(),
        key: OfficerKey::new(seed.public_key()),
    };
    let (one, two) = (SigningSeed::random(&mut rng()), SigningSeed::random(&mut rng()));
    assert!(Officers::new(Vec::new()).unwrap().is_empty());
    assert_eq!(Officers::new(vec![officer("a", &one)]), Err(OfficersError::One));
    assert_eq!(Officers::new(vec![officer("a", &one), officer("A", &two)]), Err(OfficersError::SameName));
    assert_eq!(Officers::new(vec![officer("a", &one), officer("b", &one)]), Err(OfficersError::SameKey));
    for name in ["", " a", "a\n", "a\u{200b}", "\u{202e}a", &"x".repeat(65)] {
        assert_eq!(Officers::new(vec![officer(name, &one), officer("b", &two)]), Err(OfficersError::Name));
    }
    let many = (0..17).map(|n| officer(&n.to_string(), &SigningSeed::random(&mut rng()))).collect();
    assert_eq!(Officers::new(many), Err(OfficersError::TooMany));
}

#[test]
fn place_and_time_are_bound() {
    let people = people();
    let used = UsedOrders::default();
    let signed = people.signed(destroy(), &[0, 1]);
    let elsewhere = used.approve(&signed, &people.officers, &NodeId::from_bytes([9; 16]), NOW);
    assert_eq!(elsewhere, Err(OrderError::OtherNode { found: signed.order().node }));
    assert_eq!(people.approve(&used, &signed, NOW - 1), Err(OrderError::NotYet));
    assert!(people.approve(&used, &signed, NOW + 3599).is_ok());
    assert_eq!(people.approve(&used, &signed, NOW + 3600), Err(OrderError::Expired));
    for seconds in [0, VALIDITY_SECS_MAX + 1] {
        let long = Order { not_after_secs: NOW + seconds, ..destroy() };
        assert_eq!(SignedOrder::new(long), Err(OrderError::Validity));
    }
}

#[test]
fn what_was_forgotten_stays_used_when_the_clock_goes_back() {
    let people = people();
    let mut used = UsedOrders::default();
    let first = people.signed(destroy(), &[0, 1]);
    used.remember(&people.approve(&used, &first, NOW).unwrap(), NOW).unwrap();
    let later = NOW + 7200;
    let second = Order { not_before_secs: later, not_after_secs: later + 1, ..destroy() };
    let second = people.signed(second, &[0, 1]);
    used.remember(&people.approve(&used, &second, later).unwrap(), later).unwrap();
    assert_eq!(used.nonces().len(), 1, "the first has expired and is forgotten");
    assert_eq!(people.approve(&used, &first, NOW), Err(OrderError::Expired));
    let stored = UsedOrders::from_parts(used.nonces().clone(), used.forgotten_until_secs());
    assert_eq!(stored, used);
}

#[test]
fn the_memory_is_bounded_and_never_forgets_what_is_valid() {
    let people = people();
    let nonces = (0..u32::try_from(ORDERS_REMEMBERED_MAX).unwrap()).map(|number| {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&number.to_be_bytes());
        (OrderNonce::from_bytes(nonce), NOW + 10)
    });
    let mut used = UsedOrders::from_parts(nonces.collect(), 0);
    let approved = people.approve(&used, &people.signed(destroy(), &[0, 1]), NOW).unwrap();
    assert_eq!(used.remember(&approved, NOW), Err(OrderError::Full));
    assert_eq!(used.remember(&approved, NOW + 10), Ok(()));
}

#[test]
fn every_byte_is_signed_or_checked() {
    let people = people();
    let used = UsedOrders::default();
    let signed = people.signed(destroy(), &[0, 1]);
    let bytes = signed.to_bytes();
    assert_eq!(SignedOrder::from_bytes(&bytes).unwrap(), signed);
    for position in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[position] ^= 1;
        let approved = SignedOrder::from_bytes(&forged).and_then(|order| people.approve(&used, &order, NOW));
        assert!(approved.is_err(), "byte {position}");
    }
    assert!(SignedOrder::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(SignedOrder::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn all_actions_come_back_and_say_what_they_are() {
    let broker = BrokerId::from_bytes([7; 16]);
    let actions = [
        (Action::Destroy { key: key() }, "destroy key 0303"),
        (Action::Cancel { key: key() }, "cancel the destruction"),
        (Action::Retire { key: key(), key_epoch: 1 }, "retire epoch 1"),
        (Action::Restore { key: key(), key_epoch: 2 }, "restores for epoch 2"),
        (Action::DestroyEpoch { key: key(), key_epoch: 3 }, "destroy epoch 3"),
        (Action::Admit { broker, generation: 1 << 40 }, "older state of broker 0707"),
    ];
    for (action, sentence) in actions {
        let signed = SignedOrder::new(order(action)).unwrap();
        assert_eq!(SignedOrder::from_text(&signed.to_text()).unwrap(), signed);
        assert!(signed.order().to_string().contains(sentence), "{action}");
    }
}

#[test]
fn numbers_go_with_actions() {
    let subject = [5; 16];
    for (action, number) in [(1, 1), (2, 1), (3, 0), (4, 1 << 32), (5, 0), (6, 0)] {
        assert_eq!(Action::from_wire(action, subject, number), Err(OrderError::Number));
    }
    assert_eq!(Action::from_wire(7, subject, 1), Err(OrderError::Action { found: 7 }));
    assert_eq!(Action::from_wire(0, subject, 1), Err(OrderError::Action { found: 0 }));
}

#[test]
fn an_officers_key_is_checked_when_typed() {
    let key = OfficerKey::new(SigningSeed::random(&mut rng()).public_key());
    let text = key.to_string();
    assert_eq!(text.len(), 62);
    assert_eq!(text.parse::<OfficerKey>().unwrap(), key);
    assert_eq!(text.to_uppercase().parse::<OfficerKey>().unwrap(), key);
    let other = if text.ends_with('q') { 'p' } else { 'q' };
    let mistyped = format!("{}{other}", &text[..61]);
    assert_eq!(mistyped.parse::<OfficerKey>(), Err(OfficerKeyError::Checksum));
    for text in ["", "skf1", &text[1..], &"é".repeat(31)] {
        assert_eq!(text.parse::<OfficerKey>(), Err(OfficerKeyError::Form));
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_order_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = SignedOrder::from_bytes(&bytes);
        let _ = SignedOrder::from_bytes(&[label::ORDER, &[1, 1], &bytes].concat());
    }
}
