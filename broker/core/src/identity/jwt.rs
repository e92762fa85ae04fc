//! Strict verification of signed JWTs (RFC 7519, RFC 8725).
//!
//! The order is the safety: shape, header, key, signature, and only then claims. The algorithm must be one
//! that the key's type permits; the header merely agrees. Headers that carry or point to a key, `crit`,
//! encryption and nesting are refused. A claim of the wrong type is an error, never an absent claim
//! (CVE-2026-25537). Replay checks are left out on purpose: kubelets hand the same token to a restarted
//! container.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::evidence::Evidence;
use super::keys::{self, KeySet, NoKey};
use super::leeway::{LEEWAY_SECS_MAX, Leeways};
use super::number::{self, Round};
use super::signature::Algorithm;
use crate::json::{self, JsonError, Limits, Map};

/// Longest token in bytes. Issuers list each client of a user with its roles, in claims and audiences.
pub const JWT_BYTES_MAX: usize = 64 << 10;
const AUDIENCES_MAX: usize = 1024;
/// What a token without the header `typ` counts as.
const TYP_DEFAULT: &str = "JWT";
const TYP_BYTES_MAX: usize = 64;
const KID_BYTES_MAX: usize = 1024;
const SUBJECT_BYTES_MAX: usize = 2048;

/// Why a token was refused. The texts are ours and quote nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Longer than [`JWT_BYTES_MAX`].
    #[error("the token is longer than {JWT_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of unpadded base64url.
    #[error("the token is not a compact JWS")]
    Shape,
    /// Five parts, or `enc` in the header.
    #[error("the token is encrypted; expected a signed one")]
    Encrypted,
    /// A header or payload that is no acceptable JSON object.
    #[error("the token's JSON is refused: {0}")]
    Json(#[from] JsonError),
    /// `none`, HMAC or anything else that is not offered.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// The key that the token names is of another type than its algorithm.
    #[error("the token's algorithm does not fit the issuer's key")]
    AlgorithmMismatch,
    /// A header that is refused: an embedded or remote key, `crit`, compression, nesting.
    #[error("the token has a header that is not accepted")]
    Header,
    /// A `typ` that the role does not accept.
    #[error(
        "the token's header typ is not accepted: expected JWT or none, or what accepted_typ of a JWT role lists"
    )]
    Typ,
    /// The issuer has no key with this `kid`, as far as we know. The caller may refresh the keys, at a
    /// bounded rate.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the token's signature is not valid")]
    Signature,
    /// A registered claim has the wrong type or an impossible value.
    #[error("a claim of the token has the wrong type")]
    ClaimType,
    /// No `exp`.
    #[error("the token has no expiry")]
    NoExpiry,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies ahead.
    #[error("the token was issued in the future")]
    IssuedAhead,
}

/// What verification may let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtRules {
    /// Seconds of leeway on `exp`.
    pub expiry_leeway_secs: u64,
    /// Seconds of leeway on `nbf` and `iat`.
    pub not_before_leeway_secs: u64,
    /// What the header `typ` may say, as [`typ_name`] has it; empty accepts `JWT`. No `typ` counts as `JWT`.
    pub accepted_typ: Vec<String>,
    /// Whether a token without `exp` may pass; only for service-account tokens of the old kind.
    pub allow_endless: bool,
    /// Names of the algorithms accepted; empty accepts all that keys permit.
    pub algorithms: Vec<String>,
}

impl JwtRules {
    /// Rules with these leeways, which let nothing else pass.
    #[must_use]
    pub fn with(leeways: Leeways) -> Self {
        Self {
            expiry_leeway_secs: leeways.expiry_secs(),
            not_before_leeway_secs: leeways.not_before_secs(),
            accepted_typ: Vec::new(),
            allow_endless: false,
            algorithms: Vec::new(),
        }
    }
}

impl Default for JwtRules {
    fn default() -> Self {
        Self::with(Leeways::default())
    }
}

/// A token whose signature and times are good. Issuer, audience and the rest are for the role to judge.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedJwt {
    claims: Map,
    issuer: Option<String>,
    subject: Option<String>,
    audiences: Vec<String>,
    expires_at: Option<u64>,
    issued_at: Option<u64>,
}

impl VerifiedJwt {
    /// All claims.
    #[must_use]
    pub fn claims(&self) -> &Map {
        &self.claims
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// `sub`.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// `aud`, whether it was a string or a list; empty if absent.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// `exp` in unix seconds.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }

    /// `iat` in unix seconds.
    #[must_use]
    pub fn issued_at(&self) -> Option<u64> {
        self.issued_at
    }

    /// A string claim by JSON pointer, so that keys with dots work: `/kubernetes.io/namespace`.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value(pointer)?.as_str()
    }

