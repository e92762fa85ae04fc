//! Keys, envelopes, submissions, escrow and transcripts with everything that can be wrong about them.
#![allow(clippy::unwrap_used)]

use super::escrow::{
    CombineError, EscrowEnvelope, EscrowError, EscrowKey, EscrowKeyError, EscrowedShare, combine,
};
use super::*;
use crate::armour::ArmourError;
use crate::evaluate::RemoteKey;
use crate::hierarchy::Fragment;
use crate::id::{DeploymentId, KeyId};
use crate::secret::Secret;
use crate::share::{
    Ceremony, Custodian, Dealing, Holder, Share, ShareError, ShareKind, ShareSetManifest, SignedShareSet,
    SignedShareSetError, Threshold,
};
use crate::testing::rng;

mod key_files;
mod root_tokens;
mod source_files;
mod transcripts;

const NAMES: [&str; 3] = ["Ann", "Bob", "Zoë"];

/// 2 of 3 custodians with keys, and their shares.
struct World {
    keys: Vec<KeyPair>,
    manifest: ShareSetManifest,
    shares: Vec<Share>,
    secret: Fragment,
}

fn dealing(kind: ShareKind, deployment: u8, holders: &[Holder]) -> Dealing<'_> {
    Dealing {
        kind,
        deployment: DeploymentId::from_bytes([deployment; 16]),
        frag_epoch: 1,
        created_ms: 1_790_000_000_000,
        threshold: Threshold::new(2, 3).unwrap(),
        holders,
        previous: None,
    }
}

fn world_of(kind: ShareKind, deployment: u8, secret: Fragment) -> World {
    let keys: Vec<_> = NAMES.iter().map(|_| KeyPair::generate(KeyKind::Custodian, &mut rng())).collect();
    let holders: Vec<_> =
        keys.iter().zip(NAMES).map(|(keys, name)| Holder::from(&keys.card(name).unwrap())).collect();
    let (manifest, shares) = dealing(kind, deployment, &holders).deal(&secret, &mut rng()).unwrap();
    World { keys, manifest, shares, secret }
}

fn world() -> World {
    world_of(ShareKind::Fragment, 1, Fragment::random(&mut rng()))
}

impl World {
    fn envelope(&self, index: usize) -> ShareEnvelope {
        ShareEnvelope::seal(&self.shares[index], &self.manifest, &mut rng()).unwrap()
    }

    fn seed(&self, index: usize) -> &XWingSeed {
        self.keys[index].sealing().unwrap()
    }
}

#[test]
fn an_envelope_opens_for_its_custodian() {
    let world = world();
    for (index, x) in [0, 1, 2].into_iter().zip(1..) {
        let envelope = world.envelope(index);
        assert_eq!(envelope.as_bytes().len(), 1181, "1,180 of section 7.4 and the version");
        let share = envelope.open(&world.manifest, x, world.seed(index)).unwrap();
        assert!(share.to_bytes().same_as(&world.shares[index].to_bytes()));
    }
}

#[test]
fn an_envelope_in_the_wrong_hands_says_whose_it_is() {
    let world = world();
    let envelope = world.envelope(0);
    let other = EnvelopeError::OtherRecipient { holder: "Ann".into(), x: 1 };
    assert_eq!(envelope.open(&world.manifest, 1, world.seed(1)).err(), Some(other));
    // The right key, but under Bob's number: Bob's entry names Bob's key.
    let other = EnvelopeError::OtherRecipient { holder: "Bob".into(), x: 2 };
    assert_eq!(envelope.open(&world.manifest, 2, world.seed(0)).err(), Some(other));
    let closed = EnvelopeError::DoesNotOpen { holder: "Bob".into(), x: 2 };
    assert_eq!(envelope.open(&world.manifest, 2, world.seed(1)).err(), Some(closed));
    assert_eq!(
        envelope.open(&world.manifest, 4, world.seed(0)).err(),
        Some(EnvelopeError::NoSuchHolder { x: 4 })
    );
}

