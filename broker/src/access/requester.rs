//! Who asks, before anybody has checked it.

use symbolon_core::json::Map;

/// Who asks, before anybody has checked it: what a face took from the wire.
pub struct Requester<'a> {
    /// The token as presented, if any. Never logged.
    pub token: Option<&'a str>,
    /// Identifier of this request; appears in the answer and in the audit entry.
    pub request_id: &'a str,
    /// Peer address as the listener saw it.
    pub remote: Option<std::net::IpAddr>,
    /// Every member of the body or query, for the policy's parameter rules.
    pub parameters: &'a Map,
}
