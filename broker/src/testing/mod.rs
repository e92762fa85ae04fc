//! What tests of several rooms begin with: a small deployment, a remote that is away, a server of
//! somebody else.
#![allow(clippy::unwrap_used)]

mod away;
mod deployment;
mod https;
mod session;

pub(crate) use away::Away;
pub(crate) use deployment::{DEPLOYMENT, deal, seal_record, sealed, unsealed};
pub(crate) use https::{Https, ok};
pub(crate) use session::Ground;
