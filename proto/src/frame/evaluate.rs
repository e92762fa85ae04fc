//! Frame 0x01: evaluate up to 64 blinded points under a remote key.

use super::{FrameError, FrameType, RequestHash, Status};
use crate::codec::Writer;
use crate::dleq::Proof;
use crate::group::{POINT_BYTES, Point};
use crate::id::{KeyId, RequestId};
use crate::lease::{LEASE_BYTES, Lease};

/// Most points in one request; the reason is in section 3.4.
pub const BATCH_MAX: usize = 64;

const REQUEST_HEADER_BYTES: usize = 52;
const ANSWER_HEADER_BYTES: usize = 80;
const FLAG_PROOF: u16 = 0b01;
const FLAG_RESTORE: u16 = 0b10;

/// Which key, at which epochs, a request is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Target {
    /// The remote key.
    pub key: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// The epoch of its shares.
    pub share_epoch: u32,
}

/// A request in which every point was decoded and is valid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EvaluateRequest {
    target: Target,
    id: RequestId,
    flags: u16,
    points: Vec<Point>,
    hash: RequestHash,
}

impl EvaluateRequest {
    /// A request for a proven evaluation of `points` (1 to 64).
    pub fn new(target: Target, id: RequestId, points: Vec<Point>) -> Result<Self, FrameError> {
        check_count(points.len())?;
        let mut request = Self { target, id, flags: FLAG_PROOF, points, hash: [0; 32] };
        request.hash = super::request_hash(&request.to_bytes());
        Ok(request)
    }

    /// The same request for a retired key epoch, which the remote grants under dual control only.
    #[must_use]
    pub fn for_restore(mut self) -> Self {
        self.flags |= FLAG_RESTORE;
        self.hash = super::request_hash(&self.to_bytes());
        self
    }

    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_request(frame, FrameType::Evaluate)?;
        let flags = reader.u16()?;
        if flags & !(FLAG_PROOF | FLAG_RESTORE) != 0 {
            return Err(FrameError::Flags { found: flags });
        }
        let target = Target {
            key: KeyId::from_bytes(reader.array()?),
            key_epoch: reader.u32()?,
            share_epoch: reader.u32()?,
        };
        let id = RequestId::from_bytes(reader.array()?);
        let count = usize::from(reader.u16()?);
        if reader.u16()? != 0 {
            return Err(FrameError::Reserved);
        }
        check_count(count)?;
        let elements = reader.take(count * POINT_BYTES)?;
        reader.finish()?;
        let points = decode_points(elements)?;
        Ok(Self { target, id, flags, points, hash: super::request_hash(frame) })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let size = REQUEST_HEADER_BYTES + self.points.len() * POINT_BYTES;
        let mut writer = super::start_request(FrameType::Evaluate, size);
        writer.u16(self.flags);
        write_target(&mut writer, &self.target);
        writer.bytes(self.id.as_bytes()).u16(count(&self.points)).u16(0);
        for point in &self.points {
            writer.bytes(point.as_bytes());
        }
        writer.finish()
    }

    /// The key and epochs it is for.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Its id.
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// Whether the answer must be proven.
    pub const fn proof_wanted(&self) -> bool {
        self.flags & FLAG_PROOF != 0
    }

    /// Whether a retired key epoch is meant.
    pub const fn is_restore(&self) -> bool {
        self.flags & FLAG_RESTORE != 0
    }

    /// u_0 … u_{m-1}.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// SHA-256 of the frame.
    pub const fn hash(&self) -> &RequestHash {
        &self.hash
    }
}

/// What an answer says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EvaluateOutcome {
    /// Status 0.
    Done {
        /// v_0 … v_{m-1}.
        points: Vec<Point>,
        /// Absent (64 zero bytes on the wire) if the request did not want one.
        proof: Option<Proof>,
        /// Every evaluation renews the lease.
        lease: Lease,
    },
    /// Any other status.
    Refused {
        /// Why; never [`Status::Ok`].
        status: Status,
        /// Must be there and verify for statuses 4, 5 and 8 to be believed.
        lease: Option<Lease>,
    },
}

