//! What an open broker does by itself: heartbeats, canaries, rotations, the end of leases, and the collection
//! of what has ended.
//!
//! Every task ends when its session closes. None of them holds the session, so none keeps keys alive.

use std::sync::{Arc, Weak};
use std::time::Duration;

use symbolon_core::audit::{Action, Draft};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, warn};

use super::group::Changer;
use super::{backup, collect, enrolment, escrow, retention, rotation, sinks};
use crate::access::Session;
use crate::audit::retention::journal::{self, Retention};
use crate::auth::workload;
use crate::backup::{Backups, Known};
use crate::custody::unseal::alarm::{Alarm, Reason};
use crate::custody::unseal::contact::contact;
use crate::custody::unseal::{Intervals, Link};
use crate::keys::Keys;
use crate::upkeep::rotation::Rotation;

/// How often the end of the lease is looked at; a cached key outlives its lease by at most this.
const EXPIRY_TICK: Duration = Duration::from_millis(500);

/// Between two contacts while there is no lease: nobody should wait for a heartbeat when the other side is
/// there again.
const WITHOUT_LEASE: Duration = Duration::from_secs(1);

/// How often it is looked whether counts of strangers are due; they wait at most so much longer.
const STRANGERS_TICK: Duration = Duration::from_secs(1);

/// Starts the tasks of a session.
pub fn start(
    session: &Arc<Session>,
    link: Link,
    intervals: Intervals,
    alarm: &Alarm,
    (backups, kept): (&Arc<Backups>, &Arc<Retention>),
) {
    Rotation::begin(session, Arc::clone(&link.remote) as _);
    let keys = session.keys.clone();
    let weak = || Arc::downgrade(session);
    tokio::spawn(until_closed(keys.closing(), end_leases(keys.clone())));
    let _ = session.of::<journal::Known>().set(Arc::clone(kept));
    let retaining = retention::run(weak(), Arc::clone(kept), Arc::clone(&link.anchor));
    tokio::spawn(until_closed(keys.closing(), retaining));
    let shipping = sinks::run(weak(), Arc::clone(&kept.sinks), sinks::Pace::SERVING);
    tokio::spawn(until_closed(keys.closing(), shipping));
    tokio::spawn(until_closed(keys.closing(), keep_lease(weak(), link, intervals.heartbeat, alarm.clone())));
    tokio::spawn(until_closed(
        keys.closing(),
        watch_dead_man(weak(), intervals.dead_man_hours, alarm.clone()),
    ));
    let _ = session.of::<Known>().set(Arc::clone(backups)); // a session begins once
    tokio::spawn(until_closed(keys.closing(), backup::run(weak(), Arc::clone(backups))));
    tokio::spawn(until_closed(keys.closing(), collect::run(weak(), collect::Pace::SERVING)));
    tokio::spawn(until_closed(keys.closing(), rotation::run(weak(), rotation::Pace::SERVING)));
    tokio::spawn(until_closed(keys.closing(), retention::indexing::run(weak(), retention::Pace::SERVING)));
    tokio::spawn(until_closed(keys.closing(), write_strangers(weak())));
}

/// Writes what was counted of requests by nobody known.
async fn write_strangers(session: Weak<Session>) {
    let mut tick = interval(STRANGERS_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(session) = session.upgrade() else { return };
        session.write_strangers().await;
    }
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

/// Renews the lease, registers with a remote that was away, proves with a canary that what is written can be
/// read, and keeps the newest manifest.
async fn keep_lease(session: Weak<Session>, link: Link, every: Duration, alarm: Alarm) {
    let mut beat = interval(every.min(WITHOUT_LEASE));
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now(); // the first contact was made by the unseal
    loop {
        beat.tick().await;
        let Some(now) = session.upgrade().map(|session| session.now()) else { return };
        let is_due = last.elapsed() >= every;
        let has_lease = |now| link.keys.leases().missing(now).is_none();
        if !is_due && has_lease(now) {
            continue;
        }
        let contacted = contact(&link, is_due).await;
        let Some(session) = session.upgrade() else { return };
        if let Err(reason) = contacted {
            return seal_itself(&session, reason, &alarm).await;
        }
        if !is_due && !has_lease(session.now()) {
            continue; // whatever else needs the other side waits for it, too
        }
        last = Instant::now();
        if !link.anchor.is_confirmed() {
            // a ceremony would register our generation before it is known whether this store is the newest
            continue;
        }
        if let Err(error) = Changer::new(&session, &link.remote).tend().await {
            warn!(%error, "a change of the fragment services did not go on; the next heartbeat tries again");
        }
        if let Err(error) = enrolment::keep(&session, &link.remote).await {
            warn!(%error, "the newest manifest of the fragment service could not be stored; the next heartbeat tries again");
        }
        if !link.remote.is_newest() {
            continue; // under an old manifest, shares in escrow would be dropped that are still needed
        }
        if let Err(error) = escrow::keep(&session, &link.remote).await {
            warn!(%error, "newer shares could not be put into escrow; the next heartbeat tries again");
        }
        if let Err(error) = workload::rotate_if_due(&session).await {
            warn!(%error, "the next key for workload tokens could not be made; the next heartbeat tries again");
        }
    }
}

/// Seals the broker when it has held no active lease for too long.
async fn watch_dead_man(session: Weak<Session>, hours: u64, alarm: Alarm) {
    let mut tick = interval(EXPIRY_TICK);
    loop {
        tick.tick().await;
        let Some(session) = session.upgrade() else { return };
        let now = session.now();
        session.dead_man.notice(session.keys.leases().usable_until(now) > now.boot_ms, now);
        if session.dead_man.left_ms(now) == 0 {
            return seal_itself(&session, Reason::DeadMan { hours }, &alarm).await;
        }
    }
}

/// The entry first, while there are keys to write it with. Without an entry it is sealed all the same.
async fn seal_itself(session: &Session, reason: Reason, alarm: &Alarm) {
    error!(%reason, "the broker seals itself");
    let why = match reason {
        Reason::RolledBack(_) => "the store is not the one that the fragment service remembers",
        Reason::LogDamaged => "the log cannot be compared with what the fragment service remembers",
        Reason::DeadMan { .. } => "no active lease for too long",
    };
    if session.record(Draft::by_broker(Action::Seal, why)).await.is_err() {
        warn!("that the broker seals itself could not be entered into the audit log");
    }
    alarm.raise(reason);
}
