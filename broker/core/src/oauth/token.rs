//! The access token: RFC 9068, ES256, one audience, five minutes.
//!
//! Signing is somebody else's, and may take a while: [`UnsignedToken::signing_input`] goes out, the signature
//! comes back to [`UnsignedToken::with_signature`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use rand_core::CryptoRng;
use serde_json::{Value, json};
use symbolon_proto::Zeroizing;

use super::request::{Shape, TokenRequest};
use super::schedule::SigningKey;
use super::{OAuthError, TOKEN_SECS_MAX};
use crate::identity::VerifiedIdentity;
use crate::path::MountPath;
use crate::token::ttl::TtlLimits;
use crate::workload::WorkloadRule;

/// `nbf` lies this far before `iat`, for verifiers whose clocks are slow.
const NOT_BEFORE_SECS: u64 = 5;
/// Longest token in bytes: it must fit into a header line anywhere.
const TOKEN_BYTES_MAX: usize = 4096;
/// `r ‖ s`.
const SIGNATURE_BYTES: usize = 64;

/// What a request gets. Made by [`WorkloadRule::grant`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    shape: Shape,
    audience: String,
    scopes: Vec<String>,
    secs: u64,
}

impl WorkloadRule {
    /// Judges a request: the audience and every scope must be allowed, and the bounds of the role that
    /// `identity` has must leave time for a token. `limits` are those of the login mount.
    pub fn grant(
        &self,
        request: &TokenRequest,
        identity: &VerifiedIdentity,
        limits: TtlLimits,
        now_secs: u64,
    ) -> Result<Granted, OAuthError> {
        let secs = identity.workload_secs(limits, now_secs).ok_or(OAuthError::InvalidGrant)?;
        let audience = request.audience();
        if !self.allows_audience(audience) {
            return Err(OAuthError::InvalidTarget);
        }
        if !request.scopes().iter().all(|scope| self.scopes.contains(scope)) {
            return Err(OAuthError::InvalidScope);
        }
        Ok(Granted {
            shape: request.shape(),
            audience: audience.to_owned(),
            scopes: request.scopes().to_vec(),
            secs: secs.min(TOKEN_SECS_MAX),
        })
    }
}

/// A token that lacks only its signature.
#[derive(Debug)]
pub struct UnsignedToken {
    signing_input: Zeroizing<String>,
    shape: Shape,
    scopes: Vec<String>,
    jti: String,
    expires_in: u64,
}

/// A signature that is not 64 bytes of `r ‖ s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not 64 bytes of ES256")]
pub struct BadSignature;

impl UnsignedToken {
    /// Writes header and claims. The subject is qualified by the login mount, because two clusters may name
    /// an account alike: `kubernetes:system:serviceaccount:ns:name`.
    pub fn prepare(
        issuer: &str,
        mount: &MountPath,
        identity: &VerifiedIdentity,
        granted: Granted,
        key: &SigningKey,
        now_secs: u64,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, OAuthError> {
        let expires_in = granted.secs;
        let subject = format!("{mount}:{}", identity.subject());
        let jti = random_id(rng);
        let mut claims = json!({
            "iss": issuer,
            "sub": subject,
            "aud": granted.audience,
            "client_id": subject,
            "iat": now_secs,
            "nbf": now_secs.saturating_sub(NOT_BEFORE_SECS),
            "exp": now_secs.saturating_add(expires_in),
            "jti": jti,
            "symbolon.attrs": identity.attributes(),
        });
        if !granted.scopes.is_empty() {
            claims["scope"] = Value::String(granted.scopes.join(" "));
        }
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": key.kid()});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signing_input = Zeroizing::new(format!("{}.{}", part(&header), part(&claims)));
        if signing_input.len() > TOKEN_BYTES_MAX - 2 * SIGNATURE_BYTES {
            return Err(OAuthError::InvalidRequest("the token would be longer than 4 KiB"));
        }
        Ok(Self { signing_input, shape: granted.shape, scopes: granted.scopes, jti, expires_in })
    }

    /// The bytes to sign with ES256.
    #[must_use]
    pub fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// Puts the signature in: `r ‖ s`, 32 bytes each, big-endian (RFC 7518 section 3.4).
    pub fn with_signature(self, signature: &[u8]) -> Result<AccessToken, BadSignature> {
        if signature.len() != SIGNATURE_BYTES {
            return Err(BadSignature);
        }
        let text = Zeroizing::new(format!("{}.{}", *self.signing_input, URL_SAFE_NO_PAD.encode(signature)));
        let Self { shape, scopes, jti, expires_in, .. } = self;
        Ok(AccessToken { text, shape, scopes, jti, expires_in })
    }
}

/// A signed workload token. No `Debug`.
pub struct AccessToken {
    text: Zeroizing<String>,
    shape: Shape,
    scopes: Vec<String>,
    jti: String,
    expires_in: u64,
}

impl AccessToken {
    /// The compact form.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Its identifier, for the log.
    #[must_use]
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// Seconds.
    #[must_use]
    pub fn expires_in(&self) -> u64 {
        self.expires_in
    }

    /// The body of the answer (RFC 6749 section 5.1, RFC 8693 section 2.2.1). Send it with `Cache-Control:
    /// no-store`.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({
            "access_token": self.expose(),
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        });
        if self.shape == Shape::TokenExchange {
            body["issued_token_type"] =
                Value::String("urn:ietf:params:oauth:token-type:access_token".to_owned());
        }
        if !self.scopes.is_empty() {
            body["scope"] = Value::String(self.scopes.join(" "));
        }
        body
    }
}

/// 128 random bits in hexadecimal.
fn random_id(rng: &mut dyn CryptoRng) -> String {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    HEXLOWER.encode(&bytes)
}
