//! Shares sealed to escrow custodians, for the day on which this service is gone (`docs/skb1.md` section 8).
//!
//! What escrow custodians open bypasses every revocation, so a broker alone cannot ask for it: the operator
//! of each service compares the fingerprint of the escrow key and approves it once.

use symbolon_proto::custody::XWingPublicKey;
use symbolon_proto::custody::escrow::{EscrowEnvelope, EscrowedShare};
use symbolon_proto::frame::{GroupReply, Status};
use symbolon_proto::id::KeyId;

use super::{Step, busy};
use crate::identity::NODE_INDEX;
use crate::peer::Peer;
use crate::rng::os_rng;
use crate::state::Service;
use crate::tables::{Epoch, KeyState, ShareId};

impl Service {
    pub(super) fn set_escrow(&self, peer: &Peer, key: KeyId, escrow: &[u8]) -> Step {
        let escrow = XWingPublicKey::from_bytes(escrow).map_err(|_| Status::Malformed)?;
        let mut live = self.live();
        self.allow(&live, peer, key)?;
        match live.tables.keys.get(&key).and_then(|row| row.escrow.as_deref()) {
            Some(known) if known == escrow.as_bytes() => Ok(GroupReply::Done),
            Some(_) => Err(Status::Disagrees.into()),
            None => {
                self.note_escrow(&mut live, key, escrow);
                Err(Status::NotApproved.into())
            }
        }
    }

    pub(super) fn escrow(&self, peer: &Peer, share: &ShareId) -> Step {
        let live = self.live();
        self.allow(&live, peer, share.key)?;
        let row = live.tables.keys.get(&share.key).ok_or(Status::UnknownKey)?;
        match row.state {
            KeyState::Active => {}
            KeyState::Suspended | KeyState::PendingDestroy => return Err(Status::Suspended.into()),
            KeyState::Destroyed => return Err(Status::Destroyed.into()),
        }
        // What is retired answers to two officers only, and escrow answers to nobody.
        let is_living = row.epoch(share.key_epoch).is_some_and(Epoch::is_living);
        if !is_living {
            return Err(Status::WrongKeyEpoch.into());
        }
        let escrow = row.escrow.as_deref().ok_or(Status::NotApproved)?;
        let escrow = XWingPublicKey::from_bytes(escrow).map_err(|_| Status::Disagrees)?;
        let held = live.keys.get(share).ok_or(Status::WrongShareEpoch)?;
        let name = share.escrow_file();
        if let Some(envelope) = self.dir.read(&name).map_err(|error| busy(&error))? {
            return Ok(GroupReply::Escrow(envelope));
        }
        let sharing = row.sharing(share.key_epoch, share.share_epoch);
        let escrowed = EscrowedShare {
            deployment: row.deployment,
            key: share.key,
            key_epoch: share.key_epoch,
            share_epoch: share.share_epoch,
            node: sharing.map_or(NODE_INDEX, |sharing| sharing.index),
            share: held,
        };
        let envelope = EscrowEnvelope::seal(&escrowed, &escrow, &mut os_rng()).encode();
        self.dir.write(&name, &envelope).map_err(|error| busy(&error))?;
        Ok(GroupReply::Escrow(envelope))
    }
}
