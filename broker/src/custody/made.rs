//! A deployment that is made and not in force: nothing of it is stored.

use std::sync::Arc;

use symbolon_core::audit::{Draft, Receipt};
use symbolon_core::clock::Clock;
use symbolon_core::seal::{Sealed, Unsealed};
use tracing::info;

use super::deployment::LogSeed;
use super::unseal::start_log;
use crate::error::OpError;
use crate::store::{Store, Write};

/// Everything that one commit writes.
pub(super) struct Made {
    pub(super) sealed: Sealed,
    pub(super) unsealed: Arc<Unsealed>,
    pub(super) changes: Vec<Write>,
    /// The first entry of the log.
    pub(super) entry: Draft,
}

impl Made {
    /// Puts it in force, with its entry. What fails can be tried again.
    pub(super) async fn commit(
        &self,
        store: &Arc<dyn Store>,
        clock: &Arc<dyn Clock>,
        log: &LogSeed,
    ) -> Result<Receipt, OpError> {
        let writer = start_log(store, clock, &self.unsealed, log).await?;
        let committed = writer.commit(self.changes.clone(), self.entry.clone()).await;
        writer.stop().await;
        let receipt = committed.map_err(|_| OpError::UNLOGGED)?;
        info!("initialised; the broker is sealed until custodians give their shares");
        Ok(receipt)
    }
}
