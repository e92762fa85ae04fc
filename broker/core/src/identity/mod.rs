//! Who a caller is, proven by evidence: Kubernetes and OIDC tokens verified offline, an AppRole secret, or a
//! password.
//!
//! Evidence goes in, a [`VerifiedIdentity`] comes out, and only from the modules here: its constructor is
//! private. [`VerifiedIdentity::issue`] turns it into a token. Nothing here fetches keys; the broker does,
//! and hands in a [`keys::KeySet`]. An unknown `kid` is an error of its own, so that the broker may refresh
//! at a bounded rate.

pub mod approle;
mod der;
mod glob;
pub mod jwt;
pub mod jwt_role;
pub mod keys;
pub mod kubernetes;
pub mod userpass;

use std::collections::BTreeMap;

use symbolon_proto::id::TenantId;

use crate::path::{MountPath, PolicyName};
use crate::token::ttl::{Capped, PastMaxTtl, TtlLimits};
use crate::token::{MachineToken, TokenClaims, TokenKind, TokenParams};

/// What a login method found out about a caller whose evidence is good and whose role admits him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    subject: String,
    alias: String,
    display_name: String,
    meta: BTreeMap<String, String>,
    attributes: BTreeMap<String, String>,
    params: TokenParams,
    evidence_ends_at: Option<u64>,
    /// What the address of the login ends in after `login/`, for a method that names its users there.
    login_name: Option<String>,
}

/// A token that may be given out, and a warning if its lifetime was cut.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: IssuedKind,
    /// Set if the role asked for more than the mount allows.
    pub capped: Option<Capped>,
}

/// The two ways in which an identity becomes a token.
#[derive(Clone, Debug)]
pub enum IssuedKind {
    /// Seal it and hand it out; nothing is stored.
    Machine(MachineToken),
    /// Store a row for it.
    Service(TokenClaims),
}

impl VerifiedIdentity {
    /// Who it is, unique within the issuer: `system:serviceaccount:ns:name`, the `sub` of an OIDC token, a
    /// role id.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What an identity would be filed under together with the mount: service-account uid, user claim, role
    /// id.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Facts that the answer to the login shows.
    #[must_use]
    pub fn meta(&self) -> &BTreeMap<String, String> {
        &self.meta
    }

    /// Attested facts for workload tokens: namespace, service account, pod uid, node. Empty for AppRole.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }

    /// Policies that a token of this identity would have: what an ACL for the token endpoint is made of.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyName> {
        self.params.policies()
    }

    /// When the evidence itself ends (unix seconds), if it does.
    #[must_use]
    pub fn evidence_ends_at(&self) -> Option<u64> {
        self.evidence_ends_at
    }

    /// Makes the token that the role provides for. `mount` is the login mount (`kubernetes`), `usual` the
    /// kind that it gives if the role does not say.
    pub fn issue(
        &self,
        tenant: TenantId,
        mount: &MountPath,
        usual: TokenKind,
        limits: TtlLimits,
        now_secs: u64,
    ) -> Result<Issued, PastMaxTtl> {
        let kind = self.params.kind(usual);
        let (claims, capped) = self.params.claims(kind, limits, self.evidence_ends_at, now_secs)?;
        let source = mount.as_str().replace('/', "-");
        let display_name =
            if self.display_name.is_empty() { source } else { format!("{source}-{}", self.display_name) };
        let claims = TokenClaims {
            display_name,
            meta: self.meta.clone(),
            path: match &self.login_name {
                None => format!("auth/{mount}/login"),
                Some(name) => format!("auth/{mount}/login/{name}"),
            },
            ..claims
        };
        let token = match kind {
            TokenKind::Batch => IssuedKind::Machine(MachineToken::new(tenant, claims)),
            TokenKind::Service => IssuedKind::Service(claims),
        };
        Ok(Issued { token, capped })
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
