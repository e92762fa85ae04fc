//! The answers of frame 0x07.

use super::super::{FrameError, FrameType, RequestHash, Status, open_answer, read_status, start_answer};
use super::{FORMAT, read_op};
use crate::codec::{Reader, Writer};
use crate::dkg::{DEALING_BYTES_MAX, DkgError, DkgFault, OFFER_BYTES, SCHNORR_BYTES};
use crate::group::PublicKey;
use crate::possession::Possession;
use crate::signing::SIGNATURE_BYTES;

/// Most bytes of a share sealed to the escrow key.
pub const ESCROW_ENVELOPE_BYTES_MAX: usize = 2048;

/// How a proposal stands at a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Approval {
    /// An operator has to compare fingerprints and approve.
    Pending = 0,
    /// Approved.
    Approved = 1,
    /// An operator declined.
    Refused = 2,
}

impl Approval {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Pending,
            1 => Self::Approved,
            2 => Self::Refused,
            _ => return None,
        })
    }
}

/// A key or a share that a node holds, proven.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EpochKey {
    /// y of a node that holds the key alone, y_i of a member of a group.
    pub public: PublicKey,
    /// Proof over the deployment, the key and its epoch.
    pub possession: Possession,
}

/// What a node did. Well formed, nothing verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GroupReply {
    /// To [`super::GroupOp::Card`]: the card, encoded.
    Card(Vec<u8>),
    /// To [`super::GroupOp::Propose`].
    Approval(Approval),
    /// To [`super::GroupOp::Deal`]: the dealing, signed.
    Dealing(Vec<u8>),
    /// To [`super::GroupOp::Verify`]: the signature over the transcript.
    Certified([u8; SCHNORR_BYTES]),
    /// To [`super::GroupOp::Commit`].
    Committed(EpochKey),
    /// To [`super::GroupOp::SignManifest`]: the node's signature, and that of its root if it is the lead of
    /// the group.
    ManifestSigned {
        /// Of the node.
        node: [u8; SIGNATURE_BYTES],
        /// Of the lead's root.
        root: Option<[u8; SIGNATURE_BYTES]>,
    },
    /// To [`super::GroupOp::StoreManifest`], [`super::GroupOp::Acknowledge`] and
    /// [`super::GroupOp::SetEscrow`].
    Done,
    /// To [`super::GroupOp::NewEpoch`].
    Epoch(EpochKey),
    /// To [`super::GroupOp::Retire`]: whether the epoch is retired; otherwise an order of two officers is
    /// needed.
    Retired(bool),
    /// To [`super::GroupOp::Escrow`]: the envelope.
    Escrow(Vec<u8>),
    /// To [`super::GroupOp::Offer`]: the receive key, signed.
    Offer([u8; OFFER_BYTES]),
}

/// Who broke the protocol, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Blame {
    /// The participant, as in [`DkgError::Participant`].
    pub participant: u16,
    /// What it did.
    pub fault: DkgFault,
}

/// Why a node did nothing. Unauthenticated, as every error: a hint for the operator, not a reason to cut
/// somebody off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GroupRefusal {
    /// Not [`Status::Ok`].
    pub status: Status,
    /// Exactly with [`Status::ParticipantFault`].
    pub blame: Option<Blame>,
}

impl From<Status> for GroupRefusal {
    fn from(status: Status) -> Self {
        Self { status, blame: None }
    }
}

impl From<DkgError> for GroupRefusal {
    fn from(error: DkgError) -> Self {
        match error {
            DkgError::Participant { participant, fault } => {
                Self { status: Status::ParticipantFault, blame: Some(Blame { participant, fault }) }
            }
            DkgError::Setup(_) | DkgError::NoPart => Status::Disagrees.into(),
            DkgError::Count { .. } => Status::Malformed.into(),
            DkgError::State => Status::UnknownRun.into(),
            DkgError::Degenerate => Status::Busy.into(),
        }
    }
}