    /// Any claim by JSON pointer.
    #[must_use]
    pub fn value(&self, pointer: &str) -> Option<&Value> {
        let mut segments = pointer.strip_prefix('/')?.split('/').map(|segment| {
            // RFC 6901: ~1 before ~0.
            segment.replace("~1", "/").replace("~0", "~")
        });
        let first = self.claims.get(&segments.next()?)?;
        segments.try_fold(first, |value, segment| match value {
            Value::Object(map) => map.get(&segment),
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        })
    }
}

/// A token whose signature is good and whose claims have their types; nobody has looked at its times and its
/// `typ`. They are for each role to judge, the signature is the same for all of them and is checked once.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedJwt {
    jwt: VerifiedJwt,
    not_before: Option<u64>,
    /// The header `typ`, as [`typ_name`] has it.
    typ: String,
}

impl SignedJwt {
    /// Whom the token is for, which no time changes.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        self.jwt.audiences()
    }

    /// The token, if its `typ` and its times are good at `now_secs` (unix) under these rules. Algorithms are
    /// not looked at: [`signed`] has.
    pub fn judge(&self, rules: &JwtRules, now_secs: u64) -> Result<&VerifiedJwt, JwtError> {
        let leeway = |secs: u64| secs.min(LEEWAY_SECS_MAX);
        if !self.is_accepted(&rules.accepted_typ) {
            return Err(JwtError::Typ);
        }
        match self.jwt.expires_at {
            None if !rules.allow_endless => return Err(JwtError::NoExpiry),
            Some(expires_at) if expires_at.saturating_add(leeway(rules.expiry_leeway_secs)) <= now_secs => {
                return Err(JwtError::Expired);
            }
            _ => {}
        }
        let begins_by = now_secs.saturating_add(leeway(rules.not_before_leeway_secs));
        if self.not_before.is_some_and(|at| at > begins_by) {
            return Err(JwtError::NotYetValid);
        }
        if self.jwt.issued_at.is_some_and(|at| at > begins_by) {
            return Err(JwtError::IssuedAhead);
        }
        Ok(&self.jwt)
    }

    fn is_accepted(&self, typ: &[String]) -> bool {
        if typ.is_empty() { self.typ == typ_name(TYP_DEFAULT) } else { typ.contains(&self.typ) }
    }
}

/// A media type as it is compared: without case, and without the `application/` that RFC 7515 section 4.1.9
/// lets issuers leave out.
#[must_use]
pub fn typ_name(typ: &str) -> String {
    let folded = typ.to_ascii_lowercase();
    match folded.strip_prefix("application/") {
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => folded,
    }
}

/// Whether a text can be a `typ` at all: 1 to 64 printable characters without blanks.
pub(super) fn is_typ(text: &str) -> bool {
    (1..=TYP_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Verifies a token against an issuer's keys at `now_secs` (unix).
pub fn verify<'a>(
    token: impl Into<Evidence<'a>>,
    keys: &KeySet,
    rules: &JwtRules,
    now_secs: u64,
) -> Result<VerifiedJwt, JwtError> {
    let signed = signed(token, keys, &rules.algorithms)?;
    signed.judge(rules, now_secs)?;
    Ok(signed.jwt)
}

/// Verifies the signature of a token against an issuer's keys: the half of [`verify`] that costs, and that
/// does not depend on a role. An empty list of algorithms accepts all that keys permit.
pub fn signed<'a>(
    token: impl Into<Evidence<'a>>,
    keys: &KeySet,
    algorithms: &[String],
) -> Result<SignedJwt, JwtError> {
    let parts = Parts::split(token.into())?;
    let header = Header::parse(parts.header)?;
    if !algorithms.is_empty() && !algorithms.contains(&header.algorithm_name) {
        return Err(JwtError::Algorithm);
    }
    let candidates =
        keys.candidates(header.kid.as_deref(), header.algorithm).map_err(|error| match error {
            NoKey::UnknownKid => JwtError::UnknownKey,
            NoKey::OtherAlgorithm => JwtError::AlgorithmMismatch,
        })?;
    let signature = decode(parts.signature).map_err(|_| JwtError::Signature)?;
    let verifies = |key: &&keys::Key| key.verifies(header.algorithm, parts.signed.as_bytes(), &signature);
    if !candidates.iter().any(verifies) {
        return Err(JwtError::Signature);
    }
    read_claims(json::parse(&decode(parts.payload)?, Limits::TOKEN)?, header.typ)
}