/// An answer as it was received: well formed, but nothing in it is verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EvaluateResponse {
    /// The key and epochs the node evaluated under, or was asked for.
    pub target: Target,
    /// The node, from 1.
    pub node_index: u16,
    /// The request it answers.
    pub request_hash: RequestHash,
    /// Evaluations left in this hour.
    pub quota_left: u32,
    /// The node's clock, Unix seconds.
    pub time_secs: u64,
    /// What it says.
    pub outcome: EvaluateOutcome,
}

impl EvaluateResponse {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_answer(frame, FrameType::Evaluate)?;
        let status = super::read_status(&mut reader)?;
        let target = Target {
            key: KeyId::from_bytes(reader.array()?),
            key_epoch: reader.u32()?,
            share_epoch: reader.u32()?,
        };
        let node_index = reader.u16()?;
        let count = usize::from(reader.u16()?);
        let request_hash = reader.array()?;
        let (quota_left, time_secs) = (reader.u32()?, reader.u64()?);
        let outcome = match status {
            Status::Ok => {
                check_count(count)?;
                let elements = reader.take(count * POINT_BYTES)?;
                let proof = reader.array()?;
                let lease = Lease::parse(reader.lp(LEASE_BYTES)?)?;
                reader.finish()?;
                EvaluateOutcome::Done {
                    points: decode_points(elements)?,
                    proof: Proof::parse(&proof)?,
                    lease,
                }
            }
            status if count == 0 => {
                let lease = super::optional_lease(&mut reader)?;
                reader.finish()?;
                EvaluateOutcome::Refused { status, lease }
            }
            _ => return Err(FrameError::Inconsistent),
        };
        Ok(Self { target, node_index, request_hash, quota_left, time_secs, outcome })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.outcome {
            EvaluateOutcome::Done { points, proof, lease } => {
                let size = ANSWER_HEADER_BYTES + points.len() * POINT_BYTES + 64 + 2 + LEASE_BYTES;
                let mut writer = self.start(Status::Ok, points, size);
                for point in points {
                    writer.bytes(point.as_bytes());
                }
                writer.bytes(&proof.as_ref().map_or([0; 64], Proof::to_bytes)).lp(lease.as_bytes());
                writer.finish()
            }
            EvaluateOutcome::Refused { status, lease } => {
                let mut writer = self.start(*status, &[], ANSWER_HEADER_BYTES + 2 + LEASE_BYTES);
                writer.lp(lease.as_ref().map_or(&[], |lease| lease.as_bytes()));
                writer.finish()
            }
        }
    }

    fn start(&self, status: Status, points: &[Point], size: usize) -> Writer {
        let mut writer = super::start_answer(FrameType::Evaluate, size);
        writer.u16(status.code());
        write_target(&mut writer, &self.target);
        writer.u16(self.node_index).u16(count(points)).bytes(&self.request_hash);
        writer.u32(self.quota_left).u64(self.time_secs);
        writer
    }
}

fn write_target(writer: &mut Writer, target: &Target) {
    writer.bytes(target.key.as_bytes()).u32(target.key_epoch).u32(target.share_epoch);
}

fn check_count(found: usize) -> Result<(), FrameError> {
    match found {
        1..=BATCH_MAX => Ok(()),
        _ => Err(FrameError::Count { found, max: BATCH_MAX }),
    }
}

fn count(points: &[Point]) -> u16 {
    u16::try_from(points.len()).expect("a batch has at most 64 points")
}

/// Decodes all or rejects all.
fn decode_points(elements: &[u8]) -> Result<Vec<Point>, FrameError> {
    let (encodings, _) = elements.as_chunks::<POINT_BYTES>();
    let decode = |(index, bytes)| Point::decode(bytes).map_err(|error| FrameError::Point { index, error });
    encodings.iter().enumerate().map(decode).collect()
}
