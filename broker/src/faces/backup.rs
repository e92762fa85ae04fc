//! `PUT /v1/sys/symbolon/backup/stream`: a backup as it is made. It has no envelope, and is refused in the
//! Vault dialect like everything below `/v1/`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::server::Ticket;
use super::streamed::{self, AHEAD};
use super::vault::intake::Incoming;
use super::vault::sys::ceremony::parse_cards;
use super::vault::to_known_callers;
use crate::backup::making::{BrokenOff, Making};
use crate::custody::App;
use crate::dialect::vault::{Call, FaceError, VaultError};
use crate::ops::backup;

/// Where it is asked for.
pub const PATH: &str = "/v1/sys/symbolon/backup/stream";

/// Longest time for all of it: whoever takes it holds the turn, and keeps the store from using space again.
const WHOLE_TIME: Duration = Duration::from_secs(6 * 3600);

/// Answers with the bytes of a backup.
pub async fn stream(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    streamed::response(begin(&app, request).await, "application/octet-stream")
}

type Pieces = mpsc::Receiver<Result<Bytes, BrokenOff>>;

async fn begin(app: &App, request: Request<Body>) -> Result<Pieces, VaultError> {
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
    Ok(taken)
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
