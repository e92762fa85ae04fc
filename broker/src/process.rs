//! What the process does to itself before it holds a key (`docs/skb1.md` 12.2).

use symbolon_proto::secret::{self, MemoryError, MemoryMode};

/// Forbids core dumps, tracing and new privileges, sets up secret memory for as many keys as there can be,
/// and says how it is kept.
///
/// # Errors
/// If not all of them can be hidden or locked and the configuration does not allow that.
pub fn harden(allow_insecure_memory: bool, keys_max: usize) -> Result<MemoryMode, MemoryError> {
    symbolon_net::process::harden();
    secret::prepare(allow_insecure_memory)?;
    secret::reserve(keys_max)?;
    Ok(secret::memory_mode())
}
