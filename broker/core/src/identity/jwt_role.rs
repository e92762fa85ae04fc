//! Login with a JWT of any OIDC issuer, by the rules of Vault's `jwt` method.
//!
//! Stricter than Vault in two points: leeways default to a minute instead of several, and `*` in a glob is
//! all that there is. A token that names an audience is refused by a role that binds none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::glob;
use super::jwt::{JwtError, JwtRules, VerifiedJwt, is_typ, typ_name};
use super::leeway::{LeewayError, Leeways};
use super::number;
use super::signature::Algorithm;
use super::verified::{Found, OutOfBounds, VerifiedIdentity};
use crate::audit::Actor;
use crate::path::RoleName;
use crate::token::{META_BYTES_MAX, META_ENTRIES_MAX, ParamsError, TokenParams};
use crate::workload::{RuleError, WorkloadRule};

/// Most bound values, claims or mappings of a role.
const BOUND_MAX: usize = 64;
/// Longest value of the user claim in bytes.
const USER_BYTES_MAX: usize = 512;

/// One issuer. Wire type; keys that are fetched are kept apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// Issuer whose discovery document names the keys.
    pub oidc_discovery_url: String,
    /// PEM of the authority of that address.
    pub oidc_discovery_ca_pem: String,
    /// Address of a JWK set.
    pub jwks_url: String,
    /// PEM of the authority of that address.
    pub jwks_ca_pem: String,
    /// A JWK set itself, as text. Ours, not Vault's: for issuers that the broker cannot reach.
    pub jwks: String,
    /// PEM public keys or certificates.
    pub jwt_validation_pubkeys: Vec<String>,
    /// Names of the algorithms accepted; empty accepts all that keys permit.
    pub jwt_supported_algs: Vec<String>,
    /// `iss` that tokens must have.
    pub bound_issuer: String,
    /// Role for logins that name none.
    pub default_role: String,
}

/// Why a configuration was refused: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtConfigError {
    /// Not exactly one source of keys.
    #[error(
        "exactly one of 'jwt_validation_pubkeys', 'jwks', 'jwks_url' or 'oidc_discovery_url' must be set"
    )]
    Sources,
    /// An algorithm that no key here can verify.
    #[error(
        "'jwt_supported_algs' may name RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA"
    )]
    Algorithm,
}

impl JwtConfig {
    /// Exactly one source of keys, and known algorithms only.
    pub fn check(&self) -> Result<(), JwtConfigError> {
        let sources = [
            !self.jwt_validation_pubkeys.is_empty(),
            !self.jwks.is_empty(),
            !self.jwks_url.is_empty(),
            !self.oidc_discovery_url.is_empty(),
        ];
        if sources.into_iter().filter(|&set| set).count() != 1 {
            return Err(JwtConfigError::Sources);
        }
        let known = |name: &String| Algorithm::named(name).is_some();
        if self.jwt_supported_algs.iter().all(known) { Ok(()) } else { Err(JwtConfigError::Algorithm) }
    }

    /// The `iss` that tokens must have; `None` accepts any that the keys verify. Discovery implies its own
    /// URL.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        [&self.bound_issuer, &self.oidc_discovery_url]
            .into_iter()
            .find(|text| !text.is_empty())
            .map(String::as_str)
    }
}

/// How the values of `bound_claims` are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoundClaimsType {
    /// As they are.
    #[default]
    String,
    /// `*` stands for any characters.
    Glob,
}

/// Whom a role admits. Wire type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtRole {
    /// Folded name.
    pub name: RoleName,
    /// Claim that names the user: a top-level name, or a JSON pointer if `user_claim_json_pointer` is set.
    pub user_claim: String,
    /// Whether `user_claim` is a JSON pointer.
    #[serde(default)]
    pub user_claim_json_pointer: bool,
    /// Audiences of which the token must name one.
    #[serde(default)]
    pub bound_audiences: Vec<String>,
    /// `sub` that the token must have; empty accepts any.
    #[serde(default)]
    pub bound_subject: String,
    /// The value that each claim must have, or a list of which it must have one. Keys with a leading `/` are
    /// JSON pointers.
    #[serde(default)]
    pub bound_claims: BTreeMap<String, Value>,
    /// How those values are read.
    #[serde(default)]
    pub bound_claims_type: BoundClaimsType,
    /// Claim to metadata key.
    #[serde(default)]
    pub claim_mappings: BTreeMap<String, String>,
    /// Claim that lists groups; kept for clients, without effect until groups exist.
    #[serde(default)]
    pub groups_claim: String,
    /// Seconds on `exp`: 0 takes the default, negative means none.
    #[serde(default)]
    pub expiration_leeway: i64,
    /// Seconds on `nbf` and `iat`: 0 takes the default, negative means none.
    #[serde(default)]
    pub not_before_leeway: i64,
    /// Seconds added to both: 0 or negative means none.
    #[serde(default)]
    pub clock_skew_leeway: i64,
    /// What the header `typ` may say; empty accepts `JWT`, which is also what no `typ` counts as.
    #[serde(default)]
    pub accepted_typ: Vec<String>,
    /// What workloads of this role may ask the token endpoint for.
    #[serde(default)]
    pub workload: WorkloadRule,
    /// Parameters of the tokens.
    #[serde(default)]
    pub token: TokenParams,
}

