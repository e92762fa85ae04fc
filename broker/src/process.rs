//! What the process does to itself before it holds a key (`docs/skb1.md` 12.2).

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use symbolon_proto::secret::{self, MemoryError, MemoryMode};
use tracing::warn;

/// Forbids core dumps, tracing and new privileges, sets up secret memory, and says how it is kept.
///
/// # Errors
/// If keys can be neither hidden nor locked and the configuration does not allow that.
pub fn harden(allow_insecure_memory: bool) -> Result<MemoryMode, MemoryError> {
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        warn!("the process could not be made undumpable; keys stay out of core dumps by their pages alone");
    }
    if setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).is_err() {
        warn!("core dumps could not be forbidden; keys stay out of them by their pages alone");
    }
    if set_no_new_privs(true).is_err() {
        warn!("the process may still gain privileges through set-uid programs; it starts none");
    }
    secret::wipe_before_abort();
    secret::prepare(allow_insecure_memory)
}
