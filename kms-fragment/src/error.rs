//! Why the service does not start, and why it does not do what its operator wants.

use symbolon_proto::id::KeyId;

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
    /// A grant that no manifest can carry.
    #[error(transparent)]
    Grants(#[from] ConfigError),
}

/// Why an operator's wish was refused.
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
    /// The tables are full.
    #[error("the service holds as many brokers or keys as it can")]
    Full,
    /// Not written, hence not done.
    #[error("the change could not be written, and was not made")]
    NotWritten(#[from] DiskError),
}