/// The issuer that a token claims, unverified. Good for one thing only: choosing whose keys to verify it
/// with.
pub fn claimed_issuer<'a>(token: impl Into<Evidence<'a>>) -> Result<Option<String>, JwtError> {
    let parts = Parts::split(token.into())?;
    text_claim(&json::parse(&decode(parts.payload)?, Limits::TOKEN)?, "iss")
}

struct Parts<'a> {
    signed: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: Evidence<'a>) -> Result<Self, JwtError> {
        let token = token.as_str();
        if token.len() > JWT_BYTES_MAX {
            return Err(JwtError::TooLong);
        }
        let pieces: Vec<_> = token.splitn(6, '.').collect();
        match pieces.as_slice() {
            [header, payload, signature] if pieces.iter().all(|piece| !piece.is_empty()) => {
                Ok(Self { signed: &token[..header.len() + 1 + payload.len()], header, payload, signature })
            }
            [_, _, _, _, _] => Err(JwtError::Encrypted),
            _ => Err(JwtError::Shape),
        }
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Shape)
}

struct Header {
    algorithm: Algorithm,
    algorithm_name: String,
    kid: Option<String>,
    typ: String,
}

impl Header {
    fn parse(part: &str) -> Result<Self, JwtError> {
        let header = json::parse(&decode(part)?, Limits::TOKEN_HEADER)?;
        if header.contains_key("enc") {
            return Err(JwtError::Encrypted);
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(JwtError::Algorithm)?;
        let algorithm = Algorithm::named(name).ok_or(JwtError::Algorithm)?;
        const REFUSED: [&str; 8] = ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "cty"];
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(JwtError::Header);
        }
        let typ = match header.get("typ") {
            None => typ_name(TYP_DEFAULT),
            Some(Value::String(typ)) if is_typ(typ) => typ_name(typ),
            Some(_) => return Err(JwtError::Typ),
        };
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if !kid.is_empty() && kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
            Some(_) => return Err(JwtError::Header),
        };
        Ok(Self { algorithm, algorithm_name: name.to_owned(), kid, typ })
    }
}

/// Fractions go the way that makes the token shorter.
fn read_claims(claims: Map, typ: String) -> Result<SignedJwt, JwtError> {
    let expires_at = time_claim(&claims, "exp", Round::Down)?;
    let not_before = time_claim(&claims, "nbf", Round::Up)?;
    let issued_at = time_claim(&claims, "iat", Round::Up)?;
    let issuer = text_claim(&claims, "iss")?;
    let subject = text_claim(&claims, "sub")?;
    let audiences = audiences(&claims)?;
    let jwt = VerifiedJwt { claims, issuer, subject, audiences, expires_at, issued_at };
    Ok(SignedJwt { jwt, not_before, typ })
}

/// A NumericDate (RFC 7519 section 2): seconds, maybe with a fraction. Strings, times before 1970 and what no
/// clock will reach are errors.
fn time_claim(claims: &Map, name: &str, round: Round) -> Result<Option<u64>, JwtError> {
    claims.get(name).map(|value| time(value, round).ok_or(JwtError::ClaimType)).transpose()
}

/// A NumericDate in whole seconds; `None` if it is none.
pub(super) fn time(value: &Value, round: Round) -> Option<u64> {
    const YEAR_9999: u64 = 253_402_300_799;
    match value {
        Value::Number(number) => number::whole(number, round, YEAR_9999),
        _ => None,
    }
}

fn text_claim(claims: &Map, name: &str) -> Result<Option<String>, JwtError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if is_plain(text) => Ok(Some(text.clone())),
        Some(_) => Err(JwtError::ClaimType),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= SUBJECT_BYTES_MAX && !text.chars().any(char::is_control)
}

fn audiences(claims: &Map) -> Result<Vec<String>, JwtError> {
    let one = |value: &Value| match value {
        Value::String(text) if is_plain(text) => Ok(text.clone()),
        _ => Err(JwtError::ClaimType),
    };
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) if !items.is_empty() && items.len() <= AUDIENCES_MAX => {
            items.iter().map(one).collect()
        }
        Some(Value::Array(_)) => Err(JwtError::ClaimType),
        Some(value) => one(value).map(|audience| vec![audience]),
    }
}
