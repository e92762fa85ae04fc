//! Tokens: what they look like, how long they live, what they may beget, and whom they stand for.
//!
//! | Kind | Looks like | Kept where | Can be revoked |
//! |---|---|---|---|
//! | service ([`ServiceToken`]) | `hvs.` + 24 base-62 characters | one row, under its keyed hash | yes |
//! | machine ([`MachineToken`], Vault's `batch`) | `hvb.` + encrypted claims | nowhere | no; lives briefly |
//!
//! What the rest of the broker passes around is a [`Caller`]: the facts of a token that was found good, never
//! the token. A token that is not good is [`BadToken`], whatever is wrong with it.

mod batch;
mod child;
mod cidr;
pub mod duration;
mod format;
mod params;
mod service;
pub mod ttl;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;

pub use batch::{MACHINE_TTL_SECS_DEFAULT, MACHINE_TTL_SECS_MAX, MachineToken, SealTokenError};
pub use child::{CreateError, CreateRequest, create_child};
pub use cidr::{BadCidr, Cidr, CidrList};
pub(crate) use format::keyed_hash;
pub use format::{
    TOKEN_BYTES_MAX, TokenHash, TokenShape, hash_of, new_accessor, new_service_token, random_base62,
};
pub use params::{BatchOnly, ParamsError, TokenParams, TokenType};
pub use service::{RenewError, Renewed, ServiceToken, Spent};

use crate::audit::Actor;
use crate::path::PolicyName;

/// Most entries in a token's metadata.
pub const META_ENTRIES_MAX: usize = 64;
/// Bytes of all keys and values in a token's metadata.
pub const META_BYTES_MAX: usize = 4096;
/// Most policies on one token.
pub const POLICIES_MAX: usize = 256;

/// No token, or none that is good. Deliberately one error for all reasons: unknown, expired, spent,
/// malformed, or from an address it is not bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("permission denied")]
pub struct BadToken;

/// The two kinds of tokens on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Has a row; renewable and revocable.
    Service,
    /// Sealed and stateless.
    Batch,
}

impl TokenKind {
    /// `service` or `batch`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

/// What a token says, whichever kind it is. Wire type: stored in rows and encrypted into machine tokens;
/// fields are only ever added. Times are unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClaims {
    /// Shown to people: `token-deploy`, `kubernetes-eso`.
    pub display_name: String,
    /// Sorted, without duplicates.
    pub policies: Vec<PolicyName>,
    /// Facts from the login or from the creator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Route that made it: `auth/kubernetes/login`.
    pub path: String,
    /// When it was made.
    pub issued_at: u64,
    /// Lifetime at creation; 0 never ends.
    pub ttl_secs: u64,
    /// Bound on all renewals together, from the role or the creator; 0 takes the mount's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_ttl_secs: u64,
    /// Bound that nothing lengthens; 0 if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub explicit_max_ttl_secs: u64,
    /// Lifetime after each renewal of a periodic token; 0 if it is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub period_secs: u64,
    /// Whether it may be renewed.
    #[serde(default)]
    pub renewable: bool,
    /// Whether it lives on when its creator is revoked.
    #[serde(default)]
    pub orphan: bool,
    /// Uses at creation; 0 is unlimited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub num_uses: u64,
    /// Where it may be used from; empty is anywhere.
    #[serde(default, skip_serializing_if = "CidrList::is_empty")]
    pub bound_cidrs: CidrList,
    /// Row of the token that made it; it dies with that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TokenHash>,
    /// Who logged in for it; nobody if it was made otherwise, or by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Arc<Actor>>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl TokenClaims {
    /// When it ends by itself, before any renewal; `None` is never.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        (self.ttl_secs > 0).then(|| self.issued_at.saturating_add(self.ttl_secs))
    }

    /// Whether `root` is among the policies. It is then the only one.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(PolicyName::is_root)
    }

    /// The first token of a deployment: root, never ends.
    #[must_use]
    pub fn root(now_secs: u64) -> Self {
        Self {
            display_name: "root".to_owned(),
            policies: vec![PolicyName::root()],
            meta: BTreeMap::new(),
            path: "auth/token/root".to_owned(),
            issued_at: now_secs,
            ttl_secs: 0,
            max_ttl_secs: 0,
            explicit_max_ttl_secs: 0,
            period_secs: 0,
            renewable: false,
            orphan: true,
            num_uses: 0,
            bound_cidrs: CidrList::default(),
            parent: None,
            who: None,
        }
    }

    /// A root token that custodians make in a ceremony: it ends by itself, and nothing lengthens it.
    /// `ceremony` is its nonce in hex.
    #[must_use]
    pub fn root_of_ceremony(now_secs: u64, ttl_secs: u64, ceremony: String) -> Self {
        Self {
            ttl_secs,
            explicit_max_ttl_secs: ttl_secs,
            meta: BTreeMap::from([("ceremony".to_owned(), ceremony)]),
            path: "sys/symbolon/ceremony/root".to_owned(),
            ..Self::root(now_secs)
        }
    }
}

