//! `GET /v1/sys/symbolon/audit/tail`: entries of the audit log as they come, one JSON object a line.
//!
//! It begins at `from`, or with the newest `lines` that fit.
//!
//! An object with a member `stream` is no event: `{"stream":"waiting","next":7}` when nothing has come for
//! some seconds, `{"stream":"gone","from":1,"until":5}` when entries were pruned before they could be told,
//! `{"stream":"end","reason":"…","again":false}` before an orderly end. `next` is what to give as `from`
//! after a break; null while the first entry is looked for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::server::Ticket;
use super::streamed::{self, AHEAD};
use super::vault::intake::Incoming;
use super::vault::sys::audit::parse_filter;
use super::vault::to_known_callers;
use crate::audit::log::Filter;
use crate::custody::App;
use crate::dialect::vault::{Call, FaceError, VaultError, VaultRequest};
use crate::ops::follow::{self, Beginning, Following, SEALED, TROUBLE, Told};

/// Where it is asked for.
pub const PATH: &str = "/v1/sys/symbolon/audit/tail";

/// Longest time for all of it; after that the client asks again, and its token is looked at anew.
const WHOLE_TIME: Duration = Duration::from_secs(24 * 3600);
/// Longest wait for a peer to take a line.
const TAKE_TIME: Duration = Duration::from_secs(60);
const UNKNOWN: &str = "expected \"from\", \"lines\" and what filters a search, and nothing else";

/// Answers with entries until the client goes.
pub async fn stream(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    streamed::response(begin(&app, request).await, "application/x-ndjson")
}

/// It breaks off only where the connection does.
type Piece = Result<Bytes, Infallible>;

async fn begin(app: &App, request: Request<Body>) -> Result<mpsc::Receiver<Piece>, VaultError> {
    let ticket = request.extensions().get::<Arc<Ticket>>().cloned();
    let request = Incoming::parse(request)?.whole(app).await?;
    let session = app.fresh_session().await?;
    let call = Call { session: &session, request: &request };
    let (filter, beginning) = match parse(&request) {
        Ok(parsed) => parsed,
        Err(refusal) => return Err(Box::pin(to_known_callers(app, &request, refusal)).await),
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
    Ok(taken)
}

/// What is asked for. A parameter that nobody knows is refused: without it more would be told than was meant.
fn parse(request: &VaultRequest) -> Result<(Filter, Beginning), FaceError> {
    if request.wrap_ttl_secs > 0 {
        return Err(FaceError::Wrapping);
    }
    let read = request.fields.reader();
    let filter = parse_filter(&read)?;
    let beginning = match (read.count("from")?, read.limit("lines")?) {
        (Some(from), _) => Beginning::At(from),
        (None, lines) => Beginning::Newest(lines.unwrap_or(0)),
    };
    match read.unrecognised() {
        None => Ok((filter, beginning)),
        Some(_) => Err(FaceError::Invalid(UNKNOWN)),
    }
}

/// Looks for what is told next when there is room for it, so that nothing is found, kept, and told later to
/// whoever has lost the right meanwhile.
async fn pour(mut following: Following, lines: &mpsc::Sender<Piece>) {
    while let Ok(Ok(room)) = timeout(TAKE_TIME, lines.reserve()).await {
        let told = tokio::select! {
            told = following.next() => told,
            () = lines.closed() => None,
        };
        let Some(told) = told else { return };
        room.send(piece(&told));
    }
}

fn piece(told: &Told) -> Piece {
    let line = |value: serde_json::Value| format!("{value}\n");
    let text = match told {
        Told::Events(events, _) => events.iter().map(|event| event.line() + "\n").collect(),
        Told::Waiting(next) => line(json!({ "stream": "waiting", "next": next })),
        Told::Gone(from, until) => line(json!({ "stream": "gone", "from": from, "until": until })),
        Told::End(reason) => line(json!({ "stream": "end", "reason": reason, "again": *reason == TROUBLE })),
    };
    Ok(Bytes::from(text))
}
