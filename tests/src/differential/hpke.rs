//! Envelopes, submissions and escrow envelopes (`docs/skb1.md` 16.22, 16.24) against HPKE of Go's standard
//! library, whose ML-KEM and X25519 are its own too. Go is given `info` and `aad` put together here from the
//! document, not by our code.

use getrandom::SysRng;
use rand_core::UnwrapErr;
use sha2::{Digest, Sha256};
use symbolon_proto::custody::escrow::{EscrowEnvelope, EscrowedShare};
use symbolon_proto::custody::{
    CeremonyBinding, CeremonyKey, ENVELOPE_BYTES, KeyKind, KeyPair, Purpose, ShareEnvelope, Submission,
    XWingPublicKey, XWingSeed,
};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::{DeploymentId, KeyId};
use symbolon_proto::share::{Dealing, Holder, Share, ShareKind, ShareSetManifest, Threshold};

use super::oracle::{Oracle, Question};

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// Two of three custodians with keys, and their shares.
struct World {
    people: Vec<KeyPair>,
    manifest: ShareSetManifest,
    shares: Vec<Share>,
}

impl World {
    fn new() -> Self {
        let people: Vec<_> = (0..3).map(|_| KeyPair::generate(KeyKind::Custodian, &mut rng())).collect();
        let named = people.iter().zip(["ana", "boris", "carla"]);
        let holders: Vec<_> = named.map(|(keys, name)| Holder::from(&keys.card(name).unwrap())).collect();
        let dealing = Dealing {
            kind: ShareKind::Fragment,
            deployment: DeploymentId::random(&mut rng()),
            frag_epoch: 1,
            created_ms: 1_790_000_000_000,
            threshold: Threshold::new(2, 3).unwrap(),
            holders: &holders,
            previous: None,
        };
        let (manifest, shares) = dealing.deal(&Fragment::random(&mut rng()), &mut rng()).unwrap();
        Self { people, manifest, shares }
    }
}

/// What a message is bound to: `info` and `aad` of 16.22 and 16.24.
struct Place {
    info: Vec<u8>,
    aad: Vec<u8>,
}

/// Of the envelope of the custodian with share number x.
fn of_envelope(manifest: &ShareSetManifest, x: u8) -> Place {
    let (deployment, set) = (manifest.deployment(), manifest.set_id());
    let info = [b"SKB1/share-envelope".as_slice(), deployment.as_bytes(), set.as_bytes()].concat();
    Place { info, aad: [Sha256::digest(manifest.encode()).as_slice(), &[x]].concat() }
}

fn of_submission(binding: &CeremonyBinding, purpose: Purpose, share: &Share) -> Place {
    let info = [b"SKB1/share-submission".as_slice(), binding.deployment.as_bytes(), &binding.nonce].concat();
    Place { info, aad: [&[purpose.byte()], share.set_id().as_bytes().as_slice(), &[share.x()]].concat() }
}

/// `place`, 74 bytes, stands in clear behind the format byte of an escrow envelope.
fn of_escrow(deployment: DeploymentId, key: KeyId, envelope: &[u8]) -> Place {
    let info = [b"SKB1/escrow-envelope".as_slice(), deployment.as_bytes(), key.as_bytes()].concat();
    Place { info, aad: envelope[1..75].to_vec() }
}

impl Place {
    /// Go opens `enc ‖ ciphertext ‖ tag`.
    fn opening(&self, seed: &XWingSeed, sealed: &[u8]) -> Question {
        Question::new("unwrap", &[seed.secret().expose(), &self.info, &self.aad, sealed])
    }

    /// Go seals.
    fn sealing(&self, to: &XWingPublicKey, plaintext: &[u8]) -> Question {
        Question::new("wrap", &[to.as_bytes(), &self.info, &self.aad, plaintext])
    }

    /// What Go finds in `sealed`, and what it makes of `plaintext`.
    fn both_ways(&self, oracle: &Oracle, seed: &XWingSeed, sealed: &[u8], plaintext: &[u8]) -> [Vec<u8>; 2] {
        let answers = oracle.ask(&[self.opening(seed, sealed), self.sealing(&seed.public_key(), plaintext)]);
        let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("Go refused")).collect();
        answers.try_into().unwrap()
    }
}

#[test]
fn seeds_expand_to_the_same_public_keys() {
    let Some(oracle) = Oracle::build() else { return };
    let seeds: Vec<_> = (0..16).map(|_| XWingSeed::random(&mut rng())).collect();
    let questions: Vec<_> =
        seeds.iter().map(|seed| Question::new("public", &[seed.secret().expose()])).collect();
    for (seed, answer) in seeds.iter().zip(oracle.ask(&questions)) {
        assert_eq!(answer.unwrap(), seed.public_key().as_bytes());
    }
}

