//! The header of a JWE as clevis writes it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::advertisement::{Advertisement, LIMITS};
use super::error::TangError;
use super::key::{Key, canonical, point};
use super::point::Point;
use crate::json::{self, Map};

const EXPECTED: TangError = TangError::Malformed("the header of a key sealed to a Tang server");
/// Longest information on a party, in bytes.
const PARTY_BYTES_MAX: usize = 512;

/// Who sealed, and for whom, as JOSE tells it (`apu`, `apv`).
pub(super) type Parties = (Vec<u8>, Vec<u8>);

/// What stands before the ciphertext.
#[derive(Clone)]
pub(super) struct Head {
    /// What the server calls its key.
    pub(super) kid: String,
    /// Where it was.
    pub(super) url: String,
    /// S.
    pub(super) server: Point,
    /// C.
    pub(super) ephemeral: Point,
    /// Who sealed, and for what.
    pub(super) parties: Parties,
}

impl Head {
    pub(super) fn read(text: &str) -> Result<Self, TangError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| EXPECTED)?;
        let head = json::parse(&bytes, LIMITS).map_err(|_| EXPECTED)?;
        check_algorithms(&head)?;
        let tang = object(object(&head, "clevis")?, "tang")?;
        let kid = member(&head, "kid")?;
        let server = Advertisement::kept(object(tang, "adv")?)?.named(kid).map(|key| key.point);
        Ok(Self {
            kid: kid.to_owned(),
            url: member(tang, "url")?.to_owned(),
            server: server.ok_or(EXPECTED)?,
            ephemeral: point(object(&head, "epk")?)?,
            parties: (party(&head, "apu")?, party(&head, "apv")?),
        })
    }
}

/// Names in the order in which `jose` writes them.
pub(super) fn write(set: &Advertisement, url: &str, key: &Key, ephemeral: Point, to: &[u8]) -> String {
    let (to, url) = (URL_SAFE_NO_PAD.encode(to), Value::from(url));
    let (adv, epk, kid) = (set.to_json(), canonical(ephemeral), key.thumbprint());
    let clevis = format!(r#"{{"pin":"tang","tang":{{"adv":{adv},"url":{url}}}}}"#);
    let head = format!(
        r#"{{"alg":"ECDH-ES","apv":"{to}","clevis":{clevis},"enc":"A256GCM","epk":{epk},"kid":"{kid}"}}"#
    );
    URL_SAFE_NO_PAD.encode(head)
}

/// What a purpose is called where JOSE tells for whom a key is.
pub(super) fn party_of(purpose: &[u8]) -> Vec<u8> {
    Sha256::digest(purpose).to_vec()
}

fn check_algorithms(head: &Map) -> Result<(), TangError> {
    let is = |name: &str, expected: &'static str| match head.get(name).and_then(Value::as_str) {
        Some(found) if found == expected => Ok(()),
        found => Err(TangError::other(expected, found)),
    };
    is("alg", "ECDH-ES")?;
    is("enc", "A256GCM")?;
    let has_other = ["crit", "zip"].iter().any(|name| head.contains_key(*name));
    let pin = object(head, "clevis")?.get("pin").and_then(Value::as_str);
    if has_other || pin != Some("tang") { Err(EXPECTED) } else { Ok(()) }
}

fn party(head: &Map, name: &str) -> Result<Vec<u8>, TangError> {
    if !head.contains_key(name) {
        return Ok(Vec::new());
    }
    let party = URL_SAFE_NO_PAD.decode(member(head, name)?).ok();
    party.filter(|party| party.len() <= PARTY_BYTES_MAX).ok_or(EXPECTED)
}

fn object<'a>(within: &'a Map, name: &str) -> Result<&'a Map, TangError> {
    within.get(name).and_then(Value::as_object).ok_or(EXPECTED)
}

fn member<'a>(within: &'a Map, name: &str) -> Result<&'a str, TangError> {
    within.get(name).and_then(Value::as_str).ok_or(EXPECTED)
}
