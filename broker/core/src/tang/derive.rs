//! The key of a JWE from a shared secret (Concat KDF, RFC 7518 section 4.6).

use sha2::{Digest, Sha256};
use symbolon_proto::secret::Secret;

/// The key for `algorithm` (`A256GCM`) between two parties; 256 bits are one round of SHA-256.
pub(super) fn derive(shared: &[u8], algorithm: &str, by: &[u8], to: &[u8]) -> Secret<32> {
    round(shared, algorithm, [by, to], 256)
}

/// The first round, for a key of so many bits.
pub(super) fn round(shared: &[u8], algorithm: &str, [by, to]: [&[u8]; 2], bits: u32) -> Secret<32> {
    let mut hash = Sha256::new_with_prefix(1_u32.to_be_bytes());
    hash.update(shared);
    for part in [algorithm.as_bytes(), by, to] {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.update(bits.to_be_bytes());
    Secret::filled_by(|out| out.copy_from_slice(&hash.finalize()))
}
