//! Which KEKs the deployment's own records have now: one for its records, one that seals machine tokens.
//!
//! A machine token does not say which KEK encrypted it, and nobody can re-encrypt it. So the KEK of an older
//! epoch stays until the longest token that it may have sealed has expired.

use serde::{Deserialize, Serialize};
use symbolon_core::keyring::KekSlot;
use symbolon_proto::id::TenantId;

use super::slots::{FIRST_KEK_EPOCH, SYSTEM_SLOT, TOKEN_SLOT};
use crate::error::OpError;
use crate::rows::{COUNTERS, NO_SCOPE, Place, Rows};

/// KEKs of older epochs that may still open machine tokens, at most; each costs a presented token one more
/// try.
pub const OLDER_TOKEN_KEKS_MAX: usize = 8;

/// Where the epochs are kept.
pub const SYSTEM_KEKS: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: COUNTERS, scope: NO_SCOPE, group: "", name: "own kek epochs" };

/// KEK epochs of the deployment's own slots. Wire type; fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemKeks {
    /// Of both slots: they are rolled together.
    pub epoch: u32,
    /// Older ones under which machine tokens may still live, newest first.
    #[serde(default)]
    pub older_tokens: Vec<OlderTokens>,
    /// Somebody has asked for the next epoch.
    #[serde(default)]
    pub wanted: bool,
}

/// An older epoch of the slot for machine tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OlderTokens {
    /// The epoch.
    pub epoch: u32,
    /// Unix seconds after which no token encrypted under it lives.
    pub until_secs: u64,
}

impl Default for SystemKeks {
    fn default() -> Self {
        Self { epoch: FIRST_KEK_EPOCH, older_tokens: Vec::new(), wanted: false }
    }
}

impl SystemKeks {
    /// Reads them, at unseal; the default if they were never rolled.
    pub async fn read(rows: &Rows) -> Result<Self, OpError> {
        Ok(rows.read(SYSTEM_KEKS).await?.map(|(keks, _)| keks).unwrap_or_default())
    }

    /// The KEK of the deployment's own records.
    #[must_use]
    pub fn system(&self) -> KekSlot {
        KekSlot { epoch: self.epoch, ..SYSTEM_SLOT }
    }

    /// The KEK that seals new machine tokens.
    #[must_use]
    pub fn token(&self) -> KekSlot {
        KekSlot { epoch: self.epoch, ..TOKEN_SLOT }
    }

    /// All KEKs that may have sealed a machine token that still lives, newest first.
    #[must_use]
    pub fn tokens(&self) -> Vec<KekSlot> {
        let older = self.older_tokens.iter().map(|older| KekSlot { epoch: older.epoch, ..TOKEN_SLOT });
        std::iter::once(self.token()).chain(older).collect()
    }
}
