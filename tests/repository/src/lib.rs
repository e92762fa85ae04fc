//! What tests need to know of the checkout and the machine, and the repository's rules about itself.
//!
//! The rules are tests. They depend on nothing, so `./test` runs them before it builds anything else.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::print_stdout))]

pub mod machine;
pub mod softhsm;
pub mod swtpm;
pub mod tang;

#[cfg(test)]
mod layers;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod source;
#[cfg(test)]
mod texts;

use std::path::{Path, PathBuf};

/// The folder of the whole checkout.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
