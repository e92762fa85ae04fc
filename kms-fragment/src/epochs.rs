//! Key epochs: a new one beside the old, which of them answers what, and the request to retire one.

use std::sync::Arc;

use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{Status, Target};
use symbolon_proto::id::KeyId;

use crate::error::AdminError;
use crate::rng::os_rng;
use crate::state::Service;
use crate::tables::{EPOCHS_MAX, Epoch, EpochState, Key, KeyState, LIVING_EPOCHS_MAX, ShareId};

impl Service {
    /// Makes epoch `wanted` of a key of which this service is the only node. Asking again gives the same
    /// epoch.
    pub fn new_epoch(&self, key: KeyId, wanted: u32) -> Result<(), AdminError> {
        let mut live = self.live();
        let mut tables = live.tables.clone();
        let row = tables.keys.get_mut(&key).ok_or(AdminError::UnknownKey)?;
        if row.group.is_some() {
            return Err(AdminError::HeldByGroup);
        }
        if check_new_epoch(row, wanted)? == Next::Exists {
            return Ok(());
        }
        let fresh = RemoteKey::generate(&mut os_rng());
        let share = ShareId { key, key_epoch: wanted, share_epoch: 1 };
        self.write_key(&share, &fresh)?;
        row.epochs.push(Epoch::new(wanted));
        self.append_manifest(key, row, *fresh.public_key(), self.now());
        self.write_tables(&tables)?;
        live.tables = tables;
        live.keys.insert(share, Arc::new(fresh));
        tracing::info!(%key, key_epoch = wanted, "a new key epoch");
        Ok(())
    }

    /// Makes the epoch after the newest.
    pub fn next_epoch(&self, key: KeyId) -> Result<(), AdminError> {
        let newest =
            self.live().tables.keys.get(&key).and_then(|row| row.newest().map(|epoch| epoch.key_epoch));
        self.new_epoch(key, newest.unwrap_or(0).saturating_add(1))
    }

    /// Notes that the broker has no capsule of an epoch left. Officers decide what follows.
    pub fn ask_retire(&self, key: KeyId, key_epoch: u32) -> Result<(), AdminError> {
        let mut live = self.live();
        let mut tables = live.tables.clone();
        let row = tables.keys.get_mut(&key).ok_or(AdminError::UnknownKey)?;
        if row.newest().is_some_and(|newest| newest.key_epoch == key_epoch) {
            return Err(AdminError::NewestEpoch);
        }
        let epoch = row.epoch_mut(key_epoch).ok_or(AdminError::UnknownEpoch)?;
        if !matches!(epoch.state, EpochState::Living { retire_asked_secs: None }) {
            return Ok(());
        }
        epoch.state = EpochState::Living { retire_asked_secs: Some(self.now().unix_secs) };
        self.write_tables(&tables)?;
        live.tables = tables;
        tracing::info!(%key, key_epoch, "a broker asks to retire an epoch; two officers must order it");
        Ok(())
    }
}

/// Whether a wanted epoch is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It is there.
    Exists,
    /// It comes next.
    Make,
}

/// Whether `wanted` is the newest epoch of a key, or may become it.
pub(crate) fn check_new_epoch(row: &Key, wanted: u32) -> Result<Next, AdminError> {
    match row.state {
        KeyState::Active | KeyState::Suspended => {}
        KeyState::PendingDestroy => return Err(AdminError::PendingDestroy),
        KeyState::Destroyed => return Err(AdminError::Destroyed),
    }
    let newest = row.newest().map_or(0, |epoch| epoch.key_epoch);
    if wanted == newest && newest > 0 {
        return Ok(Next::Exists);
    }
    if newest.checked_add(1) != Some(wanted) {
        return Err(AdminError::EpochOrder { newest });
    }
    let living = row.epochs.iter().filter(|epoch| epoch.is_living()).count();
    if living >= LIVING_EPOCHS_MAX {
        return Err(AdminError::StillRotating);
    }
    if row.epochs.len() >= EPOCHS_MAX { Err(AdminError::TooManyEpochs) } else { Ok(Next::Make) }
}

/// The scalar that answers a request, if its epoch may be answered for at all.
pub(crate) fn select(row: &Key, target: &Target, is_restore: bool, now_secs: u64) -> Result<ShareId, Status> {
    let Target { key, key_epoch, share_epoch } = *target;
    if row.state == KeyState::Destroyed {
        // Its epochs are gone; whoever asks is told so by `standing`, with a signed lease.
        return Ok(ShareId { key, key_epoch, share_epoch });
    }
    let epoch = row.epoch(key_epoch).ok_or(Status::WrongKeyEpoch)?;
    let may_answer = match epoch.state {
        EpochState::Living { .. } => !is_restore,
        EpochState::Retired { restore_until_secs } => is_restore && now_secs < restore_until_secs,
        EpochState::PendingDestroy(_) => false,
    };
    match (may_answer, epoch.share_epochs.contains(&share_epoch)) {
        (false, _) => Err(Status::WrongKeyEpoch),
        (true, false) => Err(Status::WrongShareEpoch),
        (true, true) => Ok(ShareId { key, key_epoch, share_epoch }),
    }
}
