//! A run under way, sealed in one file beside the keys. It goes when its share is acknowledged.
//!
//! ```text
//! format=2 run lp32(offers) lp32(own dealing) lp32(SHA-256 of all dealings, or empty) lp32(pending share)
//! ```
//!
//! Format 1 had no offers: its dealings were sealed to the static keys of nodes. It is not read any more.

use sha2::{Digest, Sha256};
use symbolon_proto::Zeroizing;
use symbolon_proto::codec::{DecodeError, Reader};
use symbolon_proto::dkg::{DEALING_BYTES_MAX, DkgError, DkgFault, OFFER_BYTES, PendingShare, RUN_BYTES, Run};
use symbolon_proto::frame::Status;
use symbolon_proto::manifest::NODES_MAX;

use super::busy;
use crate::state::Service;
use crate::tables::ShareId;

const FORMAT: u8 = 2;
const OFFERS_BYTES_MAX: usize = NODES_MAX as usize * OFFER_BYTES;
const PENDING_BYTES_MAX: usize = 32 << 10;

/// What this node has done in a run so far.
pub(super) struct RunState {
    pub(super) run: Run,
    /// What all receivers have shown, in their order.
    pub(super) offers: Vec<[u8; OFFER_BYTES]>,
    /// What it dealt; empty if it does not deal.
    pub(super) dealing: Vec<u8>,
    /// After round 2.
    pub(super) received: Option<Received>,
}

/// What came of round 2.
pub(super) struct Received {
    /// Hash of the dealings that were accepted.
    pub(super) dealings: [u8; 32],
    /// The share that is not in use yet.
    pub(super) pending: PendingShare,
}

/// Hash of all dealings, each with its length.
pub(super) fn hash_dealings(dealings: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for dealing in dealings {
        hash.update(dealing.len().to_be_bytes());
        hash.update(dealing);
    }
    hash.finalize().into()
}

/// Whether a node is told of the same receive keys as before. Names the first receiver of whom it is told
/// another one.
pub(super) fn check_same(known: &[[u8; OFFER_BYTES]], told: &[[u8; OFFER_BYTES]]) -> Result<(), DkgError> {
    if told.len() > known.len() {
        return Err(DkgError::Count { found: told.len(), expected: known.len() });
    }
    let mut told = told.iter();
    match (1..).zip(known).find(|(_, offer)| told.next() != Some(*offer)) {
        Some((index, _)) => Err(DkgFault::ReceiveKey.by(index)),
        None => Ok(()),
    }
}

/// The share that a run makes.
pub(super) const fn share_of(run: &Run) -> ShareId {
    ShareId { key: run.key, key_epoch: run.key_epoch, share_epoch: run.share_epoch }
}

impl Service {
    /// The state of the run that makes this share, if there is one.
    pub(super) fn read_run(&self, share: &ShareId) -> Result<Option<RunState>, Status> {
        let name = share.run_file();
        let Some(sealed) = self.dir.read(&name).map_err(|error| busy(&error))? else { return Ok(None) };
        let opened = self.seal.open_file(&name, &sealed).ok();
        if let Some(found) = opened.as_ref().and_then(|bytes| bytes.first()).filter(|found| **found != FORMAT)
        {
            tracing::error!(
                file = name,
                "the state of a group ceremony has format {found}, this version reads {FORMAT}; finish the ceremony with \
                 the version that began it, or remove the file and have the broker begin it again"
            );
            return Err(Status::Busy);
        }
        let state = opened.and_then(|bytes| parse(&bytes));
        if state.is_none() {
            tracing::error!(
                file = name,
                "the state of a group ceremony does not open; restore it, or remove it and run again"
            );
        }
        state.map(Some).ok_or(Status::Busy)
    }

    pub(super) fn write_run(&self, state: &RunState) -> Result<(), Status> {
        let name = share_of(&state.run).run_file();
        // What a run left behind that this one replaces may be a share.
        self.dir.write_over(&name, &self.seal.seal(&name, &encode(state))).map_err(|error| busy(&error))
    }
}

fn encode(state: &RunState) -> Zeroizing<Vec<u8>> {
    let pending = state.received.as_ref().map(|received| received.pending.to_secret_bytes());
    let pending = pending.as_ref().map_or(&[][..], |bytes| bytes);
    let hash = state.received.as_ref().map_or(&[][..], |received| &received.dealings);
    let offers = state.offers.as_flattened();
    // Reserved in full: growing would leave copies of the share behind.
    let size = 1 + RUN_BYTES + 16 + offers.len() + state.dealing.len() + hash.len() + pending.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.push(FORMAT);
    bytes.extend_from_slice(&state.run.to_bytes());
    for field in [offers, &state.dealing, hash, pending] {
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

fn parse(bytes: &[u8]) -> Option<RunState> {
    let (run, offers, dealing, hash, pending) = fields(bytes).ok()??;
    let (offers, []) = offers.as_chunks() else { return None };
    let received = match hash {
        [] => None,
        hash => {
            let dealings = hash.try_into().ok()?;
            Some(Received { dealings, pending: PendingShare::from_secret_bytes(pending).ok()? })
        }
    };
    Some(RunState { run, offers: offers.to_vec(), dealing: dealing.to_vec(), received })
}

/// Run, offers, dealing, hash and pending share.
type Fields<'a> = (Run, &'a [u8], &'a [u8], &'a [u8], &'a [u8]);

fn fields(bytes: &[u8]) -> Result<Option<Fields<'_>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != FORMAT {
        return Ok(None);
    }
    let Ok(run) = Run::parse(reader.take(RUN_BYTES)?) else { return Ok(None) };
    let offers = reader.lp32(OFFERS_BYTES_MAX)?;
    let dealing = reader.lp32(DEALING_BYTES_MAX)?;
    let hash = reader.lp32(32)?;
    let pending = reader.lp32(PENDING_BYTES_MAX)?;
    reader.finish()?;
    Ok(Some((run, offers, dealing, hash, pending)))
}
