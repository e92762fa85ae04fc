//! The `token_*` parameters that every role of every login method has.

use serde::{Deserialize, Serialize};

use super::ttl::{self, Capped, PastMaxTtl, TtlLimits, TtlRequest};
use super::{CidrList, MACHINE_TTL_SECS_DEFAULT, MACHINE_TTL_SECS_MAX, POLICIES_MAX, TokenClaims, TokenKind};
use crate::path::PolicyName;

/// `token_type` of a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenType {
    /// What the login method gives by default.
    #[default]
    Default,
    /// Service, unless the mount says batch.
    DefaultService,
    /// Batch, unless the mount says service.
    DefaultBatch,
    /// Service.
    Service,
    /// Batch.
    Batch,
}

impl TokenType {
    /// Parses the word of a request; empty is the default.
    pub fn parse(text: &str) -> Result<Self, ParamsError> {
        Ok(match text {
            "" | "default" => Self::Default,
            "default-service" => Self::DefaultService,
            "default-batch" => Self::DefaultBatch,
            "service" => Self::Service,
            "batch" => Self::Batch,
            _ => return Err(ParamsError::Type),
        })
    }

    /// The word in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }

    fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::DefaultBatch)
    }
}

/// A mount gives batch tokens only, and the role wants what these cannot have. Vault gives a token without
/// it; but who counts uses means to bound them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the mount gives batch tokens only, and the role's tokens have a period or a number of uses")]
pub struct BatchOnly;

/// Why parameters were refused: 400, with Vault's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The lifetime is longer than its bound.
    #[error("'token_ttl' cannot be greater than 'token_max_ttl'")]
    TtlOverMax,
    /// Unknown word.
    #[error("invalid 'token_type' value")]
    Type,
    /// Batch tokens have no period.
    #[error("'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens")]
    BatchPeriodic,
    /// Batch tokens cannot be counted.
    #[error(
        "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count"
    )]
    BatchLimited,
    /// `root` and other reserved policies cannot be given by a role.
    #[error("'token_policies' names a policy that cannot be assigned")]
    Reserved,
    /// Too many policies.
    #[error("'token_policies' names more than {POLICIES_MAX} policies")]
    TooManyPolicies,
}

/// The `token_*` parameters of a role. Wire type; durations in seconds, 0 says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenParams {
    /// Where tokens may be used from.
    pub token_bound_cidrs: CidrList,
    /// Bound that nothing lengthens.
    pub token_explicit_max_ttl: u64,
    /// Bound on all renewals together.
    pub token_max_ttl: u64,
    /// Whether tokens lack the policy `default`.
    pub token_no_default_policy: bool,
    /// Uses; 0 is unlimited.
    pub token_num_uses: u64,
    /// Lifetime after each renewal.
    pub token_period: u64,
    /// Policies of the tokens.
    pub token_policies: Vec<PolicyName>,
    /// Lifetime.
    pub token_ttl: u64,
    /// Kind of the tokens.
    pub token_type: TokenType,
}

impl TokenParams {
    /// Vault's rules about which parameters go together.
    pub fn check(&self) -> Result<(), ParamsError> {
        if self.token_max_ttl > 0 && self.token_ttl > self.token_max_ttl {
            return Err(ParamsError::TtlOverMax);
        }
        if self.token_type.is_batch() && self.token_period > 0 {
            return Err(ParamsError::BatchPeriodic);
        }
        if self.token_type.is_batch() && self.token_num_uses > 0 {
            return Err(ParamsError::BatchLimited);
        }
        if self.token_policies.len() > POLICIES_MAX {
            return Err(ParamsError::TooManyPolicies);
        }
        if self.token_policies.iter().any(PolicyName::is_immutable) {
            Err(ParamsError::Reserved)
        } else {
            Ok(())
        }
    }

    /// Which kind of token the role gives on a mount of this type: `service` and `batch` of the mount decide,
    /// otherwise the role, and the mount's default where the role says nothing. What only a service token can
    /// have makes a service token then.
    pub fn kind(&self, mount: TokenType) -> Result<TokenKind, BatchOnly> {
        let needs_row = self.token_period > 0 || self.token_num_uses > 0;
        match (mount, self.token_type) {
            (TokenType::Batch, _) if needs_row => Err(BatchOnly),
            (TokenType::Batch, _) => Ok(TokenKind::Batch),
            (TokenType::Service, _) => Ok(TokenKind::Service),
            (_, TokenType::Batch | TokenType::DefaultBatch) => Ok(TokenKind::Batch),
            (_, TokenType::Service | TokenType::DefaultService) => Ok(TokenKind::Service),
            (TokenType::DefaultBatch, TokenType::Default) if !needs_row => Ok(TokenKind::Batch),
            (_, TokenType::Default) => Ok(TokenKind::Service),
        }
    }

    /// Policies of a token of this role: sorted, with `default` unless refused, without duplicates.
    #[must_use]
    pub fn policies(&self) -> Vec<PolicyName> {
        let mut policies: Vec<_> =
            self.token_policies.iter().filter(|policy| !policy.is_immutable()).cloned().collect();
        if !self.token_no_default_policy {
            policies.push(PolicyName::default_policy());
        }
        policies.sort();
        policies.dedup();
        policies
    }

    /// The claims of a fresh login token. `evidence_ends_at` (unix seconds) bounds a machine token whose role
    /// names no lifetime: it should not outlive what it was given for.
    pub fn claims(
        &self,
        kind: TokenKind,
        limits: TtlLimits,
        evidence_ends_at: Option<u64>,
        now_secs: u64,
    ) -> Result<(TokenClaims, Option<Capped>), PastMaxTtl> {
        let request = TtlRequest {
            asked_secs: 0,
            role_secs: self.token_ttl,
            role_max_secs: self.token_max_ttl,
            explicit_max_secs: self.token_explicit_max_ttl,
            period_secs: self.token_period,
        };
        let mut ttl = ttl::decide(request, limits, now_secs, now_secs)?;
        if kind == TokenKind::Batch {
            if self.token_ttl == 0 {
                let evidence =
                    evidence_ends_at.map_or(u64::MAX, |ends_at| ends_at.saturating_sub(now_secs).max(1));
                ttl.secs = ttl.secs.min(MACHINE_TTL_SECS_DEFAULT).min(evidence);
            } else if ttl.secs > MACHINE_TTL_SECS_MAX {
                ttl.capped = Some(Capped::ttl(ttl.secs, MACHINE_TTL_SECS_MAX));
                ttl.secs = MACHINE_TTL_SECS_MAX;
            }
        }
        let claims = TokenClaims {
            policies: self.policies(),
            ttl_secs: ttl.secs,
            max_ttl_secs: self.token_max_ttl,
            explicit_max_ttl_secs: self.token_explicit_max_ttl,
            period_secs: self.token_period,
            renewable: kind == TokenKind::Service,
            num_uses: self.token_num_uses,
            bound_cidrs: self.token_bound_cidrs.clone(),
            ..TokenClaims::root(now_secs)
        };
        Ok((claims, ttl.capped))
    }
}
