//! Why the service does not start, and why it does not do what its operator wants.

use symbolon_proto::id::KeyId;
use symbolon_proto::order::{Action, OrderError};

use crate::config::ConfigError;
use crate::disk::DiskError;
use crate::evaluation_log::LogError;
use crate::identity::IdentityError;
use crate::sealing::SealingError;
use crate::tables::TablesError;
use crate::tls::TlsError;

/// Why the service cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The state directory.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The key that opens it.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The service's own keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tables.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The evaluation log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file is gone.
    #[error("{file} is missing in the state directory; restore it from a backup")]
    Missing {
        /// Name within the state directory.
        file: String,
    },
    /// A key does not belong to its manifest.
    #[error("key {key} in the state directory is not the one of its manifest; restore it from a backup")]
    ForeignKey {
        /// Which key.
        key: KeyId,
    },
    /// The list of tombstones is shorter than it was.
    #[error(
        "the list of destroyed keys in the state directory is older than the tables; restore the newest `tombstones` file"
    )]
    OldTombstones,
    /// The tables are from before a rotation of which the old epoch is destroyed.
    #[error(
        "the tables in the state directory are too old: they know only an epoch that was destroyed; restore newer ones"
    )]
    OldTables,
    /// As many as can be kept.
    #[error("this service has destroyed as many keys as it can remember; destructions wait")]
    TooManyTombstones,
    /// A grant that no manifest can carry.
    #[error(transparent)]
    Grants(#[from] ConfigError),
}

/// Why an operator's request was refused.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Not a fingerprint.
    #[error("a fingerprint has twelve groups of five digits")]
    Fingerprint,
    /// Nobody waits with it.
    #[error(
        "no broker with this fingerprint waits for approval; look at `symbolon fragment pending`, and do not approve another one instead"
    )]
    NotPending,
    /// The deployment has brokers already.
    #[error(
        "this broker says it belongs to a deployment that has brokers here; add --join if its operator confirms that"
    )]
    WouldJoin,
    /// Its id is taken.
    #[error("another broker is enrolled with this id; the new one must choose another")]
    BrokerIdTaken,
    /// No such key.
    #[error("this service holds no such key")]
    UnknownKey,
    /// Somebody may need it.
    #[error(
        "a broker has unsealed with this key, or may have: only two officers destroy it (`symbolon fragment draft destroy`)"
    )]
    InUse,
    /// No such broker.
    #[error("no broker with this id is enrolled here")]
    UnknownBroker,
    /// No such epoch.
    #[error("the key has no such epoch here")]
    UnknownEpoch,
    /// Officers have decided.
    #[error("two officers have ordered its destruction, which is cooling off; two officers can cancel it")]
    PendingDestroy,
    /// Too late.
    #[error("the key was destroyed; `symbolon fragment certificate` shows when")]
    Destroyed,
    /// Nothing was destroyed.
    #[error("nothing of this key was destroyed")]
    NotDestroyed,
    /// No share of it is here.
    #[error("this service holds no share of the key, so it has nothing to destroy")]
    NothingHeld,
    /// Nothing to cancel.
    #[error("no destruction of this key is cooling off")]
    NothingPending,
    /// The key's deployment is another.
    #[error("the order is for another deployment than the key or broker belongs to; draft a new one")]
    OtherDeployment,
    /// The broker has registered another generation since.
    #[error("the broker's registered generation is {registered}, not the order's; draft a new one")]
    OtherGeneration {
        /// What is registered.
        registered: u64,
    },
    /// No more generations can be barred.
    #[error(
        "older states of this broker were admitted as often as can be remembered; enrol a new broker instead"
    )]
    AdmittedTooOften,
    /// There is nothing that could be in the way.
    #[error("this broker has no registered generation; it can unseal as it is")]
    NoGeneration,
    /// The file has another order than the command is for.
    #[error("the file orders to {found}; that is not what this command does")]
    OtherAction {
        /// What it orders.
        found: Action,
    },
    /// Nobody can order anything.
    #[error("the configuration names no officers; add two [[officer]] sections and restart the service")]
    NoOfficers,
    /// Not believed.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A draft that would expire at once, or too late.
    #[error("a draft is valid for 1 to 30 days")]
    DraftDays,
    /// The newest epoch is in use.
    #[error("this is the newest epoch, for which new capsules are made; it cannot be retired")]
    NewestEpoch,
    /// The broker has not asked.
    #[error("the broker has not asked to retire this epoch; it asks when no capsule of it is left")]
    NotAsked,
    /// Retired already.
    #[error("this epoch is retired already")]
    RetiredAlready,
    /// Not retired yet.
    #[error("this epoch is not retired; retire it first")]
    NotRetired,
    /// Epochs come one after the other.
    #[error("the newest epoch is {newest}; only the next one can be made")]
    EpochOrder {
        /// The newest.
        newest: u32,
    },
    /// Two epochs are in use.
    #[error("two epochs are in use already; retire the older one first")]
    StillRotating,
    /// Too many epochs are held.
    #[error("four epochs are held; have two officers order the destruction of a retired one first")]
    TooManyEpochs,
    /// A proposal that does not follow what is held.
    #[error(
        "the proposed group does not follow the one that holds the key here; its operator must propose again"
    )]
    OtherGroup,
    /// The key is held with others.
    #[error("this key is held by a group of nodes; its broker makes new epochs with all of them")]
    HeldByGroup,
    /// The tables are full.
    #[error("the service holds as many brokers or keys as it can")]
    Full,
    /// Not written, hence not done.
    #[error("the change could not be written, and was not made")]
    NotWritten(#[from] DiskError),
}
