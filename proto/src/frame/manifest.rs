//! Frame 0x04: fetch the manifest chain.
//!
//! ```text
//! request  "SKB1" 0x04 suite format=1 reserved=0 key_id(16) after_seq(8) nonce(16)
//! answer   "SKB1" 0x84 suite format=1 reserved=0 status(2) req_hash(32) count(2) count × manifest(LP)
//! ```
//!
//! The answer has the manifests that follow `after_seq`, oldest first, at most eight; the broker asks again
//! until none comes. Manifests are signed themselves, so this frame carries them as opaque bytes.

use super::{FrameError, FrameType, RequestHash, Status};
use crate::id::{KeyId, RequestId};
use crate::manifest::MANIFEST_BYTES_MAX;

/// Most manifests in one answer.
pub const MANIFESTS_MAX: usize = 8;

/// Asks for what follows a manifest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ManifestRequest {
    /// The remote key.
    pub key: KeyId,
    /// The sequence number of the newest manifest that the asker has; 0 for none.
    pub after_seq: u64,
    /// Makes the request hash fresh.
    pub nonce: RequestId,
}

impl ManifestRequest {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_request(frame, FrameType::Manifest)?;
        super::read_format(&mut reader)?;
        let key = KeyId::from_bytes(reader.array()?);
        let after_seq = reader.u64()?;
        let nonce = RequestId::from_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { key, after_seq, nonce })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_request(FrameType::Manifest, 48);
        writer.u8(1).u8(0).bytes(self.key.as_bytes()).u64(self.after_seq).bytes(self.nonce.as_bytes());
        writer.finish()
    }
}

/// Manifests as received: bounded, nothing verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestAnswer {
    /// The outcome.
    pub status: Status,
    /// The request it answers.
    pub request_hash: RequestHash,
    /// Encoded manifests, oldest first, at most [`MANIFESTS_MAX`].
    pub manifests: Vec<Vec<u8>>,
}

impl ManifestAnswer {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_answer(frame, FrameType::Manifest)?;
        super::read_format(&mut reader)?;
        let status = super::read_status(&mut reader)?;
        let request_hash = reader.array()?;
        let found = usize::from(reader.u16()?);
        if found > MANIFESTS_MAX {
            return Err(FrameError::Count { found, max: MANIFESTS_MAX });
        }
        let manifests: Result<_, _> =
            (0..found).map(|_| reader.lp(MANIFEST_BYTES_MAX).map(<[u8]>::to_vec)).collect();
        let answer = Self { status, request_hash, manifests: manifests? };
        reader.finish()?;
        Ok(answer)
    }

    /// The frame; manifests beyond [`MANIFESTS_MAX`] are left for the next question.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sent = &self.manifests[..self.manifests.len().min(MANIFESTS_MAX)];
        let mut writer = super::start_answer(FrameType::Manifest, 1024);
        writer.u8(1).u8(0).u16(self.status.code()).bytes(&self.request_hash);
        writer.u16(u16::try_from(sent.len()).expect("at most eight"));
        for manifest in sent {
            writer.lp(manifest);
        }
        writer.finish()
    }
}
