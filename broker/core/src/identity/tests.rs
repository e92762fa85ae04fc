#![allow(clippy::unwrap_used)]

mod approle;
mod bounds;
mod jwt;
mod keys;
mod kubernetes;
mod oidc;
