//! What two officers order: destroy, cancel, retire, restore, admit.
//!
//! An order is believed (`proto::order`), then held against what is held here, then the change and the memory
//! of the order go to disk in one write. A refusal changes nothing and does not use the order up.

use sha2::{Digest, Sha256};
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId};
use symbolon_proto::order::{Action, ApprovedOrder, Order, OrderNonce, SignedOrder};

use crate::error::AdminError;
use crate::report::{Carried, OfficerReport};
use crate::rng::os_rng;
use crate::state::{Live, Service};
use crate::tables::{Admission, BARRED_MAX, Epoch, EpochState, Key, KeyState, Ordered, Tables};

/// How long a drafted order counts if nobody says otherwise: a week for two people to sign it.
pub const DRAFT_DAYS: u32 = 7;
const DRAFT_DAYS_MAX: u32 = 30;
const DAY_SECS: u64 = 86_400;

impl Service {
    /// Carries an order out. `is_meant` guards against the wrong file: it says whether this kind of action
    /// was asked for.
    pub fn carry_out(&self, text: &str, is_meant: impl Fn(&Action) -> bool) -> Result<Carried, AdminError> {
        let signed = SignedOrder::from_text(text)?;
        if !is_meant(&signed.order().action) {
            return Err(AdminError::OtherAction { found: signed.order().action });
        }
        let now_secs = self.now().unix_secs;
        let mut live = self.live();
        if self.options.officers.is_empty() {
            return Err(AdminError::NoOfficers);
        }
        let node = &self.identity.node_id;
        let approved = live.tables.orders.approve(&signed, &self.options.officers, node, now_secs)?;
        let mut tables = live.tables.clone();
        let due_secs = self.apply(&live, &mut tables, &approved, now_secs)?;
        tables.orders.remember(&approved, now_secs)?;
        self.write_tables(&tables)?;
        live.tables = tables;
        let (what, officers) = (approved.order().action.to_string(), approved.officers().to_vec());
        tracing::warn!(order = %what, ?officers, "an order was carried out");
        Ok(Carried { what, officers, due_secs })
    }

    /// Makes the change in `tables`. Returns when it takes effect, if that is later.
    fn apply(
        &self,
        live: &Live,
        tables: &mut Tables,
        approved: &ApprovedOrder,
        now_secs: u64,
    ) -> Result<Option<u64>, AdminError> {
        let order = approved.order();
        let ordered = Ordered {
            ordered_secs: now_secs,
            due_secs: now_secs + self.options.destruction.cooling_off_secs(),
            order_sha256: Sha256::digest(approved.as_bytes()).into(),
            officers: approved.officers().to_vec(),
        };
        let key = match order.action {
            Action::Admit { broker, generation } => {
                return admit(tables, broker, order.deployment, generation, now_secs).map(|()| None);
            }
            Action::Destroy { key }
            | Action::Cancel { key }
            | Action::Retire { key, .. }
            | Action::Restore { key, .. }
            | Action::DestroyEpoch { key, .. } => key,
        };
        let due_secs = change(key_row(tables, key, order.deployment)?, order, ordered)?;
        if matches!(order.action, Action::Destroy { .. } | Action::Cancel { .. }) {
            self.announce(live, tables, key);
        }
        Ok(due_secs)
    }

    /// An order for officers to sign, with the names of this node and of the deployment filled in. It changes
    /// nothing.
    pub fn draft(&self, action: Action, days: u32) -> Result<String, AdminError> {
        if !(1..=DRAFT_DAYS_MAX).contains(&days) {
            return Err(AdminError::DraftDays);
        }
        let now_secs = self.now().unix_secs;
        let order = Order {
            action,
            node: self.identity.node_id,
            deployment: self.deployment_of(&action)?,
            not_before_secs: now_secs,
            not_after_secs: now_secs + u64::from(days) * DAY_SECS,
            nonce: OrderNonce::random(&mut os_rng()),
        };
        Ok(SignedOrder::new(order)?.to_text())
    }

    fn deployment_of(&self, action: &Action) -> Result<DeploymentId, AdminError> {
        let live = self.live();
        let of_key = |key: &KeyId| live.tables.keys.get(key).map(|row| row.deployment);
        match action {
            Action::Destroy { key }
            | Action::Cancel { key }
            | Action::Retire { key, .. }
            | Action::Restore { key, .. }
            | Action::DestroyEpoch { key, .. } => of_key(key).ok_or(AdminError::UnknownKey),
            Action::Admit { broker, .. } => {
                let row = live.tables.brokers.get(broker);
                row.map(|row| row.deployment).ok_or(AdminError::UnknownBroker)
            }
        }
    }

    /// The highest generation that a broker has registered.
    pub(crate) fn generation_of(&self, broker: BrokerId) -> Result<u64, AdminError> {
        match self.live().tables.brokers.get(&broker) {
            None => Err(AdminError::UnknownBroker),
            Some(row) if row.generation == 0 => Err(AdminError::NoGeneration),
            Some(row) => Ok(row.generation),
        }
    }

