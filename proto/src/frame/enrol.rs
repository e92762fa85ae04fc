//! Frame 0x06: a broker asks to be enrolled. This frame is ours; the specification leaves enrolment out of
//! band.
//!
//! ```text
//! request  "SKB1" 0x06 suite format=1 key_count=1 deployment(16) broker(16) signing_key(32) nonce(32)
//! answer   "SKB1" 0x86 suite format=1 state(1) req_hash(32)
//!          state 1 only: root_key(32) possession(64) manifest(LP)
//! ```
//!
//! state 0 pending, 1 enrolled, 2 refused. Nothing here creates trust: the fragment service's operator
//! compares the fingerprint of the broker before approving, and the broker's operator compares the
//! fingerprint of `root_key` before the broker pins it ([`crate::fingerprint`]). The hash of the broker's TLS
//! key is taken from the connection and is not part of the frame, so that it cannot be claimed for somebody
//! else's connection.

use super::{FrameError, FrameType, RequestHash};
use crate::id::{BrokerId, DeploymentId};
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::possession::Possession;
use crate::signing::SigningPublicKey;

const KEY_COUNT: u8 = 1;
const PENDING: u8 = 0;
const ENROLLED: u8 = 1;
const REFUSED: u8 = 2;

/// Asks for one key. Repeated, with any nonce, it asks how the first request stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EnrolRequest {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The broker.
    pub broker: BrokerId,
    /// The broker's Ed25519 key.
    pub signing_key: SigningPublicKey,
    /// Makes the request hash fresh.
    pub nonce: [u8; 32],
}

impl EnrolRequest {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_request(frame, FrameType::Enrol)?;
        let format = reader.u8()?;
        if format != 1 {
            return Err(FrameError::Format { found: format, read: 1 });
        }
        let count = reader.u8()?;
        if count != KEY_COUNT {
            return Err(FrameError::Count { found: count.into(), max: KEY_COUNT.into() });
        }
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let broker = BrokerId::from_bytes(reader.array()?);
        let (signing_key, nonce) = (reader.array()?, reader.array()?);
        reader.finish()?;
        Ok(Self { deployment, broker, signing_key: SigningPublicKey::from_bytes(&signing_key)?, nonce })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_request(FrameType::Enrol, 104);
        writer.u8(1).u8(KEY_COUNT).bytes(self.deployment.as_bytes()).bytes(self.broker.as_bytes());
        writer.bytes(self.signing_key.as_bytes()).bytes(&self.nonce);
        writer.finish()
    }
}

/// How an enrolment stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one per enrolment, never stored in bulk")]
pub enum Enrolment {
    /// An operator has to compare fingerprints and approve.
    Pending,
    /// Approved: a key exists.
    Enrolled {
        /// The service root key; trust it after comparing its fingerprint.
        root_key: SigningPublicKey,
        /// Proof that the service holds the key in the manifest.
        possession: Possession,
        /// The first manifest, encoded.
        manifest: Vec<u8>,
    },
    /// An operator declined.
    Refused,
}

/// The answer: well formed, nothing verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EnrolAnswer {
    /// The request it answers.
    pub request_hash: RequestHash,
    /// How it stands.
    pub enrolment: Enrolment,
}

impl EnrolAnswer {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_answer(frame, FrameType::Enrol)?;
        let format = reader.u8()?;
        if format != 1 {
            return Err(FrameError::Format { found: format, read: 1 });
        }
        let state = reader.u8()?;
        let request_hash = reader.array()?;
        let enrolment = match state {
            PENDING => Enrolment::Pending,
            REFUSED => Enrolment::Refused,
            ENROLLED => Enrolment::Enrolled {
                root_key: SigningPublicKey::from_bytes(&reader.array()?)?,
                possession: Possession::from_bytes(reader.array()?),
                manifest: reader.lp(MANIFEST_BYTES_MAX)?.to_vec(),
            },
            other => return Err(FrameError::Code { found: other.into() }),
        };
        reader.finish()?;
        Ok(Self { request_hash, enrolment })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_answer(FrameType::Enrol, 1024);
        let state = match self.enrolment {
            Enrolment::Pending => PENDING,
            Enrolment::Enrolled { .. } => ENROLLED,
            Enrolment::Refused => REFUSED,
        };
        writer.u8(1).u8(state).bytes(&self.request_hash);
        if let Enrolment::Enrolled { root_key, possession, manifest } = &self.enrolment {
            writer.bytes(root_key.as_bytes()).bytes(possession.as_bytes()).lp(manifest);
        }
        writer.finish()
    }
}
