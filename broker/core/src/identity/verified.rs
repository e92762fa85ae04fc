//! An identity that was proven and that its role admits, and what may be made of it.
//!
//! Every login and every issuance ends here, so this is where the bounds of a role hold: addresses when the
//! identity is made ([`VerifiedIdentity::within_bounds`] is the only way to one), lifetimes and uses when
//! something is issued for it. A method that forgot one of them would have nothing to issue.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use symbolon_proto::id::TenantId;

use crate::audit::Actor;
use crate::path::{MountPath, PolicyName};
use crate::token::ttl::{Capped, PastMaxTtl, TtlLimits};
use crate::token::{BatchOnly, CidrList, MachineToken, TokenClaims, TokenKind, TokenParams, TokenType};

/// What a login method found out about a caller whose evidence is good and whose role admits him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedIdentity {
    found: Found,
}

/// The facts that a login method found, before anybody asked where the request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// See [`VerifiedIdentity::actor`].
    pub(super) actor: Actor,
    /// See [`VerifiedIdentity::subject`].
    pub(super) subject: String,
    /// See [`VerifiedIdentity::alias`].
    pub(super) alias: String,
    /// Shown to people after the mount.
    pub(super) display_name: String,
    /// See [`VerifiedIdentity::meta`].
    pub(super) meta: BTreeMap<String, String>,
    /// See [`VerifiedIdentity::attributes`].
    pub(super) attributes: BTreeMap<String, String>,
    /// Parameters of the role, already as narrow as the evidence makes them.
    pub(super) params: TokenParams,
    /// See [`VerifiedIdentity::evidence_ends_at`].
    pub(super) evidence_ends_at: Option<u64>,
    /// What the address of the login ends in after `login/`, for a method that names its users there.
    pub(super) login_name: Option<String>,
}

/// The request comes from an address that the role, the user or the secret id does not bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the login comes from an address that is not bound")]
pub struct OutOfBounds;

/// Why a proven identity gets no token: its role and its mount do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Its lifetimes leave no time.
    #[error("the role's lifetimes leave no time for a token")]
    NoTime,
    /// Its tokens cannot be of the mount's kind.
    #[error(transparent)]
    BatchOnly(#[from] BatchOnly),
}

impl From<PastMaxTtl> for IssueError {
    fn from(_: PastMaxTtl) -> Self {
        Self::NoTime
    }
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
    /// The one way to an identity: from an address that the tokens of the role are bound to and that each of
    /// `places` (what else the evidence is bound to) contains. An unknown address satisfies no bound.
    pub(super) fn within_bounds(
        found: Found,
        places: &[&CidrList],
        remote: Option<IpAddr>,
    ) -> Result<Self, OutOfBounds> {
        let admits = |bound: &CidrList| bound.admits(remote);
        let inside = admits(&found.params.token_bound_cidrs) && places.iter().all(|bound| admits(bound));
        if inside { Ok(Self { found }) } else { Err(OutOfBounds) }
    }

    /// Who it is, unique within the issuer: `system:serviceaccount:ns:name`, the `sub` of an OIDC token, a
    /// role id.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.found.subject
    }

    /// The same as the log names it, with the login mount through which it came: never a credential, and only
    /// what the evidence itself says.
    #[must_use]
    pub fn actor(&self, mount: &MountPath) -> Arc<Actor> {
        self.found.actor.clone().through(mount).into()
    }

    /// What an identity would be filed under together with the mount: service-account uid, user claim, role
    /// id.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.found.alias
    }

    /// Facts that the answer to the login shows.
    #[must_use]
    pub fn meta(&self) -> &BTreeMap<String, String> {
        &self.found.meta
    }

    /// Attested facts for workload tokens: namespace, service account, pod uid, node. Empty for AppRole.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.found.attributes
    }

    /// Policies that a token of this identity would have: what an ACL for the token endpoint is made of.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyName> {
        self.found.params.policies()
    }

    /// When the evidence itself ends (unix seconds), if it does.
    #[must_use]
    pub fn evidence_ends_at(&self) -> Option<u64> {
        self.found.evidence_ends_at
    }

    /// Makes the token that the role provides for. `mount` is the login mount (`kubernetes`), `kinds` what it
    /// says about the kind of its tokens.
    pub fn issue(
        &self,
        tenant: TenantId,
        mount: &MountPath,
        kinds: TokenType,
        limits: TtlLimits,
        now_secs: u64,
    ) -> Result<Issued, IssueError> {
        let Found { params, display_name, meta, evidence_ends_at, login_name, .. } = &self.found;
        let kind = params.kind(kinds)?;
        let (claims, capped) = params.claims(kind, limits, *evidence_ends_at, now_secs)?;
        let source = mount.as_str().replace('/', "-");
        let claims = TokenClaims {
            display_name: if display_name.is_empty() { source } else { format!("{source}-{display_name}") },
            meta: meta.clone(),
            who: Some(self.actor(mount)),
            path: match login_name {
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

    /// For how many seconds a workload token of this identity may live at most: no longer than a token of the
    /// role, nor than the evidence. `None` if it may have none: the role counts the uses of its tokens, which
    /// nobody can do with a signed one, or its lifetimes or the evidence leave no time.
    pub(crate) fn workload_secs(&self, limits: TtlLimits, now_secs: u64) -> Option<u64> {
        let Found { params, evidence_ends_at, .. } = &self.found;
        if params.token_num_uses > 0 {
            return None;
        }
        let (claims, _) = params.claims(TokenKind::Batch, limits, *evidence_ends_at, now_secs).ok()?;
        let evidence = evidence_ends_at.map_or(u64::MAX, |ends_at| ends_at.saturating_sub(now_secs));
        Some(claims.ttl_secs.min(evidence)).filter(|&secs| secs > 0)
    }
}
