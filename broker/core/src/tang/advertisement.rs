//! Advertisements: a set of keys, signed with each signing key among them (JWS, RFC 7515).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::error::TangError;
use super::key::{Key, Use};
use super::signature::{is_by, verifies};
use super::thumbprint::Thumbprint;
use crate::json::{self, Limits, Map};

/// Longest advertisement in bytes.
pub const ADVERTISEMENT_BYTES_MAX: usize = 64 << 10;
/// Most keys, and most signatures: each signature is tried with each key.
const KEYS_MAX: usize = 16;

/// Bounds of every JSON of a server.
pub(super) const LIMITS: Limits = Limits {
    depth_max: 8,
    members_max: 512,
    string_bytes_max: ADVERTISEMENT_BYTES_MAX,
    number_bytes_max: 32,
    bytes_max: ADVERTISEMENT_BYTES_MAX,
};

const EXPECTED: TangError = TangError::Malformed("a signed set of keys (JWS of JWK, as JSON)");

/// The keys of a server that is trusted.
#[derive(Clone, Debug)]
pub struct Advertisement {
    keys: Vec<Key>,
}

impl Advertisement {
    /// Reads and verifies the answer to `/adv/<pinned>`: each signing key in it must have signed, and the
    /// pinned key, in it or not.
    pub fn verify(text: &[u8], pinned: &Thumbprint) -> Result<Self, TangError> {
        let signed = Signed::read(text)?;
        let own = keys_of(&signed.payload)?;
        if own.iter().any(|key| key.usage == Use::Verify && !signed.is_by_key(key)) {
            return Err(TangError::Unsigned);
        }
        if !signed.signatures.iter().any(|(message, signature)| is_by(pinned, message, signature)) {
            return Err(TangError::NotPinned);
        }
        Ok(Self { keys: own })
    }

    /// As it is kept beside what was sealed: the keys, without what else the server may have said of them.
    pub(super) fn to_json(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(Key::to_json).collect();
        format!(r#"{{"keys":[{}]}}"#, keys.join(","))
    }

    /// What [`Self::to_json`] and clevis write. Not signed: it is as good as what it lies in.
    pub(super) fn kept(set: &Map) -> Result<Self, TangError> {
        Ok(Self { keys: listed(set)? })
    }

    /// The key to seal to.
    pub(super) fn exchange_key(&self) -> Result<&Key, TangError> {
        self.keys.iter().find(|key| key.usage == Use::Exchange).ok_or(TangError::NoExchangeKey)
    }

    /// The exchange key that a server calls so.
    pub(super) fn named(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.usage == Use::Exchange && key.is_named(name))
    }

    /// Whether this exchange key is still advertised.
    #[must_use]
    pub fn offers(&self, name: &str) -> bool {
        self.named(name).is_some()
    }
}

/// What was signed, and the signatures by ES512.
struct Signed {
    payload: Vec<u8>,
    signatures: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Signed {
    fn read(text: &[u8]) -> Result<Self, TangError> {
        if text.len() > ADVERTISEMENT_BYTES_MAX {
            return Err(EXPECTED);
        }
        let document = json::parse(text, LIMITS).map_err(|_| EXPECTED)?;
        let payload = member(&document, "payload")?;
        let all = match document.get("signatures") {
            Some(_) if document.contains_key("signature") => return Err(EXPECTED),
            Some(list) => objects(list)?,
            None => vec![&document],
        };
        let mut signatures = Vec::new();
        for one in all {
            let head = member(one, "protected")?;
            check_head(head)?;
            let message = [head, ".", payload].concat().into_bytes();
            signatures.push((message, decode(member(one, "signature")?)?));
        }
        Ok(Self { payload: decode(payload)?, signatures })
    }

    fn is_by_key(&self, key: &Key) -> bool {
        self.signatures.iter().any(|(message, signature)| verifies(key.point, message, signature))
    }
}

/// The protected header of a signature: only what it says itself counts.
fn check_head(text: &str) -> Result<(), TangError> {
    let head = json::parse(&decode(text)?, LIMITS).map_err(|_| EXPECTED)?;
    let algorithm = head.get("alg").and_then(Value::as_str);
    match algorithm {
        _ if head.contains_key("crit") => Err(EXPECTED),
        Some("ES512") => Ok(()),
        found => Err(TangError::other("signatures by ES512", found)),
    }
}

fn keys_of(payload: &[u8]) -> Result<Vec<Key>, TangError> {
    listed(&json::parse(payload, LIMITS).map_err(|_| EXPECTED)?)
}

fn listed(set: &Map) -> Result<Vec<Key>, TangError> {
    let mut keys = Vec::new();
    for jwk in objects(set.get("keys").ok_or(EXPECTED)?)? {
        keys.extend(Key::read(jwk)?);
    }
    Ok(keys)
}

fn objects(list: &Value) -> Result<Vec<&Map>, TangError> {
    let list = list.as_array().filter(|list| !list.is_empty() && list.len() <= KEYS_MAX).ok_or(EXPECTED)?;
    list.iter().map(|one| one.as_object().ok_or(EXPECTED)).collect()
}

fn member<'a>(object: &'a Map, name: &str) -> Result<&'a str, TangError> {
    object.get(name).and_then(Value::as_str).ok_or(EXPECTED)
}

fn decode(text: &str) -> Result<Vec<u8>, TangError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| EXPECTED)
}
