//! Keys that several services hold together (`docs/skb1.md` 6.7, 16.12 to 16.14).
//!
//! The broker relays; this node believes nobody but its own state and what is signed by members that its
//! operator approved. Every step writes before it answers, and repeating a step gives the same answer.
//!
//! ```text
//! membership.rs   card, proposals, approval by fingerprint
//! run.rs          deal, verify, commit, acknowledge: making, refreshing and passing on shares
//! receive_key.rs  the key of this node in a run, which is erased with it
//! state.rs        the run under way, sealed beside the keys
//! manifest.rs     signing and storing what all nodes say
//! escrow.rs       shares sealed to escrow custodians, if the operator approved their key
//! ```

mod escrow;
mod manifest;
mod membership;
mod receive_key;
mod run;
mod state;

use std::sync::atomic::Ordering;

use symbolon_proto::frame::{EpochKey, GroupOp, GroupRefusal, GroupReply, Status};
use symbolon_proto::id::KeyId;
use symbolon_proto::possession::PossessionClaim;

use crate::error::AdminError;
use crate::peer::Peer;
use crate::rng::os_rng;
use crate::state::{Live, Service};
use crate::tables::{EpochState, Key, ShareId, Tables};

/// What a step comes to.
pub(crate) type Step = Result<GroupReply, GroupRefusal>;

impl Service {
    /// Takes one step of a group ceremony for the broker behind a connection.
    pub(crate) fn step(&self, peer: &Peer, op: &GroupOp) -> Step {
        match op {
            GroupOp::Card => Ok(GroupReply::Card(self.identity.card().as_bytes().to_vec())),
            GroupOp::Propose { proposal } => self.propose(peer, proposal).map(GroupReply::Approval),
            GroupOp::Offer { run, base } => self.offer(peer, run, base.as_ref()),
            GroupOp::Deal { run, base, offers } => self.deal(peer, run, base.as_ref(), offers),
            GroupOp::Verify { run, base, offers, dealings } => {
                self.verify(peer, run, base.as_ref(), (offers, dealings))
            }
            GroupOp::Commit { run, signatures } => self.commit(peer, run, signatures),
            GroupOp::SignManifest { body } => self.sign_manifest(peer, body),
            GroupOp::StoreManifest { manifest } => self.store_manifest(peer, manifest),
            GroupOp::Acknowledge { key, key_epoch, share_epoch } => {
                let share = ShareId { key: *key, key_epoch: *key_epoch, share_epoch: *share_epoch };
                self.acknowledge(peer, &share)
            }
            GroupOp::NewEpoch { key, key_epoch } => self.make_epoch(peer, *key, *key_epoch),
            GroupOp::Retire { key, key_epoch } => self.retire(peer, *key, *key_epoch),
            GroupOp::SetEscrow { key, escrow } => self.set_escrow(peer, *key, escrow),
            GroupOp::Escrow { key, key_epoch, share_epoch } => {
                let share = ShareId { key: *key, key_epoch: *key_epoch, share_epoch: *share_epoch };
                self.escrow(peer, &share)
            }
        }
    }

    /// Whether the broker behind the connection may change this key: its deployment's, and under the newest
    /// generation, so that a clone cannot. Before the first hello there is no generation and nothing to
    /// clone.
    fn allow(&self, live: &Live, peer: &Peer, key: KeyId) -> Result<(), Status> {
        let (_, broker) = live.tables.broker_by_spki(&peer.spki).ok_or(Status::UnknownKey)?;
        let row = live.tables.keys.get(&key).filter(|row| row.deployment == broker.deployment);
        row.ok_or(Status::UnknownKey)?;
        match peer.generation.load(Ordering::Acquire) {
            // An older state was let in: only a hello tells it from the one that is barred.
            0 if broker.admitted.is_some() => Err(Status::Busy),
            bound if bound == broker.generation => Ok(()),
            0 => Err(Status::Busy),
            _ => Err(Status::StaleGeneration),
        }
    }

    fn make_epoch(&self, peer: &Peer, key: KeyId, key_epoch: u32) -> Step {
        self.allow(&self.live(), peer, key)?;
        self.new_epoch(key, key_epoch).map_err(|error| status_of(&error))?;
        let live = self.live();
        self.prove(&live, &ShareId { key, key_epoch, share_epoch: 1 }).map(GroupReply::Epoch)
    }

    fn retire(&self, peer: &Peer, key: KeyId, key_epoch: u32) -> Step {
        self.allow(&self.live(), peer, key)?;
        match self.ask_retire(key, key_epoch) {
            Ok(()) => {}
            // It was destroyed since: more than retired.
            Err(AdminError::UnknownEpoch) if self.was_destroyed(key, key_epoch) => {
                return Ok(GroupReply::Retired(true));
            }
            Err(error) => return Err(status_of(&error).into()),
        }
        let live = self.live();
        let epoch = live.tables.keys.get(&key).and_then(|row| row.epoch(key_epoch));
        let is_living = epoch.is_some_and(|epoch| matches!(epoch.state, EpochState::Living { .. }));
        Ok(GroupReply::Retired(!is_living))
    }

    fn was_destroyed(&self, key: KeyId, key_epoch: u32) -> bool {
        self.live().tombstones.cover(&ShareId { key, key_epoch, share_epoch: 1 })
    }

    /// The public half of a share, with proof that this node has the private one.
    fn prove(&self, live: &Live, share: &ShareId) -> Result<EpochKey, GroupRefusal> {
        let row = live.tables.keys.get(&share.key).ok_or(Status::UnknownKey)?;
        let key = live.keys.get(share).ok_or(Status::UnknownKey)?;
        let claim =
            PossessionClaim { deployment: row.deployment, key: share.key, key_epoch: share.key_epoch };
        Ok(EpochKey { public: *key.public_key(), possession: key.prove_possession(&claim, &mut os_rng()) })
    }

    /// Writes changed tables and takes them into use.
    fn keep(&self, live: &mut Live, tables: Tables) -> Result<(), Status> {
        self.write_tables(&tables).map_err(|error| busy(&error))?;
        live.tables = tables;
        Ok(())
    }
}

/// The row of a key that is held by a group.
fn group_row(tables: &mut Tables, key: KeyId) -> Result<&mut Key, Status> {
    tables.keys.get_mut(&key).filter(|row| row.group.is_some()).ok_or(Status::UnknownKey)
}

/// A disk that does not take a change: the broker may try again.
fn busy(error: &crate::disk::DiskError) -> Status {
    tracing::error!(%error, "a step of a group ceremony could not be written; free disk space");
    Status::Busy
}

/// What a broker is told of a refusal that has words for an operator.
const fn status_of(error: &AdminError) -> Status {
    match error {
        AdminError::UnknownKey => Status::UnknownKey,
        AdminError::PendingDestroy => Status::Suspended,
        AdminError::Destroyed => Status::Destroyed,
        AdminError::NotWritten(_) => Status::Busy,
        AdminError::StillRotating | AdminError::TooManyEpochs => Status::OtherRun,
        AdminError::UnknownEpoch | AdminError::EpochOrder { .. } => Status::WrongKeyEpoch,
        _ => Status::Disagrees,
    }
}
