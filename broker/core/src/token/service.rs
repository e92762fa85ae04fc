//! Service tokens: the row, and what becomes of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use symbolon_proto::id::TenantId;

use super::ttl::{self, Capped, TtlLimits, TtlRequest};
use super::{BadToken, Caller, TokenClaims, TokenHash, TokenKind};

/// A service token as stored. Wire type, encrypted; fields are only ever added. The row's tenant is in its
/// key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceToken {
    /// Version of this format.
    pub format: u8,
    /// The row's own name, so that a list of rows is enough to revoke.
    pub hash: TokenHash,
    /// Name for look-up and revocation.
    pub accessor: String,
    /// What the token says.
    pub claims: TokenClaims,
    /// Unix seconds; `None` never ends.
    pub expires_at: Option<u64>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_renewal: Option<u64>,
    /// Uses left; `None` is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<u64>,
}

/// What one use leaves of a token. Commit it before the action, with the row's revision as precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Nothing changes.
    Unlimited,
    /// Store this instead.
    Left(Box<ServiceToken>),
    /// This was the last use: delete the row and the accessor.
    Last,
}

/// A token with a new end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Store this instead.
    pub token: ServiceToken,
    /// Seconds from now.
    pub ttl_secs: u64,
    /// Set if more was wanted.
    pub capped: Option<Capped>,
}

/// Why a token cannot be renewed. The answer is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// Made so, or never ends anyway.
    #[error("lease is not renewable")]
    NotRenewable,
    /// As old as it may become.
    #[error(transparent)]
    PastMaxTtl(#[from] ttl::PastMaxTtl),
}

impl ServiceToken {
    /// The format that this code writes.
    pub const FORMAT: u8 = 1;

    /// The row of a fresh token whose text has this hash.
    #[must_use]
    pub fn new(claims: TokenClaims, hash: TokenHash, accessor: String) -> Self {
        Self {
            format: Self::FORMAT,
            hash,
            accessor,
            expires_at: claims.expires_at(),
            last_renewal: None,
            uses_left: (claims.num_uses > 0).then_some(claims.num_uses),
            claims,
        }
    }

    /// Whether the row may be swept.
    #[must_use]
    pub fn is_expired(&self, now_secs: u64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now_secs)
    }

    /// Whom the token stands for, if it is good now and from there.
    pub fn caller(
        &self,
        tenant: TenantId,
        remote: Option<IpAddr>,
        now_secs: u64,
    ) -> Result<Caller, BadToken> {
        let spent = self.uses_left == Some(0);
        if self.is_expired(now_secs) || spent || !self.claims.bound_cidrs.admits(remote) {
            return Err(BadToken);
        }
        Ok(self.describe(tenant))
    }

    /// The same facts without judging them, for look-ups of another token.
    #[must_use]
    pub fn describe(&self, tenant: TenantId) -> Caller {
        Caller {
            token: Some(self.hash),
            accessor: Some(self.accessor.clone()),
            expires_at: self.expires_at,
            last_renewal: self.last_renewal,
            num_uses: self.uses_left.unwrap_or(0),
            ..Caller::from_claims(&self.claims, tenant, TokenKind::Service)
        }
    }

    /// Takes one use away.
    pub fn spend(&self) -> Result<Spent, BadToken> {
        match self.uses_left {
            None => Ok(Spent::Unlimited),
            Some(0) => Err(BadToken),
            Some(1) => Ok(Spent::Last),
            Some(left) => Ok(Spent::Left(Box::new(Self { uses_left: Some(left - 1), ..self.clone() }))),
        }
    }

    /// Renews by `increment_secs`, or by the token's own lifetime if 0, within the mount's bounds as they are
    /// now.
    pub fn renew(
        &self,
        increment_secs: u64,
        limits: TtlLimits,
        now_secs: u64,
    ) -> Result<Renewed, RenewError> {
        if !self.claims.renewable || self.expires_at.is_none() {
            return Err(RenewError::NotRenewable);
        }
        let request = TtlRequest {
            asked_secs: increment_secs,
            role_secs: self.claims.ttl_secs,
            role_max_secs: self.claims.max_ttl_secs,
            explicit_max_secs: self.claims.explicit_max_ttl_secs,
            period_secs: self.claims.period_secs,
        };
        let ttl = ttl::decide(request, limits, self.claims.issued_at, now_secs)?;
        let token = Self {
            expires_at: Some(now_secs.saturating_add(ttl.secs)),
            last_renewal: Some(now_secs),
            ..self.clone()
        };
        Ok(Renewed { token, ttl_secs: ttl.secs, capped: ttl.capped })
    }
}
