//! ristretto255 and everything a capsule is made of.

use getrandom::SysRng;
use rand_core::{Rng, UnwrapErr};
use symbolon_proto::capsule::{Capsule, EncapsulationKey, Kek, encapsulate};
use symbolon_proto::context::{CapsuleContext, Scope};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{EvaluateRequest, Target};
use symbolon_proto::group::Point;
use symbolon_proto::hierarchy::{Fragment, PurposeKeys};
use symbolon_proto::id::{CapsuleId, DeploymentId, KeyId, MountId, RequestId, TenantId};

use super::oracle::{Oracle, Question};
use crate::selfplay;

fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rng().fill_bytes(&mut bytes);
    bytes
}

#[test]
fn public_keys_are_the_same() {
    let Some(oracle) = Oracle::build() else { return };
    let keys: Vec<_> = (0..64).map(|_| RemoteKey::generate(&mut rng())).collect();
    let questions: Vec<_> = keys.iter().map(|key| Question::new("base", &[key.secret().expose()])).collect();
    for (key, answer) in keys.iter().zip(oracle.ask(&questions)) {
        assert_eq!(answer.unwrap(), key.public_key().as_bytes());
    }
}

#[test]
fn evaluations_are_the_same() {
    let Some(oracle) = Oracle::build() else { return };
    let target = Target { key: KeyId::random(&mut rng()), key_epoch: 1, share_epoch: 1 };
    for count in [1, 8, 64] {
        let key = RemoteKey::generate(&mut rng());
        let points = (0..count).map(|_| *RemoteKey::generate(&mut rng()).public_key().point()).collect();
        let request = EvaluateRequest::new(target, RequestId::random(&mut rng()), points).unwrap();
        let ours = key.evaluate(&request, &mut rng()).points;
        let question = |u: &Point| Question::new("mul", &[key.secret().expose(), u.as_bytes()]);
        let theirs = oracle.ask(&request.points().iter().map(question).collect::<Vec<_>>());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(theirs.unwrap(), ours.as_bytes());
        }
    }
}

/// Of random bytes about one in sixteen is a point. Both must take the same ones, and neither may tidy an
/// encoding.
#[test]
fn both_take_the_same_encodings() {
    let Some(oracle) = Oracle::build() else { return };
    let mut encodings: Vec<[u8; 32]> = (0..2000).map(|_| random()).collect();
    // Just below, at and above the field's prime, and with the sign bit or the top bit set.
    for low in 0xe0..=0xff {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (low, 0x7f);
        encodings.push(bytes);
    }
    for _ in 0..64 {
        let point = *RemoteKey::generate(&mut rng()).public_key().as_bytes();
        for (byte, bit) in [(0, 1), (31, 0x80), (31, 0x40), (7, 2)] {
            let mut changed = point;
            changed[byte] ^= bit;
            encodings.push(changed);
        }
        encodings.push(point);
    }
    let theirs =
        oracle.ask(&encodings.iter().map(|bytes| Question::new("decode", &[bytes])).collect::<Vec<_>>());
    let mut taken = 0;
    for (bytes, theirs) in encodings.iter().zip(theirs) {
        let ours = Point::decode(bytes).ok().map(|point| point.as_bytes().to_vec());
        assert_eq!(ours, theirs, "{bytes:02x?}");
        taken += usize::from(ours.is_some());
    }
    assert!(taken > 100 && taken < encodings.len() - 100, "{taken} of {}", encodings.len());
    // The one difference: the identity is a point, and useless as anything that SKB1 calls one.
    assert_eq!(oracle.ask(&[Question::new("decode", &[&[0; 32]])]), [Some(vec![0; 32])]);
    assert!(Point::decode(&[0; 32]).is_err());
}

/// Both halves of a key, a place, and what is kept there.
struct Case {
    keys: PurposeKeys,
    remote: RemoteKey,
    context: CapsuleContext,
    kek: Kek,
}

impl Case {
    fn new() -> Self {
        let rng = &mut rng();
        let deployment = DeploymentId::random(rng);
        let context = CapsuleContext {
            deployment,
            tenant: TenantId::random(rng),
            mount: MountId::random(rng),
            bucket: 3,
            kek_epoch: 2,
            capsule: CapsuleId::random(rng),
            key: KeyId::random(rng),
            fragment_epoch: 1,
            scope: Scope::Bucket,
        };
        let keys = Fragment::random(rng).root(&deployment).purposes(1);
        Self { keys, remote: RemoteKey::generate(rng), context, kek: Kek::random(rng) }
    }

    fn close(&self) -> Vec<u8> {
        let remote = EncapsulationKey { key_epoch: 1, public: *self.remote.public_key() };
        encapsulate(&self.context, &remote, &self.keys, &self.kek, &mut rng()).unwrap().to_bytes()
    }

    fn open(&self, capsule: &[u8]) -> Kek {
        let capsule = Capsule::parse(capsule).unwrap();
        selfplay::open(&capsule, &self.context, &self.keys.capsule, &self.remote).unwrap()
    }
}

#[test]
fn our_capsules_open_in_independent_code() {
    let Some(oracle) = Oracle::build() else { return };
    let case = || {
        let case = Case::new();
        let capsule = case.close();
        (case, capsule)
    };
    let cases: Vec<_> = (0..16).map(|_| case()).collect();
    let question = |(case, capsule): &(Case, Vec<u8>)| {
        let key = case.keys.capsule.secret().expose();
        Question::new("open", &[case.remote.secret().expose(), key, &case.context.encode(), capsule])
    };
    for ((case, _), answer) in cases.iter().zip(oracle.ask(&cases.iter().map(question).collect::<Vec<_>>())) {
        assert_eq!(&answer.unwrap(), case.kek.secret().expose());
    }
}

#[test]
fn capsules_of_independent_code_open_here() {
    let Some(oracle) = Oracle::build() else { return };
    let cases: Vec<Case> = (0..16).map(|_| Case::new()).collect();
    let question = |case: &Case| {
        let r = RemoteKey::generate(&mut rng());
        let header = case.close()[..42].to_vec();
        let arguments: [&[u8]; 6] = [
            r.secret().expose(),
            case.remote.public_key().as_bytes(),
            case.keys.capsule.secret().expose(),
            &case.context.encode(),
            &header,
            case.kek.secret().expose(),
        ];
        Question::new("close", &arguments)
    };
    for (case, capsule) in cases.iter().zip(oracle.ask(&cases.iter().map(question).collect::<Vec<_>>())) {
        assert!(case.open(&capsule.unwrap()).same_as(&case.kek));
    }
}

/// The comparison is no formality: one half missing, or another place, and the independent code refuses too.
#[test]
fn independent_code_needs_both_halves_and_the_place() {
    let Some(oracle) = Oracle::build() else { return };
    let (case, other) = (Case::new(), Case::new());
    let capsule = case.close();
    let mut elsewhere = case.context;
    elsewhere.bucket += 1;
    let ask_with = |remote: &RemoteKey, keys: &PurposeKeys, context: &CapsuleContext| {
        let key = keys.capsule.secret().expose();
        Question::new("open", &[remote.secret().expose(), key, &context.encode(), &capsule])
    };
    let answers = oracle.ask(&[
        ask_with(&case.remote, &case.keys, &case.context),
        ask_with(&other.remote, &case.keys, &case.context),
        ask_with(&case.remote, &other.keys, &case.context),
        ask_with(&case.remote, &case.keys, &elsewhere),
    ]);
    let opened: Vec<bool> = answers.iter().map(Option::is_some).collect();
    assert_eq!(opened, [true, false, false, false]);
}
