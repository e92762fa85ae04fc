//! Frame 0x07: the group ceremony, in which nodes that do not talk to each other make, refresh and pass on a
//! key. The broker relays everything and is trusted with nothing (`docs/skb1.md` section 16.14).
//!
//! ```text
//! request  "SKB1" 0x07 suite format=2 op(1) nonce(16) body
//! answer   "SKB1" 0x87 suite format=2 op(1) status(2) req_hash(32) body
//! ```
//!
//! Format 1 had no receive keys: its dealings were sealed to keys that nodes keep. It is not spoken any more.
//!
//! Every step is idempotent: after a lost answer the broker asks again, with another nonce, and gets the same
//! answer. What travels inside (cards, proposals, dealings, manifests) is signed itself and is opaque here.

mod answer;

pub use self::answer::{
    Approval, Blame, ESCROW_ENVELOPE_BYTES_MAX, EpochKey, GroupAnswer, GroupRefusal, GroupReply,
};
use super::{FrameError, FrameType};
use crate::codec::{Reader, Writer};
use crate::dkg::{DEALING_BYTES_MAX, GroupKey, OFFER_BYTES, Run, RunKind, SCHNORR_BYTES};
use crate::id::{KeyId, RequestId};
use crate::limits::NODES_MAX;
use crate::manifest::MANIFEST_BYTES_MAX;
use crate::proposal::PROPOSAL_BYTES_MAX;

/// Bytes of an X-Wing public key.
pub const ESCROW_KEY_BYTES: usize = crate::xwing::XWING_PUBLIC_BYTES;

const FORMAT: u8 = 2;

/// A step that a broker asks a node for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupRequest {
    /// Makes the request hash fresh.
    pub nonce: RequestId,
    /// The step.
    pub op: GroupOp,
}

/// What there was before a resharing. A node that has a share compares it with its own state; one that is new
/// learns it here, bound by the run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Base {
    /// The proposal of the old group, encoded.
    pub group: Vec<u8>,
    /// The sharing in the old group.
    pub key: GroupKey,
}

/// The steps. Each says what repeating it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum GroupOp {
    /// 1: what are you? Answered for everybody who can reach the node. [`GroupReply::Card`], always the same.
    Card,
    /// 2: would you be in this group, for this broker? Waits for an operator. [`GroupReply::Approval`]:
    /// repeated, it asks how the proposal stands.
    Propose {
        /// The proposal, encoded.
        proposal: Vec<u8>,
    },
    /// 3: round 1, with the offers of all receivers in their order. [`GroupReply::Dealing`]; the node stores
    /// what it dealt and gives the same again for the same run. Other offers for the same run are refused by
    /// the name of the first receiver whose offer is another. A run with another session for the same key and
    /// epochs takes the place of one that was not committed.
    Deal {
        /// The run.
        run: Run,
        /// Of a resharing only.
        base: Option<Base>,
        /// The receive keys.
        offers: Vec<[u8; OFFER_BYTES]>,
    },
    /// 4: round 2, all dealings in the order of their dealers, and the offers that they were made for.
    /// [`GroupReply::Certified`]; the node stores the pending share, erases its receive key, and gives the
    /// same signature again. Other offers are refused as in round 1, other dealings for the same run are
    /// [`super::Status::Disagrees`].
    Verify {
        /// The run.
        run: Run,
        /// Of a resharing only.
        base: Option<Base>,
        /// The receive keys.
        offers: Vec<[u8; OFFER_BYTES]>,
        /// The dealings.
        dealings: Vec<Vec<u8>>,
    },
    /// 5: round 3, the signatures of all receivers in their order. [`GroupReply::Committed`]; the share is in
    /// use from now on, beside the one before it until [`GroupOp::Acknowledge`]. Repeated, it proves
    /// possession again.
    Commit {
        /// The run.
        run: Run,
        /// The signatures.
        signatures: Vec<[u8; SCHNORR_BYTES]>,
    },
    /// 6: sign this manifest if it says what you know. [`GroupReply::ManifestSigned`]. Signing is
    /// deterministic, but a node never signs two manifests with one number: another body for a signed number
    /// is [`super::Status::Disagrees`].
    SignManifest {
        /// Everything that is signed, encoded.
        body: Vec<u8>,
    },
    /// 7: this is the manifest with all signatures. [`GroupReply::Done`], also when it is stored already.
    StoreManifest {
        /// The manifest, encoded.
        manifest: Vec<u8>,
    },
    /// 8: the new shares work; erase those of earlier share epochs. [`GroupReply::Done`], also when they are
    /// gone.
    Acknowledge {
        /// The key.
        key: KeyId,
        /// Its epoch.
        key_epoch: u32,
        /// The epoch of the shares that stay.
        share_epoch: u32,
    },
    /// 9: make a fresh key for this epoch; only of a node that holds the key alone. [`GroupReply::Epoch`]
    /// with the same key again if the epoch exists.
    NewEpoch {
        /// The key.
        key: KeyId,
        /// The epoch to make.
        key_epoch: u32,
    },
    /// 10: no capsule of this epoch is left. [`GroupReply::Retired`] says whether an order of two officers is
    /// still needed; repeated, it asks again.
    Retire {
        /// The key.
        key: KeyId,
        /// The epoch.
        key_epoch: u32,
    },
    /// 11: seal every share of this key to this X-Wing public key, too. [`GroupReply::Done`]; the same key
    /// again changes nothing, another one is [`super::Status::Disagrees`].
    SetEscrow {
        /// The key.
        key: KeyId,
        /// The public key of the escrow custodians, [`ESCROW_KEY_BYTES`] long.
        escrow: Vec<u8>,
    },
    /// 12: the share of these epochs, sealed to the escrow key. [`GroupReply::Escrow`]: the envelope that was
    /// made with the share.
    Escrow {
        /// The key.
        key: KeyId,
        /// Its epoch.
        key_epoch: u32,
        /// The epoch of its shares.
        share_epoch: u32,
    },
    /// 13: before round 1, of each receiver: which key are shares to be sealed to? [`GroupReply::Offer`]; the
    /// node makes the key for this run and keeps it until it has opened the dealings. Repeated, the same
    /// offer. A run with another session for the same key and epochs takes the key's place.
    Offer {
        /// The run.
        run: Run,
        /// Of a resharing only.
        base: Option<Base>,
    },
}

