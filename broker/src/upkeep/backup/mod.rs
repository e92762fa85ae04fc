//! Backups on a schedule. `keeping.rs` makes one, step by step.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{error, info};

use crate::access::Session;
use crate::backup::Backups;

pub mod keeping;

/// How often it is looked whether one is due.
const TICK: Duration = Duration::from_secs(10);
/// After one that failed, until the next attempt.
const AGAIN: Duration = Duration::from_secs(600);

/// Makes backups as the plan says, until the session ends.
pub async fn run(session: Weak<Session>, backups: Arc<Backups>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut not_before = Instant::now();
    let mut remembers = false;
    loop {
        tick.tick().await;
        let Some(open) = session.upgrade() else { return };
        remembers = remembers || backups.remember(&open).await.is_ok();
        let now = open.now().unix_ms / 1000;
        drop(open);
        if remembers && backups.is_due(now) && Instant::now() >= not_before {
            make(&session, &backups).await;
            not_before = Instant::now() + AGAIN;
        }
        backups.look(now);
    }
}

/// Makes one now, and remembers how it ended.
pub async fn make(session: &Weak<Session>, backups: &Backups) {
    match keeping::keep_one(session, backups).await {
        Ok(made) => info!(name = made.name, bytes = made.bytes, entries = made.entries, "a backup was made"),
        Err(error) if backups.failed(&error.to_string()) => error!(%error, "no backup was made"),
        Err(_) => {}
    }
}
