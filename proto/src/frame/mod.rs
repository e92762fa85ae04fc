//! Frames: the questions a broker asks a fragment service and their answers (`docs/skb1.md` section 6.6).
//!
//! Every frame begins with `"SKB1"`, a type byte (answers set bit 7) and the suite. Decoders are total: any
//! bytes give a value or a [`FrameError`], every count is bounded before anything is allocated, points and
//! scalars are checked once here, and trailing bytes are refused. One frame is one HTTP body.
//!
//! ```text
//! 0x01 evaluate   0x02 hello   0x03 heartbeat   0x04 manifest chain   0x05 anchor   0x06 enrol   0x07 group
//! ```

mod anchor;
mod enrol;
mod evaluate;
mod fault;
mod group;
mod manifest;
mod presence;

use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::anchor::{AnchorAnswer, AnchorRequest, AnchorValue};
pub use self::enrol::{EnrolAnswer, EnrolRequest, Enrolment};
pub use self::evaluate::{BATCH_MAX, EvaluateOutcome, EvaluateRequest, EvaluateResponse, Target};
pub use self::fault::{EvaluateError, Fault, Refusal};
pub use self::group::{
    Approval, Base, Blame, ESCROW_ENVELOPE_BYTES_MAX, ESCROW_KEY_BYTES, EpochKey, GroupAnswer, GroupOp,
    GroupRefusal, GroupReply, GroupRequest,
};
pub use self::manifest::{MANIFESTS_MAX, ManifestAnswer, ManifestRequest};
pub use self::presence::{Heartbeat, Hello, Presence, PresenceAnswer};
use crate::codec::{DecodeError, Reader, Writer};
use crate::dkg::{GroupKeyError, RunError};
use crate::group::{PointError, ScalarError, Suite};
pub use crate::id::RequestHash;
use crate::lease::{LEASE_BYTES, Lease, LeaseError};

/// Bytes of the longest request frame except those of the group ceremony: an evaluation of 64 points.
pub const REQUEST_BYTES_MAX: usize = 2100;
/// Bytes of the longest request frame of the group ceremony: the dealings of 16 nodes.
pub const GROUP_REQUEST_BYTES_MAX: usize = 32 * 1024;
/// Bytes of the longest answer frame: a chain of manifests.
pub const RESPONSE_BYTES_MAX: usize = 32 * 1024;

const MAGIC: &[u8; 4] = b"SKB1";
const ANSWER_BIT: u8 = 0x80;

/// What a frame is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum FrameType {
    /// Evaluate blinded points.
    Evaluate = 0x01,
    /// Register a generation.
    Hello = 0x02,
    /// Renew the lease.
    Heartbeat = 0x03,
    /// Fetch the manifest chain.
    Manifest = 0x04,
    /// Put or get the anchor.
    Anchor = 0x05,
    /// Ask to be enrolled.
    Enrol = 0x06,
    /// A step of the group ceremony.
    Group = 0x07,
}

impl FrameType {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Evaluate,
            0x02 => Self::Hello,
            0x03 => Self::Heartbeat,
            0x04 => Self::Manifest,
            0x05 => Self::Anchor,
            0x06 => Self::Enrol,
            0x07 => Self::Group,
            _ => return None,
        })
    }
}

/// Status of an answer, as it stands on the wire. 0 to 9 are the specification's, the others are ours; those
/// from 11 on belong to the group ceremony.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// This key is not held here, or not for this broker.
    UnknownKey = 1,
    /// The key is at another epoch.
    WrongKeyEpoch = 2,
    /// The shares are at another epoch.
    WrongShareEpoch = 3,
    /// The key is suspended; carries a signed lease.
    Suspended = 4,
    /// The key is destroyed; carries a signed lease.
    Destroyed = 5,
    /// No quota left for now.
    QuotaExhausted = 6,
    /// The request could not be read.
    Malformed = 7,
    /// A newer generation of this broker exists; carries a signed lease.
    StaleGeneration = 8,
    /// Try again later.
    Busy = 9,
    /// The anchor's counter is not above the stored one.
    StaleAnchor = 10,
    /// No operator of this node has approved the group.
    NotApproved = 11,
    /// This node knows nothing of the run: begin with its first round.
    UnknownRun = 12,
    /// A participant of the run broke the protocol; the answer names it.
    ParticipantFault = 13,
    /// The request contradicts what this node knows of the key.
    Disagrees = 14,
    /// Another run for this key is under way.
    OtherRun = 15,
}

