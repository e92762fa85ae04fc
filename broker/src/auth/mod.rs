//! Login methods: evidence in, token out. One folder and one line each.
//!
//! ```text
//! approle/ …   one method each: its descriptor, what it does, how the dialect asks for it
//! roles/       configurations and roles, which all methods keep the same way
//! login.rs     from a verified identity to a token
//! evidence.rs  tokens of Kubernetes and OIDC issuers, verified with the keys of a mount (jwks.rs)
//! workload.rs  short-lived tokens for other services, signed (signer.rs)
//! ```

use std::collections::BTreeMap;

use symbolon_core::token::TokenKind;

use crate::access::endings::Ending;
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::dialect::vault::{Answering, Call};
use crate::error::OpError;

pub mod approle;
pub mod evidence;
pub mod jwks;
pub mod jwt;
pub mod kubernetes;
mod login;
pub mod roles;
pub mod signer;
pub mod token;
pub mod userpass;
pub mod workload;

/// Every login method.
pub static METHODS: &[&Method] =
    &[&token::METHOD, &approle::METHOD, &kubernetes::METHOD, &jwt::METHOD, &userpass::METHOD];

/// From a request below a mount to an answer.
pub type Route = for<'a> fn(Call<'a>, &'a Mount, &'a str) -> Answering<'a>;

/// A login method: facts, and what it does.
pub struct Method {
    /// What everything general needs to know.
    pub facts: Facts,
    /// Which kind of token a login gives if neither its role nor its mount says one.
    pub usual: TokenKind,
    /// Whether it may be enabled with these options.
    pub enable: fn(&BTreeMap<String, String>) -> Result<(), OpError>,
    /// From a request below its mount to an answer.
    pub route: Route,
    /// Whom evidence names, for workload tokens; `None` where a login proves nothing that could be presented
    /// elsewhere.
    pub recognise: Option<evidence::Recognise>,
    /// How rows of its tables end that do so by themselves.
    pub endings: &'static [Ending],
}

/// The method of a mount.
#[must_use]
pub fn method_of(mount: &Mount) -> Option<&'static Method> {
    METHODS.iter().copied().find(|method| method.facts.kind == mount.kind)
}
