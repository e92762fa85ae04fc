//! Backups on a schedule. `keeping.rs` makes one, step by step.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info};

use crate::access::Session;
use crate::backup::Backups;
use crate::error::OpError;
use keeping::KeepError;

pub mod keeping;

/// How often it is looked whether one is due.
const TICK: Duration = Duration::from_secs(10);
/// After one that failed, until the next attempt; twice as long after each further one.
const AGAIN: Duration = Duration::from_secs(600);
/// The longest such pause, in times of the first.
const AGAIN_TIMES_MAX: u32 = 32;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// There is a new backup, or somebody else makes one.
    Well,
    /// There is none.
    Failed,
}

/// Makes backups as the plan says, until the session ends.
pub async fn run(session: Weak<Session>, backups: Arc<Backups>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut not_before, mut times) = (Instant::now(), 1);
    let mut remembers = false;
    loop {
        tick.tick().await;
        let Some(open) = session.upgrade() else { return };
        remembers = remembers || backups.remember(&open).await.is_ok();
        let now = open.now().unix_ms / 1000;
        drop(open);
        if !remembers || !backups.is_due(now) || Instant::now() < not_before {
            continue;
        }
        match attempt(&session, &backups).await {
            Ended::Well => times = 1,
            Ended::Failed => {
                not_before = Instant::now() + AGAIN * times;
                times = AGAIN_TIMES_MAX.min(times * 2);
            }
        }
    }
}

/// Makes one now, unless the session ends before it is whole.
pub async fn make(session: &Weak<Session>, backups: &Backups) {
    let Some(mut closing) = session.upgrade().map(|session| session.keys.closing()) else { return };
    tokio::select! {
        biased;
        _ = closing.wait_for(|closed| *closed) => {}
        _ = attempt(session, backups) => {}
    }
}

async fn attempt(session: &Weak<Session>, backups: &Backups) -> Ended {
    let error = match keeping::keep_one(session, backups).await {
        Ok(made) => {
            info!(name = made.name, bytes = made.bytes, entries = made.entries, "a backup was made");
            return Ended::Well;
        }
        Err(KeepError::Broker(OpError::Busy(_))) => return Ended::Well,
        Err(error) => error,
    };
    let (fault, detail) = (error.fault(), error.to_string());
    if backups.failed(fault, &detail) {
        error!(error = detail, "no backup was made");
    }
    if let Some(session) = session.upgrade() {
        // A log that cannot be written has been told of elsewhere.
        let _ = session.record(keeping::entry(format!("no backup was made: {}", fault.text()))).await;
    }
    Ended::Failed
}
