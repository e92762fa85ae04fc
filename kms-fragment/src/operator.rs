//! What one operator may ask by himself: who waits, suspend, resume, remove. Orders of two are in
//! `orders.rs`.

use symbolon_proto::id::{BrokerId, KeyId};

use crate::error::AdminError;
use crate::report::{PendingReport, Wish};
use crate::state::Service;
use crate::tables::KeyState;

impl Service {
    /// Brokers that wait for approval.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingReport> {
        let live = self.live();
        let report = |pending: &crate::tables::Pending| PendingReport {
            fingerprint: pending.fingerprint.to_string(),
            deployment: pending.deployment.to_string(),
            broker: pending.broker.to_string(),
            joins: live.tables.keys_of(pending.deployment).next().is_some(),
            asked_at: pending.asked_at,
            wish: Wish::Broker,
        };
        live.tables.pending.iter().map(report).chain(self.waiting(&live)).collect()
    }

    /// Stops answering for one key, or for all. Returns how many were active.
    pub fn suspend(&self, key: Option<KeyId>) -> Result<usize, AdminError> {
        self.set_state(key, KeyState::Suspended)
    }

    /// Answers again for one key, or for all. Returns how many were suspended.
    pub fn resume(&self, key: Option<KeyId>) -> Result<usize, AdminError> {
        self.set_state(key, KeyState::Active)
    }

    fn set_state(&self, key: Option<KeyId>, state: KeyState) -> Result<usize, AdminError> {
        let mut live = self.live();
        if let Some(key) = key {
            check_changeable(live.tables.keys.get(&key).ok_or(AdminError::UnknownKey)?.state)?;
        }
        let selected = live.tables.keys.iter().filter(|(id, row)| {
            row.state != state && check_changeable(row.state).is_ok() && key.is_none_or(|key| key == **id)
        });
        let selected: Vec<KeyId> = selected.map(|(id, _)| *id).collect();
        let mut tables = live.tables.clone();
        for id in &selected {
            if let Some(row) = tables.keys.get_mut(id) {
                row.state = state;
            }
            self.announce(&live, &mut tables, *id);
            tracing::warn!(key = %id, ?state, "the operator changed the state of a key");
        }
        if state == KeyState::Suspended {
            // Refusing begins now, even if the disk is full and the change is forgotten at the next start.
            live.tables = tables.clone();
        }
        self.write_tables(&tables)?;
        live.tables = tables;
        Ok(selected.len())
    }

    /// Ends the enrolment of a broker, at once and by one person, like a suspension. Its cached keys live
    /// until its lease ends.
    pub fn remove(&self, broker: BrokerId) -> Result<(), AdminError> {
        let mut live = self.live();
        // Refusing begins now, even if the disk is full and the change is forgotten at the next start.
        if !live.tables.remove(broker) {
            return Err(AdminError::UnknownBroker);
        }
        tracing::warn!(%broker, "the operator removed a broker");
        Ok(self.write_tables(&live.tables)?)
    }
}

/// One person may suspend and resume; what two officers ordered only two officers change.
const fn check_changeable(state: KeyState) -> Result<(), AdminError> {
    match state {
        KeyState::Active | KeyState::Suspended => Ok(()),
        KeyState::PendingDestroy => Err(AdminError::PendingDestroy),
        KeyState::Destroyed => Err(AdminError::Destroyed),
    }
}
