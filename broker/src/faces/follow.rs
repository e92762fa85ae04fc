//! `GET /v1/sys/symbolon/audit/tail`: entries of the audit log as they come, one JSON object a line.
//!
//! It begins at `from`, or with the newest `lines` that fit.
//!
//! An object with a member `stream` is no event: `{"stream":"waiting","next":7}` when nothing has come for
//! some seconds, `{"stream":"gone","from":1,"until":5}` when entries were pruned before they could be told,
//! `{"stream":"end","reason":"…"}` before an orderly end. `next` is what to give as `from` after a break.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::server::Ticket;
use super::vault::http;
use super::vault::intake::Incoming;
use super::vault::sys::audit::parse_filter;
use crate::custody::App;
use crate::dialect::vault::{Call, FaceError, VaultError};
use crate::ops::follow::{self, Beginning, Following, SEALED, Told};

/// Where it is asked for.
pub const PATH: &str = "/v1/sys/symbolon/audit/tail";

/// Longest time for all of it; after that the client asks again, and its token is looked at anew.
const WHOLE_TIME: Duration = Duration::from_secs(24 * 3600);
/// Longest wait for a peer to take a line.
const TAKE_TIME: Duration = Duration::from_secs(60);
/// Pieces that are made before the peer has taken the first.
const AHEAD: usize = 1;

/// Answers with entries until the client goes.
pub async fn stream(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match begin(&app, request).await {
        Ok(body) => {
            let mut response = Response::new(Body::new(body));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => http::response(error.into_reply()),
    }
}

async fn begin(app: &App, request: Request<Body>) -> Result<Lines, VaultError> {
    let ticket = request.extensions().get::<Arc<Ticket>>().cloned();
    let request = Incoming::parse(request)?.whole(app).await?;
    if request.wrap_ttl_secs > 0 {
        return Err(FaceError::Wrapping.into());
    }
    let session = app.fresh_session().await?;
    let call = Call { session: &session, request: &request };
    let read = request.fields.reader();
    let filter = parse_filter(&read)?;
    let beginning = match (read.count("from")?, read.limit("lines")?) {
        (Some(from), _) => Beginning::At(from),
        (None, lines) => Beginning::Newest(lines.unwrap_or(0)),
    };
    let following = follow::follow(&call.who(), filter, beginning).await?;
    if let Some(ticket) = ticket {
        ticket.make_known();
    }
    let (lines, taken) = mpsc::channel(AHEAD);
    let mut closing = session.keys.closing();
    tokio::spawn(async move {
        let ended = tokio::select! {
            biased;
            _ = closing.wait_for(|closed| *closed) => true,
            _ = timeout(WHOLE_TIME, pour(following, &lines)) => false,
        };
        if ended {
            let _ = timeout(TAKE_TIME, lines.send(piece(&Told::End(SEALED)))).await; // or nobody listens
        }
    });
    Ok(Lines(taken))
}

async fn pour(mut following: Following, lines: &mpsc::Sender<Bytes>) {
    while let Some(told) = tokio::select! {
        told = following.next() => told,
        () = lines.closed() => None,
    } {
        if !matches!(timeout(TAKE_TIME, lines.send(piece(&told))).await, Ok(Ok(()))) {
            return; // it has gone, or takes nothing
        }
    }
}

fn piece(told: &Told) -> Bytes {
    let line = |value: serde_json::Value| format!("{value}\n");
    let text = match told {
        Told::Events(events, _) => events.iter().map(|event| event.line() + "\n").collect(),
        Told::Waiting(next) => line(json!({ "stream": "waiting", "next": next })),
        Told::Gone(from, until) => line(json!({ "stream": "gone", "from": from, "until": until })),
        Told::End(reason) => line(json!({ "stream": "end", "reason": reason })),
    };
    Bytes::from(text)
}

/// Lines on their way into an answer that has no length.
struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = ready!(self.0.poll_recv(cx));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