#[test]
fn our_envelopes_open_in_go_and_those_of_go_here() {
    let Some(oracle) = Oracle::build() else { return };
    let World { people, manifest, shares } = World::new();
    for (person, share) in people.iter().zip(&shares) {
        let seed = person.sealing().unwrap();
        let place = of_envelope(&manifest, share.x());
        let ours = ShareEnvelope::seal(share, &manifest, &mut rng()).unwrap();
        let [opened, sealed] =
            place.both_ways(&oracle, seed, &ours.as_bytes()[1..], share.to_bytes().expose());
        assert_eq!(&opened, share.to_bytes().expose());
        let theirs: Vec<u8> = [&[1], sealed.as_slice()].concat();
        assert_eq!(theirs.len(), ENVELOPE_BYTES);
        let theirs = ShareEnvelope::from_bytes(&theirs).unwrap();
        let opened = theirs.open(&manifest, share.x(), seed).unwrap();
        assert!(opened.to_bytes().same_as(&share.to_bytes()));
    }
}

/// A broker's ceremony key gives its seed to nobody, so Go opens what we seal to a key that the test holds,
/// and the broker's key opens what Go seals to it.
#[test]
fn our_submissions_open_in_go_and_those_of_go_here() {
    let Some(oracle) = Oracle::build() else { return };
    let World { manifest, shares, .. } = World::new();
    let ceremony = CeremonyKey::generate(manifest.deployment(), &mut rng());
    let seed = XWingSeed::random(&mut rng());
    let cases = shares.iter().flat_map(|share| [(share, Purpose::Give), (share, Purpose::Prove)]);
    for (share, purpose) in cases {
        let place = of_submission(ceremony.binding(), purpose, share);
        let plain = share.to_bytes();
        let ours = Submission::seal(share, purpose, ceremony.binding(), &seed.public_key(), &mut rng());
        let head = ours.encode()[..11].to_vec();
        let answers = oracle.ask(&[
            place.opening(&seed, &ours.encode()[11..]),
            place.sealing(ceremony.public(), plain.expose()),
        ]);
        let [Some(opened), Some(sealed)] = answers.as_slice() else { panic!("Go refused: {answers:?}") };
        assert_eq!(opened, plain.expose());
        let theirs = Submission::decode(&[head, sealed.clone()].concat()).unwrap();
        assert_eq!(theirs.purpose(), purpose);
        assert!(ceremony.open(&theirs).unwrap().to_bytes().same_as(&plain));
    }
}

#[test]
fn our_escrow_envelopes_open_in_go_and_those_of_go_here() {
    let Some(oracle) = Oracle::build() else { return };
    let (share, seed) = (RemoteKey::generate(&mut rng()), XWingSeed::random(&mut rng()));
    let (deployment, key) = (DeploymentId::random(&mut rng()), KeyId::random(&mut rng()));
    let escrowed = EscrowedShare { deployment, key, key_epoch: 3, share_epoch: 2, node: 7, share: &share };
    let ours = EscrowEnvelope::seal(&escrowed, &seed.public_key(), &mut rng()).encode();
    let place = of_escrow(deployment, key, &ours);
    let [opened, sealed] = place.both_ways(&oracle, &seed, &ours[75..], share.secret().expose());
    assert_eq!(&opened, share.secret().expose());
    let theirs = EscrowEnvelope::decode(&[&ours[..75], sealed.as_slice()].concat()).unwrap();
    assert!(theirs.open(&seed).unwrap().secret().same_as(share.secret()));
}

/// The comparison is no formality: Go refuses another key, another place, and a byte changed anywhere, as we
/// do.
#[test]
fn go_refuses_what_we_refuse() {
    let Some(oracle) = Oracle::build() else { return };
    let World { people, manifest, shares } = World::new();
    let (seed, other) = (people[0].sealing().unwrap(), people[1].sealing().unwrap());
    let sealed = ShareEnvelope::seal(&shares[0], &manifest, &mut rng()).unwrap().as_bytes()[1..].to_vec();
    let (right, wrong_x) = (of_envelope(&manifest, 1), of_envelope(&manifest, 2));
    let elsewhere = Place { info: of_envelope(&World::new().manifest, 1).info, aad: right.aad.clone() };
    let mut questions = vec![
        right.opening(seed, &sealed),
        right.opening(other, &sealed),
        wrong_x.opening(seed, &sealed),
        elsewhere.opening(seed, &sealed),
        right.opening(seed, &sealed[..1119]),
    ];
    // In the ML-KEM half, in the X25519 half, in the ciphertext and in the tag.
    for at in [0, 1087, 1088, 1118, 1120, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        let envelope = ShareEnvelope::from_bytes(&[&[1], changed.as_slice()].concat()).unwrap();
        assert!(envelope.open(&manifest, 1, seed).is_err());
        questions.push(right.opening(seed, &changed));
    }
    let opened: Vec<bool> = oracle.ask(&questions).iter().map(Option::is_some).collect();
    let only_the_first: Vec<bool> = (0..questions.len()).map(|at| at == 0).collect();
    assert_eq!(opened, only_the_first);
}
