//! The public seal record, and what is chosen when it is made.

use serde::{Deserialize, Serialize};

/// What happens to the data if the remote vendor disappears. Chosen at `init`, shown in every status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// Losing the fragment service loses the data.
    None,
    /// The remote's shares are also sealed to a key that other custodians hold together. Bypasses every
    /// revocation.
    CustomerEscrow,
}

impl Recovery {
    /// Reads the operator's choice.
    pub fn parse(text: &str) -> Result<Self, InitError> {
        match text {
            "none" => Ok(Self::None),
            "customer-escrow" => Ok(Self::CustomerEscrow),
            _ => Err(InitError::UnknownRecovery),
        }
    }

    /// The word in configuration and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::CustomerEscrow => "customer-escrow",
        }
    }
}

/// Why a deployment cannot be initialised as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitError {
    /// Nobody chose.
    #[error("a recovery policy must be chosen: `none` means that losing the fragment service loses the data")]
    RecoveryNotChosen,
    /// Neither of the known words.
    #[error("the recovery policy must be `none` or `customer-escrow`")]
    UnknownRecovery,
    /// Escrow without the key to seal to.
    #[error(
        "`customer-escrow` needs `[init] escrow_key_file` in the broker's configuration; `symbolon recovery keygen` makes that file"
    )]
    EscrowKeyMissing,
    /// A file that is no escrow key.
    #[error(
        "`[init] escrow_key_file` cannot be read as an escrow key; take the file that `symbolon recovery keygen` wrote"
    )]
    EscrowKeyUnusable,
    /// A key that nobody would use.
    #[error(
        "`[init] escrow_key_file` is set, but the recovery policy is `none`; choose `customer-escrow` or remove the line"
    )]
    EscrowKeyUnused,
    /// Share numbers out of range.
    #[error("shares and threshold must satisfy 2 <= threshold <= shares <= 16")]
    ShareNumbers,
    /// Two ways to say who holds the shares.
    #[error("custodians are given by name and by card; a card names its owner, so leave the names out")]
    NamesAndCards,
    /// More or fewer names than shares, or a name that is empty, too long or given twice.
    #[error(
        "give one name or one card per custodian: as many as shares, each different, names with 1 to 64 printable characters"
    )]
    CustodianNames,
}

/// The format that is written: what a broker must know to read the tables beside the record. An older broker
/// refuses a newer one, so the first unseal by a newer broker raises it (`Sealed::raised`).
pub const SEAL_RECORD_FORMAT: u8 = 3;

/// The one row of the store that anyone may read. Wire type; a new field needs a new `format`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealRecord {
    /// 1, 2 or 3.
    pub format: u8,
    /// Deployment id, hex.
    pub deployment: String,
    /// Id of this broker, hex.
    pub broker: String,
    /// When it was initialised, milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Recovery policy.
    pub recovery: Recovery,
    /// Share-set manifest (`docs/skb1.md` 7.3), hex of its wire form.
    pub share_set: String,
    /// The fragment epoch in use: that of the share set, or a later one with the same shares. 0 in
    /// deployments of format 1 that have had no other since: theirs is that of the share set, and they hash
    /// names with K_index itself.
    #[serde(default)]
    pub frag_epoch: u32,
    /// Ed25519 key of the fragment service's root, hex.
    pub service_root: String,
    /// Verifier key of the audit log, C2SP signed-note form.
    pub log_key: String,
}

/// A store that holds something else than a deployment this version understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the store's seal record is not one of this version; was the file written by another program or a newer Symbolon?"
)]
pub struct ForeignRecord;
