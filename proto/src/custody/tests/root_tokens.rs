//! Requests for a root token, and the token that comes back.

use sha2::{Digest, Sha256};

use super::*;

const NOW_MS: u64 = 1_790_000_000_000;
const TTL_SECS: u32 = 14_400;

fn scope(world: &World) -> RootScope {
    RootScope { deployment: world.manifest.deployment(), generation: 0x0102, set: world.manifest.hash() }
}

fn signed(world: &World, ask: RootAsk) -> SignedRootRequest {
    SignedRootRequest::sign(ask, scope(world), NOW_MS, &world.keys[1]).unwrap()
}

fn begin(world: &World) -> SignedRootRequest {
    signed(world, RootAsk::begin(TTL_SECS, &mut rng()))
}

#[test]
fn the_layout_is_that_of_the_specification() {
    let world = world();
    let request = signed(&world, RootAsk::Begin { ttl_secs: TTL_SECS, nonce: [9; 32] });
    let card = world.manifest.custodians()[1].keys.clone().unwrap();
    let keys = [card.sealing.as_bytes().as_slice(), card.signing.as_bytes()].concat();
    let body = [
        &[1, 1][..],
        &[1; 16],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        Sha256::digest(world.manifest.encode()).as_slice(),
        Sha256::digest(keys).as_slice(),
        &NOW_MS.to_be_bytes(),
        &TTL_SECS.to_be_bytes(),
        &[9; 32],
    ]
    .concat();
    let encoded = request.encode();
    assert_eq!((encoded.len(), &encoded[..134]), (198, body.as_slice()));
    let signature = encoded[134..].try_into().unwrap();
    assert!(card.signing.verifies(&[b"SKB1/root-request", body.as_slice()].concat(), &signature));
    for (ask, purpose) in [
        (RootAsk::Cancel { nonce: [9; 32] }, 2),
        (RootAsk::Fetch, 3),
        (RootAsk::Received { nonce: [9; 32] }, 4),
    ] {
        let bytes = signed(&world, ask).encode();
        assert_eq!((bytes[1], &bytes[98..102]), (purpose, [0; 4].as_slice()));
        assert_eq!(SignedRootRequest::decode(&bytes).unwrap().request().ask, ask);
    }
}

#[test]
fn a_request_counts_here_and_now_and_from_a_present_card_only() {
    let world = world();
    let (scope, set) = (scope(&world), &world.manifest);
    let request = begin(&world);
    let asker = request.check(&scope, set, NOW_MS).unwrap();
    assert_eq!((asker.x(), asker.name(), asker.request()), (2, "Bob", &request));
    assert_eq!(asker.fingerprint(), world.keys[1].fingerprint());
    let at = |now_ms: u64| request.check(&scope, set, now_ms).err();
    assert_eq!((at(NOW_MS + ROOT_WINDOW_MS), at(NOW_MS - ROOT_WINDOW_MS)), (None, None));
    let late = Some(RootRequestError::Stale { secs: 301, early: false });
    assert_eq!(at(NOW_MS + ROOT_WINDOW_MS + 1000), late);
    let early = Some(RootRequestError::Stale { secs: 301, early: true });
    assert_eq!(at(NOW_MS - ROOT_WINDOW_MS - 1000), early);

    let other = RootScope { deployment: DeploymentId::from_bytes([2; 16]), ..scope };
    assert_eq!(request.check(&other, set, NOW_MS), Err(RootRequestError::Deployment));
    let later = RootScope { generation: 0x0103, ..scope };
    assert_eq!(request.check(&later, set, NOW_MS), Err(RootRequestError::Scope));
    let next = super::world();
    let reshared = RootScope { set: next.manifest.hash(), ..scope };
    assert_eq!(request.check(&reshared, &next.manifest, NOW_MS), Err(RootRequestError::UnknownCard));

    let stranger = KeyPair::generate(KeyKind::Custodian, &mut rng());
    let ask = RootAsk::begin(TTL_SECS, &mut rng());
    let strange = SignedRootRequest::sign(ask, scope, NOW_MS, &stranger).unwrap();
    assert_eq!(strange.check(&scope, set, NOW_MS), Err(RootRequestError::UnknownCard));
    let mut stolen = strange.encode();
    stolen[58..90].copy_from_slice(&request.encode()[58..90]);
    let stolen = SignedRootRequest::decode(&stolen).unwrap();
    assert_eq!(stolen.check(&scope, set, NOW_MS), Err(RootRequestError::Signature));
    let officer = KeyPair::generate(KeyKind::Officer, &mut rng());
    assert_eq!(SignedRootRequest::sign(ask, scope, NOW_MS, &officer), None);
    for ttl_secs in [0, ROOT_TTL_SECS_MIN - 1, ROOT_TTL_SECS_MAX + 1] {
        let request = signed(&world, RootAsk::Begin { ttl_secs, nonce: [9; 32] });
        let refused = Err(RootRequestError::Ttl { found: ttl_secs });
        assert_eq!(request.check(&scope, set, NOW_MS), refused);
    }
}

