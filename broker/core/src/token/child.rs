//! Tokens made by tokens: `auth/token/create`.
//!
//! A child never has more than its parent: policies are a subset unless the caller has `sudo` on the route,
//! and root comes from root only. Names are folded before anything is compared.

use std::collections::BTreeMap;

use super::ttl::{self, Capped, PastMaxTtl, TtlLimits, TtlRequest};
use super::{Caller, META_BYTES_MAX, META_ENTRIES_MAX, POLICIES_MAX, TokenClaims, TokenKind};
use crate::path::PolicyName;

/// What the caller asks for. Durations in seconds, 0 says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateRequest {
    /// `None` or empty: the parent's.
    pub policies: Option<Vec<PolicyName>>,
    /// Facts about the token.
    pub meta: BTreeMap<String, String>,
    /// Made as an orphan: by `no_parent` or by `auth/token/create-orphan`.
    pub orphan: bool,
    /// Whether to leave out `default`.
    pub no_default_policy: bool,
    /// Whether it may be renewed; `None` is yes.
    pub renewable: Option<bool>,
    /// Lifetime.
    pub ttl_secs: u64,
    /// Bound that nothing lengthens.
    pub explicit_max_ttl_secs: u64,
    /// Lifetime after each renewal.
    pub period_secs: u64,
    /// Uses; 0 is unlimited.
    pub num_uses: u64,
    /// Shown to people after `token-`.
    pub display_name: String,
    /// `None` is service.
    pub kind: Option<TokenKind>,
}

