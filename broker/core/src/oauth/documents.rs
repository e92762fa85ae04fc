//! What verifiers fetch: discovery and keys.

use serde_json::{Value, json};

use super::schedule::{KeyPolicy, SigningKey, published};

/// How long caches may keep the keys; [`KeyPolicy`] waits longer than that before a new key signs.
pub const JWKS_CACHE_CONTROL: &str = "public, max-age=300, stale-if-error=86400";

/// The body of `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
///
/// `issuer` is the URL that verifiers compare, without slash at its end. Members that only make sense for
/// people are the least that OIDC readers insist on.
#[must_use]
pub fn discovery(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "jwks_uri": format!("{issuer}/oauth2/jwks"),
        "grant_types_supported": [
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
        ],
        "token_endpoint_auth_methods_supported": ["none"],
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope"],
        "client_id_metadata_document_supported": false,
    })
}

/// The JWK set that is published at `now_secs` (unix): made again for every answer, so that a retired key
/// disappears at its moment and not when somebody next renders the document.
#[must_use]
pub fn jwks(keys: &[SigningKey], policy: &KeyPolicy, now_secs: u64) -> Value {
    let keys: Vec<_> = published(keys, policy, now_secs).map(SigningKey::jwk).collect();
    json!({"keys": keys})
}
