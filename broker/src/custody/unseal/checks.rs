//! What must hold of a store before anything is written to it.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use symbolon_core::clock::Clock;
use symbolon_core::seal::{SealRecord, Sealed, Unsealed};
use tracing::{error, warn};

use super::alarm::Reason;
use super::anchor::{Anchor, AnchorError};
use crate::access::Configuration;
use crate::audit::writer::{LogKeys, StartError, Writer};
use crate::custody::deployment::LogSeed;
use crate::custody::enrolment_rows;
use crate::custody::places::SEAL_COPY;
use crate::error::OpError;
use crate::keys::SystemKeks;
use crate::remote::Enrolled;
use crate::rows::Rows;
use crate::store::Store;

/// Anyone who can write the store can edit the public record; the sealed copy shows it.
pub(super) async fn seal_record(rows: &Rows, sealed: &Sealed) -> Result<(), OpError> {
    let (copy, _) = rows.read::<SealRecord>(SEAL_COPY).await?.ok_or(OpError::INTEGRITY)?;
    if copy == *sealed.record() {
        return Ok(());
    }
    error!("the public seal record differs from its sealed copy; restore the store from a backup");
    Err(OpError::INTEGRITY)
}

pub(crate) async fn read_enrolment(rows: &Rows, sealed: &Sealed) -> Result<Enrolled, OpError> {
    let root = HEXLOWER.decode(sealed.record().service_root.as_bytes()).map_err(|_| OpError::INTEGRITY)?;
    let root = root.as_slice().try_into().map_err(|_| OpError::INTEGRITY)?;
    enrolment_rows::read(rows, root, &sealed.deployment()).await
}

/// Starts the writer of the log; refuses a log that was cut or altered.
pub(crate) async fn start_log(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    unsealed: &Unsealed,
    seed: &LogSeed,
) -> Result<Writer, OpError> {
    let keys = LogKeys {
        audit: unsealed.audit(),
        signer: seed.signer(unsealed.deployment())?,
        deployment: unsealed.deployment(),
        broker: unsealed.broker(),
    };
    Writer::start(Arc::clone(store), Arc::clone(clock), keys).await.map_err(|reason| match reason {
        StartError::Store(source) => source.into(),
        StartError::Log(_) => {
            error!(%reason, "the broker stays sealed");
            OpError::INTEGRITY
        }
    })
}

/// The same for a deployment that has one: `init` wrote its first entry.
pub(super) async fn existing_log(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    unsealed: &Unsealed,
    seed: &LogSeed,
) -> Result<Writer, OpError> {
    let writer = start_log(store, clock, unsealed, seed).await?;
    if writer.size() == 0 {
        error!(
            "the audit log of an initialised deployment is gone; keep the store for an investigation and restore a backup"
        );
        return Err(OpError::INTEGRITY);
    }
    Ok(writer)
}

/// What an open broker needs can be read. Asked before anything is committed: then an older version, which
/// may be able to read it, still opens the store.
pub(super) async fn readable(rows: &Rows) -> Result<(), OpError> {
    drop(Configuration::read(rows).await?);
    drop(SystemKeks::read(rows).await?);
    Ok(())
}

/// Refuses an old store. A remote that does not answer is asked again before any key is opened.
pub(super) async fn anchor(anchor: &Anchor) -> Result<(), OpError> {
    let reason = match anchor.confirm().await {
        Ok(()) => return Ok(()),
        Err(AnchorError::Away(error)) => {
            warn!(%error, "whether this store is the newest is checked as soon as the fragment service answers");
            return Ok(());
        }
        Err(AnchorError::RolledBack(reason)) => Reason::RolledBack(reason),
        Err(AnchorError::Log(error)) if error.may_pass() => {
            warn!(%error, "whether this store is the newest is checked as soon as the log can be read");
            return Ok(());
        }
        Err(AnchorError::Log(_)) => Reason::LogDamaged,
    };
    error!(%reason, "the broker stays sealed");
    Err(reason.into())
}
