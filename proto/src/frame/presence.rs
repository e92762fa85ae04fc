//! Frames 0x02 and 0x03: a broker registers its generation, and stays in touch.
//!
//! ```text
//! request  "SKB1" type suite format=1 reserved=0 deployment(16) broker(16) key_id(16)
//!          generation(8) nonce(16)
//! answer   "SKB1" type suite format=1 reserved=0 status(2) node(2) req_hash(32) time(8) lease(LP)
//! ```
//!
//! Both layouts are equal; hello registers the generation and may fence an older one, a heartbeat only renews
//! the lease. The nonce makes every request hash, which the answer repeats, fresh.

use super::{EvaluateError, Fault, FrameError, FrameType, Refusal, RequestHash, Status};
use crate::id::{BrokerId, DeploymentId, KeyId, RequestId};
use crate::lease::{LEASE_BYTES, Lease, LeaseHolder, VerifiedLease};
use crate::manifest::ManifestNode;

const REQUEST_BYTES: usize = 80;
const ANSWER_BYTES: usize = 52 + 2 + LEASE_BYTES;

/// The fields of both requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Fields {
    holder: LeaseHolder,
    nonce: RequestId,
}

impl Fields {
    fn parse(frame: &[u8], frame_type: FrameType) -> Result<Self, FrameError> {
        let mut reader = super::open_request(frame, frame_type)?;
        super::read_format(&mut reader)?;
        let holder = LeaseHolder {
            deployment: DeploymentId::from_bytes(reader.array()?),
            broker: BrokerId::from_bytes(reader.array()?),
            key: KeyId::from_bytes(reader.array()?),
            generation: reader.u64()?,
        };
        let nonce = RequestId::from_bytes(reader.array()?);
        reader.finish()?;
        Ok(Self { holder, nonce })
    }

    fn to_bytes(self, frame_type: FrameType) -> Vec<u8> {
        let mut writer = super::start_request(frame_type, REQUEST_BYTES);
        writer.u8(1).u8(0).bytes(self.holder.deployment.as_bytes()).bytes(self.holder.broker.as_bytes());
        writer.bytes(self.holder.key.as_bytes()).u64(self.holder.generation).bytes(self.nonce.as_bytes());
        writer.finish()
    }
}

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub struct $name(Fields);

        impl $name {
            /// A request of `holder` with a fresh nonce.
            pub const fn new(holder: LeaseHolder, nonce: RequestId) -> Self {
                Self(Fields { holder, nonce })
            }

            /// Who asks, about which key, at which generation.
            pub const fn holder(&self) -> &LeaseHolder {
                &self.0.holder
            }

            /// Reads a frame.
            pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
                Fields::parse(frame, FrameType::$name).map(Self)
            }

            /// Checks the answer frame of `node` to this request.
            pub fn verify(&self, answer: &[u8], node: &ManifestNode) -> Result<Presence, EvaluateError> {
                let hash = super::request_hash(&self.to_bytes());
                let checked = PresenceAnswer::parse(answer, FrameType::$name)
                    .map_err(Fault::Frame)
                    .and_then(|answer| check(&answer, &hash, self.holder(), node));
                checked.map_err(|fault| EvaluateError { node: node.index, fault })
            }

            /// The frame.
            pub fn to_bytes(&self) -> Vec<u8> {
                self.0.to_bytes(FrameType::$name)
            }
        }
    )*};
}

requests! {
    /// 0x02: registers a generation, and binds the connection to it.
    Hello
    /// 0x03: asks for a fresh lease.
    Heartbeat
}

/// What a checked answer means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// A renewed lease; look at its standing.
    Lease(VerifiedLease),
    /// No lease, for a reason.
    Refused(Refusal),
}

fn check(
    answer: &PresenceAnswer,
    hash: &RequestHash,
    holder: &LeaseHolder,
    node: &ManifestNode,
) -> Result<Presence, Fault> {
    if answer.request_hash != *hash {
        return Err(Fault::OtherRequest);
    }
    if answer.node_index != node.index {
        return Err(Fault::OtherNode { found: answer.node_index });
    }
    match (answer.status, &answer.lease) {
        (Status::Ok, Some(lease)) => Ok(Presence::Lease(lease.verify(holder, node)?)),
        (status, lease) => Ok(Presence::Refused(Refusal::believe(status, lease.as_ref(), holder, node))),
    }
}

/// The answer to either: well formed, nothing verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PresenceAnswer {
    /// Which of the two it answers.
    pub frame_type: FrameType,
    /// The outcome.
    pub status: Status,
    /// The node, from 1.
    pub node_index: u16,
    /// The request it answers.
    pub request_hash: RequestHash,
    /// The node's clock, Unix seconds.
    pub time_secs: u64,
    /// There for statuses 0, 4, 5 and 8; the latter three are not to be believed without.
    pub lease: Option<Lease>,
}

impl PresenceAnswer {
    /// Reads an answer to a hello or a heartbeat.
    pub fn parse(frame: &[u8], frame_type: FrameType) -> Result<Self, FrameError> {
        let mut reader = super::open_answer(frame, frame_type)?;
        super::read_format(&mut reader)?;
        let status = super::read_status(&mut reader)?;
        let node_index = reader.u16()?;
        let request_hash = reader.array()?;
        let time_secs = reader.u64()?;
        let lease = super::optional_lease(&mut reader)?;
        reader.finish()?;
        match (status, &lease) {
            (Status::Ok, None) => Err(FrameError::Inconsistent),
            _ => Ok(Self { frame_type, status, node_index, request_hash, time_secs, lease }),
        }
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_answer(self.frame_type, ANSWER_BYTES);
        writer.u8(1).u8(0).u16(self.status.code()).u16(self.node_index);
        writer.bytes(&self.request_hash).u64(self.time_secs);
        writer.lp(self.lease.as_ref().map_or(&[], Lease::as_bytes));
        writer.finish()
    }
}
