//! How keys of sessions are derived (part 1, 11.4.10).

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use symbolon_proto::secret::Secret;

use super::objects::Point;
use super::{Digest32, HASH};

/// HMAC with SHA-256.
#[must_use]
pub fn mac(key: &[u8], pieces: &[&[u8]]) -> Digest32 {
    let Ok(begun) = Hmac::<Sha256>::new_from_slice(key) else { return [0; HASH] }; // takes every length
    let all = pieces.iter().fold(begun, |mac, piece| mac.chain_update(piece));
    all.finalize().into_bytes().into()
}

/// KDFa with SHA-256, 256 bits.
#[must_use]
pub fn derive(key: &Secret<HASH>, label: &[u8], newer: &[u8], older: &[u8]) -> Secret<HASH> {
    let [one, bits] = [1_u32, 256].map(u32::to_be_bytes);
    let made = mac(key.expose(), &[&one, label, &[0], newer, older, &bits]);
    Secret::filled_by(|out| out.copy_from_slice(&made))
}

/// KDFe with SHA-256, 256 bits: the salt of a session from an exchange with a storage key.
#[must_use]
pub fn salt(shared_x: &[u8], ours: &Point, storage: &Point) -> Secret<HASH> {
    let begun = Sha256::new().chain_update(1_u32.to_be_bytes()).chain_update(shared_x);
    let done = begun.chain_update(b"SECRET\0").chain_update(ours.x).chain_update(storage.x).finalize();
    Secret::filled_by(|out| out.copy_from_slice(&done))
}
