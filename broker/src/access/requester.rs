//! Who asks, before anybody has checked it.

use std::net::IpAddr;
use std::sync::Arc;

use symbolon_core::json::Map;
use symbolon_core::path::ApiPath;

use super::session::Session;

/// What a face took from the wire.
#[derive(Clone, Copy)]
pub struct Requester<'a> {
    /// The token as presented, if any. Never logged.
    pub token: Option<&'a str>,
    /// Identifier of this request; appears in the answer and in the audit entry.
    pub request_id: &'a str,
    /// Peer address as the listener saw it.
    pub remote: Option<IpAddr>,
    /// Every member of the body or query, for the policy's parameter rules.
    pub parameters: &'a Map,
    /// For how many seconds the answer is to be kept wrapped; 0 if it is not.
    pub wrap_ttl_secs: u64,
}

/// The same with the one session that the request sees from its beginning to its end.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    /// The session that was open when the request came.
    pub session: &'a Arc<Session>,
    /// Who asks.
    pub requester: Requester<'a>,
    /// The path that the face was asked for, if it has paths. What the operation derives must be the same.
    pub asked: Option<&'a ApiPath>,
}

impl<'a> Requester<'a> {
    /// Asks in a session.
    #[must_use]
    pub const fn of(self, session: &'a Arc<Session>) -> Asker<'a> {
        Asker { session, requester: self, asked: None }
    }
}
