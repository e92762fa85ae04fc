//! Vault's ACL policies: who may do what on which path.
//!
//! A [`Policy`] is parsed once from Vault's HCL or JSON. The policies of a caller make an [`Acl`], which
//! answers one question, [`Acl::authorise`], with a [`Grant`] or a [`Denial`]. A grant has no public
//! constructor: an operation that takes one cannot be reached without the policy's consent. Matching follows
//! Vault's rules exactly (`acl.rs` and `pattern.rs` state them); nothing matches means no.
//!
//! Not done here: templates (`{{identity...}}`). This house has no identity entities yet, so every value is
//! missing, and Vault drops a block whose value is missing: such a block never matches anyone. Keys that
//! would narrow a rule and that we cannot enforce (`control_group`, `mfa_methods`, `expiration`, ...) are
//! parse errors, never ignored.

mod acl;
mod capability;
mod default;
mod hcl;
mod parameters;
mod parse;
mod pattern;

pub use acl::{Acl, Denial, Grant};
pub use capability::{Capabilities, Capability, Operation};
pub use default::{DEFAULT_POLICY, RESPONSE_WRAPPING_POLICY};
pub use parse::{POLICY_BYTES_MAX, PolicyError};

use std::sync::Arc;

use crate::path::PolicyName;
use parameters::ParameterRules;
use pattern::Pattern;

/// A parsed policy.
#[derive(Clone, Debug)]
pub struct Policy {
    name: PolicyName,
    rules: Vec<Rule>,
}

impl Policy {
    /// Parses a policy text, HCL or JSON with the same shape.
    pub fn parse(name: PolicyName, text: &str) -> Result<Self, PolicyError> {
        Ok(Self { name, rules: parse::rules(text)? })
    }

    /// The policy `root`: everything is allowed.
    #[must_use]
    pub fn root() -> Self {
        Self { name: PolicyName::root(), rules: Vec::new() }
    }

    /// The policy of wrapping tokens: they open what they wrap and nothing else.
    #[must_use]
    pub fn response_wrapping() -> Self {
        Self::parse(PolicyName::response_wrapping(), RESPONSE_WRAPPING_POLICY).expect("our own text parses")
    }

    /// Under which name the policy is kept.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// Whether this is `root`. Names are folded, so there is one spelling only.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.name.is_root()
    }
}

/// One `path` block.
#[derive(Clone, Debug)]
struct Rule {
    pattern: Pattern,
    permissions: Permissions,
}

/// Most policies that are told of a decision.
const NAMED_MAX: usize = 32;

/// What a block permits on the paths it matches.
#[derive(Clone, Debug, Default)]
struct Permissions {
    capabilities: Capabilities,
    parameters: ParameterRules,
    /// Seconds; 0 means no bound.
    wrapping_ttl_secs_min: u64,
    /// Seconds; 0 means no bound.
    wrapping_ttl_secs_max: u64,
    /// Policies whose blocks these are, or of whose `deny`; set where they are merged.
    policies: Arc<[PolicyName]>,
}

impl Permissions {
    /// Unites the permissions of two blocks with the same pattern. `deny` wins and clears the rest.
    fn merge(&mut self, other: &Self) {
        match (self.capabilities.denies(), other.capabilities.denies()) {
            (true, false) => return,
            (false, true) => *self = Self { capabilities: Capabilities::DENY, ..Self::default() },
            (true, true) | (false, false) => {}
        }
        let more = other.policies.iter().filter(|name| !self.policies.contains(name));
        self.policies = self.policies.iter().chain(more).take(NAMED_MAX).cloned().collect();
        if self.capabilities.denies() {
            return;
        }
        self.capabilities = self.capabilities.union(other.capabilities);
        self.wrapping_ttl_secs_min = smaller_bound(self.wrapping_ttl_secs_min, other.wrapping_ttl_secs_min);
        self.wrapping_ttl_secs_max = smaller_bound(self.wrapping_ttl_secs_max, other.wrapping_ttl_secs_max);
        self.parameters.merge(&other.parameters);
    }

    /// Whether an answer that is wrapped for so long, 0 if it is not, is within the bounds. Where there is a
    /// bound, nothing leaves unwrapped.
    fn allows_wrapping(&self, ttl_secs: u64) -> bool {
        let (min, max) = (self.wrapping_ttl_secs_min, self.wrapping_ttl_secs_max);
        let bound = min > 0 || max > 0;
        !bound || (ttl_secs > 0 && ttl_secs >= min && (max == 0 || ttl_secs <= max))
    }
}

/// The smaller of two bounds where 0 means none.
fn smaller_bound(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

#[cfg(test)]
mod tests;