impl GroupOp {
    /// The number on the wire.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Card => 1,
            Self::Propose { .. } => 2,
            Self::Deal { .. } => 3,
            Self::Verify { .. } => 4,
            Self::Commit { .. } => 5,
            Self::SignManifest { .. } => 6,
            Self::StoreManifest { .. } => 7,
            Self::Acknowledge { .. } => 8,
            Self::NewEpoch { .. } => 9,
            Self::Retire { .. } => 10,
            Self::SetEscrow { .. } => 11,
            Self::Escrow { .. } => 12,
            Self::Offer { .. } => 13,
        }
    }

    fn read(code: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(match code {
            1 => Self::Card,
            2 => Self::Propose { proposal: reader.lp(PROPOSAL_BYTES_MAX)?.to_vec() },
            3 => {
                let (run, base) = read_run(reader)?;
                Self::Deal { run, base, offers: read_list(reader, read_array)? }
            }
            4 => {
                let (run, base) = read_run(reader)?;
                let offers = read_list(reader, read_array)?;
                let dealing = |reader: &mut Reader<'_>| Ok(reader.lp(DEALING_BYTES_MAX)?.to_vec());
                Self::Verify { run, base, offers, dealings: read_list(reader, dealing)? }
            }
            5 => {
                let run = Run::read(reader)?;
                Self::Commit { run, signatures: read_list(reader, read_array)? }
            }
            6 => Self::SignManifest { body: reader.lp(MANIFEST_BYTES_MAX)?.to_vec() },
            7 => Self::StoreManifest { manifest: reader.lp(MANIFEST_BYTES_MAX)?.to_vec() },
            8 => {
                let (key, key_epoch) = read_epoch(reader)?;
                Self::Acknowledge { key, key_epoch, share_epoch: reader.u32()? }
            }
            9 => {
                let (key, key_epoch) = read_epoch(reader)?;
                Self::NewEpoch { key, key_epoch }
            }
            10 => {
                let (key, key_epoch) = read_epoch(reader)?;
                Self::Retire { key, key_epoch }
            }
            11 => Self::SetEscrow {
                key: KeyId::from_bytes(reader.array()?),
                escrow: reader.take(ESCROW_KEY_BYTES)?.to_vec(),
            },
            12 => {
                let (key, key_epoch) = read_epoch(reader)?;
                Self::Escrow { key, key_epoch, share_epoch: reader.u32()? }
            }
            13 => {
                let (run, base) = read_run(reader)?;
                Self::Offer { run, base }
            }
            found => return Err(FrameError::Code { found: found.into() }),
        })
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Card => {}
            Self::Propose { proposal: field }
            | Self::SignManifest { body: field }
            | Self::StoreManifest { manifest: field } => {
                writer.lp(field);
            }
            Self::Offer { run, base } => write_run(writer, run, base.as_ref()),
            Self::Deal { run, base, offers } => {
                write_run(writer, run, base.as_ref());
                write_list(writer, offers, |writer, offer| writer.bytes(offer));
            }
            Self::Verify { run, base, offers, dealings } => {
                write_run(writer, run, base.as_ref());
                write_list(writer, offers, |writer, offer| writer.bytes(offer));
                write_list(writer, dealings, |writer, dealing| writer.lp(dealing));
            }
            Self::Commit { run, signatures } => {
                writer.bytes(&run.to_bytes());
                write_list(writer, signatures, |writer, signature| writer.bytes(signature));
            }
            Self::Acknowledge { key, key_epoch, share_epoch }
            | Self::Escrow { key, key_epoch, share_epoch } => {
                writer.bytes(key.as_bytes()).u32(*key_epoch).u32(*share_epoch);
            }
            Self::NewEpoch { key, key_epoch } | Self::Retire { key, key_epoch } => {
                writer.bytes(key.as_bytes()).u32(*key_epoch);
            }
            Self::SetEscrow { key, escrow } => {
                writer.bytes(key.as_bytes()).bytes(escrow);
            }
        }
    }
}