/// The answer to a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupAnswer {
    /// The request it answers.
    pub request_hash: RequestHash,
    /// The number of the step that it answers.
    pub op: u8,
    /// What the node did, or why it did nothing.
    pub outcome: Result<GroupReply, GroupRefusal>,
}

impl GroupAnswer {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = open_answer(frame, FrameType::Group)?;
        let op = read_op(&mut reader)?;
        let status = read_status(&mut reader)?;
        let request_hash = reader.array()?;
        let outcome = match status {
            Status::Ok => Ok(GroupReply::read(op, &mut reader)?),
            Status::ParticipantFault => Err(GroupRefusal { status, blame: Some(read_blame(&mut reader)?) }),
            other => Err(other.into()),
        };
        reader.finish()?;
        Ok(Self { request_hash, op, outcome })
    }

    /// The frame.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = start_answer(FrameType::Group, 1024);
        let status = self.outcome.as_ref().err().map_or(Status::Ok, |refusal| refusal.status);
        writer.u8(FORMAT).u8(self.op).u16(status.code()).bytes(&self.request_hash);
        match &self.outcome {
            Ok(reply) => reply.write(&mut writer),
            Err(GroupRefusal { blame: Some(blame), .. }) => {
                writer.u16(blame.participant).u8(blame.fault.byte());
            }
            Err(_) => {}
        }
        writer.finish()
    }
}

fn read_blame(reader: &mut Reader<'_>) -> Result<Blame, FrameError> {
    let (participant, fault) = (reader.u16()?, reader.u8()?);
    let fault = DkgFault::from_byte(fault).ok_or(FrameError::Code { found: fault.into() })?;
    Ok(Blame { participant, fault })
}

impl GroupReply {
    fn read(op: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match op {
            1 => Self::Card(reader.lp(crate::card::CARD_BYTES)?.to_vec()),
            2 => {
                let found = reader.u8()?;
                Self::Approval(Approval::from_byte(found).ok_or(FrameError::Code { found: found.into() })?)
            }
            3 => Self::Dealing(reader.lp(DEALING_BYTES_MAX)?.to_vec()),
            4 => Self::Certified(reader.array()?),
            5 => Self::Committed(EpochKey::read(reader)?),
            6 => Self::ManifestSigned {
                node: reader.array()?,
                root: match read_flag(reader)? {
                    true => Some(reader.array()?),
                    false => None,
                },
            },
            7 | 8 | 11 => Self::Done,
            9 => Self::Epoch(EpochKey::read(reader)?),
            10 => Self::Retired(read_flag(reader)?),
            12 => Self::Escrow(reader.lp(ESCROW_ENVELOPE_BYTES_MAX)?.to_vec()),
            13 => Self::Offer(reader.array()?),
            found => return Err(FrameError::Code { found: found.into() }),
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Card(field) | Self::Dealing(field) | Self::Escrow(field) => {
                writer.lp(field);
            }
            Self::Approval(approval) => {
                writer.u8(*approval as u8);
            }
            Self::Certified(signature) => {
                writer.bytes(signature);
            }
            Self::Offer(offer) => {
                writer.bytes(offer);
            }
            Self::Committed(key) | Self::Epoch(key) => {
                writer.bytes(key.public.as_bytes()).bytes(key.possession.as_bytes());
            }
            Self::ManifestSigned { node, root } => {
                writer.bytes(node).u8(root.is_some().into());
                writer.bytes(root.as_ref().map_or(&[], <[u8; SIGNATURE_BYTES]>::as_slice));
            }
            Self::Done => {}
            Self::Retired(retired) => {
                writer.u8((*retired).into());
            }
        }
    }
}

impl EpochKey {
    fn read(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let public =
            PublicKey::decode(&reader.array()?).map_err(|error| FrameError::Point { index: 0, error })?;
        Ok(Self { public, possession: Possession::from_bytes(reader.array()?) })
    }
}

fn read_flag(reader: &mut Reader<'_>) -> Result<bool, FrameError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(FrameError::Code { found: found.into() }),
    }
}
