//! What tests of several rooms begin with: a small deployment, and a remote that is away.
#![allow(clippy::unwrap_used)]

mod away;
mod deployment;
mod session;

pub(crate) use away::Away;
pub(crate) use deployment::{DEPLOYMENT, deal, seal_record, sealed, unsealed};
pub(crate) use session::Ground;
