//! What a server does to itself before it holds a key (`docs/skb1.md` 12.2).

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::set_no_new_privs;
use symbolon_proto::secret;
use tracing::warn;

/// Forbids core dumps, tracing by the same user and new privileges, and has keys wiped before an abort. What
/// the system does not allow is logged: secret pages protect themselves too.
pub fn harden() {
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
    open_as_many_files_as_allowed();
}

/// A listener holds more sockets than the 1,024 files that a process may open unless it asks for more.
fn open_as_many_files_as_allowed() {
    let allowed = getrlimit(Resource::Nofile).maximum;
    if setrlimit(Resource::Nofile, Rlimit { current: allowed, maximum: allowed }).is_err() {
        warn!("the process may open only some files; connections beyond them wait");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rustix::process::dumpable_behavior;
    use rustix::thread::no_new_privs;

    use super::*;

    #[test]
    fn the_kernel_confirms_it() {
        harden();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        assert!(no_new_privs().unwrap());
        let files = getrlimit(Resource::Nofile);
        assert_eq!(files.current, files.maximum);
    }
}
