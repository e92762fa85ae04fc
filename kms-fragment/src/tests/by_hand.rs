//! What a dealer sealed, opened by hand: from the text of COCKTAIL-DKG and not with the product's code, whose
//! checks a thief need not keep to.

use sha2::{Digest, Sha512};
use symbolon_proto::dkg::Run;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{EvaluateRequest, Target};
use symbolon_proto::group::Point;
use symbolon_proto::id::{KeyId, RequestId};

use crate::rng::os_rng;

/// SHA-512("COCKTAIL-DKG-CONTEXT" ‖ len ‖ session id ‖ len ‖ suite ‖ n ‖ P_1 … P_n).
pub fn context(run: &Run, receive_keys: &[Point], receivers: &[Point]) -> [u8; 64] {
    let mut id = [b"SKB1/run".as_slice(), &run.to_bytes()].concat();
    receive_keys.iter().for_each(|key| id.extend(key.as_bytes()));
    let mut hash = Sha512::new_with_prefix(b"COCKTAIL-DKG-CONTEXT");
    for field in [id.as_slice(), b"COCKTAIL(Ristretto255, SHA-512)"] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.update(u32::try_from(receivers.len()).unwrap().to_le_bytes());
    receivers.iter().for_each(|receiver| hash.update(receiver.as_bytes()));
    hash.finalize().into()
}

/// The first share of a dealing of a refresh with threshold 2, if this is the key that it was sealed to.
///
/// ```text
/// dealing = C_1(32) ‖ PoP(64) ‖ E(32) ‖ length(8) ‖ ciphertext(48) ‖ …
/// ```
pub fn open_first(key: &RemoteKey, dealer: &Point, dealing: &[u8], context: &[u8; 64]) -> Option<RemoteKey> {
    let commitment = Point::decode(dealing[..32].try_into().unwrap()).unwrap();
    let ephemeral = Point::decode(dealing[96..128].try_into().unwrap()).unwrap();
    let mut hash = Sha512::new_with_prefix(b"COCKTAIL-DKG-Ristretto255-SHA512-H6");
    for shared in multiply(key, &[ephemeral, *dealer]) {
        hash.update(shared.as_bytes());
    }
    for point in [&ephemeral, dealer, key.public_key().point()] {
        hash.update(point.as_bytes());
    }
    let derived: [u8; 64] = hash.chain_update(64_u64.to_le_bytes()).chain_update(context).finalize().into();
    let stream = xchacha20(derived[..32].try_into().unwrap(), derived[32..56].try_into().unwrap());
    let opened: Vec<u8> = dealing[136..168].iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect();
    let share = RemoteKey::from_secret(super::thief::secret(&opened)).ok()?;
    // f(1) = a for f(x) = a·x.
    (*share.public_key().point() == commitment).then_some(share)
}

/// What a service does with points anyway.
fn multiply(key: &RemoteKey, points: &[Point]) -> Vec<Point> {
    let target = Target { key: KeyId::from_bytes([0; 16]), key_epoch: 1, share_epoch: 1 };
    let request = EvaluateRequest::new(target, RequestId::random(&mut os_rng()), points.to_vec()).unwrap();
    key.evaluate(&request, &mut os_rng()).points
}

/// The second block of the stream, which covers the plaintext; the first is for the tag.
fn xchacha20(key: &[u8; 32], nonce: &[u8; 24]) -> [u8; 64] {
    let mixed = rounds(&state(key, nonce[..16].try_into().unwrap()));
    let subkey = words(&[&mixed[..4], &mixed[12..]].concat());
    let mut last = [0; 16];
    last[0] = 1;
    last[8..].copy_from_slice(&nonce[16..]);
    let start = state(subkey.as_slice().try_into().unwrap(), &last);
    let sum: Vec<u32> = rounds(&start).iter().zip(start).map(|(out, at)| out.wrapping_add(at)).collect();
    words(&sum).try_into().unwrap()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Constants, key, and the last row: counter and nonce.
fn state(key: &[u8; 32], last: &[u8; 16]) -> [u32; 16] {
    let bytes = [b"expand 32-byte k".as_slice(), key, last].concat();
    let (words, _) = bytes.as_chunks::<4>();
    let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
    words.try_into().unwrap()
}

fn rounds(start: &[u32; 16]) -> [u32; 16] {
    let mut at = *start;
    for _ in 0..10 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter(&mut at, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter(&mut at, a, b, c, d);
        }
    }
    at
}

fn quarter(at: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    for (x, y, z, by) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        at[x] = at[x].wrapping_add(at[y]);
        at[z] = (at[z] ^ at[x]).rotate_left(by);
    }
}