impl Status {
    /// The status with this number.
    pub const fn from_code(code: u16) -> Option<Self> {
        Some(match code {
            0 => Self::Ok,
            1 => Self::UnknownKey,
            2 => Self::WrongKeyEpoch,
            3 => Self::WrongShareEpoch,
            4 => Self::Suspended,
            5 => Self::Destroyed,
            6 => Self::QuotaExhausted,
            7 => Self::Malformed,
            8 => Self::StaleGeneration,
            9 => Self::Busy,
            10 => Self::StaleAnchor,
            11 => Self::NotApproved,
            12 => Self::UnknownRun,
            13 => Self::ParticipantFault,
            14 => Self::Disagrees,
            15 => Self::OtherRun,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }
}

/// Why bytes are not the frame they should be.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FrameError {
    /// Too short, too long, or a field beyond its bound.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// The frame does not begin with "SKB1".
    #[error("not an SKB1 frame")]
    Magic,
    /// A type byte that is unknown, or not the expected one.
    #[error("unexpected frame type {found:#04x}")]
    Type {
        /// The type byte.
        found: u8,
    },
    /// A suite that this version does not know.
    #[error("suite {found}, this version knows 1")]
    Suite {
        /// The suite byte.
        found: u8,
    },
    /// A version byte inside the frame that this version does not know.
    #[error("frame format {found}, this version reads {read}")]
    Format {
        /// The format byte.
        found: u8,
        /// The one that this version reads.
        read: u8,
    },
    /// A flag bit that must be zero.
    #[error("flags {found:#06x} have bits that must be zero")]
    Flags {
        /// The flags.
        found: u16,
    },
    /// A reserved field that is not zero.
    #[error("a reserved field is not zero")]
    Reserved,
    /// A number of elements out of bounds.
    #[error("{found} elements, where 1 to {max} are allowed")]
    Count {
        /// The number found.
        found: usize,
        /// The bound.
        max: usize,
    },
    /// An element is not a usable point.
    #[error("element {index} is {error}")]
    Point {
        /// Which element, from 0.
        index: usize,
        /// What is wrong with it.
        error: PointError,
    },
    /// A proof's scalar is not usable.
    #[error("a proof with {0}")]
    Scalar(#[from] ScalarError),
    /// A code (status, operation, state) that this version does not know.
    #[error("unknown code {found}")]
    Code {
        /// The code.
        found: u16,
    },
    /// Fields that do not go with the status.
    #[error("fields that do not go with the status")]
    Inconsistent,
    /// The lease inside is not one.
    #[error("lease: {0}")]
    Lease(#[from] LeaseError),
    /// The run inside is not one.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A signing key that is not an Ed25519 public key.
    #[error(transparent)]
    SigningKey(#[from] crate::signing::PublicKeyError),
}

impl From<GroupKeyError> for FrameError {
    fn from(error: GroupKeyError) -> Self {
        match error {
            GroupKeyError::Layout(error) => Self::Layout(error),
            GroupKeyError::Count { found, max } => Self::Count { found, max },
            GroupKeyError::Point { index, error } => Self::Point { index, error },
        }
    }
}

/// Any request frame: what a fragment service reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// 0x01.
    Evaluate(EvaluateRequest),
    /// 0x02.
    Hello(Hello),
    /// 0x03.
    Heartbeat(Heartbeat),
    /// 0x04.
    Manifest(ManifestRequest),
    /// 0x05.
    Anchor(AnchorRequest),
    /// 0x06.
    Enrol(EnrolRequest),
    /// 0x07.
    Group(GroupRequest),
}

impl Request {
    /// Reads a request frame of any type.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        match request_type(frame)? {
            FrameType::Evaluate => EvaluateRequest::parse(frame).map(Self::Evaluate),
            FrameType::Hello => Hello::parse(frame).map(Self::Hello),
            FrameType::Heartbeat => Heartbeat::parse(frame).map(Self::Heartbeat),
            FrameType::Manifest => ManifestRequest::parse(frame).map(Self::Manifest),
            FrameType::Anchor => AnchorRequest::parse(frame).map(Self::Anchor),
            FrameType::Enrol => EnrolRequest::parse(frame).map(Self::Enrol),
            FrameType::Group => GroupRequest::parse(frame).map(Self::Group),
        }
    }
}

/// The type of a request frame, without reading the rest: what to count and how to answer a malformed one.
pub fn request_type(frame: &[u8]) -> Result<FrameType, FrameError> {
    let mut reader = Reader::new(frame);
    if reader.array()? != *MAGIC {
        return Err(FrameError::Magic);
    }
    let found = reader.u8()?;
    FrameType::from_byte(found).ok_or(FrameError::Type { found })
}

/// SHA-256 of a request frame as it was sent.
pub fn request_hash(frame: &[u8]) -> RequestHash {
    Sha256::digest(frame).into()
}

/// Reads magic, type and suite, and insists on `frame_type`.
fn open_request(frame: &[u8], frame_type: FrameType) -> Result<Reader<'_>, FrameError> {
    open(frame, frame_type as u8)
}

