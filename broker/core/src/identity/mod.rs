//! Who a caller is, proven by evidence: Kubernetes and OIDC tokens verified offline, an AppRole secret, or a
//! password.
//!
//! Evidence goes in, a [`VerifiedIdentity`] comes out, and only from the modules here: its constructor is
//! private and asks where the request comes from. [`VerifiedIdentity::issue`] turns it into a token. Nothing
//! here fetches keys; the broker does, and hands in a [`keys::KeySet`]. An unknown `kid` is an error of its
//! own, so that the broker may refresh at a bounded rate.

pub mod approle;
mod der;
mod evidence;
mod glob;
pub mod jwt;
pub mod jwt_role;
pub mod keys;
pub mod kubernetes;
pub mod leeway;
mod number;
mod signature;
pub mod userpass;
mod verified;

pub use evidence::Evidence;
pub use verified::{IssueError, Issued, IssuedKind, OutOfBounds, VerifiedIdentity};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
