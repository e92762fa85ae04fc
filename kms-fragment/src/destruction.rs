//! Destroying what is due, and keeping it destroyed.
//!
//! ```text
//! due ─ tombstone on disk ─ gone from memory and tables ─ files overwritten and removed
//!     ─ certificate signed and on disk
//! ```
//!
//! From the first step on nothing loads the key again. A crash after any step is made good at the next start
//! or the next minute: every step looks at the tombstones and does what is still missing.

use symbolon_proto::certificate::{Certificate, DestroyedShare, Destruction};
use symbolon_proto::id::KeyId;

use crate::error::{AdminError, ServiceError};
use crate::report::CertificateReport;
use crate::state::{Live, Service, TOMBSTONES_FILE};
use crate::tables::{EpochState, Key, Ordered, ShareId, epoch_shares};
use crate::tombstones::{TOMBSTONES_MAX, Tombstone, Tombstones};

impl Service {
    /// Destroys what is due and finishes what was interrupted.
    pub(crate) fn tend_destructions(&self) -> Result<(), ServiceError> {
        let mut live = self.live();
        let now_secs = self.now().unix_secs;
        for tombstone in due(&live, now_secs) {
            self.bury(&mut live, tombstone)?;
        }
        self.settle(&mut live)
    }

    fn bury(&self, live: &mut Live, tombstone: Tombstone) -> Result<(), ServiceError> {
        if live.tombstones.0.len() >= TOMBSTONES_MAX {
            return Err(ServiceError::TooManyTombstones);
        }
        tracing::warn!(key = %tombstone.key, whole = tombstone.whole, "destroying what two officers ordered");
        let mut tombstones = live.tombstones.clone();
        tombstones.0.push(tombstone);
        self.write_tombstones(&tombstones)?;
        live.tombstones = tombstones;
        Ok(())
    }

    /// Makes memory, tables and files say what the tombstones say. Does nothing where they do.
    fn settle(&self, live: &mut Live) -> Result<(), ServiceError> {
        let tombstones = live.tombstones.clone();
        live.keys.retain(|share, _| !tombstones.cover(share));
        let mut tables = live.tables.clone();
        for id in tombstones.apply(&mut tables) {
            self.announce(live, &mut tables, id);
        }
        if tables != live.tables {
            // Refusing begins now, even if the disk is full.
            live.tables = tables;
            self.write_tables(&live.tables)?;
        }
        for name in self.dir.list("keys")? {
            if tombstones.0.iter().any(|tombstone| tombstone.covers_file(&name)) {
                self.dir.erase(&format!("keys/{name}"))?;
            }
        }
        self.certify(live)
    }

    fn certify(&self, live: &mut Live) -> Result<(), ServiceError> {
        let mut tombstones = live.tombstones.clone();
        for tombstone in &mut tombstones.0 {
            // Where nothing was held there is nothing to certify.
            if tombstone.certificate.is_none() && !tombstone.shares.is_empty() {
                tombstone.certificate = self.sign_certificate(tombstone);
            }
        }
        if tombstones != live.tombstones {
            self.write_tombstones(&tombstones)?;
            live.tombstones = tombstones;
        }
        Ok(())
    }

    /// A certificate that cannot be signed must not keep the service, and other keys, from working.
    fn sign_certificate(&self, tombstone: &Tombstone) -> Option<Certificate> {
        let destroyed_secs = self.now().unix_secs.max(tombstone.ordered_secs);
        let destruction = Destruction {
            node: self.identity.node_id,
            deployment: tombstone.deployment,
            key: tombstone.key,
            whole: tombstone.whole,
            shares: tombstone.shares.clone(),
            ordered_secs: tombstone.ordered_secs,
            destroyed_secs,
            backups_until_secs: destroyed_secs + self.options.destruction.backup_secs(),
            order_sha256: tombstone.order_sha256,
        };
        let signed = Certificate::sign(destruction, &self.identity.root, &self.identity.node);
        signed
            .inspect_err(
                |error| tracing::error!(%error, key = %tombstone.key, "a destruction could not be certified"),
            )
            .ok()
    }

    fn write_tombstones(&self, tombstones: &Tombstones) -> Result<(), ServiceError> {
        Ok(self.dir.write(TOMBSTONES_FILE, &self.seal.seal(TOMBSTONES_FILE, &tombstones.to_json()))?)
    }

    /// The certificates of a key, oldest first.
    pub fn certificates(&self, key: KeyId) -> Result<Vec<CertificateReport>, AdminError> {
        let live = self.live();
        let of_key = live.tombstones.0.iter().filter(|tombstone| tombstone.key == key);
        let certificates: Vec<_> = of_key
            .filter_map(|tombstone| tombstone.certificate.as_ref())
            .map(|certificate| CertificateReport {
                says: certificate.to_string(),
                text: certificate.to_text(),
            })
            .collect();
        match (certificates.is_empty(), live.tables.keys.contains_key(&key)) {
            (true, true) => Err(AdminError::NotDestroyed),
            (true, false) => Err(AdminError::UnknownKey),
            (false, _) => Ok(certificates),
        }
    }
}

/// What is to be destroyed at `now_secs` and has no tombstone yet.
fn due(live: &Live, now_secs: u64) -> Vec<Tombstone> {
    let mut due = Vec::new();
    for (id, row) in &live.tables.keys {
        if let Some(ordered) = row.destruction.as_ref().filter(|ordered| ordered.due_secs <= now_secs) {
            due.push(tombstone(live, *id, row, row.shares(*id), ordered, true));
            continue;
        }
        for epoch in &row.epochs {
            if let EpochState::PendingDestroy(ordered) = &epoch.state
                && ordered.due_secs <= now_secs
            {
                due.push(tombstone(live, *id, row, epoch_shares(*id, epoch), ordered, false));
            }
        }
    }
    due.retain(|tombstone| {
        !live
            .tombstones
            .0
            .iter()
            .any(|old| old.key == tombstone.key && old.order_sha256 == tombstone.order_sha256)
    });
    due
}

fn tombstone(
    live: &Live,
    key: KeyId,
    row: &Key,
    shares: impl Iterator<Item = ShareId>,
    ordered: &Ordered,
    whole: bool,
) -> Tombstone {
    let destroyed = |id: ShareId| {
        let ShareId { key_epoch, share_epoch, .. } = id;
        live.keys.get(&id).map(|share| DestroyedShare { key_epoch, share_epoch, public: *share.public_key() })
    };
    Tombstone {
        key,
        deployment: row.deployment,
        whole,
        shares: shares.filter_map(destroyed).collect(),
        ordered_secs: ordered.ordered_secs,
        order_sha256: ordered.order_sha256,
        certificate: None,
    }
}
