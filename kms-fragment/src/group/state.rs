//! A run under way, sealed in one file beside the keys. It goes when its share is acknowledged.
//!
//! ```text
//! format=1 run lp32(own dealing) lp32(SHA-256 of all dealings, or empty) lp32(pending share)
//! ```

use sha2::{Digest, Sha256};
use symbolon_proto::Zeroizing;
use symbolon_proto::codec::{DecodeError, Reader};
use symbolon_proto::dkg::{DEALING_BYTES_MAX, PendingShare, RUN_BYTES, Run};
use symbolon_proto::frame::Status;

use super::busy;
use crate::service::Service;
use crate::tables::ShareId;

const FORMAT: u8 = 1;
const PENDING_BYTES_MAX: usize = 32 << 10;

/// What this node has done in a run so far.
pub(super) struct RunState {
    pub(super) run: Run,
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

/// The share that a run makes.
pub(super) const fn share_of(run: &Run) -> ShareId {
    ShareId { key: run.key, key_epoch: run.key_epoch, share_epoch: run.share_epoch }
}

impl Service {
    /// The state of the run that makes this share, if there is one.
    pub(super) fn read_run(&self, share: &ShareId) -> Result<Option<RunState>, Status> {
        let name = share.run_file();
        let Some(sealed) = self.dir.read(&name).map_err(|error| busy(&error))? else { return Ok(None) };
        let state = self.seal.open_file(&name, &sealed).ok().and_then(|bytes| parse(&bytes));
        if state.is_none() {
            tracing::error!(
                file = name,
                "the state of a group ceremony does not open; restore it, or run again"
            );
        }
        state.map(Some).ok_or(Status::Busy)
    }

    pub(super) fn write_run(&self, state: &RunState) -> Result<(), Status> {
        let name = share_of(&state.run).run_file();
        self.dir.write(&name, &self.seal.seal(&name, &encode(state))).map_err(|error| busy(&error))
    }
}

fn encode(state: &RunState) -> Zeroizing<Vec<u8>> {
    let pending = state.received.as_ref().map(|received| received.pending.to_secret_bytes());
    let pending = pending.as_ref().map_or(&[][..], |bytes| bytes);
    let hash = state.received.as_ref().map_or(&[][..], |received| &received.dealings);
    // Reserved in full: growing would leave copies of the share behind.
    let size = 1 + RUN_BYTES + 12 + state.dealing.len() + hash.len() + pending.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    bytes.push(FORMAT);
    bytes.extend_from_slice(&state.run.to_bytes());
    for field in [&state.dealing, hash, pending] {
        bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

fn parse(bytes: &[u8]) -> Option<RunState> {
    let (run, dealing, hash, pending) = fields(bytes).ok()??;
    let received = match hash {
        [] => None,
        hash => {
            let dealings = hash.try_into().ok()?;
            Some(Received { dealings, pending: PendingShare::from_secret_bytes(pending).ok()? })
        }
    };
    Some(RunState { run, dealing: dealing.to_vec(), received })
}

/// Run, dealing, hash and pending share.
type Fields<'a> = (Run, &'a [u8], &'a [u8], &'a [u8]);

fn fields(bytes: &[u8]) -> Result<Option<Fields<'_>>, DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != FORMAT {
        return Ok(None);
    }
    let Ok(run) = Run::parse(reader.take(RUN_BYTES)?) else { return Ok(None) };
    let dealing = reader.lp32(DEALING_BYTES_MAX)?;
    let hash = reader.lp32(32)?;
    let pending = reader.lp32(PENDING_BYTES_MAX)?;
    reader.finish()?;
    Ok(Some((run, dealing, hash, pending)))
}
