//! Broken randomness (section 3.2): a source that repeats itself must not repeat r, nor the nonce of a proof.

use rand_core::{Infallible, TryCryptoRng, TryRng};
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{EncapsulationKey, Kek, encapsulate};
use symbolon_proto::context::Scope;
use symbolon_proto::frame::EvaluateRequest;
use symbolon_proto::id::RequestId;
use symbolon_proto::sealedbox::{self, OVERHEAD_BYTES};
use symbolon_proto::secret::Secret;

use crate::world::World;

/// Gives the same byte for ever.
struct StuckRng;

impl TryRng for StuckRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(0x0707_0707)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(0x0707_0707_0707_0707)
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.fill(7);
        Ok(())
    }
}

impl TryCryptoRng for StuckRng {}

#[test]
fn capsules_differ_under_stuck_randomness() {
    let mut world = World::new(30);
    let context = world.capsule_context(Scope::Bucket);
    let kek = Kek::random(world.rng());
    let remote = EncapsulationKey { key_epoch: 2, public: *world.remote.public_key() };
    let close = || encapsulate(&context, &remote, &world.keys, &kek, &mut StuckRng).unwrap();
    let (first, second) = (close(), close());
    assert_ne!(first.w(), second.w());
}

/// What is not hedged (section 16.70). Whoever hedges it turns this test around.
#[test]
fn randomness_that_is_stuck_spares_capsules_and_not_boxes() {
    let key = Secret::filled_by(|out| out.fill(1));
    let seal = |plaintext: &[u8; 9]| sealedbox::seal(&key, b"one place", plaintext, &mut StuckRng).unwrap();
    let text = OVERHEAD_BYTES - 16..OVERHEAD_BYTES - 16 + 9; // before the tag
    let xor = |a: &[u8], b: &[u8]| -> Vec<u8> { a.iter().zip(b).map(|(a, b)| a ^ b).collect() };
    let (first, second) = (seal(b"plaintext"), seal(b"something"));
    assert_eq!(xor(&first[text.clone()], &second[text]), xor(b"plaintext", b"something"));

    // The counter of r lives as long as the keys: after the next unseal it begins at zero.
    let close = || {
        let mut world = World::new(30);
        let (context, kek) = (world.capsule_context(Scope::Bucket), Kek::random(world.rng()));
        let remote = EncapsulationKey { key_epoch: 2, public: *world.remote.public_key() };
        encapsulate(&context, &remote, &world.keys, &kek, &mut StuckRng).unwrap()
    };
    assert_eq!(close().w(), close().w());
}

/// Two proofs with one nonce and different challenges would reveal the key: the first 32 bytes are c, and s =
/// a - c·k.
#[test]
fn proof_nonces_differ_under_stuck_randomness() {
    use curve25519_dalek::scalar::Scalar;

    let mut world = World::new(31);
    let (_, blinded) = world.blinded(1);
    let points = blinded.request().points().to_vec();
    let mut nonces = Vec::new();
    for id in [1, 2] {
        let request = EvaluateRequest::new(world.target(), RequestId::from_bytes([id; 16]), points.clone());
        let proof = world.remote.evaluate(&request.unwrap(), &mut StuckRng).proof.unwrap().to_bytes();
        let scalar = |bytes: &[u8]| Scalar::from_canonical_bytes(bytes.try_into().unwrap()).unwrap();
        let k = scalar(world.remote.secret().expose());
        nonces.push(scalar(&proof[32..]) + scalar(&proof[..32]) * k);
    }
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn requests_are_hidden_by_fresh_factors() {
    let mut world = World::new(32);
    let (capsules, first) = world.blinded(1);
    let target = world.target();
    let second = Blinded::blind(&[&capsules[0]], target, world.rng()).unwrap();
    assert_ne!(first.request().points(), second.request().points());
    assert_ne!(first.request().points()[0], *capsules[0].w());
}