#[test]
fn custodians_of_text_shares_are_told_what_to_do() {
    let holders = NAMES.map(Holder::named);
    let (set, _) =
        dealing(ShareKind::Fragment, 1, &holders).deal(&Fragment::random(&mut rng()), &mut rng()).unwrap();
    let keys = KeyPair::generate(KeyKind::Custodian, &mut rng());
    let scope = RootScope { deployment: set.deployment(), generation: 1, set: set.hash() };
    let ask = RootAsk::begin(TTL_SECS, &mut rng());
    let refused = SignedRootRequest::sign(ask, scope, NOW_MS, &keys).unwrap().check(&scope, &set, NOW_MS);
    assert_eq!(refused, Err(RootRequestError::NoCards));
    assert!(refused.unwrap_err().to_string().contains("reshare to cards"));
}

#[test]
fn damaged_requests_are_refused() {
    let world = world();
    let (scope, bytes) = (scope(&world), begin(&world).encode());
    for length in 0..bytes.len() {
        assert!(SignedRootRequest::decode(&bytes[..length]).is_err());
    }
    assert!(SignedRootRequest::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let read = SignedRootRequest::decode(&changed);
        let checked = read.and_then(|read| read.check(&scope, &world.manifest, NOW_MS));
        assert!(checked.is_err(), "byte {index}");
    }
    // Purpose 3 has no nonce, and only purpose 1 a life.
    for purpose in [0, 2, 3, 4, 5] {
        let mut changed = bytes.clone();
        changed[1] = purpose;
        let refused = Err(RootRequestError::Purpose { found: purpose });
        assert_eq!(SignedRootRequest::decode(&changed), refused);
    }
}

#[test]
fn the_token_opens_for_the_card_that_asked_and_for_nobody_else() {
    let world = world();
    let request = begin(&world);
    let asker = request.check(&scope(&world), &world.manifest, NOW_MS).unwrap();
    let sealed = asker.seal("hvs.of24characters", &mut rng()).unwrap();
    assert_eq!(sealed.as_bytes().len(), SEALED_ROOT_TOKEN_BYTES);
    let sealed = SealedRootToken::from_bytes(sealed.as_bytes()).unwrap();
    assert_eq!(*sealed.open(&request, &world.keys[1]).unwrap(), "hvs.of24characters");
    assert_eq!(sealed.open(&request, &world.keys[0]), Err(RootTokenError::OtherRequest));
    assert_eq!(sealed.open(&begin(&world), &world.keys[1]), Err(RootTokenError::DoesNotOpen));
    let fetch = signed(&world, RootAsk::Fetch);
    assert_eq!(sealed.open(&fetch, &world.keys[1]), Err(RootTokenError::NoToken));
    let mut changed = sealed.as_bytes().to_vec();
    changed[1200] ^= 1;
    let changed = SealedRootToken::from_bytes(&changed).unwrap();
    assert_eq!(changed.open(&request, &world.keys[1]), Err(RootTokenError::DoesNotOpen));

    let longest = "x".repeat(ROOT_TOKEN_TEXT_BYTES_MAX);
    let again = asker.seal(&longest, &mut rng()).unwrap();
    assert_eq!(*again.open(&request, &world.keys[1]).unwrap(), longest);
    for none in ["", &format!("{longest}x")] {
        assert_eq!(asker.seal(none, &mut rng()), Err(RootTokenError::NoToken));
    }
    let bytes = sealed.as_bytes();
    let length = Err(RootTokenError::Length { found: bytes.len() - 1 });
    assert_eq!(SealedRootToken::from_bytes(&bytes[1..]), length);
    let version = [&[2], &bytes[1..]].concat();
    assert_eq!(SealedRootToken::from_bytes(&version), Err(RootTokenError::Version { found: 2 }));
}

#[test]
fn a_share_for_a_root_token_is_given_for_nothing_else() {
    let world = world();
    let key = CeremonyKey::generate(world.manifest.deployment(), &mut rng());
    let share = &world.shares[0];
    let given = Submission::seal(share, Purpose::RootToken, key.binding(), key.public(), &mut rng());
    assert!(key.open(&given).is_ok());
    for other in [Purpose::Give, Purpose::Prove] {
        let mut changed = given.encode();
        changed[1] = other.byte();
        assert!(key.open(&Submission::decode(&changed).unwrap()).is_err(), "{other:?}");
    }
}