#[test]
fn an_envelope_is_bound_to_deployment_and_set() {
    let first = world();
    let envelope = first.envelope(0);
    let holder =
        |custodian: &Custodian| Holder { name: custodian.name.clone(), keys: custodian.keys.clone() };
    let holders: Vec<_> = first.manifest.custodians().iter().map(holder).collect();
    for deployment in [1, 2] {
        let (other, _) =
            dealing(ShareKind::Fragment, deployment, &holders).deal(&first.secret, &mut rng()).unwrap();
        let closed = EnvelopeError::DoesNotOpen { holder: "Ann".into(), x: 1 };
        assert_eq!(envelope.open(&other, 1, first.seed(0)).err(), Some(closed), "deployment {deployment}");
        let foreign = ShareEnvelope::seal(&first.shares[0], &other, &mut rng());
        assert!(matches!(foreign, Err(EnvelopeError::Share(ShareError::Foreign { .. }))));
    }
}

#[test]
fn a_damaged_envelope_does_not_open() {
    let world = world();
    let bytes = *world.envelope(0).as_bytes();
    for index in [1, 40, 1100, 1121, 1150, 1180] {
        let mut damaged = bytes;
        damaged[index] ^= 1;
        let envelope = ShareEnvelope::from_bytes(&damaged).unwrap();
        let opened = envelope.open(&world.manifest, 1, world.seed(0));
        assert!(matches!(opened, Err(EnvelopeError::DoesNotOpen { .. })), "byte {index}");
    }
    let mut newer = bytes;
    newer[0] = 2;
    assert_eq!(ShareEnvelope::from_bytes(&newer), Err(EnvelopeError::Version { found: 2 }));
    for length in [0, 1, 1180] {
        assert_eq!(ShareEnvelope::from_bytes(&bytes[..length]), Err(EnvelopeError::Length { found: length }));
    }
}

#[test]
fn nothing_is_sealed_to_somebody_without_keys() {
    let holders = NAMES.map(Holder::named);
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: DeploymentId::from_bytes([1; 16]),
        frag_epoch: 1,
        created_ms: 1,
        threshold: Threshold::new(2, 3).unwrap(),
        holders: &holders,
        previous: None,
    };
    let (manifest, shares) = dealing.deal(&Fragment::random(&mut rng()), &mut rng()).unwrap();
    let sealed = ShareEnvelope::seal(&shares[1], &manifest, &mut rng());
    assert_eq!(sealed, Err(EnvelopeError::NoKey { holder: "Bob".into() }));
}

