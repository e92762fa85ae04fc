//! Known answers of X-Wing, through the code that opens and seals envelopes.
//!
//! The `hpke` crate gives no shared secret out, and nothing here asks it for one. From the vector's `ss` the
//! test works out the key schedule of RFC 9180 itself; a message under those keys opens only if our
//! decapsulation came to the same `ss`.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use super::{DoesNotOpen, XWING_PUBLIC_BYTES, XWingPublicKey, XWingSeed};
use crate::primitives;
use crate::secret::Secret;

const FILE: &str = include_str!("../../tests/vectors/xwing.json");
const INFO: &[u8] = b"where it belongs";
const AAD: &[u8] = b"what it is";
const MESSAGE: &[u8; 44] = b"as long as the binary encoding of one share ";

/// One object of the file, whose lines are `"name": "value"`.
struct Vector(&'static str);

impl Vector {
    fn bytes(&self, name: &str) -> Vec<u8> {
        let value = |line: &'static str| match *line.split('"').collect::<Vec<_>>() {
            [_, found, _, value, _] if found == name => Some(value),
            _ => None,
        };
        let value = self.0.lines().find_map(value).unwrap_or_else(|| panic!("no vector {name}"));
        data_encoding::HEXLOWER.decode(value.as_bytes()).unwrap()
    }

    fn seed(&self) -> XWingSeed {
        let bytes = self.bytes("sk");
        XWingSeed::from_secret(Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(&bytes)))
    }

    fn public(&self) -> XWingPublicKey {
        XWingPublicKey::from_bytes(&self.bytes("pk")).unwrap()
    }

    /// What sealing [`MESSAGE`] must give if the shared secret is `ss`.
    fn sealed_under(&self, ss: &[u8]) -> Vec<u8> {
        let (key, nonce) = key_schedule(ss);
        let mut ciphertext = [0; MESSAGE.len()];
        let tag = primitives::encrypt(&key, &nonce, AAD, MESSAGE, &mut ciphertext);
        [self.bytes("ct").as_slice(), &ciphertext, &tag].concat()
    }
}

/// All of them, and none lost on the way.
fn vectors() -> Vec<Vector> {
    let vectors: Vec<_> = FILE.split('{').skip(1).map(Vector).collect();
    assert_eq!(vectors.len(), 3);
    vectors
}

/// "HPKE", X-Wing, HKDF-SHA-512, AES-256-GCM.
const SUITE: &[u8; 10] = b"HPKE\x64\x7a\x00\x03\x00\x02";

/// RFC 9180, 4: LabeledExtract.
fn extract(salt: &[u8], label: &[u8], ikm: &[u8]) -> [u8; 64] {
    primitives::hmac(salt, &[b"HPKE-v1", SUITE, label, ikm])
}

/// RFC 9180, 4: LabeledExpand, of no more than one block.
fn expand<const N: usize>(prk: &[u8], label: &[u8], context: &[u8]) -> [u8; N] {
    let length = u16::try_from(N).unwrap().to_be_bytes();
    let block = primitives::hmac(prk, &[&length, b"HPKE-v1", SUITE, label, context, &[1]]);
    *block.first_chunk().unwrap()
}

/// RFC 9180, 5.1, base mode: the key and the nonce of the first message.
fn key_schedule(ss: &[u8]) -> ([u8; 32], [u8; 12]) {
    let (psk_id, info) = (extract(b"", b"psk_id_hash", b""), extract(b"", b"info_hash", INFO));
    let context = [&[0], psk_id.as_slice(), &info].concat();
    let secret = extract(ss, b"secret", b"");
    (expand(&secret, b"key", &context), expand(&secret, b"base_nonce", &context))
}

/// Gives out what it was made from, and stops when that is used up.
struct Given(Vec<u8>);

impl TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("X-Wing takes bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("X-Wing takes bytes")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Given {}

#[test]
fn seeds_expand_to_the_public_keys_of_the_vectors() {
    for vector in vectors() {
        assert_eq!(vector.bytes("seed"), vector.bytes("sk"), "a private key is its seed");
        assert_eq!(vector.seed().public_key().as_bytes().as_slice(), vector.bytes("pk"));
        assert_eq!(vector.public().as_bytes().len(), XWING_PUBLIC_BYTES);
        let drawn = XWingSeed::random(&mut Given(vector.bytes("seed")));
        assert!(drawn.secret().same_as(vector.seed().secret()));
    }
}

#[test]
fn encapsulated_keys_give_the_shared_secrets_of_the_vectors() {
    for vector in vectors() {
        let sealed = vector.sealed_under(&vector.bytes("ss"));
        let opened = vector.seed().open::<44>(INFO, AAD, &sealed).unwrap();
        assert_eq!(opened.expose(), MESSAGE);
    }
}

#[test]
fn encapsulating_with_the_vectors_randomness_gives_their_bytes() {
    for vector in vectors() {
        let mut randomness = Given(vector.bytes("eseed"));
        let sealed = vector.public().seal(INFO, AAD, MESSAGE, &mut randomness);
        assert_eq!(sealed, vector.sealed_under(&vector.bytes("ss")));
        assert!(randomness.0.is_empty(), "nothing else was drawn");
    }
}

/// Another shared secret, another seed, or one bit in either half of the encapsulated key: each time the
/// bytes that would have opened do not.
#[test]
fn a_vector_that_is_off_by_one_bit_does_not_open() {
    let (vector, other) = (&vectors()[0], &vectors()[1]);
    let ss = vector.bytes("ss");
    let mut cases = vec![(vector.seed(), vector.sealed_under(&other.bytes("ss")))];
    cases.push((other.seed(), vector.sealed_under(&ss)));
    for at in [0, 1087, 1088, 1118] {
        let mut sealed = vector.sealed_under(&ss);
        sealed[at] ^= 1;
        cases.push((vector.seed(), sealed));
    }
    for (seed, sealed) in cases {
        assert_eq!(seed.open::<44>(INFO, AAD, &sealed).err(), Some(DoesNotOpen));
    }
}
