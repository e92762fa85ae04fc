//! A request of the Vault dialect, parsed once.
//!
//! Everything after this module sees one path, one operation and one set of parameters. The policy looks at
//! the same values as the handler, whether they came as JSON, as a form or in the query.

use std::net::IpAddr;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use symbolon_core::json::{self, JsonError, Limits};
use symbolon_core::path::ApiPath;
use symbolon_core::token::TOKEN_BYTES_MAX;
use symbolon_proto::Zeroizing;

use super::error::FaceError;
use super::fields::{Fields, parse_bool};
use super::limits::SAID_BYTES_MAX;
use crate::access::Channel;
use crate::dialect::time;

/// Most members of a query or form.
const FORM_MEMBERS_MAX: usize = 256;
/// Longest time for which an answer is kept wrapped, in seconds: the longest lease of the system, 32 days.
pub const WRAP_TTL_SECS_MAX: u64 = symbolon_core::token::ttl::SYSTEM_TTL_SECS;

/// What is asked of a path. POST and PUT mean the same; whether it creates or updates, the operation finds
/// out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// GET.
    Read,
    /// LIST, or GET with `list=true`.
    List,
    /// POST or PUT.
    Write,
    /// DELETE.
    Delete,
    /// PATCH with a merge patch.
    Patch,
}

/// A token as presented: no `Debug`, wiped on drop.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The text, for the operation that looks it up.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A parsed request.
pub struct VaultRequest {
    /// What is asked.
    pub verb: Verb,
    /// Of which path, after `/v1/`.
    pub path: ApiPath,
    /// By whom, unchecked.
    pub token: Option<Token>,
    /// With which parameters.
    pub fields: Fields,
    /// From which address, as the listener saw it; `None` if there was no listener, as in tests.
    pub remote: Option<IpAddr>,
    /// How its connection is kept.
    pub channel: Channel,
    /// Identifier that the answer and the audit entry carry.
    pub request_id: String,
    /// For how many seconds the answer is to be kept wrapped; 0 if it is not.
    pub wrap_ttl_secs: u64,
}

/// A request whose body has not been read yet.
pub struct Head {
    verb: Verb,
    path: ApiPath,
    token: Option<Token>,
    query: Map<String, Value>,
    wrap_ttl_secs: u64,
    parts: Parts,
}

impl Head {
    /// Parses everything but the body; `raw_path` is the part after `/v1/`, still encoded.
    pub fn parse(raw_path: &str, parts: Parts) -> Result<Self, FaceError> {
        let path = ApiPath::parse(raw_path)?;
        refuse_namespaces(&parts.headers)?;
        let wrap_ttl_secs = wrap_ttl_secs(&parts.headers)?;
        let token = token(&parts.headers)?;
        let mut query = parse_form(parts.uri.query().unwrap_or(""))?;
        let verb = verb(&parts.method, &mut query)?;
        if verb == Verb::Patch {
            check_patch_type(&parts.headers)?;
        }
        Ok(Self { verb, path, token, query, wrap_ttl_secs, parts })
    }

    /// What is asked for, after `/v1/`.
    #[must_use]
    pub fn path(&self) -> &ApiPath {
        &self.path
    }

    /// By whom, unchecked.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Token::as_str)
    }

    /// Whether the parameters are in the body.
    #[must_use]
    pub fn has_body(&self) -> bool {
        matches!(self.verb, Verb::Write | Verb::Patch)
    }

    /// The request with its body; an empty one where the parameters are in the query.
    pub fn with_body(
        self,
        body: &[u8],
        request_id: String,
        remote: Option<IpAddr>,
    ) -> Result<VaultRequest, FaceError> {
        let Self { verb, path, token, query, wrap_ttl_secs, parts } = self;
        let fields = match verb {
            Verb::Read | Verb::List | Verb::Delete => Fields::new(query),
            Verb::Write => Fields::new(parse_body(&parts, body)?).beside(&query),
            Verb::Patch => Fields::new(parse_json(body)?).beside(&query),
        };
        let channel = Channel::default();
        Ok(VaultRequest { verb, path, token, fields, remote, channel, request_id, wrap_ttl_secs })
    }
}

fn verb(method: &Method, query: &mut Map<String, Value>) -> Result<Verb, FaceError> {
    Ok(match method.as_str() {
        "GET" | "HEAD" => match query.shift_remove("list") {
            Some(flag) if list_flag(&flag)? => Verb::List,
            Some(_) | None => Verb::Read,
        },
        "LIST" => {
            query.shift_remove("list"); // the Go client sends the verb and the flag
            Verb::List
        }
        "POST" | "PUT" => Verb::Write,
        "DELETE" => Verb::Delete,
        "PATCH" => Verb::Patch,
        _ => return Err(FaceError::Unsupported),
    })
}

