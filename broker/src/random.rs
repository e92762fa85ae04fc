//! The operating system's randomness, the only source the broker uses.

use getrandom::SysRng;
use rand_core::{CryptoRng, UnwrapErr};

/// A generator that asks the kernel every time. It panics if the kernel has none, and the process then stops:
/// without randomness there is nothing safe left to do.
#[must_use]
pub fn os_rng() -> impl CryptoRng {
    UnwrapErr(SysRng)
}
