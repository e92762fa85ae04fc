//! What workloads of a role may ask the token endpoint for. A part of the role: `identity` keeps it, `oauth`
//! asks it.

use serde::{Deserialize, Serialize};

/// Most audiences or scopes of a rule.
const RULE_MAX: usize = 64;
/// Longest audience in bytes.
const AUDIENCE_BYTES_MAX: usize = 512;
/// Longest list of scopes in bytes, and most of them.
const SCOPE_BYTES_MAX: usize = 1024;
const SCOPES_MAX: usize = 32;

/// What workloads of one role may ask for. Wire type. Nothing is allowed by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadRule {
    /// Audiences. One that ends in `/*` allows everything below that slash; there is no other wildcard.
    pub audiences: Vec<String>,
    /// Scopes.
    pub scopes: Vec<String>,
}

/// Why a rule was refused: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Malformed audience.
    #[error("audiences must be plain URIs or names; only a trailing '/*' after a host is a wildcard")]
    Audience,
    /// Malformed scope.
    #[error("scopes must be plain words")]
    Scope,
    /// Audiences for a role whose tokens are counted.
    #[error(
        "a role with token_num_uses cannot have workload audiences: nobody counts the uses of a signed token"
    )]
    Counted,
    /// Too many.
    #[error("a rule may have at most {RULE_MAX} audiences and scopes each")]
    TooMany,
}

impl WorkloadRule {
    /// Refuses rules that mean more than they say. `counted`: the role bounds the uses of its tokens.
    pub fn check(&self, counted: bool) -> Result<(), RuleError> {
        if counted && !self.audiences.is_empty() {
            return Err(RuleError::Counted);
        }
        if self.audiences.len() > RULE_MAX || self.scopes.len() > RULE_MAX {
            return Err(RuleError::TooMany);
        }
        let sound = |audience: &String| match audience.strip_suffix("/*") {
            // `https://*` would be everybody: a wildcard needs a host or a name before it.
            Some(below) => is_audience(below) && !below.ends_with('/') && !below.ends_with(':'),
            None => is_audience(audience),
        };
        if !self.audiences.iter().all(sound) {
            return Err(RuleError::Audience);
        }
        let one_word = |scope: &String| scopes(scope).is_some_and(|words| words.len() == 1);
        if self.scopes.iter().all(one_word) { Ok(()) } else { Err(RuleError::Scope) }
    }

    /// Whether a token for this audience may be given.
    pub(crate) fn allows_audience(&self, audience: &str) -> bool {
        self.audiences.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(below) => below.ends_with('/') && is_below(audience, below),
            None => allowed == audience,
        })
    }
}

/// Whether `audience` continues `prefix` (which ends in a slash) without tricks that another reader might
/// resolve.
fn is_below(audience: &str, prefix: &str) -> bool {
    audience.strip_prefix(prefix).is_some_and(|rest| {
        !rest.is_empty()
            && !rest.contains('%')
            && rest.split('/').all(|segment| !matches!(segment, "" | "." | ".."))
    })
}

/// Visible ASCII, no fragment, bounded.
pub(crate) fn is_audience(text: &str) -> bool {
    let plain =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\\' | b'*'));
    !text.is_empty() && text.len() <= AUDIENCE_BYTES_MAX && plain
}

/// RFC 6749 section 3.3.
pub(crate) fn scopes(text: &str) -> Option<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    if text.len() > SCOPE_BYTES_MAX {
        return None;
    }
    for scope in text.split(' ') {
        let plain = scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        if scope.is_empty() || !plain || scopes.len() >= SCOPES_MAX {
            return None;
        }
        if !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    Some(scopes)
}
