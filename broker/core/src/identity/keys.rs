//! The public keys of an issuer, from PEM blocks or a JWK set.
//!
//! A key's type decides which algorithms it may verify (`signature.rs`), and a JWK's own `alg` narrows that
//! to one. Keys that nobody should use never enter: weak ones, symmetric keys, keys for encryption.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::der::{self, Block, Found};
use super::signature::{Algorithm, PublicKey};
use crate::json::{self, JsonError, Limits, Map};

/// Most keys of one issuer.
pub const KEYS_MAX: usize = 64;
/// Longest JWK set or PEM bundle in bytes.
pub const KEYS_BYTES_MAX: usize = 256 << 10;

const JWKS_LIMITS: Limits = Limits {
    depth_max: 6,
    members_max: 4096,
    string_bytes_max: 16 << 10,
    number_bytes_max: 32,
    bytes_max: KEYS_BYTES_MAX,
};

/// Why a set of keys was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than [`KEYS_BYTES_MAX`].
    #[error("the keys are longer than {KEYS_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`KEYS_MAX`].
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// No PEM block, or one that is cut or mislabelled.
    #[error("no PEM public key found: expected PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE")]
    NotPem,
    /// A key that is of no use here.
    #[error("unusable key: expected RSA of 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519")]
    Unusable,
    /// Not a JWK set.
    #[error("not a JWK set: {0}")]
    NotJwks(#[from] JsonError),
    /// No `keys` array of objects.
    #[error("not a JWK set: no array `keys` of objects")]
    NoKeys,
    /// Two keys share a `kid`.
    #[error("two keys have the same kid")]
    DuplicateKid,
}

/// The public keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    kid: Option<String>,
    /// The one algorithm that a JWK names.
    only: Option<Algorithm>,
    public: PublicKey,
}

/// Why no key may verify a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// No key has this `kid`, or there is no key at all.
    UnknownKid,
    /// The keys that the header may mean do not verify this algorithm.
    OtherAlgorithm,
}

impl KeySet {
    /// Keys of one or more PEM blocks, each text with any number of them.
    pub fn from_pem<T: AsRef<str>>(texts: &[T]) -> Result<Self, KeySetError> {
        if texts.iter().map(|text| text.as_ref().len()).sum::<usize>() > KEYS_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let mut keys = Vec::new();
        for text in texts {
            let before = keys.len();
            for (block, der) in pem_blocks(text.as_ref())? {
                let found = der::public_key(block, &der).ok_or(KeySetError::Unusable)?;
                keys.push(Key::new(found, None, None).ok_or(KeySetError::Unusable)?);
            }
            if keys.len() == before {
                return Err(KeySetError::NotPem);
            }
        }
        if keys.len() > KEYS_MAX { Err(KeySetError::TooMany) } else { Ok(Self { keys }) }
    }

    /// Keys of a JWK set (RFC 7517). Keys of no use here are passed over, because issuers publish others for
    /// other readers; an empty set means to trust nothing.
    pub fn from_jwks(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > KEYS_BYTES_MAX {
            return Err(KeySetError::TooLong);
        }
        let set = json::parse(text, JWKS_LIMITS)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if listed.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let mut keys: Vec<Key> = Vec::new();
        for jwk in listed {
            let Some(key) = from_jwk(jwk.as_object().ok_or(KeySetError::NoKeys)?) else { continue };
            if key.kid.is_some() && keys.iter().any(|other| other.kid == key.kid) {
                return Err(KeySetError::DuplicateKid);
            }
            keys.push(key);
        }
        Ok(Self { keys })
    }

    /// All keys of both sets, for issuers that are configured with PEM and with a JWK set.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.keys.truncate(2 * KEYS_MAX);
        self
    }

    /// How many usable keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether nothing is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may verify a token with this header: those with its `kid` and those without any, as far
    /// as their type permits the algorithm.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Vec<&Key>, NoKey> {
        let meant = |key: &&Key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
        let meant: Vec<_> = self.keys.iter().filter(meant).collect();
        if meant.is_empty() {
            return Err(NoKey::UnknownKid);
        }
        let keys: Vec<_> = meant.into_iter().filter(|key| key.permits(algorithm)).collect();
        if keys.is_empty() { Err(NoKey::OtherAlgorithm) } else { Ok(keys) }
    }
}

impl Key {
    fn new(found: Found<'_>, kid: Option<String>, only: Option<Algorithm>) -> Option<Self> {
        let key = Self { kid, only, public: PublicKey::new(found)? };
        only.is_none_or(|only| key.permits(only)).then_some(key)
    }

    fn permits(&self, algorithm: Algorithm) -> bool {
        self.public.permits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether the signature is this key's.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.permits(algorithm) && self.public.verifies(algorithm, message, signature)
    }
}

/// One JWK; `None` if it is of no use here.
fn from_jwk(jwk: &Map) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if jwk.get("use").is_some_and(|usage| usage != "sig") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops") {
        operations.as_array()?.iter().find(|operation| *operation == "verify")?;
    }
    let only = match jwk.get("alg") {
        Some(name) => Some(Algorithm::named(name.as_str()?)?),
        None => None,
    };
    let kid = match jwk.get("kid") {
        Some(kid) => Some(kid.as_str()?.to_owned()),
        None => None,
    };
    let number = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match (text("kty")?, text("crv")) {
        ("RSA", None) => {
            let (modulus, exponent) = (number("n")?, number("e")?);
            Key::new(Found::Rsa { modulus: &modulus, exponent: &exponent }, kid, only)
        }
        ("EC", Some("P-256")) => Key::new(Found::P256(&point(&number("x")?, &number("y")?, 32)?), kid, only),
        ("EC", Some("P-384")) => Key::new(Found::P384(&point(&number("x")?, &number("y")?, 48)?), kid, only),
        ("EC", Some("P-521")) => Key::new(Found::P521(&point(&number("x")?, &number("y")?, 66)?), kid, only),
        ("OKP", Some("Ed25519")) => Key::new(Found::Ed25519(&number("x")?), kid, only),
        _ => None,
    }
}

fn point(x: &[u8], y: &[u8], coordinate_bytes: usize) -> Option<Vec<u8>> {
    (x.len() == coordinate_bytes && y.len() == coordinate_bytes).then(|| [&[4], x, y].concat())
}

fn pem_blocks(text: &str) -> Result<Vec<(Block, Vec<u8>)>, KeySetError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeySetError::NotPem)?;
        let block = match label {
            "PUBLIC KEY" => Block::Spki,
            "RSA PUBLIC KEY" => Block::Pkcs1,
            "CERTIFICATE" => Block::Certificate,
            _ => return Err(KeySetError::NotPem),
        };
        let (body, after) = after.split_once("-----END ").ok_or(KeySetError::NotPem)?;
        rest = after
            .strip_prefix(label)
            .and_then(|rest| rest.strip_prefix("-----"))
            .ok_or(KeySetError::NotPem)?;
        let body: String = body.chars().filter(|next| !next.is_ascii_whitespace()).collect();
        blocks.push((block, STANDARD.decode(body).map_err(|_| KeySetError::NotPem)?));
        if blocks.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
    }
    Ok(blocks)
}