fn list_flag(value: &Value) -> Result<bool, FaceError> {
    match value.as_str() {
        Some("") => Ok(false),
        Some(text) => parse_bool(text).ok_or(FaceError::ListFlag),
        None => Err(FaceError::ListFlag),
    }
}

/// The one value of a header, as text.
fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, FaceError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(FaceError::Header(name));
    }
    value.to_str().map(Some).map_err(|_| FaceError::Header(name))
}

fn token(headers: &HeaderMap) -> Result<Option<Token>, FaceError> {
    let named = header(headers, "x-vault-token").map_err(|_| FaceError::TokenMalformed)?;
    let text = match named.filter(|text| !text.is_empty()) {
        Some(text) => Some(text),
        None => header(headers, "authorization").map_err(|_| FaceError::TokenMalformed)?.and_then(bearer),
    };
    match text {
        Some(text) if text.len() > TOKEN_BYTES_MAX => Err(FaceError::TokenMalformed),
        other => Ok(other.map(|text| Token(Zeroizing::new(text.to_owned())))),
    }
}

/// The token of `Bearer <token>`; other schemes carry none.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

/// Headers whose meaning we cannot give must not be ignored.
fn refuse_namespaces(headers: &HeaderMap) -> Result<(), FaceError> {
    let namespace = header(headers, "x-vault-namespace")?.unwrap_or("");
    if !matches!(namespace.trim_matches('/'), "" | "root") {
        return Err(FaceError::Namespace);
    }
    Ok(())
}

/// For how long the answer is to be kept wrapped. Parts of a second are dropped, but a second is the least.
fn wrap_ttl_secs(headers: &HeaderMap) -> Result<u64, FaceError> {
    let Some(text) = header(headers, "x-vault-wrap-ttl")?.filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let ms = time::parse_duration_ms(text).ok_or(FaceError::WrapTtl)?;
    let secs = match u64::try_from(ms).map_err(|_| FaceError::WrapTtlNegative)? {
        0 => return Ok(0),
        ms => (ms / 1000).max(1),
    };
    if secs > WRAP_TTL_SECS_MAX {
        return Err(FaceError::WrapTtlTooLong);
    }
    match header(headers, "x-vault-wrap-format")? {
        None | Some("") => Ok(secs),
        Some(_) => Err(FaceError::WrapFormat),
    }
}

/// Media type without parameters, in lower case.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = text.split(';').next()?.trim().to_ascii_lowercase();
    essence.split_once('/').filter(|(kind, sub)| !kind.is_empty() && !sub.is_empty())?;
    Some(essence)
}

fn check_patch_type(headers: &HeaderMap) -> Result<(), FaceError> {
    match media_type(headers).as_deref() {
        Some("application/merge-patch+json") => Ok(()),
        Some(_) => Err(FaceError::PatchType),
        None => Err(FaceError::PatchTypeMissing),
    }
}

fn parse_body(head: &Parts, body: &[u8]) -> Result<Map<String, Value>, FaceError> {
    let first = body.trim_ascii_start().first();
    let form = media_type(&head.headers).as_deref() == Some("application/x-www-form-urlencoded");
    // Curl labels JSON as a form unless told otherwise.
    if form && !matches!(first, Some(b'{' | b'[') | None) {
        return parse_form(std::str::from_utf8(body).map_err(|_| FaceError::Form)?);
    }
    parse_json(body)
}

/// An object; nothing and `null` count as an empty one.
fn parse_json(body: &[u8]) -> Result<Map<String, Value>, FaceError> {
    match body.trim_ascii() {
        b"" | b"null" => Ok(Map::new()),
        text => json::parse(text, Limits::BODY).map_err(|error| match error {
            JsonError::TooLarge => FaceError::SaysTooMuch,
            error => error.into(),
        }),
    }
}

/// A query or form; a name that is repeated becomes a list.
pub fn parse_form(text: &str) -> Result<Map<String, Value>, FaceError> {
    let (mut map, mut said) = (Map::new(), 0);
    for (count, part) in text.split('&').filter(|part| !part.is_empty()).enumerate() {
        if count >= FORM_MEMBERS_MAX {
            return Err(FaceError::Form);
        }
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (key, value) = (form_text(key)?, form_text(value)?);
        said += key.len() + value.len();
        if said > SAID_BYTES_MAX {
            return Err(FaceError::SaysTooMuch);
        }
        let value = Value::String(value);
        match map.get_mut(&key) {
            None => drop(map.insert(key, value)),
            Some(Value::Array(values)) => values.push(value),
            Some(single) => *single = Value::Array(vec![single.take(), value]),
        }
    }
    Ok(map)
}

fn form_text(text: &str) -> Result<String, FaceError> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(Into::into).map_err(|_| FaceError::Form)
}

#[cfg(test)]
mod tests;
