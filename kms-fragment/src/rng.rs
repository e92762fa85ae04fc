//! Randomness of the operating system, in the shape that `symbolon-proto` takes.

use getrandom::SysRng;
use rand_core::UnwrapErr;

/// The system's generator. It panics if the kernel has no randomness: nothing sensible can follow.
#[must_use]
pub fn os_rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
