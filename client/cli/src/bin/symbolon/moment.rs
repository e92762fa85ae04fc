//! The time, for commands.

use std::time::{SystemTime, UNIX_EPOCH};

pub use symbolon_proto::moment::utc;

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[expect(clippy::disallowed_methods, reason = "a command is an edge: there is no clock to be handed")]
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
