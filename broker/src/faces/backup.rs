//! `PUT /v1/sys/symbolon/backup/stream`: a backup as it is made. The one answer that has no length and no
//! envelope; it is refused in the Vault dialect like everything below `/v1/`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::server::Ticket;
use super::vault::intake::Incoming;
use super::vault::sys::ceremony::parse_cards;
use super::vault::{http, to_known_callers};
use crate::backup::making::{BrokenOff, Making};
use crate::custody::App;
use crate::dialect::vault::{Call, FaceError, VaultError};
use crate::ops::backup;

/// Where it is asked for.
pub const PATH: &str = "/v1/sys/symbolon/backup/stream";

/// Longest time for all of it: whoever takes it holds the turn, and keeps the store from using space again.
const WHOLE_TIME: Duration = Duration::from_secs(6 * 3600);

/// Pieces that are made before the peer has taken the first.
const AHEAD: usize = 1;

/// Answers with the bytes of a backup.
pub async fn stream(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match begin(&app, request).await {
        Ok(body) => {
            let mut response = Response::new(Body::new(body));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => http::response(error.into_reply()),
    }
}

async fn begin(app: &App, request: Request<Body>) -> Result<Flow, VaultError> {
    let ticket = request.extensions().get::<Arc<Ticket>>().cloned();
    let request = Incoming::parse(request)?.whole(app).await?;
    let session = app.fresh_session().await?;
    let call = Call { session: &session, request: &request };
    let cards = match request.wrap_ttl_secs {
        0 => parse_cards(&request.fields.reader()),
        _ => Err(FaceError::Wrapping),
    };
    let cards = match cards {
        Ok(cards) => cards,
        Err(refusal) => return Err(Box::pin(to_known_callers(app, &request, refusal)).await),
    };
    let making = backup::stream(&call.who(), cards).await?;
    if let Some(ticket) = ticket {
        ticket.make_known();
    }
    let (pieces, taken) = mpsc::channel(AHEAD);
    let (mut closing, session) = (session.keys.closing(), Arc::downgrade(&session));
    tokio::spawn(async move {
        let name = making.name();
        let made = tokio::select! {
            biased;
            _ = closing.wait_for(|closed| *closed) => None,
            made = timeout(WHOLE_TIME, pour(making, pieces)) => made.ok().flatten(),
        };
        backup::ended(&session, &name, made.as_ref()).await;
    });
    Ok(Flow(taken))
}

/// What was made, if all of it was taken.
async fn pour(
    mut making: Making,
    pieces: mpsc::Sender<Result<Bytes, BrokenOff>>,
) -> Option<crate::backup::Made> {
    loop {
        let piece = match making.next().await {
            Ok(Some(bytes)) => Ok(Bytes::from(bytes)),
            Ok(None) => return making.made(),
            Err(error) => Err(error),
        };
        let is_error = piece.is_err();
        if pieces.send(piece).await.is_err() || is_error {
            return None;
        }
    }
}

/// Pieces on their way into an answer. One that breaks off ends it without an end, so that no client takes it
/// for whole.
struct Flow(mpsc::Receiver<Result<Bytes, BrokenOff>>);

impl hyper::body::Body for Flow {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let piece = ready!(self.0.poll_recv(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
