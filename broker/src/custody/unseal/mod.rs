//! From purpose keys to an open session: the order of an unseal.
//!
//! ```text
//! keys of earlier fragment epochs joined ▶ log checked against its checkpoint ▶
//! anchor compared with the remote's ▶
//! next generation committed with the unseal's entry ▶ mounts and policies read ▶
//! manifest chain followed ▶ hello (generation registered, lease) ▶ canary ▶ anchor put ▶ background tasks
//!
//! anchor.rs    whether the store is the newest one
//! alarm.rs     why an open broker seals itself
//! contact.rs   what is said to the remote, now and at each heartbeat
//! checks.rs    what must hold of a store before anything is written to it
//! entry.rs     the commit that makes the unseal one: generation, format of the seal record
//! ```
//!
//! A store that is older than the anchor is refused before anything is written to it or registered.
//!
//! A remote that does not answer does not stop the unseal: custodians need not come twice. The session then
//! holds no KEK and answers 503 until a heartbeat succeeds.

use std::sync::Arc;
use std::time::Duration;

use symbolon_core::clock::Clock;
use symbolon_core::dead_man::DeadMan;
use symbolon_core::seal::{EpochKeys, Sealed, Unsealed};

use self::alarm::Alarm;
use self::anchor::Anchor;
use super::deployment::{self, Deployment};
use crate::access::Configuration;
use crate::access::session::{Parts, Session};
use crate::access::shape::Shape;
use crate::config;
use crate::error::OpError;
use crate::keys::{Keys, SystemKeks};
use crate::remote::{Leases, Remote};
use crate::rows::{Rows, seal_record_key};
use crate::store::Store;

pub mod alarm;
pub mod anchor;
mod checks;
pub mod contact;
mod entry;

pub(crate) use checks::{read_enrolment, start_log};
pub use contact::Link;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between two contacts.
    pub heartbeat: Duration,
    /// Without a lease, until the broker seals itself.
    pub dead_man_hours: u64,
}

/// Starts what an open broker does by itself.
pub type Begin = Arc<dyn Fn(&Arc<Session>, Link, Intervals, &Alarm) + Send + Sync>;

/// What a session gets from rooms that custody does not see.
#[derive(Clone)]
pub struct Furnishing {
    /// What engines, methods and the system say of themselves.
    pub shape: Arc<Shape>,
    /// Who looks after an open broker.
    pub begin: Begin,
}

/// Opens sessions on one store with one remote.
pub struct Unsealer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    remote: config::Remote,
    lives: Option<config::Living>,
    furnishing: Furnishing,
}

impl Unsealer {
    /// For the seal task.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        remote: config::Remote,
        furnishing: Furnishing,
    ) -> Self {
        Self { store, clock, remote, lives: None, furnishing }
    }

    /// The same with shares of the evaluation quota as these settings have them at each unseal.
    #[must_use]
    pub fn sharing(self, lives: config::Living) -> Self {
        Self { lives: Some(lives), ..self }
    }

    /// The seal as the store has it, which is not what was read before if a ceremony's commit was not
    /// answered.
    pub async fn recorded(&self) -> Option<Sealed> {
        let row = self.store.get(&seal_record_key()).await.ok()??;
        Sealed::open(serde_json::from_slice(&row.value).ok()?).ok()
    }

    /// Opens a session with the keys of a finished ceremony, in which these custodians gave their shares. Its
    /// tasks raise `alarm` if it must not stay open.
    pub async fn open(
        &self,
        sealed: &Sealed,
        keys: EpochKeys,
        given: &[String],
        alarm: &Alarm,
    ) -> Result<Opened, OpError> {
        let unsealed = deployment::complete(self.store.as_ref(), keys).await?;
        let because = format!("shares given by {}", given.join(", "));
        self.open_with(sealed, Arc::new(unsealed), &because, alarm).await
    }

    /// The same with keys that are complete. The unseal's entry says why it happened.
    pub async fn open_with(
        &self,
        sealed: &Sealed,
        unsealed: Arc<Unsealed>,
        because: &str,
        alarm: &Alarm,
    ) -> Result<Opened, OpError> {
        let rows = Rows::new(Arc::clone(&self.store), Arc::clone(&unsealed));
        checks::seal_record(&rows, sealed).await?;
        let deployment = Deployment::read(self.store.as_ref(), &unsealed).await?;
        let writer = checks::existing_log(&self.store, &self.clock, &unsealed, &deployment.log).await?;
        let leases = Leases::default();
        let remote = self.connect(&deployment, &rows, sealed, &leases).await?;
        let anchor =
            Arc::new(Anchor::new(Arc::clone(&remote), Arc::clone(&self.store), Arc::clone(&unsealed)));
        checks::anchor(&anchor).await?;
        checks::readable(&rows).await?;
        let shape = &self.furnishing.shape;
        let why = entry::Why { because, forgotten: anchor.is_forgotten() };
        let (generation, raised) = entry::commit(&rows, &writer, sealed, shape, why).await?;
        let session = Session::assemble(Parts {
            configuration: Configuration::read(&rows).await?,
            clock: Arc::clone(&self.clock),
            keys: self.keys(&unsealed, &remote, leases),
            rows,
            unsealed,
            writer,
            generation,
            dead_man: DeadMan::new(self.remote.dead_man_hours, self.clock.now()),
            shape: Arc::clone(&self.furnishing.shape),
        });
        session.keys.replace_system_keks(SystemKeks::read(&session.rows).await?);
        let link = Link { keys: session.keys.clone(), remote, anchor, generation };
        self.begin(session, link, raised, alarm).await
    }

    async fn connect(
        &self,
        deployment: &Deployment,
        rows: &Rows,
        sealed: &Sealed,
        leases: &Leases,
    ) -> Result<Arc<Remote>, OpError> {
        let enrolled = read_enrolment(rows, sealed).await?;
        deployment.connect(&self.remote, sealed.broker(), enrolled, leases, &self.clock)
    }

    /// The first contact, if the remote is there, and the tasks that make the later ones.
    async fn begin(
        &self,
        session: Arc<Session>,
        link: Link,
        raised: Option<Sealed>,
        alarm: &Alarm,
    ) -> Result<Opened, OpError> {
        if link.anchor.is_confirmed()
            && let Err(reason) = contact::contact(&link, true).await
        {
            drop(session.close());
            return Err(reason.into());
        }
        let anchor = Arc::clone(&link.anchor);
        let intervals = Intervals {
            heartbeat: Duration::from_secs(self.remote.heartbeat_secs.max(1)),
            dead_man_hours: self.remote.dead_man_hours,
        };
        (self.furnishing.begin)(&session, link, intervals, alarm);
        Ok(Opened { session, anchor, raised })
    }

    fn keys(&self, unsealed: &Arc<Unsealed>, remote: &Arc<Remote>, leases: Leases) -> Keys {
        Keys::start(
            Arc::clone(unsealed),
            Arc::clone(&self.store),
            Arc::clone(remote) as _,
            leases,
            Arc::clone(&self.clock),
            self.lives.as_ref().map(|lives| lives.now().high_tier).unwrap_or_default(),
        )
    }
}

/// A session, and what its store is anchored to.
pub struct Opened {
    /// For requests.
    pub session: Arc<Session>,
    /// To be put once more before the session is closed.
    pub anchor: Arc<Anchor>,
    /// The seal record, if this unseal has raised its format.
    pub raised: Option<Sealed>,
}