/// Why a role was refused: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtRoleError {
    /// No user claim.
    #[error("a user claim must be defined on the role")]
    NoUserClaim,
    /// Anybody with any token of the issuer.
    #[error("must have at least one bound constraint when creating/updating a role")]
    Unbound,
    /// A mapping would overwrite the role's name.
    #[error("metadata key \"role\" is reserved and may not be a mapping destination")]
    ReservedMapping,
    /// Two claims for one key.
    #[error("multiple keys are mapped to the same metadata key")]
    DuplicateMapping,
    /// A bound value that is neither text nor number nor bool, or none at all.
    #[error("bound_claims values must be strings, numbers or booleans")]
    BoundValue,
    /// Too many.
    #[error("a role may have at most {BOUND_MAX} audiences, bound claims, mappings and types each")]
    TooMany,
    /// Leeway out of range.
    #[error(transparent)]
    Leeway(#[from] LeewayError),
    /// No media type.
    #[error("accepted_typ must list types such as at+jwt: 1 to 64 printable characters each, without blanks")]
    Typ,
    /// Token parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The rule for workload tokens.
    #[error(transparent)]
    Workload(#[from] RuleError),
}

/// Why a login was refused: 400 with these texts, which are Vault's as far as they can be without quoting the
/// token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtRefusal {
    /// The token itself.
    #[error("error validating token: {0}")]
    Jwt(#[from] JwtError),
    /// Wrong issuer.
    #[error("error validating token: invalid issuer (iss) claim")]
    Issuer,
    /// Wrong subject.
    #[error("error validating token: invalid subject (sub) claim")]
    Subject,
    /// The token names audiences, the role none.
    #[error("audience claim found in JWT but no audiences bound to the role")]
    AudienceUnbound,
    /// Wrong audience.
    #[error(
        "error validating token: invalid audience (aud) claim: audience claim does not match any bound audience"
    )]
    Audience,
    /// A bound claim is missing or different.
    #[error("error validating claims: a claim does not match any associated bound claim values")]
    BoundClaim,
    /// No usable user claim.
    #[error("error validating claims: the role's user claim is not in the token, or is not a string")]
    UserClaim,
    /// A mapped claim is no string.
    #[error("error validating claims: error converting a mapped claim to string")]
    Mapping,
    /// From elsewhere than the role binds. Vault answers 403 to this one.
    #[error(transparent)]
    Address(#[from] OutOfBounds),
}

impl JwtRole {
    /// Vault's rules for a role of type `jwt`.
    pub fn check(&self) -> Result<(), JwtRoleError> {
        if self.user_claim.is_empty() {
            return Err(JwtRoleError::NoUserClaim);
        }
        let bound = !self.bound_audiences.is_empty()
            || !self.bound_subject.is_empty()
            || self.bound_claims.values().any(|values| self.binds(several(values)))
            || self.token.token_bound_cidrs.is_bound();
        if !bound {
            return Err(JwtRoleError::Unbound);
        }
        self.check_counts()?;
        let scalar = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
        let sound = |values: &[Value]| !values.is_empty() && values.iter().all(scalar);
        if !self.bound_claims.values().all(|values| sound(several(values))) {
            return Err(JwtRoleError::BoundValue);
        }
        self.check_mappings()?;
        if !self.accepted_typ.iter().all(|typ| is_typ(typ)) {
            return Err(JwtRoleError::Typ);
        }
        self.leeways().check()?;
        self.workload.check(self.token.token_num_uses > 0)?;
        Ok(self.token.check()?)
    }

    fn check_counts(&self) -> Result<(), JwtRoleError> {
        let lists = [self.bound_audiences.len(), self.accepted_typ.len()];
        let maps = [self.bound_claims.len(), self.claim_mappings.len()];
        let values = self.bound_claims.values().map(|values| several(values).len());
        let many = lists.into_iter().chain(maps).chain(values).any(|count| count > BOUND_MAX);
        if many { Err(JwtRoleError::TooMany) } else { Ok(()) }
    }

    fn check_mappings(&self) -> Result<(), JwtRoleError> {
        if self.claim_mappings.values().any(|key| key == "role") {
            return Err(JwtRoleError::ReservedMapping);
        }
        let distinct: std::collections::BTreeSet<_> = self.claim_mappings.values().collect();
        if distinct.len() == self.claim_mappings.len() { Ok(()) } else { Err(JwtRoleError::DuplicateMapping) }
    }

    fn leeways(&self) -> Leeways {
        Leeways {
            expiration: self.expiration_leeway,
            not_before: self.not_before_leeway,
            clock_skew: self.clock_skew_leeway,
        }
    }

