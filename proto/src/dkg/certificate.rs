//! Round 3: the proof that all receivers saw the same messages and accepted them.

use super::schnorr::{self, SCHNORR_BYTES};
use super::{DkgError, DkgFault};
use crate::codec::{Reader, Writer};
use crate::group::Point;
use crate::limits::NODES_MAX;

/// Bytes of the longest transcript, 16 of 16.
pub(super) const TRANSCRIPT_BYTES_MAX: usize = 12 * 1024;

/// A transcript with the signatures of all receivers; kept with the result for audits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    transcript: Vec<u8>,
    signatures: Vec<[u8; SCHNORR_BYTES]>,
}

impl Certificate {
    /// Verifies the signatures, which stand in the order of the receivers.
    pub(super) fn new(
        transcript: &[u8],
        receivers: &[Point],
        signatures: &[[u8; SCHNORR_BYTES]],
    ) -> Result<Self, DkgError> {
        if signatures.len() != receivers.len() {
            return Err(DkgError::Count { found: signatures.len(), expected: receivers.len() });
        }
        for (index, (receiver, signature)) in (1..).zip(receivers.iter().zip(signatures)) {
            if !schnorr::verifies(receiver, &[transcript], signature) {
                return Err(DkgFault::Certificate.by(index));
            }
        }
        Ok(Self { transcript: transcript.to_vec(), signatures: signatures.to_vec() })
    }

    /// Reads a stored certificate and verifies it again, for these receivers.
    pub fn parse(bytes: &[u8], receivers: &[Point]) -> Result<Self, DkgError> {
        let (transcript, signatures) = read(bytes).ok_or(DkgError::State)?;
        Self::new(transcript, receivers, &signatures)
    }

    /// length(4) transcript n(1) n × signature(64).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer =
            Writer::with_capacity(self.transcript.len() + 5 + self.signatures.len() * SCHNORR_BYTES);
        writer.lp32(&self.transcript);
        writer.u8(u8::try_from(self.signatures.len()).expect("at most 16 receivers"));
        for signature in &self.signatures {
            writer.bytes(signature);
        }
        writer.finish()
    }

    /// What was signed.
    pub fn transcript(&self) -> &[u8] {
        &self.transcript
    }

    /// The signatures, in the order of the receivers.
    pub fn signatures(&self) -> &[[u8; SCHNORR_BYTES]] {
        &self.signatures
    }
}

fn read(bytes: &[u8]) -> Option<(&[u8], Vec<[u8; SCHNORR_BYTES]>)> {
    let mut reader = Reader::new(bytes);
    let transcript = reader.lp32(TRANSCRIPT_BYTES_MAX).ok()?;
    let count = reader.u8().ok().filter(|count| u16::from(*count) <= NODES_MAX)?;
    let signatures = (0..count).map(|_| reader.array().ok()).collect::<Option<_>>()?;
    reader.finish().ok()?;
    Some((transcript, signatures))
}
