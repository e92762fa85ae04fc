//! What the process does to itself before it holds a key (`docs/skb1.md` 12.2).

use symbolon_proto::secret::{self, MemoryError, MemoryMode};

/// Forbids core dumps, tracing and new privileges, sets up secret memory, and says how it is kept.
///
/// # Errors
/// If keys can be neither hidden nor locked and the configuration does not allow that.
pub fn harden(allow_insecure_memory: bool) -> Result<MemoryMode, MemoryError> {
    symbolon_net::process::harden();
    secret::prepare(allow_insecure_memory)
}