/// Why no token was made: 400, with Vault's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// More rights than the parent has.
    #[error("child policies must be subset of parent")]
    NotSubset,
    /// The parent is a batch token.
    #[error(
        "batch tokens cannot create more tokens; log in by a role or a mount with \"token_type\" service (logins with kubernetes and jwt give batch tokens unless one of them says so)"
    )]
    BatchParent,
    /// The parent has a use count.
    #[error("restricted use token cannot generate child tokens")]
    LimitedParent,
    /// Orphans need sudo.
    #[error("root or sudo privileges required to create orphan token")]
    OrphanNeedsSudo,
    /// Periodic tokens need sudo.
    #[error("root or sudo privileges required to create periodic token")]
    PeriodNeedsSudo,
    /// Root from anything but root.
    #[error("root tokens may not be created without parent token being root")]
    RootNeedsRoot,
    /// A root token that ends made one that does not.
    #[error("expiring root tokens cannot create non-expiring root tokens")]
    EndlessRoot,
    /// Root cannot be stateless.
    #[error("batch tokens cannot be root tokens")]
    BatchRoot,
    /// Batch tokens lack this.
    #[error("batch tokens cannot have {0:?} set")]
    BatchField(&'static str),
    /// A policy that belongs to the house.
    #[error("cannot assign policy \"response-wrapping\"")]
    Reserved,
    /// Too many policies.
    #[error("a token can have at most {POLICIES_MAX} policies")]
    TooManyPolicies,
    /// Too much metadata.
    #[error("token metadata may have at most {META_ENTRIES_MAX} entries and {META_BYTES_MAX} bytes")]
    TooMuchMeta,
    /// No time left.
    #[error(transparent)]
    PastMaxTtl(#[from] PastMaxTtl),
}

/// Decides a creation. `sudo`: the caller has it on the route (root has); `path` is the route. Gives the
/// claims of the child and a warning if its lifetime was cut.
pub fn create_child(
    parent: &Caller,
    request: &CreateRequest,
    sudo: bool,
    path: &str,
    limits: TtlLimits,
    now_secs: u64,
) -> Result<(TokenClaims, Option<Capped>), CreateError> {
    let sudo = sudo || parent.is_root();
    check_parent(parent)?;
    check_request(request, sudo)?;
    let policies = child_policies(parent, request, sudo)?;
    let root = policies.iter().any(PolicyName::is_root);
    if root && request.kind == Some(TokenKind::Batch) {
        return Err(CreateError::BatchRoot);
    }
    let (ttl_secs, capped) = child_ttl(parent, request, root, limits, now_secs)?;
    let claims = TokenClaims {
        display_name: display_name(&request.display_name),
        policies,
        meta: request.meta.clone(),
        path: path.to_owned(),
        issued_at: now_secs,
        ttl_secs,
        max_ttl_secs: 0,
        explicit_max_ttl_secs: request.explicit_max_ttl_secs,
        period_secs: request.period_secs,
        renewable: ttl_secs > 0
            && request.kind != Some(TokenKind::Batch)
            && request.renewable.unwrap_or(true),
        orphan: request.orphan,
        num_uses: request.num_uses,
        who: None, // it may be given to anybody
        // A parent's bound holds for the child, or creating one would be the way around it, even for root.
        bound_cidrs: parent.bound_cidrs.clone(),
        parent: if request.orphan { None } else { parent.token },
    };
    Ok((claims, capped))
}

/// Lifetime and a warning if it was cut; 0 is a root token without an end.
fn child_ttl(
    parent: &Caller,
    request: &CreateRequest,
    root: bool,
    limits: TtlLimits,
    now_secs: u64,
) -> Result<(u64, Option<Capped>), CreateError> {
    let asked = TtlRequest {
        asked_secs: request.ttl_secs,
        explicit_max_secs: request.explicit_max_ttl_secs,
        period_secs: request.period_secs,
        ..TtlRequest::default()
    };
    if !root || asked != TtlRequest::default() {
        let ttl = ttl::decide(asked, limits, now_secs, now_secs)?;
        return Ok((ttl.secs, ttl.capped));
    }
    if parent.expires_at.is_some() { Err(CreateError::EndlessRoot) } else { Ok((0, None)) }
}

fn check_parent(parent: &Caller) -> Result<(), CreateError> {
    if parent.kind == TokenKind::Batch {
        return Err(CreateError::BatchParent);
    }
    if parent.num_uses > 0 { Err(CreateError::LimitedParent) } else { Ok(()) }
}

fn check_request(request: &CreateRequest, sudo: bool) -> Result<(), CreateError> {
    if request.orphan && !sudo {
        return Err(CreateError::OrphanNeedsSudo);
    }
    if request.period_secs > 0 && !sudo {
        return Err(CreateError::PeriodNeedsSudo);
    }
    let meta_bytes: usize = request.meta.iter().map(|(key, value)| key.len() + value.len()).sum();
    if request.meta.len() > META_ENTRIES_MAX || meta_bytes > META_BYTES_MAX {
        return Err(CreateError::TooMuchMeta);
    }
    if request.kind == Some(TokenKind::Batch) {
        let fields = [
            ("explicit_max_ttl", request.explicit_max_ttl_secs > 0),
            ("num_uses", request.num_uses > 0),
            ("period", request.period_secs > 0),
            ("renewable", request.renewable == Some(true)),
        ];
        if let Some((field, _)) = fields.into_iter().find(|(_, set)| *set) {
            return Err(CreateError::BatchField(field));
        }
    }
    Ok(())
}

/// Sorted, without duplicates; `root` stands alone.
fn child_policies(
    parent: &Caller,
    request: &CreateRequest,
    sudo: bool,
) -> Result<Vec<PolicyName>, CreateError> {
    let asked = request.policies.as_deref().filter(|asked| !asked.is_empty());
    let mut policies = asked.unwrap_or(&parent.policies).to_vec();
    if policies.iter().any(PolicyName::is_root) {
        return if parent.is_root() { Ok(vec![PolicyName::root()]) } else { Err(CreateError::RootNeedsRoot) };
    }
    if policies.iter().any(PolicyName::is_immutable) {
        return Err(CreateError::Reserved);
    }
    if !sudo && !policies.iter().all(|policy| parent.policies.contains(policy)) {
        return Err(CreateError::NotSubset);
    }
    let parent_has_default = parent.policies.iter().any(PolicyName::is_default);
    if request.no_default_policy && asked.is_none() {
        policies.retain(|policy| !policy.is_default());
    } else if !request.no_default_policy && asked.is_some() && (sudo || parent_has_default) {
        policies.push(PolicyName::default_policy());
    }
    policies.sort();
    policies.dedup();
    if policies.len() > POLICIES_MAX { Err(CreateError::TooManyPolicies) } else { Ok(policies) }
}

/// `token` or `token-<name>`, with anything but letters, digits and hyphens replaced, at most 128 characters.
fn display_name(name: &str) -> String {
    if name.is_empty() {
        return "token".to_owned();
    }
    let clean = |next: char| if next.is_ascii_alphanumeric() { next } else { '-' };
    let cleaned: String = name.chars().take(128).map(clean).collect();
    format!("token-{}", cleaned.strip_suffix('-').unwrap_or(&cleaned))
}
