//! How a share travels from its dealer to its receiver: XChaCha20-Poly1305 under a key of two Diffie-Hellman
//! secrets, one of the dealer's ephemeral key and one of its static key, both with the receiver's key for the
//! run.
//!
//! The first needs e or r, which both are gone after the run. COCKTAIL-DKG has the receiver's static key in
//! this place.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use curve25519_dalek::ristretto::RistrettoPoint;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use super::CIPHERTEXT_BYTES;
use crate::group::{Point, SCALAR_BYTES, Scalar};
use crate::label;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = CIPHERTEXT_BYTES - SCALAR_BYTES;

/// Who sends to whom, and in which session.
pub(super) struct Route<'a> {
    /// E of the dealer.
    pub(super) ephemeral: &'a Point,
    /// P of the dealer.
    pub(super) dealer: &'a Point,
    /// R of the receiver.
    pub(super) receiver: &'a Point,
    /// The context of the session.
    pub(super) context: &'a [u8],
}

/// The secrets that both ends of a route compute: e·R = r·E and d·R = r·P, d and P being the dealer's.
pub(super) struct Secrets {
    fixed: Zeroizing<RistrettoPoint>,
    ephemeral: Zeroizing<RistrettoPoint>,
}

impl Secrets {
    /// At the dealer.
    pub(super) fn of_dealer(route: &Route<'_>, fixed: &Scalar, ephemeral: &Scalar) -> Self {
        Self { fixed: multiply(route.receiver, fixed), ephemeral: multiply(route.receiver, ephemeral) }
    }

    /// At the receiver.
    pub(super) fn of_receiver(route: &Route<'_>, opening: &Scalar) -> Self {
        Self { fixed: multiply(route.dealer, opening), ephemeral: multiply(route.ephemeral, opening) }
    }

    /// H6: SHA-512(prefix ‖ S_e ‖ S_d ‖ E ‖ P ‖ R ‖ len(context) ‖ context), the length in eight
    /// little-endian bytes.
    fn derive(&self, route: &Route<'_>) -> Zeroizing<[u8; 64]> {
        let mut hash = Sha512::new_with_prefix(label::COCKTAIL_KEY);
        for secret in [&self.ephemeral, &self.fixed] {
            let mut encoded = secret.compress();
            hash.update(encoded.as_bytes());
            encoded.zeroize();
        }
        for point in [route.ephemeral, route.dealer, route.receiver] {
            hash.update(point.as_bytes());
        }
        let length = u64::try_from(route.context.len()).expect("a context is a few bytes long");
        Zeroizing::new(hash.chain_update(length.to_le_bytes()).chain_update(route.context).finalize().into())
    }
}

fn multiply(point: &Point, scalar: &Scalar) -> Zeroizing<RistrettoPoint> {
    Zeroizing::new(point.element() * scalar.element())
}

/// Encrypts a share. The key is used once, so the nonce may come from the same hash.
pub(super) fn seal(secrets: &Secrets, route: &Route<'_>, share: &Scalar) -> [u8; CIPHERTEXT_BYTES] {
    let derived = secrets.derive(route);
    let (cipher, nonce) = cipher(&derived);
    let mut sealed = [0; CIPHERTEXT_BYTES];
    let (body, tag) = sealed.split_at_mut(SCALAR_BYTES);
    let buffer = InOutBuf::new(share.element().as_bytes().as_slice(), body).expect("buffers of equal length");
    let found = cipher.encrypt_inout_detached(&nonce, &[], buffer).expect("32 bytes are below the limit");
    tag.copy_from_slice(&found);
    sealed
}

/// Decrypts a share into `out`; `false` if the ciphertext is not this route's.
pub(super) fn open(
    secrets: &Secrets,
    route: &Route<'_>,
    sealed: &[u8; CIPHERTEXT_BYTES],
    out: &mut [u8; SCALAR_BYTES],
) -> bool {
    let derived = secrets.derive(route);
    let (cipher, nonce) = cipher(&derived);
    let (body, tag) = sealed.split_at(SCALAR_BYTES);
    let tag: [u8; TAG_BYTES] = tag.try_into().expect("the last 16 bytes");
    let buffer = InOutBuf::new(body, out).expect("buffers of equal length");
    cipher.decrypt_inout_detached(&nonce, &[], buffer, &Tag::from(tag)).is_ok()
}

fn cipher(derived: &[u8; 64]) -> (XChaCha20Poly1305, XNonce) {
    let (key, rest) = derived.split_first_chunk::<KEY_BYTES>().expect("64 bytes");
    let nonce: [u8; NONCE_BYTES] = *rest.first_chunk().expect("32 bytes");
    (XChaCha20Poly1305::new(key.into()), XNonce::from(nonce))
}