fn read_epoch(reader: &mut Reader<'_>) -> Result<(KeyId, u32), FrameError> {
    Ok((KeyId::from_bytes(reader.array()?), reader.u32()?))
}

/// A run; one of a resharing brings what there was before.
fn read_run(reader: &mut Reader<'_>) -> Result<(Run, Option<Base>), FrameError> {
    let run = Run::read(reader)?;
    let base = match run.kind {
        RunKind::Reshare => {
            Some(Base { group: reader.lp(PROPOSAL_BYTES_MAX)?.to_vec(), key: GroupKey::read(reader)? })
        }
        RunKind::Generate | RunKind::Refresh => None,
    };
    Ok((run, base))
}

/// Writes a run, and its base exactly if it reshares.
fn write_run(writer: &mut Writer, run: &Run, base: Option<&Base>) {
    writer.bytes(&run.to_bytes());
    if let (RunKind::Reshare, Some(base)) = (run.kind, base) {
        base.key.write(writer.lp(&base.group));
    }
}

fn read_array<const N: usize>(reader: &mut Reader<'_>) -> Result<[u8; N], FrameError> {
    Ok(reader.array()?)
}

/// count(1), 1 to 16, then that many items.
fn read_list<T>(
    reader: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<T, FrameError>,
) -> Result<Vec<T>, FrameError> {
    let (found, max) = (usize::from(reader.u8()?), usize::from(NODES_MAX));
    match (1..=max).contains(&found) {
        true => (0..found).map(|_| item(reader)).collect(),
        false => Err(FrameError::Count { found, max }),
    }
}

fn write_list<'a, T>(
    writer: &'a mut Writer,
    items: &[T],
    item: impl for<'w> Fn(&'w mut Writer, &T) -> &'w mut Writer,
) {
    writer.u8(u8::try_from(items.len()).expect("at most 16 items in a list of nodes"));
    for each in items {
        item(writer, each);
    }
}

impl GroupRequest {
    /// Reads a frame.
    pub fn parse(frame: &[u8]) -> Result<Self, FrameError> {
        let mut reader = super::open_request(frame, FrameType::Group)?;
        let code = read_op(&mut reader)?;
        let nonce = RequestId::from_bytes(reader.array()?);
        let op = GroupOp::read(code, &mut reader)?;
        reader.finish()?;
        Ok(Self { nonce, op })
    }

    /// The frame. Panics with more than 16 offers, dealings or signatures, and without the base of a
    /// resharing.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = super::start_request(FrameType::Group, 1024);
        writer.u8(FORMAT).u8(self.op.code()).bytes(self.nonce.as_bytes());
        self.op.write(&mut writer);
        writer.finish()
    }
}

fn read_op(reader: &mut Reader<'_>) -> Result<u8, FrameError> {
    match reader.u8()? {
        FORMAT => Ok(reader.u8()?),
        found => Err(FrameError::Format { found, read: FORMAT }),
    }
}

#[cfg(test)]
mod tests;
