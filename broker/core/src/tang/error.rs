//! Why what a server, or the store, gave is not used.

/// Why an advertisement, an answer or a kept key is not used. Nothing of them is in any text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TangError {
    /// Not of its form.
    #[error("expected {0}, found something else")]
    Malformed(&'static str),
    /// Of a curve or an algorithm that is not used here.
    #[error("expected {expected}, found {found}")]
    Other {
        /// What is used.
        expected: &'static str,
        /// A known name, or that it is none.
        found: &'static str,
    },
    /// A key that the server advertises for signing did not sign.
    #[error("a signing key of the advertisement did not sign it")]
    Unsigned,
    /// The pinned key did not sign.
    #[error("the key with the configured thumbprint did not sign the advertisement")]
    NotPinned,
    /// Nothing to encrypt to.
    #[error("the advertisement has no key for an exchange (ECMR)")]
    NoExchangeKey,
    /// The exchange gives another key than the one it was sealed with.
    #[error("the exchange does not give the key that this was sealed with")]
    Wrong,
}

/// Names that an error may say.
const NAMES: [&str; 24] = [
    "P-256",
    "P-384",
    "P-521",
    "secp256k1",
    "Ed25519",
    "X25519",
    "ES256",
    "ES384",
    "ES512",
    "RS256",
    "RS512",
    "PS256",
    "HS256",
    "EdDSA",
    "none",
    "ECDH",
    "ECMR",
    "dir",
    "ECDH-ES+A128KW",
    "ECDH-ES+A256KW",
    "A128GCM",
    "A192GCM",
    "A128CBC-HS256",
    "A256CBC-HS512",
];

impl TangError {
    pub(super) fn other(expected: &'static str, found: Option<&str>) -> Self {
        let known = NAMES.iter().find(|name| Some(**name) == found);
        Self::Other { expected, found: known.copied().unwrap_or("no name that is known here") }
    }
}
