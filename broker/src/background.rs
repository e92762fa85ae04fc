//! What an open broker does by itself: heartbeats, canaries, and the end of leases and tokens.
//!
//! Every task ends when its session closes. None of them holds the session, so none keeps keys alive.

use std::sync::{Arc, Weak};
use std::time::Duration;

use data_encoding::HEXLOWER;
use symbolon_core::audit::Action;
use symbolon_proto::manifest::VerifiedManifest;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::fragment::{LeaseState, Remote};
use crate::keys::Keys;
use crate::open::{MANIFEST, StoredManifest};
use crate::ops::{OpError, token, workload};
use crate::session::Session;
use crate::store::Expect;

/// How often the end of the lease is looked at; a cached key outlives its lease by at most this.
const EXPIRY_TICK: Duration = Duration::from_millis(500);
/// How often rows of expired tokens are removed; they are refused from the moment they expire.
const SWEEP_TICK: Duration = Duration::from_secs(300);

/// Starts the tasks of a session.
pub fn start(session: &Arc<Session>, remote: Arc<Remote>, heartbeat: Duration) {
    let keys = session.keys.clone();
    tokio::spawn(until_closed(keys.closing(), end_leases(keys.clone())));
    tokio::spawn(until_closed(
        keys.closing(),
        keep_lease(Arc::downgrade(session), keys.clone(), remote, heartbeat),
    ));
    tokio::spawn(until_closed(keys.closing(), sweep_tokens(Arc::downgrade(session))));
}

async fn until_closed(mut closing: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = closing.wait_for(|closed| *closed) => {}
        () = work => {}
    }
}

/// Wipes cached keys when the lease ends or is withdrawn, whether or not a request comes along.
async fn end_leases(keys: Keys) {
    let mut flushes = keys.leases().flushes();
    let mut tick = interval(EXPIRY_TICK);
    loop {
        tokio::select! {
            changed = flushes.changed() => {
                if changed.is_err() {
                    return;
                }
                warn!("the lease on cached keys has ended or was withdrawn; cached keys are wiped");
                keys.flush();
            }
            _ = tick.tick() => keys.expire(),
        }
    }
}

/// Renews the lease, registers with a remote that was away, proves with a canary that what is written can be read, and keeps
/// the newest manifest.
async fn keep_lease(session: Weak<Session>, keys: Keys, remote: Arc<Remote>, every: Duration) {
    let mut beat = interval(every);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.tick().await; // the first contact was made by the unseal
    loop {
        beat.tick().await;
        let Some(generation) = session.upgrade().map(|session| session.generation()) else { return };
        contact(&keys, &remote, generation).await;
        let Some(session) = session.upgrade() else { return };
        if let Err(error) = keep_manifest(&session, &remote.manifest()).await {
            warn!(%error, "the newest manifest of the fragment service could not be stored; the next heartbeat tries again");
        }
        if let Err(error) = workload::rotate_if_due(&session).await {
            warn!(%error, "the next key for workload tokens could not be made; the next heartbeat tries again");
        }
    }
}

/// Stores a manifest that is newer than the stored one; an older one is never accepted again (`docs/skb1.md` 6.8).
async fn keep_manifest(session: &Session, manifest: &VerifiedManifest) -> Result<(), OpError> {
    let (StoredManifest(stored), revision) = session.rows.read(MANIFEST).await?.ok_or(OpError::Integrity)?;
    let newest = HEXLOWER.encode(manifest.as_bytes());
    if stored == newest {
        return Ok(());
    }
    let change = session.rows.put(MANIFEST, &StoredManifest(newest), Expect::Revision(revision))?;
    let draft = Session::internal(Action::Remote, "newer manifest of the fragment service");
    session.commit(vec![change], draft).await.map(drop)
}

/// One contact with the remote: a heartbeat, or a registration if there has been none, and a canary if one is due.
pub async fn contact(keys: &Keys, remote: &Remote, generation: u64) {
    let known = keys.leases().state(keys.now()) != LeaseState::Unknown;
    let answer = if known { remote.heartbeat().await } else { remote.hello(generation).await };
    match answer {
        Ok(state) if state == LeaseState::Active && keys.canary_due() => match keys.canary().await {
            Ok(()) => info!("canary: what is written now can be read again"),
            Err(error) => warn!(?error, "the canary failed; new keys are refused until one succeeds"),
        },
        Ok(_) => {}
        Err(error) => warn!(%error, "no contact with the fragment service"),
    }
}

async fn sweep_tokens(session: Weak<Session>) {
    let mut tick = interval(SWEEP_TICK);
    tick.tick().await;
    loop {
        tick.tick().await;
        let Some(session) = session.upgrade() else { return };
        if let Err(error) = token::sweep_expired(&session).await {
            warn!(%error, "rows of expired tokens could not be removed; the next sweep tries again");
        }
    }
}
