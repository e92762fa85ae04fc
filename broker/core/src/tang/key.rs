//! Public keys as servers write them (JWK, RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::error::TangError;
use super::point::{COORDINATE_BYTES, Point};
use super::thumbprint::{Thumbprint, is_named};
use crate::json::Map;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Signs advertisements.
    Verify,
    /// Takes part in an exchange.
    Exchange,
}

impl Use {
    /// Algorithm and operation.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Verify => ("ES512", "verify"),
            Self::Exchange => ("ECMR", "deriveKey"),
        }
    }
}

/// A key of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) usage: Use,
    pub(super) point: Point,
}

impl Key {
    /// `None` if it is for something else.
    pub(super) fn read(jwk: &Map) -> Result<Option<Self>, TangError> {
        let operations = jwk.get("key_ops").and_then(Value::as_array);
        let is_for = |usage: &Use| {
            operations.is_some_and(|all| all.iter().any(|operation| *operation == usage.names().1))
        };
        let Some(usage) = [Use::Verify, Use::Exchange].into_iter().find(is_for) else { return Ok(None) };
        let found = jwk.get("alg").and_then(Value::as_str);
        if found.is_some() && found != Some(usage.names().0) {
            return Err(TangError::other(usage.names().0, found));
        }
        Ok(Some(Self { usage, point: point(jwk)? }))
    }

    /// As `jose` writes it: members in the order of their names.
    pub(super) fn to_json(&self) -> String {
        let (algorithm, operation) = self.usage.names();
        let (x, y) = texts(self.point);
        format!(
            r#"{{"alg":"{algorithm}","crv":"P-521","key_ops":["{operation}"],"kty":"EC","x":"{x}","y":"{y}"}}"#
        )
    }

    pub(super) fn thumbprint(&self) -> Thumbprint {
        thumbprint(self.point)
    }

    /// Whether a server calls it so.
    pub(super) fn is_named(&self, name: &str) -> bool {
        is_named(&canonical(self.point), name)
    }
}

/// The thumbprint of a point as a key.
pub(super) fn thumbprint(point: Point) -> Thumbprint {
    Thumbprint::of(&canonical(point))
}

/// What is hashed for a thumbprint, and how clevis writes an ephemeral key.
pub(super) fn canonical(point: Point) -> String {
    let (x, y) = texts(point);
    format!(r#"{{"crv":"P-521","kty":"EC","x":"{x}","y":"{y}"}}"#)
}

/// The point of a key on P-521.
pub(super) fn point(jwk: &Map) -> Result<Point, TangError> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("kty") != Some("EC") || text("crv") != Some("P-521") {
        return Err(TangError::other("a key on the curve P-521", text("crv")));
    }
    let number = |name| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let both = number("x").zip(number("y"));
    let point = both.and_then(|(x, y)| Point::new(&x, &y));
    point.ok_or(TangError::Malformed("a point on the curve P-521"))
}

fn texts(point: Point) -> (String, String) {
    let sec1 = point.to_sec1();
    let (_form, both) = sec1.split_at(1);
    let (x, y) = both.split_at(COORDINATE_BYTES);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}
