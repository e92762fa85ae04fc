//! What was destroyed. A tombstone outlives its key: a key file that a backup brings back is not loaded but
//! erased again.
//!
//! The list only ever grows, and its file is apart from the tables, so that restoring the tables does not
//! undo it. The tables in turn say how long the list is at least. Who restores the *whole* directory of an
//! earlier day restores a time at which nothing had been destroyed; no file in it can tell. The certificate
//! names the day until which such a backup may exist.

use serde::{Deserialize, Serialize};
use symbolon_proto::certificate::{Certificate, DestroyedShare};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::group::PublicKey;
use symbolon_proto::id::{DeploymentId, KeyId};

use crate::hex::Hex;
use crate::tables::{KeyState, ShareId, Tables, TablesError, epoch_shares};

const FORMAT: u32 = 1;

/// Tombstones that one service keeps; each takes about a kilobyte.
pub const TOMBSTONES_MAX: usize = 4096;

/// A key, or an epoch of one, that was destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) key: KeyId,
    pub(crate) deployment: DeploymentId,
    /// Whether all of the key is gone, or only the epochs of `shares`.
    pub(crate) whole: bool,
    /// What was held when the order fell due.
    pub(crate) shares: Vec<DestroyedShare>,
    pub(crate) ordered_secs: u64,
    pub(crate) order_sha256: [u8; 32],
    /// Signed once the files are gone.
    pub(crate) certificate: Option<Certificate>,
}

impl Tombstone {
    /// Whether a scalar lies under it.
    pub(crate) fn covers(&self, share: &ShareId) -> bool {
        let is_named = |destroyed: &DestroyedShare| destroyed.key_epoch == share.key_epoch;
        self.key == share.key && (self.whole || self.shares.iter().any(is_named))
    }

    /// Whether a file in `keys/` belongs to what lies under it, leftovers of interrupted writes included.
    pub(crate) fn covers_file(&self, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.key.to_string()) else { return false };
        let is_named = |share: &DestroyedShare| {
            let is_first = share.key_epoch == 1 && (rest.is_empty() || rest == ".new");
            is_first || rest.starts_with(&format!("-{}-", share.key_epoch))
        };
        self.whole || self.shares.iter().any(is_named)
    }
}

/// All of them, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tombstones(pub(crate) Vec<Tombstone>);

impl Tombstones {
    /// Whether a scalar must never be loaded.
    pub(crate) fn cover(&self, share: &ShareId) -> bool {
        self.0.iter().any(|tombstone| tombstone.covers(share))
    }

    /// How many there are, as the tables note it.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The wire form, format 1.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let wire = Wire { format: FORMAT, tombstones: self.0.iter().map(WireTombstone::from).collect() };
        serde_json::to_vec(&wire).expect("lists of plain values always serialise")
    }

    /// Reads what [`Self::to_json`] wrote. Certificates must be of `root`.
    pub(crate) fn from_json(json: &[u8], root: &Fingerprint) -> Result<Self, TablesError> {
        let wire: Wire = serde_json::from_slice(json).map_err(|_| TablesError)?;
        if wire.format != FORMAT || wire.tombstones.len() > TOMBSTONES_MAX {
            return Err(TablesError);
        }
        wire.tombstones.into_iter().map(|tombstone| tombstone.parse(root)).collect::<Result<_, _>>().map(Self)
    }

    /// Takes what lies under them out of the tables. Returns the keys that changed.
    pub(crate) fn apply(&self, tables: &mut Tables) -> Vec<KeyId> {
        let mut changed = Vec::new();
        for tombstone in &self.0 {
            let Some(row) = tables.keys.get_mut(&tombstone.key) else { continue };
            let before = row.epochs.len();
            row.epochs
                .retain(|epoch| !epoch_shares(tombstone.key, epoch).any(|share| tombstone.covers(&share)));
            if tombstone.whole && row.state != KeyState::Destroyed {
                (row.state, row.destruction) = (KeyState::Destroyed, None);
                changed.push(tombstone.key);
            } else if row.epochs.len() != before {
                changed.push(tombstone.key);
            }
        }
        tables.tombstones = tables.tombstones.max(self.count());
        changed
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    tombstones: Vec<WireTombstone>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTombstone {
    key: Hex<16>,
    deployment: Hex<16>,
    whole: bool,
    /// Key epoch, share epoch, y.
    shares: Vec<(u32, u32, Hex<32>)>,
    ordered: u64,
    order: Hex<32>,
    certificate: Option<String>,
}

impl From<&Tombstone> for WireTombstone {
    fn from(tombstone: &Tombstone) -> Self {
        let share =
            |share: &DestroyedShare| (share.key_epoch, share.share_epoch, Hex(*share.public.as_bytes()));
        let encode = |certificate: &Certificate| crate::hex::encode(certificate.as_bytes());
        Self {
            key: Hex(*tombstone.key.as_bytes()),
            deployment: Hex(*tombstone.deployment.as_bytes()),
            whole: tombstone.whole,
            shares: tombstone.shares.iter().map(share).collect(),
            ordered: tombstone.ordered_secs,
            order: Hex(tombstone.order_sha256),
            certificate: tombstone.certificate.as_ref().map(encode),
        }
    }
}

impl WireTombstone {
    fn parse(self, root: &Fingerprint) -> Result<Tombstone, TablesError> {
        let share = |(key_epoch, share_epoch, public): (u32, u32, Hex<32>)| {
            let public = PublicKey::decode(&public.0).map_err(|_| TablesError)?;
            Ok(DestroyedShare { key_epoch, share_epoch, public })
        };
        let certificate = |text: String| {
            let bytes = crate::hex::decode(&text).ok_or(TablesError)?;
            Certificate::verify(&bytes, root).map_err(|_| TablesError)
        };
        Ok(Tombstone {
            key: KeyId::from_bytes(self.key.0),
            deployment: DeploymentId::from_bytes(self.deployment.0),
            whole: self.whole,
            shares: self.shares.into_iter().map(share).collect::<Result<_, _>>()?,
            ordered_secs: self.ordered,
            order_sha256: self.order.0,
            certificate: self.certificate.map(certificate).transpose()?,
        })
    }
}
