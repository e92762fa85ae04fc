//! Entries of the log on their way to other systems: one task for each sink of the configuration, and one
//! that begins and ends them.
//!
//! ```text
//! shipping.rs   one sink: read, send, remember, wait, try again
//! beginning.rs  where it begins: a cursor that is read, made, or of another log
//! reading.rs    some entries of the log as lines
//! error.rs      why it stops
//! pace.rs       how long it waits for what
//! ```
//!
//! Nothing here is on the way of a request: a sink reads entries that are durable, when it likes, and what it
//! has not sent stays in the log. Without a session there is no key to read details with, so a sealed broker
//! sends nothing, and goes on where it was after the next unseal.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use symbolon_core::audit::{Action, Draft};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::access::Session;
use crate::audit::sinks::cursor::Cursor;
use crate::audit::sinks::journal::Shipping;
use crate::config::SinkConfig;
use crate::error::OpError;
use shipping::Ship;

mod beginning;
mod error;
mod pace;
mod reading;
mod shipping;
#[cfg(test)]
mod tests;

pub use pace::Pace;

/// The tasks of sinks, by name; dropping one ends it.
type Tasks = BTreeMap<String, (SinkConfig, JoinSet<()>)>;

/// Sends to the sinks of the configuration as it is, until the session ends.
pub async fn run(session: Weak<Session>, shipping: Arc<Shipping>, pace: Pace) {
    let mut tick = interval(pace.look);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tasks = Tasks::new();
    let mut tidied = None;
    loop {
        tick.tick().await;
        let Some(open) = session.upgrade() else { return };
        shipping.look(open.entries(), open.now());
        let plan = shipping.plan();
        if tidied.as_ref() != Some(&plan) {
            tasks.retain(|_, (config, _)| plan.contains(config));
            match forget_others(&open, &plan).await {
                Ok(()) => tidied = Some(plan.clone()),
                Err(error) => warn!(%error, "cursors of sinks that are gone could not be removed"),
            }
        }
        drop(open);
        for config in plan {
            let name = config.name.clone();
            tasks.entry(name).or_insert_with(|| (config.clone(), begin(&session, &shipping, config, pace)));
        }
    }
}

fn begin(session: &Weak<Session>, shipping: &Arc<Shipping>, config: SinkConfig, pace: Pace) -> JoinSet<()> {
    let mut task = JoinSet::new();
    let ship = Ship::new(Weak::clone(session), Arc::clone(shipping), config, pace);
    task.spawn(ship.run());
    task
}

/// Removes the cursors of sinks that are not configured any more.
async fn forget_others(open: &Session, plan: &[SinkConfig]) -> Result<(), OpError> {
    let cursors = Cursor::all(&open.rows).await?;
    let gone = cursors.iter().filter(|cursor| plan.iter().all(|sink| sink.name != cursor.name));
    for cursor in gone {
        let what = format!(
            "the sink {} is not configured any more; it had been sent what comes before entry {}",
            cursor.name, cursor.next
        );
        drop(open.commit(vec![cursor.forget(&open.rows)], entry(what)).await?);
    }
    Ok(())
}

/// The entry of what changes about sinks. What they are sent makes none.
fn entry(what: String) -> Draft {
    Draft::by_broker(Action::Retention, what)
}
