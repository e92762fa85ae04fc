//! Frame 0x05: put or get the anchor, the remote's memory of the broker's state (`docs/skb1.md` section 6.9).
//!
//! ```text
//! request  "SKB1" 0x05 suite format=1 op(1) deployment(16) broker(16) key_id(16)
//!          counter(8) value(32) nonce(16)
//! answer   "SKB1" 0x85 suite format=1 present(1) status(2) req_hash(32) counter(8) value(32)
//! ```
//!
//! op 0 gets (counter and value zero), 1 puts. The remote stores a value only with a counter above the stored
//! one; it sees an HMAC and how often it changes, nothing else.

use super::{FrameError, FrameType, RequestHash, Status};
use crate::codec::{Reader, Writer};
use crate::id::{BrokerId, DeploymentId, KeyId, RequestId};

/// An anchor: HMAC(K_state, merkle_root ‖ counter)[0..32] with its counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnchorValue {
    /// Grows with every put.
    pub counter: u64,
    /// Opaque to the remote.
    pub value: [u8; 32],
}

impl AnchorValue {
    fn read(reader: &mut Reader<'_>, present: bool) -> Result<Option<Self>, FrameError> {
        let anchor = Self { counter: reader.u64()?, value: reader.array()? };
        match (present, anchor) {
            (true, anchor) => Ok(Some(anchor)),
            (false, Self { counter: 0, value }) if value == [0; 32] => Ok(None),
            _ => Err(FrameError::Reserved),
        }
    }

    fn write(anchor: Option<&Self>, writer: &mut Writer) {
        let anchor = anchor.copied().unwrap_or(Self { counter: 0, value: [0; 32] });
        writer.u64(anchor.counter).bytes(&anchor.value);
    }
}

/// Puts or gets the anchor of one broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnchorRequest {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The broker.
    pub broker: BrokerId,
    /// The remote key.
    pub key: KeyId,
    /// What to store; `None` asks for what is stored.
    pub put: Option<AnchorValue>,
    /// Makes the request hash fresh.
    pub nonce: RequestId,
}

impl AnchorRequest {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_request(frame, FrameType::Anchor)?;
        let put = read_format_and_flag(&mut reader)?;
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let broker = BrokerId::from_bytes(reader.array()?);
        let key = KeyId::from_bytes(reader.array()?);
        let put = AnchorValue::read(&mut reader, put)?;
        let nonce = RequestId::from_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { deployment, broker, key, put, nonce })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_request(FrameType::Anchor, 112);
        writer.u8(1).u8(u8::from(self.put.is_some()));
        writer.bytes(self.deployment.as_bytes()).bytes(self.broker.as_bytes()).bytes(self.key.as_bytes());
        AnchorValue::write(self.put.as_ref(), &mut writer);
        writer.bytes(self.nonce.as_bytes());
        writer.finish()
    }
}

/// What is stored after the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnchorAnswer {
    /// The outcome.
    pub status: Status,
    /// The request it answers.
    pub request_hash: RequestHash,
    /// The stored anchor, if there is one.
    pub stored: Option<AnchorValue>,
}

impl AnchorAnswer {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_answer(frame, FrameType::Anchor)?;
        let present = read_format_and_flag(&mut reader)?;
        let status = super::read_status(&mut reader)?;
        let request_hash = reader.array()?;
        let stored = AnchorValue::read(&mut reader, present)?;
        reader.finish()?;
        Ok(Self { status, request_hash, stored })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_answer(FrameType::Anchor, 84);
        writer.u8(1).u8(u8::from(self.stored.is_some())).u16(self.status.code()).bytes(&self.request_hash);
        AnchorValue::write(self.stored.as_ref(), &mut writer);
        writer.finish()
    }
}

fn read_format_and_flag(reader: &mut Reader<'_>) -> Result<bool, FrameError> {
    match (reader.u8()?, reader.u8()?) {
        (1, flag @ (0 | 1)) => Ok(flag == 1),
        (1, other) => Err(FrameError::Code { found: other.into() }),
        (found, _) => Err(FrameError::Format { found, read: 1 }),
    }
}
