//! Small things that every handler needs: who asks, and the envelope for an answer.

use axum::response::Response;
use serde_json::{Map, Value};

use super::envelope::{Data, Envelope};
use super::fields::Reader;
use super::request::VaultRequest;
use crate::access::Requester;

impl VaultRequest {
    /// Who asks, for operations.
    #[must_use]
    pub fn requester(&self) -> Requester<'_> {
        Requester {
            token: self.token.as_ref().map(super::request::Token::as_str),
            request_id: &self.request_id,
            remote: self.remote,
            parameters: self.fields.as_map(),
        }
    }

    /// An envelope with `data`, and the warning about parameters that nobody asked for.
    #[must_use]
    pub fn envelope<'a>(&'a self, mount_type: &'static str, data: Value, read: &Reader<'_>) -> Envelope<'a> {
        let mut envelope = Envelope::object(&self.request_id, mount_type, object(data));
        envelope.warnings.extend(read.unrecognised());
        envelope
    }

    /// 204, or 200 with nothing but warnings if there are any, as Vault does it.
    #[must_use]
    pub fn done(&self, mount_type: &'static str, read: &Reader<'_>) -> Response {
        match read.unrecognised() {
            None => super::envelope::no_content(),
            Some(warning) => Envelope {
                data: Data::None,
                warnings: vec![warning],
                ..Envelope::object(&self.request_id, mount_type, Map::new())
            }
            .into_response(),
        }
    }
}

/// The map of a `json!({…})`.
#[must_use]
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
