//! The service as a whole: how it starts, what it serves, and what it does by itself every minute.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::admin;
use crate::error::ServiceError;
use crate::sealing::Sealing;
use crate::server::{self, ServeError};
pub use crate::state::{Options, Service};

/// How often the head of the log and the age of manifests are looked at.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(60);

impl Service {
    /// Makes the keys of a new service in an empty or absent directory.
    pub fn init(path: &Path, sealing: &Sealing, options: Options) -> Result<Arc<Self>, ServiceError> {
        Self::create(path, sealing, options)?.start()
    }

    /// Opens an existing service.
    pub fn open(path: &Path, sealing: &Sealing, options: Options) -> Result<Arc<Self>, ServiceError> {
        Self::read(path, sealing, options)?.start()
    }

    /// What was due while nothing ran, and what a crash interrupted.
    fn start(self) -> Result<Arc<Self>, ServiceError> {
        self.tend_destructions()?;
        self.renew_manifests()?;
        self.write_tables(&self.live().tables)?;
        self.tend_receive_keys()?;
        self.tend_log();
        Ok(Arc::new(self))
    }

    /// Serves brokers on `socket` and operators on the admin socket until `shutdown` resolves.
    pub async fn serve(
        self: &Arc<Self>,
        socket: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let admin = self.dir.path(admin::SOCKET);
        let result = tokio::select! {
            result = server::serve(Arc::clone(self), socket, self.options.limits, shutdown) => result,
            failed = admin::serve(Arc::clone(self), &admin) => match failed {
                Err(error) => Err(ServeError::Admin(error)),
                Ok(never) => match never {},
            },
            () = Arc::clone(self).keep_up() => Ok(()),
        };
        // Nobody answers there any more; a leftover would only be replaced at the next start.
        drop(std::fs::remove_file(&admin));
        self.tend_log();
        result
    }

    async fn keep_up(self: Arc<Self>) {
        let mut tick = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            tick.tick().await;
            let service = Arc::clone(&self);
            let upkeep = tokio::task::spawn_blocking(move || {
                service.tend_log();
                if let Err(error) = service.tend_destructions() {
                    tracing::error!(%error, "a destruction that is due could not be finished; free disk space");
                }
                if let Err(error) = service.tend_receive_keys() {
                    tracing::error!(%error, "keys of group ceremonies could not be erased; look at the disk");
                }
                if let Err(error) = service.renew_manifests() {
                    tracing::error!(%error, "manifests could not be renewed; free disk space");
                }
            });
            if upkeep.await.is_err() {
                tracing::error!("upkeep failed");
            }
        }
    }
}
