//! A request as it comes in: its head, and as much of its body as its sender may send.
//!
//! A body is read before anybody knows what it asks for. So little is read of one whose sender is unknown,
//! and what known senders send together has a bound.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Body as _;
use symbolon_core::json::Map;
use symbolon_proto::Zeroizing;

use crate::access::{self, Channel, Requester, Session, tokens};
use crate::custody::App;
use crate::dialect::vault::limits::{
    BODY_BYTES_MAX, OPEN_BODY_BYTES_MAX, SAID_BYTES_MAX, UNKNOWN_BODY_BYTES_MAX,
};
use crate::dialect::vault::request::Head;
use crate::dialect::vault::{FaceError, VaultError, VaultRequest};
use crate::faces::body;
use crate::faces::ids::request_id;
use crate::faces::server::{Peer, Ticket};

/// A request whose head is read.
pub struct Incoming {
    asked: Asked,
    body: Body,
}

/// What came before the body.
struct Asked {
    head: Head,
    request_id: String,
    remote: Option<IpAddr>,
    channel: Channel,
    /// `None` if there is no listener, as in tests.
    ticket: Option<Arc<Ticket>>,
}

impl Incoming {
    /// Reads the head, with the address that the listener saw.
    pub fn parse(request: Request<Body>) -> Result<Self, FaceError> {
        let (mut parts, body) = request.into_parts();
        let raw_path = parts.uri.path().strip_prefix("/v1/").unwrap_or("").to_owned();
        let peer = parts.extensions.get::<Peer>().copied();
        let (remote, channel) =
            (peer.as_ref().map(Peer::ip), peer.map(|peer| peer.channel).unwrap_or_default());
        let ticket = parts.extensions.remove::<Arc<Ticket>>();
        let head = Head::parse(&raw_path, parts)?;
        Ok(Self { asked: Asked { head, request_id: request_id(), remote, channel, ticket }, body })
    }

    /// Reads the body.
    pub async fn whole(self, app: &App) -> Result<VaultRequest, VaultError> {
        let Self { asked, body } = self;
        let (body, is_left) = match asked.head.has_body() {
            true => (take(&asked, body, app).await?, false),
            false => (Zeroizing::default(), !body.is_end_stream()),
        };
        let mut request = asked.head.with_body(&body, asked.request_id, asked.remote)?;
        request.fields.set_unread_body(is_left);
        Ok(VaultRequest { channel: asked.channel, ..request })
    }
}

/// Who says nothing of the length is taken to send the most.
async fn take(asked: &Asked, mut body: Body, app: &App) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let exact = body.size_hint().exact();
    let bytes = exact.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let allowed = match bytes <= UNKNOWN_BODY_BYTES_MAX {
        true => Ok(UNKNOWN_BODY_BYTES_MAX),
        false => Box::pin(asked.bytes_max(app, bytes)).await,
    };
    if allowed.is_err() {
        body::throw_away(&mut body).await;
    }
    Ok(body::collect(body, allowed?).await.map_err(FaceError::from)?)
}

impl Asked {
    /// How much this sender may send, who says that it is more than anybody may.
    async fn bytes_max(&self, app: &App, bytes: usize) -> Result<usize, VaultError> {
        let session = app.session();
        let mounts = session.as_ref().map(|session| session.mounts()).unwrap_or_default();
        if app.shape.is_open(&mounts, self.head.path()) {
            return Ok(OPEN_BODY_BYTES_MAX);
        }
        let session = session?;
        if !tokens::lives(&session, self.head.token(), self.remote).await {
            return Err(self.refuse(&session).await);
        }
        let Some(ticket) = &self.ticket else { return Ok(BODY_BYTES_MAX) };
        ticket.make_known();
        let is_there = ticket.reserve(bytes.min(SAID_BYTES_MAX)).await; // see `BODY_BYTES_MAX`
        if is_there { Ok(BODY_BYTES_MAX) } else { Err(FaceError::NoMemory.into()) }
    }

    /// As a dead token is refused everywhere, with an entry.
    async fn refuse(&self, session: &Arc<Session>) -> VaultError {
        let parameters = Map::new();
        let who = Requester {
            token: self.head.token(),
            request_id: &self.request_id,
            remote: self.remote,
            parameters: &parameters,
            wrap_ttl_secs: 0,
        };
        match access::malformed(&who.of(session), self.head.path()).await {
            Ok(()) => FaceError::BodyOfUnknown.into(), // it lives after all
            Err(denied) => denied.into(),
        }
    }
}
