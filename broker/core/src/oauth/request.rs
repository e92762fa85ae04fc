//! The two shapes of a token request.

use symbolon_proto::Zeroizing;

use super::OAuthError;
use crate::workload::{is_audience, scopes};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const TYPE_ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const TYPE_ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Most parameters of a request.
const PARAMETERS_MAX: usize = 32;

/// Which of the two grants was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A: RFC 8693 token exchange with the caller's own platform token as subject.
    TokenExchange,
    /// B: RFC 7523 assertion.
    JwtBearer,
}

/// A well-formed request. No `Debug`: it holds the evidence.
pub struct TokenRequest {
    shape: Shape,
    evidence: Zeroizing<String>,
    audience: String,
    scopes: Vec<String>,
}

impl TokenRequest {
    /// Which grant.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The JWT that proves who asks. Never logged.
    #[must_use]
    pub fn evidence(&self) -> &str {
        &self.evidence
    }

    /// The one audience of the token.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Scopes asked for, in order, without duplicates.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

/// Reads the decoded pairs of a form. Whoever calls refuses requests with an `Authorization` header before:
/// that would be a second credential.
pub fn parse(pairs: &[(String, String)]) -> Result<TokenRequest, OAuthError> {
    let form = Form::new(pairs)?;
    let shape = match form.required("grant_type", "grant_type is missing")? {
        TOKEN_EXCHANGE => Shape::TokenExchange,
        JWT_BEARER => Shape::JwtBearer,
        _ => return Err(OAuthError::UnsupportedGrantType),
    };
    let evidence = match shape {
        Shape::TokenExchange => subject_token(&form)?,
        Shape::JwtBearer => assertion(&form)?,
    };
    form.refuse(
        &["client_secret", "client_assertion", "client_assertion_type", "password", "refresh_token", "code"],
        "exactly one credential is expected",
    )?;
    form.refuse(&["actor_token", "actor_token_type"], "delegation is not offered")?;
    Ok(TokenRequest {
        shape,
        evidence: Zeroizing::new(evidence.to_owned()),
        audience: audience(&form)?,
        scopes: match form.get("scope") {
            None => Vec::new(),
            Some(text) => scopes(text).ok_or(OAuthError::InvalidScope)?,
        },
    })
}

fn subject_token<'a>(form: &Form<'a>) -> Result<&'a str, OAuthError> {
    form.refuse(&["assertion"], "exactly one credential is expected")?;
    match form.required("subject_token_type", "subject_token_type is missing")? {
        TYPE_JWT | TYPE_ID_TOKEN => {}
        _ => return Err(OAuthError::InvalidRequest("subject_token_type must be jwt or id_token")),
    }
    match form.get("requested_token_type") {
        None | Some(TYPE_ACCESS_TOKEN | TYPE_JWT) => {}
        Some(_) => {
            return Err(OAuthError::InvalidRequest("requested_token_type must be access_token or jwt"));
        }
    }
    form.required("subject_token", "subject_token is missing")
}

fn assertion<'a>(form: &Form<'a>) -> Result<&'a str, OAuthError> {
    form.refuse(&["subject_token", "subject_token_type"], "exactly one credential is expected")?;
    form.required("assertion", "assertion is missing")
}

/// Exactly one of `audience` and `resource` (RFC 8707: a URI without fragment).
fn audience(form: &Form<'_>) -> Result<String, OAuthError> {
    let audience = match (form.get("audience"), form.get("resource")) {
        (Some(audience), None) => audience,
        (None, Some(resource)) if resource.contains(':') => resource,
        (None, Some(_)) => return Err(OAuthError::InvalidTarget),
        (Some(_), Some(_)) => {
            return Err(OAuthError::InvalidRequest("either audience or resource is expected, not both"));
        }
        (None, None) => return Err(OAuthError::InvalidRequest("audience or resource is missing")),
    };
    if is_audience(audience) { Ok(audience.to_owned()) } else { Err(OAuthError::InvalidTarget) }
}

/// Whether evidence was made for this issuer and nobody else. A token that names a second audience could be
/// replayed by that one here; a generic word would let brokers replay each other's.
pub fn evidence_is_for(audiences: &[String], issuer: &str) -> Result<(), OAuthError> {
    match audiences {
        [only] if only == issuer => Ok(()),
        _ => Err(OAuthError::InvalidGrant),
    }
}

/// Parameters, each at most once. An empty value counts as absent (RFC 6749 section 3.2).
struct Form<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Form<'a> {
    fn new(pairs: &'a [(String, String)]) -> Result<Self, OAuthError> {
        if pairs.len() > PARAMETERS_MAX {
            return Err(OAuthError::InvalidRequest("too many parameters"));
        }
        let mut form: Vec<(&str, &str)> = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            if form.iter().any(|(known, _)| known == name) {
                return Err(OAuthError::InvalidRequest("a parameter is repeated"));
            }
            form.push((name, value));
        }
        Ok(Self(form))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| *value)
    }

    fn required(&self, name: &str, missing: &'static str) -> Result<&'a str, OAuthError> {
        self.get(name).ok_or(OAuthError::InvalidRequest(missing))
    }

    fn refuse(&self, names: &[&str], why: &'static str) -> Result<(), OAuthError> {
        if names.iter().any(|name| self.get(name).is_some()) {
            return Err(OAuthError::InvalidRequest(why));
        }
        Ok(())
    }
}
