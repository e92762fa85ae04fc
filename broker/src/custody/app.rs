//! The handful of things a handler may reach.

use std::sync::Arc;

use symbolon_core::clock::Clock;

use super::initialising::Initialising;
use super::seal::SealHandle;
use super::unattended::Keeper;
use crate::access::Session;
use crate::access::shape::Shape;
use crate::alarms::Alarms;
use crate::audit::retention::journal::Retention;
use crate::backup::Backups;
use crate::config::Config;
use crate::error::OpError;
use crate::store::Store;

/// What every request shares.
pub struct App {
    /// The configuration as read at start.
    pub config: Config,
    /// Ciphertext and log.
    pub store: Arc<dyn Store>,
    /// Who holds the keys.
    pub seal: SealHandle,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What engines, methods and the system say of themselves.
    pub shape: Arc<Shape>,
    /// The initialisation under way, if one is.
    pub init: Initialising,
    /// What an operator must look at.
    pub alarms: Arc<Alarms>,
    /// What is known of backups.
    pub backups: Arc<Backups>,
    /// Who gives shares without a person.
    pub sources: Arc<Keeper>,
    /// What is known of the log's retention.
    pub retention: Arc<Retention>,
}

impl App {
    /// The open session, or why there is none.
    pub fn session(&self) -> Result<Arc<Session>, OpError> {
        self.seal.session()
    }

    /// The same, to judge a request: with mounts and policies as the store has them.
    pub async fn fresh_session(&self) -> Result<Arc<Session>, OpError> {
        let session = self.session()?;
        session.refresh().await?;
        Ok(session)
    }
}
