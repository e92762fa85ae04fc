//! Answers that have no length: pieces as they are made.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::vault::http;
use crate::dialect::vault::VaultError;

/// Pieces that are made before the peer has taken the first.
pub(super) const AHEAD: usize = 1;

/// The answer, or the refusal. An error among the pieces ends it without an end, so that no client takes it
/// for whole.
pub(super) fn response<E: Error + Send + Sync + 'static>(
    pieces: Result<mpsc::Receiver<Result<Bytes, E>>, VaultError>,
    content_type: &'static str,
) -> Response {
    match pieces {
        Ok(pieces) => {
            let mut response = Response::new(Body::new(Pieces(pieces)));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => http::response(error.into_reply()),
    }
}

struct Pieces<E>(mpsc::Receiver<Result<Bytes, E>>);

impl<E: Error> hyper::body::Body for Pieces<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let piece = ready!(self.0.poll_recv(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
