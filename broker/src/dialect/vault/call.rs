//! A request in a session: what engines and login methods get to see.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Map, Value};
use symbolon_core::policy::Operation;

use super::envelope::{Data, Envelope};
use super::error::VaultError;
use super::fields::Reader;
use super::reply::Reply;
use super::request::{VaultRequest, Verb};
use crate::access::{self, Asker, Requester, Session};
use crate::error::OpError;

/// A parsed request, and the one session that it sees from its beginning to its end.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The session that was open when the request came.
    pub session: &'a Arc<Session>,
    /// The request.
    pub request: &'a VaultRequest,
}

impl Deref for Call<'_> {
    type Target = VaultRequest;

    fn deref(&self) -> &VaultRequest {
        self.request
    }
}

impl<'a> Call<'a> {
    /// Who asks, for operations.
    #[must_use]
    pub fn who(&self) -> Asker<'a> {
        Asker { asked: Some(&self.request.path), ..self.request.requester().of(self.session) }
    }

    /// No such route: said only to those whom a policy lets ask there.
    pub async fn unrouted(&self) -> VaultError {
        self.misrouted(OpError::NO_ROUTE).await
    }

    /// The same for somebody who seems to have meant another engine or another version: `why` says so.
    pub async fn misrouted(&self, why: OpError) -> VaultError {
        let operation = match self.request.verb {
            Verb::Read => Operation::Read,
            Verb::List => Operation::List,
            Verb::Write => Operation::Update,
            Verb::Delete => Operation::Delete,
            Verb::Patch => Operation::Patch,
        };
        match access::unrouted(&self.who(), &self.request.path, operation, why).await {
            Err(error) => error.into(),
            Ok(never) => match never {},
        }
    }
}

impl VaultRequest {
    /// Who asks, for operations.
    #[must_use]
    pub fn requester(&self) -> Requester<'_> {
        Requester {
            token: self.token.as_ref().map(super::request::Token::as_str),
            request_id: &self.request_id,
            remote: self.remote,
            parameters: self.fields.as_map(),
            wrap_ttl_secs: self.wrap_ttl_secs,
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
    pub fn done(&self, mount_type: &'static str, read: &Reader<'_>) -> Reply {
        self.done_with(mount_type, read, Vec::new())
    }

    /// The same with warnings of our own, which come first.
    #[must_use]
    pub fn done_with(&self, mount_type: &'static str, read: &Reader<'_>, mut warnings: Vec<String>) -> Reply {
        warnings.extend(read.unrecognised());
        if warnings.is_empty() {
            return Reply::no_content();
        }
        let envelope = Envelope::object(&self.request_id, mount_type, Map::new());
        Envelope { data: Data::None, warnings, ..envelope }.into_reply()
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