#[test]
fn a_parcel_is_all_that_a_custodian_needs() {
    let world = world();
    let parcel = Parcel::new(world.manifest.clone(), 3, world.envelope(2)).unwrap();
    let read = Parcel::parse(&parcel.to_text()).unwrap();
    assert_eq!((&read, read.holder()), (&parcel, "Zoë"));
    assert!(read.open(world.seed(2)).unwrap().to_bytes().same_as(&world.shares[2].to_bytes()));
    let bytes = parcel.encode();
    assert!(bytes.len() <= PARCEL_BYTES_MAX);
    for length in 0..bytes.len() {
        assert!(Parcel::decode(&bytes[..length]).is_err());
    }
    assert!(Parcel::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    let nobody = Parcel::new(world.manifest.clone(), 4, world.envelope(0));
    assert_eq!(nobody, Err(ParcelError::Envelope(EnvelopeError::NoSuchHolder { x: 4 })));
    let card = world.keys[0].card("Ann").unwrap().to_text();
    assert!(matches!(Parcel::parse(&card), Err(ParcelError::Text(ArmourError::Other { .. }))));
}

#[test]
fn a_submission_opens_in_its_ceremony_only() {
    let world = world();
    let key = CeremonyKey::generate(world.manifest.deployment(), &mut rng());
    let seal = |binding: &CeremonyBinding| {
        Submission::seal(&world.shares[1], Purpose::Give, binding, key.public(), &mut rng())
    };
    let submission = Submission::decode(&seal(key.binding()).encode()).unwrap();
    assert_eq!((submission.purpose(), submission.x()), (Purpose::Give, 2));
    assert_eq!(submission.set_id(), world.manifest.set_id());
    assert!(key.open(&submission).unwrap().to_bytes().same_as(&world.shares[1].to_bytes()));
    let refused = Some(SubmissionError::DoesNotOpen { x: 2 });
    let other_key = CeremonyKey::generate(world.manifest.deployment(), &mut rng());
    assert_eq!(other_key.open(&submission).err(), refused);
    for binding in [
        CeremonyBinding { deployment: DeploymentId::from_bytes([9; 16]), ..*key.binding() },
        CeremonyBinding { nonce: [9; 32], ..*key.binding() },
    ] {
        assert_eq!(key.open(&seal(&binding)).err(), refused);
    }
}

#[test]
fn a_changed_submission_does_not_open() {
    let world = world();
    let key = CeremonyKey::generate(world.manifest.deployment(), &mut rng());
    let submission =
        Submission::seal(&world.shares[1], Purpose::Give, key.binding(), key.public(), &mut rng());
    let bytes = submission.encode();
    assert_eq!(bytes.len(), SUBMISSION_BYTES);
    let with = |index: usize, value: u8| {
        let mut changed = bytes.clone();
        changed[index] = value;
        Submission::decode(&changed)
    };
    assert_eq!(with(0, 2), Err(SubmissionError::Version { found: 2 }));
    assert_eq!(with(1, 4), Err(SubmissionError::Purpose { found: 4 }));
    for index in [1, 2, 10, 11, 1140, SUBMISSION_BYTES - 1] {
        // A proof must not pass for a gift, and nobody's share for another's.
        let changed = with(index, if index == 1 { 2 } else { bytes[index] ^ 1 }).unwrap();
        assert!(key.open(&changed).is_err(), "byte {index}");
    }
    for length in [0, 1, 11, SUBMISSION_BYTES - 1] {
        let short = Submission::decode(&bytes[..length]);
        assert_eq!(short, Err(SubmissionError::Length { found: length }));
    }
    let long = Submission::decode(&[bytes.as_slice(), &[0]].concat());
    assert_eq!(long, Err(SubmissionError::Length { found: SUBMISSION_BYTES + 1 }));
}

#[test]
fn signatures_stand_beside_the_manifest() {
    let world = world();
    let broker = KeyPair::generate(KeyKind::Officer, &mut rng());
    let mut signed = SignedShareSet::new(world.manifest.clone());
    signed.sign_as_broker(broker.signing());
    let message = world.manifest.signed_bytes();
    signed.add_signature(3, world.keys[2].signing().sign(&message)).unwrap();
    signed.add_signature(1, world.keys[0].signing().sign(&message)).unwrap();
    let forged = signed.add_signature(2, world.keys[0].signing().sign(&message));
    assert_eq!(forged, Err(SignedShareSetError::Signature { holder: "Bob".into() }));
    assert_eq!(signed.add_signature(4, [0; 64]), Err(SignedShareSetError::Signers));

    let bytes = signed.encode();
    let read = SignedShareSet::decode(&bytes).unwrap();
    assert_eq!(read, signed);
    let report = read.verify(&broker.signing().public_key());
    use transcript::Standing::{Missing, Signed, Wrong};
    assert_eq!(report.broker, Signed);
    let standings: Vec<_> = report.custodians.iter().map(|(_, standing)| *standing).collect();
    assert_eq!(standings, [Signed, Missing, Signed]);
    assert_eq!(read.verify(&world.keys[0].signing().public_key()).broker, Wrong);
    for length in 0..bytes.len() {
        assert!(SignedShareSet::decode(&bytes[..length]).is_err());
    }
}

/// An escrow key, its holders' world, and a sealed share of node 2.
fn escrow() -> (EscrowKey, World, EscrowEnvelope, RemoteKey) {
    let seed = XWingSeed::random(&mut rng());
    let secret = Secret::filled_by(|out| *out = *seed.secret().expose());
    let world = world_of(ShareKind::Escrow, 5, Fragment::from_secret(secret));
    let key = EscrowKey::new(seed.public_key(), world.manifest.clone()).unwrap();
    let share = RemoteKey::generate(&mut rng());
    let place = EscrowedShare {
        deployment: DeploymentId::from_bytes([1; 16]),
        key: KeyId::from_bytes([3; 16]),
        key_epoch: 1,
        share_epoch: 4,
        node: 2,
        share: &share,
    };
    let envelope = EscrowEnvelope::seal(&place, key.public(), &mut rng());
    (key, world, envelope, share)
}

#[test]
fn escrow_custodians_get_the_remote_share_back() {
    let (key, world, envelope, share) = escrow();
    let key = EscrowKey::parse(&key.to_text()).unwrap();
    let envelope = EscrowEnvelope::decode(&envelope.encode()).unwrap();
    let mut ceremony = Ceremony::new(key.set().clone());
    for share in world.shares.into_iter().skip(1) {
        let text = share.to_text();
        assert!(text.starts_with("ske1"));
        ceremony.submit(Share::parse(&text).unwrap(), 0).unwrap();
    }
    let seed = key.private(&ceremony.recombine().unwrap()).unwrap();
    let opened = envelope.open(&seed).unwrap();
    assert!(opened.secret().same_as(share.secret()));
    assert_eq!((envelope.place().share_epoch, envelope.place().node), (4, 2));
}

#[test]
fn any_two_of_three_escrowed_shares_make_the_key() {
    use curve25519_dalek::scalar::Scalar;
    let secret = |scalar: &Scalar| Secret::filled_by(|out| *out = scalar.to_bytes());
    let key = RemoteKey::generate(&mut rng());
    let slope = RemoteKey::generate(&mut rng());
    let scalar = |key: &RemoteKey| Scalar::from_canonical_bytes(*key.secret().expose()).unwrap();
    let (constant, slope) = (scalar(&key), scalar(&slope));
    let share = |x: u16| (x, RemoteKey::from_secret(secret(&(constant + slope * Scalar::from(x)))).unwrap());
    let y = key.public_key();
    for [one, other] in [[1, 2], [2, 3], [3, 1]] {
        let combined = combine(&[share(one), share(other)], y).unwrap();
        assert!(combined.secret().same_as(key.secret()));
    }
    assert_eq!(combine(&[share(1)], y).err(), Some(CombineError::OtherKey));
    assert_eq!(combine(&[share(1), (2, share(3).1)], y).err(), Some(CombineError::OtherKey));
    assert_eq!(combine(&[share(1), share(1)], y).err(), Some(CombineError::Nodes));
    assert_eq!(combine(&[], y).err(), Some(CombineError::Nodes));
}

#[test]
fn shares_of_the_wrong_kind_are_named() {
    let (key, escrow_world, _, _) = escrow();
    let fragment_world = world();
    let mut ceremony = Ceremony::new(key.set().clone());
    let given = ceremony.submit(Share::from_bytes(fragment_world.shares[0].to_bytes().expose()).unwrap(), 0);
    let error = given.err().unwrap();
    assert_eq!(error, ShareError::Kind { found: ShareKind::Fragment, expected: ShareKind::Escrow });
    assert_eq!(error.to_string(), "this is a share of the fragment; a share of an escrow key is needed here");
    let mut ceremony = Ceremony::new(fragment_world.manifest.clone());
    let given = ceremony.submit(Share::from_bytes(escrow_world.shares[0].to_bytes().expose()).unwrap(), 0);
    assert!(matches!(given, Err(ShareError::Kind { .. })));
    assert_eq!(EscrowKey::new(key.public().clone(), fragment_world.manifest), Err(EscrowKeyError::Kind));
    assert_eq!(key.private(&fragment_world.secret).err(), Some(EscrowKeyError::OtherKey));
}

#[test]
fn an_escrow_envelope_of_another_place_does_not_open() {
    let (_, world, envelope, _) = escrow();
    let seed = XWingSeed::from_secret(Secret::filled_by(|out| *out = *world.secret.secret().expose()));
    let bytes = envelope.encode();
    assert_eq!(bytes.len(), escrow::ESCROW_ENVELOPE_BYTES);
    let refused = EscrowError::DoesNotOpen { node: 2 };
    let other = XWingSeed::random(&mut rng());
    assert_eq!(envelope.open(&other).err(), Some(refused));
    // Deployment, key, key epoch, share epoch, sealed part.
    for index in [1, 17, 36, 40, 90, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[index] ^= 1;
        let opened = EscrowEnvelope::decode(&changed).unwrap().open(&seed);
        assert_eq!(opened.err(), Some(refused), "byte {index}");
    }
    let mut nobody = bytes.clone();
    nobody[41..43].fill(0);
    assert_eq!(EscrowEnvelope::decode(&nobody), Err(EscrowError::Place));
    for length in 0..bytes.len() {
        assert!(EscrowEnvelope::decode(&bytes[..length]).is_err());
    }
    assert!(EscrowEnvelope::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
}
