//! Where a log ends between two checkpoints, as only the holder of its signing key can say it
//! (`docs/skb1.md` 16.82).
//!
//! ```text
//! head = format(1)=1 ‖ size(8) ‖ root(32) ‖ tag(32)
//! tag  = HMAC-SHA-512(seed, "SKB1/log-head" ‖ LP(origin) ‖ size ‖ root)[..32]
//! ```
//!
//! A checkpoint convinces strangers and costs a signature. A head convinces only the broker that wrote it,
//! costs two hashes, and so can go with every commit.

use subtle::ConstantTimeEq;

use super::note::NoteSigner;
use super::tree::Hash;
use crate::codec::Reader;

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 32;
/// Bytes of a stored head.
pub const HEAD_BYTES: usize = 1 + 8 + 32 + TAG_BYTES;

/// Size and root of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Entries in the log.
    pub size: u64,
    /// Root over all of them.
    pub root: Hash,
}

/// Bytes that are not a head, or not one of this log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the end of the log is not one that its key has written")]
pub struct HeadError;

impl Head {
    /// The bytes to store.
    #[must_use]
    pub fn seal(&self, signer: &NoteSigner) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(self.root.as_bytes());
        bytes.extend_from_slice(&self.tag(signer));
        bytes
    }

    /// Reads what [`Head::seal`] gave, if it was this signer's.
    pub fn open(bytes: &[u8], signer: &NoteSigner) -> Result<Self, HeadError> {
        let (head, tag) = Self::split(bytes).ok_or(HeadError)?;
        if bool::from(head.tag(signer).ct_eq(&tag)) { Ok(head) } else { Err(HeadError) }
    }

    /// The same without a key: says nothing about who wrote it.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeadError> {
        Self::split(bytes).map(|(head, _)| head).ok_or(HeadError)
    }

    fn split(bytes: &[u8]) -> Option<(Self, [u8; TAG_BYTES])> {
        let mut reader = Reader::new(bytes);
        if reader.u8().ok()? != FORMAT {
            return None;
        }
        let head = Self { size: reader.u64().ok()?, root: Hash::from_bytes(reader.array().ok()?) };
        let tag = reader.array().ok()?;
        reader.finish().ok()?;
        Some((head, tag))
    }

    fn tag(&self, signer: &NoteSigner) -> [u8; TAG_BYTES] {
        signer.head_tag(self.size, self.root.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha512;

    use super::*;
    use crate::secret::Secret;
    use crate::signing::SigningSeed;

    fn signer(name: &str, byte: u8) -> NoteSigner {
        NoteSigner::new(name, SigningSeed::from_secret(Secret::filled_by(|out| out.fill(byte)))).unwrap()
    }

    #[test]
    fn a_head_is_its_own_logs_and_its_own_keys() {
        let ours = signer("o", 4);
        let head = Head { size: 77, root: Hash::from_bytes([9; 32]) };
        let bytes = head.seal(&ours);
        assert_eq!(
            (bytes.len(), Head::open(&bytes, &ours), Head::parse(&bytes)),
            (HEAD_BYTES, Ok(head), Ok(head))
        );
        assert_eq!(Head::open(&bytes, &signer("o", 5)), Err(HeadError));
        assert_eq!(Head::open(&bytes, &signer("p", 4)), Err(HeadError));
        for bit in 0..8 * bytes.len() {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::open(&other, &ours), Err(HeadError), "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(Head::open(&bytes[..cut], &ours), Err(HeadError));
        }
        assert_eq!(Head::open(&[bytes, vec![0]].concat(), &ours), Err(HeadError));
    }

    /// The formula at the top, put together by hand.
    #[test]
    fn the_tag_is_the_documented_one() {
        let mut mac = Hmac::<Sha512>::new_from_slice(&[4; 32]).unwrap();
        mac.update(b"SKB1/log-head\x00\x01o");
        mac.update(&77_u64.to_be_bytes());
        mac.update(&[9; 32]);
        let head = Head { size: 77, root: Hash::from_bytes([9; 32]) };
        assert_eq!(head.seal(&signer("o", 4))[41..], mac.finalize().into_bytes()[..32]);
    }
}