/// Who asks: the facts of a good token. Everyone passes this around; it is not the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose rows the caller may touch.
    pub tenant: TenantId,
    /// Service or batch.
    pub kind: TokenKind,
    /// Row of the token; `None` for machine tokens.
    pub token: Option<TokenHash>,
    /// Name by which the token can be looked up and revoked without being shown; `None` for machine tokens.
    pub accessor: Option<String>,
    /// Shown to people.
    pub display_name: String,
    /// Sorted, without duplicates.
    pub policies: Vec<PolicyName>,
    /// Facts from the login or from the creator.
    pub meta: BTreeMap<String, String>,
    /// Route that made the token.
    pub path: String,
    /// Unix seconds.
    pub issued_at: u64,
    /// Lifetime at creation in seconds; 0 never ends.
    pub creation_ttl_secs: u64,
    /// Unix seconds, after renewals; `None` is never.
    pub expires_at: Option<u64>,
    /// Unix seconds of the last renewal.
    pub last_renewal: Option<u64>,
    /// Seconds; 0 if none.
    pub explicit_max_ttl_secs: u64,
    /// Seconds; 0 if not periodic.
    pub period_secs: u64,
    /// Whether it may be renewed.
    pub renewable: bool,
    /// Whether it lives on when its creator is revoked.
    pub orphan: bool,
    /// Uses left, this one included; 0 is unlimited.
    pub num_uses: u64,
    /// Where the token may be used from; empty is anywhere.
    pub bound_cidrs: CidrList,
    /// Row of the token that made it: whoever accepts a machine token with a parent checks that the row still
    /// exists.
    pub parent: Option<TokenHash>,
    /// Who logged in for the token; nobody if it was made otherwise, or by an earlier version.
    pub who: Option<Arc<Actor>>,
}

impl Caller {
    /// Whether the caller may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(PolicyName::is_root)
    }

    /// Who asks, for the log. Whoever did not come by a login of their own is known by their token.
    #[must_use]
    pub fn actor(&self) -> Arc<Actor> {
        static BY_TOKEN: LazyLock<Arc<Actor>> = LazyLock::new(|| Arc::new(Actor::of("token")));
        self.who.clone().unwrap_or_else(|| Arc::clone(&BY_TOKEN))
    }

    /// Seconds left; 0 if the token never ends.
    #[must_use]
    pub fn ttl_left_secs(&self, now_secs: u64) -> u64 {
        self.expires_at.map_or(0, |expires_at| expires_at.saturating_sub(now_secs))
    }

    fn from_claims(claims: &TokenClaims, tenant: TenantId, kind: TokenKind) -> Self {
        Self {
            tenant,
            kind,
            token: None,
            accessor: None,
            display_name: claims.display_name.clone(),
            policies: claims.policies.clone(),
            meta: claims.meta.clone(),
            path: claims.path.clone(),
            issued_at: claims.issued_at,
            creation_ttl_secs: claims.ttl_secs,
            expires_at: claims.expires_at(),
            last_renewal: None,
            explicit_max_ttl_secs: claims.explicit_max_ttl_secs,
            period_secs: claims.period_secs,
            renewable: claims.renewable,
            orphan: claims.orphan,
            num_uses: claims.num_uses,
            bound_cidrs: claims.bound_cidrs.clone(),
            parent: claims.parent,
            who: claims.who.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
