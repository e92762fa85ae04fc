//! Keys of enrolments that came to nothing: an `init` was approved here, and its broker was stopped, or
//! pointed elsewhere, before anybody unsealed it.
//!
//! One operator may remove such a key, where a key that was ever used needs two officers. What officers guard
//! is what a key opens, and this one opens nothing: before its first unseal a broker stores nothing of
//! anybody's, and the first unseal registers a generation here before it is served. A key is taken for used
//! in every case of doubt: if it was made by an earlier version, if another broker joined its deployment, if
//! this service came to it by a reshare.

use symbolon_proto::id::{DeploymentId, KeyId};
use symbolon_proto::lease::FIRST_GENERATION;

use crate::error::AdminError;
use crate::report::OrphanReport;
use crate::state::Service;
use crate::tables::{Key, KeyState, Tables};

impl Service {
    /// Keys that nobody has ever unsealed with.
    #[must_use]
    pub fn orphans(&self) -> Vec<OrphanReport> {
        let live = self.live();
        let orphans = live.tables.keys.iter().filter(|(_, row)| is_orphan(&live.tables, row));
        orphans.map(|(id, row)| report(&live.tables, *id, row)).collect()
    }

    /// Forgets such a key, overwrites its files, and ends the enrolment of its broker.
    pub fn remove_orphan(&self, key: KeyId) -> Result<(), AdminError> {
        let mut live = self.live();
        let row = live.tables.keys.get(&key).ok_or(AdminError::UnknownKey)?;
        if !is_orphan(&live.tables, row) {
            return Err(AdminError::InUse);
        }
        let deployment = row.deployment;
        let mut tables = live.tables.clone();
        tables.keys.remove(&key);
        if tables.keys_of(deployment).next().is_none() {
            // It has registered no state that would have to be remembered.
            tables.brokers.retain(|_, broker| broker.deployment != deployment);
        }
        self.write_tables(&tables)?;
        live.tables = tables;
        live.keys.retain(|share, _| share.key != key);
        live.buckets.remove(&key);
        live.waiting.escrows.retain(|(other, ..)| *other != key);
        tracing::warn!(%key, "the operator removed a key that was never used");
        self.erase_files(key)
    }

    /// A crash before it leaves files that no table names: sealed, and the key of nothing.
    fn erase_files(&self, key: KeyId) -> Result<(), AdminError> {
        let id = key.to_string();
        let of_key =
            |name: &str| name.strip_prefix(&id).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        for name in self.dir.list("keys")?.iter().filter(|name| of_key(name)) {
            self.dir.erase(&format!("keys/{name}"))?;
        }
        Ok(())
    }
}

fn is_orphan(tables: &Tables, row: &Key) -> bool {
    let is_officers = matches!(row.state, KeyState::PendingDestroy | KeyState::Destroyed);
    row.is_unopened && !is_officers && !has_unsealed(tables, row.deployment)
}

/// Whether any broker of a deployment ever went beyond its `init`.
fn has_unsealed(tables: &Tables, deployment: DeploymentId) -> bool {
    let removed = tables.removed.iter().map(|left| &left.broker);
    let mut all = tables.brokers.values().chain(removed);
    all.any(|broker| broker.deployment == deployment && broker.generation > FIRST_GENERATION)
}

fn report(tables: &Tables, id: KeyId, row: &Key) -> OrphanReport {
    let broker = tables.brokers.iter().find(|(_, broker)| broker.deployment == row.deployment);
    OrphanReport {
        key: id.to_string(),
        deployment: row.deployment.to_string(),
        broker: broker.map(|(id, _)| id.to_string()).unwrap_or_default(),
        approved_at: broker.map(|(_, broker)| broker.approved_at),
        shared: row.group.is_some(),
    }
}
