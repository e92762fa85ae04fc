#![allow(clippy::unwrap_used)]

mod approle;
mod jwt;
mod keys;
mod kubernetes;
mod oidc;
