//! From a configuration to a serving broker, and down again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use symbolon_core::clock::Clock;
use symbolon_core::seal::{ForeignRecord, SealRecord, Sealed};
use symbolon_proto::secret::MemoryError;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::audit::retention::journal::Retention;
use crate::audit::sinks::{self, Unsound};
use crate::backup::Backups;
use crate::clock::SystemClock;
use crate::config::{Config, Lives};
use crate::custody::App;
use crate::custody::initialising::Initialising;
use crate::custody::seal::SealHandle;
use crate::custody::sources::{self, UnsoundSource};
use crate::custody::unattended::Keeper;
use crate::custody::unseal::{Furnishing, Unsealer};
use crate::faces::server::{ServeError, ServerLimits, Tls, serve};
use crate::keys::KEPT_MAX;
use crate::metrics::CertificateEnd;
use crate::reload::{Certificate, CertificateError, Reload};
use crate::rows::seal_record_key;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Scan, Store, StoreError};
use crate::upkeep::heartbeat;
use crate::{ops, process};

/// Why a broker does not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Secret memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The store.
    #[error("the store {path} cannot be used: {source}")]
    Store {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// No store, and nobody said that this is a new deployment.
    #[error(
        "there is no deployment in {path}; if this is a new one, start with `init.allow = true` and run `symbolon operator init`; if not, check the volume and restore the file"
    )]
    NoDeployment {
        /// Which file.
        path: PathBuf,
    },
    /// The store holds something else.
    #[error(transparent)]
    Foreign(#[from] ForeignRecord),
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A sink that there cannot be.
    #[error(transparent)]
    Sink(#[from] Unsound),
    /// A source of shares that there cannot be.
    #[error(transparent)]
    Source(#[from] UnsoundSource),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Serving failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// A broker that listens but does not serve yet.
pub struct Broker {
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<watch::Receiver<Tls>>,
    certificate: Option<Certificate>,
    certificate_end: Option<CertificateEnd>,
}

impl Broker {
    /// Hardens the process, opens the store, and listens.
    pub async fn bind(config: Config) -> Result<Self, RunError> {
        sinks::check(&config.lives.now().audit)?;
        sources::check(&config.lives.now().custody)?;
        let memory = process::harden(config.allow_insecure_memory, KEPT_MAX)?;
        let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
        let store = open_store(&config)?;
        let sealed = read_deployment(&config, store.as_ref()).await?;
        let address = config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
        info!(%memory, initialised = sealed.is_some(), "broker starts sealed");
        let app = Arc::new(assemble(config, store, Arc::new(SystemClock), sealed));
        let (tls, certificate_end) =
            (certificate.as_ref().map(Certificate::served), certificate.as_ref().map(Certificate::end));
        Ok(Self { app, listener, tls, certificate, certificate_end })
    }

    /// Where it listens; tells the port if the configuration left it to the system.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What handlers reach, for whoever runs the broker inside another process.
    #[must_use]
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// What follows the files of this broker, whose configuration was read from `path`. Once: a second one
    /// has no certificate to renew.
    #[must_use]
    pub fn reload(&mut self, path: PathBuf) -> Reload {
        let app = Arc::clone(&self.app);
        let adopt = Box::new(move |lives: &Lives| {
            if let Ok(session) = app.session() {
                session.keys.share(lives.high_tier);
            }
        });
        Reload::new(path, &self.app.config, self.certificate.take(), Arc::clone(&self.app.alarms), adopt)
    }

    /// Serves until `shutdown`, then seals and closes the store.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), RunError> {
        let router = crate::faces::router(Arc::clone(&self.app), self.certificate_end);
        serve(self.listener, self.tls, router, ServerLimits::default(), shutdown).await?;
        self.app.sources.stop();
        // the seal task only fails to answer if it is gone, and its keys with it
        let _ = self.app.seal.seal().await;
        if let Err(problem) = self.app.store.close().await {
            let problem = problem.to_string();
            warn!(
                problem,
                "the store was not closed in order: keep all its files together (docs/durability.md)"
            );
        }
        Ok(())
    }
}

/// What a session gets from rooms that custody does not see.
#[must_use]
pub fn furnishing(backups: &Arc<Backups>, retention: &Arc<Retention>) -> Furnishing {
    let (backups, retention) = (Arc::clone(backups), Arc::clone(retention));
    let begin = move |session: &_, link, intervals, alarm: &_| {
        heartbeat::start(session, link, intervals, alarm, (&backups, &retention));
    };
    Furnishing { shape: ops::shape(), begin: Arc::new(begin) }
}

/// Everything that handlers reach, around a store that holds `sealed`, or nothing yet.
#[must_use]
pub fn assemble(config: Config, store: Arc<dyn Store>, clock: Arc<dyn Clock>, sealed: Option<Sealed>) -> App {
    let (shape, remote, lives) = (ops::shape(), config.remote.clone(), config.lives.clone());
    let alarms = Arc::default();
    let backups = Arc::new(Backups::new(config.backup.clone(), Arc::clone(&alarms)));
    let retention = Arc::new(Retention::new(lives.clone(), Arc::clone(&alarms)));
    let furnishing = furnishing(&backups, &retention);
    let sources = Keeper::new(lives.clone(), Arc::clone(&store), Arc::clone(&clock));
    let unsealer = Unsealer::new(Arc::clone(&store), Arc::clone(&clock), remote, furnishing).sharing(lives);
    let seal = SealHandle::start(sealed, unsealer, Arc::clone(&clock));
    sources.keep(seal.clone());
    App {
        config,
        store,
        seal,
        clock,
        shape,
        init: Initialising::default(),
        alarms,
        backups,
        sources,
        retention,
    }
}

/// A file that is not there is created only for a new deployment, and only if the operator has said that it
/// is one.
fn open_store(config: &Config) -> Result<Arc<dyn Store>, RunError> {
    let path = &config.store.path;
    let fail = |source| RunError::Store { path: path.clone(), source };
    let cache = config.store.cache_bytes;
    let store = match path.exists() {
        true => EmbeddedStore::open(path, cache).map_err(fail)?,
        false if config.lives.now().init.allow => EmbeddedStore::create(path, cache).map_err(fail)?,
        false => return Err(RunError::NoDeployment { path: path.clone() }),
    };
    Ok(Arc::new(store))
}

async fn read_deployment(config: &Config, store: &dyn Store) -> Result<Option<Sealed>, RunError> {
    let path = &config.store.path;
    let fail = |source| RunError::Store { path: path.clone(), source };
    if let Some(row) = store.get(&seal_record_key()).await.map_err(fail)? {
        let record: SealRecord = serde_json::from_slice(&row.value).map_err(|_| ForeignRecord)?;
        return Ok(Some(Sealed::open(record)?));
    }
    let everything = Scan { from: &[], until: &[u8::MAX; 17], descending: false, limit: 1 };
    if !store.scan(everything).await.map_err(fail)?.is_empty() {
        return Err(ForeignRecord.into());
    }
    if config.lives.now().init.allow { Ok(None) } else { Err(RunError::NoDeployment { path: path.clone() }) }
}
