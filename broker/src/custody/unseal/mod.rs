//! From purpose keys to an open session: the order of an unseal.
//!
//! ```text
//! keys of earlier fragment epochs joined ▶ log checked against its checkpoint ▶ anchor compared with the remote's ▶ next generation committed with the unseal's entry ▶
//! mounts and policies read ▶ hello (generation registered, lease) ▶ canary ▶ anchor put ▶ background tasks
//! ```
//!
//! A store that is older than the anchor is refused before anything is written to it or registered.
//!
//! A remote that does not answer does not stop the unseal: custodians need not come twice. The session then holds no KEK and
//! answers 503 until a heartbeat succeeds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use data_encoding::HEXLOWER;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use symbolon_core::audit::Action;
use symbolon_core::clock::Clock;
use symbolon_core::dead_man::DeadMan;
use symbolon_core::path::PolicyName;
use symbolon_core::policy::Policy;
use symbolon_core::seal::{EpochKeys, SealRecord, Sealed, Unsealed};
use symbolon_proto::id::TenantId;
use tracing::{error, warn};

use super::alarm::{Alarm, Reason};
use super::anchor::{Anchor, AnchorError};
use super::deployment::{self, Deployment, LogSeed};
use super::enrolment_rows;
use crate::access::mounts::Mounts;
use crate::access::session::Session;
use crate::audit::writer::{LogKeys, StartError, Writer};
use crate::auth::jwks::LoginKeys;
use crate::config;
use crate::error::OpError;
use crate::keys::Keys;
use crate::keys::buckets::Buckets;
use crate::ops::mount::{self, Side};
use crate::ops::policy::{self, StoredPolicy};
use crate::random::os_rng;
use crate::remote::{Enrolled, Leases, Remote};
use crate::rows::{NO_SCOPE, Place, Rows, Table, seal_record_key};
use crate::store::{Expect, Store};
use crate::upkeep::heartbeat::{self, Link};
use crate::upkeep::rotation::{self, Rotation};

/// The newest generation of a deployment. Wire type.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// Where the generation is kept.
pub const GENERATION: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: Table::Counter, scope: NO_SCOPE, group: "", name: "generation" };

/// Opens sessions on one store with one remote.
pub struct Opener {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    remote: config::Remote,
}

impl Opener {
    /// For the seal task.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, remote: config::Remote) -> Self {
        Self { store, clock, remote }
    }

    /// The seal as the store has it, which is not what was read before if a ceremony's commit was not answered.
    pub async fn recorded(&self) -> Option<Sealed> {
        let row = self.store.get(&seal_record_key()).await.ok()??;
        Sealed::open(serde_json::from_slice(&row.value).ok()?).ok()
    }

    /// Opens a session with the keys of a finished ceremony. Its tasks raise `alarm` if it must not stay open.
    pub async fn open(&self, sealed: &Sealed, keys: EpochKeys, alarm: &Alarm) -> Result<Opened, OpError> {
        let unsealed = deployment::complete(self.store.as_ref(), keys).await?;
        self.open_with(sealed, Arc::new(unsealed), alarm).await
    }

    /// The same with keys that are complete, after a change of them.
    pub async fn open_with(
        &self,
        sealed: &Sealed,
        unsealed: Arc<Unsealed>,
        alarm: &Alarm,
    ) -> Result<Opened, OpError> {
        let rows = Rows::new(Arc::clone(&self.store), Arc::clone(&unsealed));
        check_seal_record(&rows, sealed).await?;
        let deployment = Deployment::read(self.store.as_ref(), &unsealed).await?;
        let writer = start_log(&self.store, &self.clock, &unsealed, &deployment.log).await?;
        if writer.size() == 0 {
            error!(
                "the audit log of an initialised deployment is gone; keep the store for an investigation and restore a backup"
            );
            return Err(OpError::INTEGRITY);
        }
        let leases = Leases::default();
        let enrolled = read_enrolment(&rows, sealed).await?;
        let remote = deployment.connect(&self.remote, sealed.broker(), enrolled, &leases, &self.clock)?;
        let anchor =
            Arc::new(Anchor::new(Arc::clone(&remote), Arc::clone(&self.store), Arc::clone(&unsealed)));
        check_anchor(&anchor).await?;
        let generation = next_generation(&rows, &writer).await?;
        let keys = self.keys(&unsealed, &remote, leases);
        let session = Session::assemble(Parts {
            mounts: read_mounts(&rows).await?,
            policies: read_policies(&rows).await?,
            clock: Arc::clone(&self.clock),
            rows,
            keys,
            unsealed,
            writer,
            generation,
            dead_man: DeadMan::new(self.remote.dead_man_hours, self.clock.now()),
            rotation: Rotation::new(Arc::clone(&remote) as _),
        });
        session.keys.replace_own(rotation::read_own(&session.rows).await?);
        let link = Link { keys: session.keys.clone(), remote, anchor, generation };
        self.begin(session, link, alarm).await
    }

    /// The first contact, if the remote is there, and the tasks that make the later ones.
    async fn begin(&self, session: Arc<Session>, link: Link, alarm: &Alarm) -> Result<Opened, OpError> {
        if link.anchor.is_confirmed()
            && let Err(reason) = heartbeat::contact(&link).await
        {
            drop(session.close());
            return Err(reason.into());
        }
        let anchor = Arc::clone(&link.anchor);
        let pace = heartbeat::Pace {
            heartbeat: Duration::from_secs(self.remote.heartbeat_secs.max(1)),
            dead_man_hours: self.remote.dead_man_hours,
        };
        heartbeat::start(&session, link, pace, alarm);
        Ok(Opened { session, anchor })
    }

    fn keys(&self, unsealed: &Arc<Unsealed>, remote: &Arc<Remote>, leases: Leases) -> Keys {
        Keys::start(
            Arc::clone(unsealed),
            Arc::clone(&self.store),
            Arc::clone(remote) as _,
            leases,
            Arc::clone(&self.clock),
        )
    }
}

