//! Seal status, custodians' shares, and the seal command.

use std::net::IpAddr;

use symbolon_core::audit::Action;
use symbolon_core::policy::Operation;
use symbolon_proto::secret::memory_mode;
use symbolon_proto::share::{Share, ShareTextError};

use crate::access::{Channel, Object, Request, Requester, Route};
use crate::audit::retention::journal;
use crate::audit::sinks::journal as sinks;
use crate::backup::journal::Journal;
use crate::custody::App;
use crate::custody::seal::View;
use crate::custody::sources::hold;
use crate::custody::unattended::journal::Known;
use crate::error::{OpError, Text};

/// Seal state as everyone may see it.
#[derive(Clone, Debug)]
pub struct SealStatus {
    /// Whether the store holds a deployment.
    pub initialized: bool,
    /// Whether the broker holds no keys.
    pub sealed: bool,
    /// Shares needed.
    pub threshold: u8,
    /// Shares that exist.
    pub shares: u8,
    /// Shares given in the ceremony under way.
    pub progress: u8,
    /// Names of the custodians who have given theirs.
    pub given: Vec<String>,
    /// Identifier of the ceremony under way; empty if none.
    pub nonce: String,
    /// Fingerprint of this broker while `init` waits for the fragment service's operator to compare and
    /// approve it.
    pub enrolling: String,
    /// Seconds for which an answer of `init` that is not confirmed keeps everybody from another; 0 if none
    /// does.
    pub unconfirmed_left_secs: u64,
    /// Deployment id in hex; empty if not initialised or sealed.
    pub cluster_id: String,
    /// `none` or `customer-escrow`; empty if not initialised.
    pub recovery: String,
    /// How secret memory is kept.
    pub memory: String,
    /// State of the lease on cached keys: `active`, `suspended`, `expired`, `unknown`.
    pub lease: String,
    /// Seconds until the lease ends; 0 if there is none.
    pub lease_left_secs: u64,
    /// Seconds until the broker seals itself if no active lease comes; 0 when sealed.
    pub dead_man_left_secs: u64,
    /// Why reads fail although the broker is open; empty otherwise.
    pub degraded: String,
    /// Why the broker sealed itself or would not open; empty otherwise.
    pub sealed_because: String,
    /// How often the deployment was unsealed; 0 when sealed.
    pub generation: u64,
    /// What an operator must look at although everything is served.
    pub alarms: Vec<&'static str>,
    /// What is known of backups; `None` if the broker makes none by itself.
    pub backup: Option<Journal>,
    /// What is known of the log's retention.
    pub log: journal::Journal,
    /// What is known of each sink of the log.
    pub sinks: Vec<sinks::State>,
    /// What is known of each source of shares: its kind, and what came of asking it.
    pub sources: Vec<(String, Known)>,
}

/// What anyone may know about the seal.
#[must_use]
pub fn status(app: &App) -> SealStatus {
    app.backups.look(app.clock.now().unix_ms / 1000);
    let backup = app.backups.plan.as_ref().map(|_| app.backups.journal());
    let (log, sinks) = (app.retention.journal(), app.retention.sinks.states());
    let mut status = SealStatus {
        alarms: app.alarms.texts(),
        backup,
        log,
        sinks,
        sources: app.sources.states(),
        ..blank()
    };
    match app.seal.view() {
        View::Uninitialised => {
            status.enrolling = app.init.enrolling();
            status.unconfirmed_left_secs = app.init.unconfirmed_secs(app.clock.now()).unwrap_or(0);
        }
        View::Sealed { sealed, ceremony, reason, .. } => {
            describe(&mut status, &sealed);
            status.sealed_because = reason.map(|reason| reason.to_string()).unwrap_or_default();
            if let Some((nonce, progress)) = ceremony {
                status.progress = u8::try_from(progress.given.len()).unwrap_or(u8::MAX);
                status.given = progress.given;
                status.nonce = nonce;
            }
        }
        View::Open { sealed, session, .. } => {
            describe(&mut status, &sealed);
            let now = session.now();
            let leases = session.keys.leases();
            status.sealed = false;
            status.cluster_id = sealed.deployment().to_string();
            status.lease = leases.summary(now);
            status.degraded = leases.missing(now).map(no_lease).unwrap_or_default();
            status.lease_left_secs = leases.usable_until(now).saturating_sub(now.boot_ms) / 1000;
            status.dead_man_left_secs = session.dead_man.left_ms(now) / 1000;
            status.generation = session.generation() >> 32; // the lower half is chance
        }
    }
    status
}

fn blank() -> SealStatus {
    SealStatus {
        initialized: false,
        sealed: true,
        threshold: 0,
        shares: 0,
        progress: 0,
        given: Vec::new(),
        nonce: String::new(),
        enrolling: String::new(),
        unconfirmed_left_secs: 0,
        cluster_id: String::new(),
        recovery: String::new(),
        memory: memory_mode().to_string(),
        lease: "unknown".to_owned(),
        lease_left_secs: 0,
        dead_man_left_secs: 0,
        degraded: String::new(),
        sealed_because: String::new(),
        generation: 0,
        alarms: Vec::new(),
        backup: None,
        log: journal::Journal::default(),
        sinks: Vec::new(),
        sources: Vec::new(),
    }
}

/// Everybody's next question is which side must act.
fn no_lease(missing: String) -> String {
    format!("no lease of the fragment service ({missing}); its operator must act, or the network between")
}

impl SealStatus {
    /// Why reads of secrets would fail at this moment; `None` if they would not.
    #[must_use]
    pub fn unready(&self) -> Option<&str> {
        match self {
            Self { initialized: false, .. } => Some("not initialised"),
            Self { sealed: true, .. } => Some("sealed"),
            Self { degraded, .. } if !degraded.is_empty() => Some(degraded),
            _ => None,
        }
    }
}

fn describe(status: &mut SealStatus, sealed: &symbolon_core::seal::Sealed) {
    status.initialized = true;
    status.threshold = sealed.share_set().threshold();
    status.shares = sealed.share_set().sharing().total();
    sealed.record().recovery.as_str().clone_into(&mut status.recovery);
}

/// Takes one custodian's share, in any of its text forms. The last one opens the broker. One that came over a
/// classical connection is taken, warned of, and named in the log once there is one to write to.
pub async fn unseal(
    app: &App,
    share: &str,
    channel: Channel,
    from: Option<IpAddr>,
) -> Result<SealStatus, OpError> {
    let share = Share::parse(share)?;
    app.seal.submit(share, channel, from).await?;
    Ok(status(app))
}

/// Forgets the shares given so far.
pub async fn reset(app: &App) -> Result<SealStatus, OpError> {
    match app.seal.view() {
        View::Uninitialised => return Err(OpError::UNINITIALISED),
        View::Open { .. } => return Err(OpError::invalid("vault is unsealed")),
        View::Sealed { .. } => app.seal.reset().await?,
    }
    Ok(status(app))
}

/// Erases every key; answers when none is left in memory.
pub async fn seal(app: &App, who: &Requester<'_>) -> Result<(), OpError> {
    {
        let session = app.fresh_session().await?;
        let request = Request::begin(&who.of(&session), Action::Seal, &Route::system("seal")).await?;
        let request = request.authorise(Operation::Update).await?;
        request.commit(Object::Path, vec![hold::begin()]).await?;
    } // sealing waits for everybody who holds the session
    app.seal.seal().await
}

impl From<ShareTextError> for OpError {
    fn from(error: ShareTextError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