    /// Whose signatures count.
    #[must_use]
    pub fn officers(&self) -> Vec<OfficerReport> {
        let officers = self.options.officers.iter();
        officers
            .map(|officer| OfficerReport { name: officer.name.clone(), key: officer.key.to_string() })
            .collect()
    }
}

fn key_row(tables: &mut Tables, key: KeyId, deployment: DeploymentId) -> Result<&mut Key, AdminError> {
    match tables.keys.get_mut(&key) {
        None => Err(AdminError::UnknownKey),
        Some(row) if row.deployment != deployment => Err(AdminError::OtherDeployment),
        Some(row) => Ok(row),
    }
}

/// Changes the row of a key as ordered. Returns when that takes effect, if it is later.
fn change(row: &mut Key, order: &Order, ordered: Ordered) -> Result<Option<u64>, AdminError> {
    match order.action {
        Action::Destroy { .. } => destroy(row, ordered).map(Some),
        Action::Cancel { .. } => cancel(row).map(|()| None),
        Action::Retire { key_epoch, .. } => retire(row, key_epoch).map(|()| None),
        Action::Restore { key_epoch, .. } => {
            retired(row, key_epoch)?.state = EpochState::Retired { restore_until_secs: order.not_after_secs };
            Ok(None)
        }
        Action::DestroyEpoch { key_epoch, .. } => {
            let due_secs = ordered.due_secs;
            retired(row, key_epoch)?.state = EpochState::PendingDestroy(ordered);
            Ok(Some(due_secs))
        }
        // Changes no key.
        Action::Admit { .. } => Ok(None),
    }
}

fn destroy(row: &mut Key, ordered: Ordered) -> Result<u64, AdminError> {
    match row.state {
        KeyState::Destroyed => return Err(AdminError::Destroyed),
        KeyState::PendingDestroy => return Err(AdminError::PendingDestroy),
        KeyState::Active | KeyState::Suspended if row.epochs.is_empty() => {
            return Err(AdminError::NothingHeld);
        }
        KeyState::Active | KeyState::Suspended => {}
    }
    let due = ordered.due_secs;
    row.state = KeyState::PendingDestroy;
    row.destruction = Some(ordered);
    Ok(due)
}

/// Cancels the destruction of the key, or else of its epochs. The key is suspended then: resuming is another
/// decision.
fn cancel(row: &mut Key) -> Result<(), AdminError> {
    if row.state == KeyState::Destroyed {
        return Err(AdminError::Destroyed);
    }
    if row.destruction.take().is_some() {
        row.state = KeyState::Suspended;
        return Ok(());
    }
    let mut cancelled = false;
    for epoch in &mut row.epochs {
        if matches!(epoch.state, EpochState::PendingDestroy(_)) {
            epoch.state = EpochState::Retired { restore_until_secs: 0 };
            cancelled = true;
        }
    }
    if cancelled { Ok(()) } else { Err(AdminError::NothingPending) }
}

fn retire(row: &mut Key, key_epoch: u32) -> Result<(), AdminError> {
    let newest = row.newest().map(|epoch| epoch.key_epoch);
    let epoch = row.epoch_mut(key_epoch).ok_or(AdminError::UnknownEpoch)?;
    match epoch.state {
        _ if newest == Some(key_epoch) => Err(AdminError::NewestEpoch),
        EpochState::Living { retire_asked_secs: None } => Err(AdminError::NotAsked),
        EpochState::Living { .. } => {
            epoch.state = EpochState::Retired { restore_until_secs: 0 };
            Ok(())
        }
        EpochState::Retired { .. } | EpochState::PendingDestroy(_) => Err(AdminError::RetiredAlready),
    }
}

/// The epoch, if it is retired and not about to be destroyed.
fn retired(row: &mut Key, key_epoch: u32) -> Result<&mut Epoch, AdminError> {
    let epoch = row.epoch_mut(key_epoch).ok_or(AdminError::UnknownEpoch)?;
    match epoch.state {
        EpochState::Retired { .. } => Ok(epoch),
        EpochState::Living { .. } => Err(AdminError::NotRetired),
        EpochState::PendingDestroy(_) => Err(AdminError::PendingDestroy),
    }
}

fn admit(
    tables: &mut Tables,
    broker: BrokerId,
    deployment: DeploymentId,
    generation: u64,
    now_secs: u64,
) -> Result<(), AdminError> {
    let row = tables.brokers.get_mut(&broker).ok_or(AdminError::UnknownBroker)?;
    if row.deployment != deployment {
        return Err(AdminError::OtherDeployment);
    }
    if row.generation != generation {
        return Err(AdminError::OtherGeneration { registered: row.generation });
    }
    let admitted = row.admitted.get_or_insert(Admission { at_secs: now_secs, barred: Vec::new() });
    if admitted.barred.len() >= BARRED_MAX {
        return Err(AdminError::AdmittedTooOften);
    }
    admitted.at_secs = now_secs;
    admitted.barred.push(generation);
    row.generation = 0;
    row.anchor = None;
    Ok(())
}