/// A session, and what its store is anchored to.
pub struct Opened {
    /// For requests.
    pub session: Arc<Session>,
    /// To be put once more before the session is closed.
    pub anchor: Arc<Anchor>,
}

/// Refuses an old store. A remote that does not answer is asked again before any key is opened.
async fn check_anchor(anchor: &Anchor) -> Result<(), OpError> {
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

/// Where a sealed copy of the public seal record is kept.
pub const SEAL_COPY: Place<'static> = Place { name: "seal record", ..GENERATION };

/// Anyone who can write the store can edit the public record; the sealed copy shows it.
async fn check_seal_record(rows: &Rows, sealed: &Sealed) -> Result<(), OpError> {
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

/// A count of unseals in the upper half, chance in the lower one. A copy of the store counts like its original, and the
/// remote would serve both; so chance makes one of the two newer, and the other is fenced (`docs/skb1.md` 6.9).
fn generation_after(last: u64) -> u64 {
    let count = (last >> 32).saturating_add(1);
    count << 32 | u64::from(os_rng().next_u32())
}

async fn next_generation(rows: &Rows, writer: &Writer) -> Result<u64, OpError> {
    let (Generation(last), revision) = rows.read(GENERATION).await?.ok_or(OpError::INTEGRITY)?;
    let next = generation_after(last);
    let change = rows.put(GENERATION, &Generation(next), Expect::Revision(revision))?;
    let draft = Session::internal(Action::Unseal, "enough custodians gave their shares");
    let _receipt = writer.commit(vec![change], draft).await.map_err(|reason| {
        error!(%reason, "the unseal could not be recorded; the broker stays sealed");
        OpError::UNLOGGED
    })?;
    Ok(next)
}

pub(crate) async fn read_mounts(rows: &Rows) -> Result<Mounts, OpError> {
    Ok(Mounts {
        secrets: mount::load(rows, Side::Secrets).await?,
        logins: mount::load(rows, Side::Logins).await?,
    })
}

async fn read_policies(rows: &Rows) -> Result<HashMap<PolicyName, Arc<Policy>>, OpError> {
    let stored = rows.list::<StoredPolicy>(policy::place(&PolicyName::default_policy())).await?;
    let parse = |(stored, _): (StoredPolicy, u64)| {
        let policy = Policy::parse(stored.name.clone(), &stored.text).map_err(|_| OpError::INTEGRITY)?;
        Ok((stored.name, Arc::new(policy)))
    };
    stored.into_iter().map(parse).collect()
}

/// What a session is made of.
pub(crate) struct Parts {
    pub rows: Rows,
    pub keys: Keys,
    pub mounts: Mounts,
    pub policies: HashMap<PolicyName, Arc<Policy>>,
    pub clock: Arc<dyn Clock>,
    pub unsealed: Arc<Unsealed>,
    pub writer: Writer,
    pub generation: u64,
    pub dead_man: DeadMan,
    pub rotation: Rotation,
}

impl Session {
    pub(crate) fn assemble(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            rows: parts.rows,
            keys: parts.keys,
            buckets: Buckets::default(),
            login_keys: LoginKeys::default(),
            mounts: RwLock::new(Arc::new(parts.mounts)),
            clock: parts.clock,
            rotation: parts.rotation,
            unsealed: parts.unsealed,
            writer: parts.writer,
            generation: parts.generation,
            dead_man: parts.dead_man,
            policies: RwLock::new(parts.policies),
            acls: Mutex::default(),
            taking: Arc::default(),
        })
    }
}