fn open_answer(frame: &[u8], frame_type: FrameType) -> Result<Reader<'_>, FrameError> {
    open(frame, frame_type as u8 | ANSWER_BIT)
}

fn open(frame: &[u8], type_byte: u8) -> Result<Reader<'_>, FrameError> {
    let mut reader = Reader::new(frame);
    if reader.array()? != *MAGIC {
        return Err(FrameError::Magic);
    }
    let found = reader.u8()?;
    if found != type_byte {
        return Err(FrameError::Type { found });
    }
    let suite = reader.u8()?;
    match Suite::from_byte(suite) {
        Some(Suite::Ristretto255) => Ok(reader),
        None => Err(FrameError::Suite { found: suite }),
    }
}

fn start_request(frame_type: FrameType, capacity: usize) -> Writer {
    start(frame_type as u8, capacity)
}

fn start_answer(frame_type: FrameType, capacity: usize) -> Writer {
    start(frame_type as u8 | ANSWER_BIT, capacity)
}

fn start(type_byte: u8, capacity: usize) -> Writer {
    let mut writer = Writer::with_capacity(capacity);
    writer.bytes(MAGIC).u8(type_byte).u8(Suite::Ristretto255.byte());
    writer
}

fn read_status(reader: &mut Reader<'_>) -> Result<Status, FrameError> {
    let found = reader.u16()?;
    Status::from_code(found).ok_or(FrameError::Code { found })
}

/// The format byte and the reserved byte that follow the suite in our own frames.
fn read_format(reader: &mut Reader<'_>) -> Result<(), FrameError> {
    match (reader.u8()?, reader.u8()?) {
        (1, 0) => Ok(()),
        (1, _) => Err(FrameError::Reserved),
        (found, _) => Err(FrameError::Format { found, read: 1 }),
    }
}

/// LP(lease), where the empty field means none.
fn optional_lease(reader: &mut Reader<'_>) -> Result<Option<Lease>, FrameError> {
    match reader.lp(LEASE_BYTES)? {
        [] => Ok(None),
        bytes => Ok(Some(Lease::parse(bytes)?)),
    }
}

#[cfg(test)]
mod tests;