    /// Whether these values of a claim leave any out.
    fn binds(&self, values: &[Value]) -> bool {
        let everything = |value: &Value| value.as_str().is_some_and(glob::matches_everything);
        self.bound_claims_type == BoundClaimsType::String || !values.iter().any(everything)
    }

    /// How tokens for this role are to be verified.
    #[must_use]
    pub fn rules(&self, config: &JwtConfig) -> JwtRules {
        JwtRules {
            accepted_typ: self.accepted_typ.iter().map(|typ| typ_name(typ)).collect(),
            algorithms: config.jwt_supported_algs.clone(),
            ..JwtRules::with(self.leeways())
        }
    }

    /// Judges a verified token that came from `remote`.
    pub fn admit(
        &self,
        config: &JwtConfig,
        jwt: &VerifiedJwt,
        remote: Option<IpAddr>,
    ) -> Result<VerifiedIdentity, JwtRefusal> {
        if config.issuer().is_some_and(|issuer| jwt.issuer() != Some(issuer)) {
            return Err(JwtRefusal::Issuer);
        }
        if !self.bound_subject.is_empty() && jwt.subject() != Some(self.bound_subject.as_str()) {
            return Err(JwtRefusal::Subject);
        }
        self.check_audience(jwt.audiences())?;
        let bound =
            self.bound_claims.iter().all(|(claim, values)| self.is_bound(jwt, claim, several(values)));
        if !bound {
            return Err(JwtRefusal::BoundClaim);
        }
        let user = self.user(jwt).ok_or(JwtRefusal::UserClaim)?;
        let subject = jwt.subject().unwrap_or(&user).to_owned();
        let found = Found {
            actor: Actor::named("jwt", &subject).by_role(&self.name),
            subject,
            display_name: user.clone(),
            alias: user,
            meta: self.meta(jwt)?,
            attributes: jwt
                .issuer()
                .map(|issuer| ("issuer".to_owned(), issuer.to_owned()))
                .into_iter()
                .collect(),
            params: self.token.clone(),
            evidence_ends_at: jwt.expires_at(),
            login_name: None,
        };
        Ok(VerifiedIdentity::within_bounds(found, &[], remote)?)
    }

    fn check_audience(&self, audiences: &[String]) -> Result<(), JwtRefusal> {
        if self.bound_audiences.is_empty() {
            return if audiences.is_empty() { Ok(()) } else { Err(JwtRefusal::AudienceUnbound) };
        }
        if audiences.iter().any(|audience| self.bound_audiences.contains(audience)) {
            Ok(())
        } else {
            Err(JwtRefusal::Audience)
        }
    }

    /// Whether a claim, or one element of it if it is a list, has one of the values.
    fn is_bound(&self, jwt: &VerifiedJwt, claim: &str, values: &[Value]) -> bool {
        let Some(found) = claim_value(jwt, claim) else { return false };
        several(found).iter().any(|found| {
            values.iter().any(|bound| match (self.bound_claims_type, bound, found) {
                (BoundClaimsType::Glob, Value::String(pattern), Value::String(text)) => {
                    glob::matches(pattern, text)
                }
                (BoundClaimsType::Glob, ..) => false,
                (BoundClaimsType::String, Value::Number(bound), Value::Number(found)) => {
                    number::same(bound, found)
                }
                (BoundClaimsType::String, ..) => bound == found,
            })
        })
    }

    fn user(&self, jwt: &VerifiedJwt) -> Option<String> {
        let value = if self.user_claim_json_pointer {
            jwt.value(&self.user_claim)?
        } else {
            jwt.claims().get(&self.user_claim)?
        };
        let user = value.as_str()?;
        let plain = !user.is_empty() && user.len() <= USER_BYTES_MAX && !user.chars().any(char::is_control);
        plain.then(|| user.to_owned())
    }

    fn meta(&self, jwt: &VerifiedJwt) -> Result<BTreeMap<String, String>, JwtRefusal> {
        let mut meta = BTreeMap::from([("role".to_owned(), self.name.to_string())]);
        for (claim, key) in &self.claim_mappings {
            match claim_value(jwt, claim) {
                None => {}
                Some(Value::String(text)) => {
                    meta.insert(key.clone(), text.clone());
                }
                Some(_) => return Err(JwtRefusal::Mapping),
            }
        }
        let bytes: usize = meta.iter().map(|(key, value)| key.len() + value.len()).sum();
        if meta.len() > META_ENTRIES_MAX || bytes > META_BYTES_MAX {
            Err(JwtRefusal::Mapping)
        } else {
            Ok(meta)
        }
    }
}

fn claim_value<'a>(jwt: &'a VerifiedJwt, claim: &str) -> Option<&'a Value> {
    if claim.starts_with('/') { jwt.value(claim) } else { jwt.claims().get(claim) }
}

/// The elements of a list, or the one value.
fn several(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        one => std::slice::from_ref(one),
    }
}
