//! An answer on its way out: in parts, each known to be there until the peer has taken it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};

use super::activity::{Activity, Sending};
use super::standing::Ticket;

/// Largest part, in bytes: what a peer must take within the time for it.
const PART_BYTES_MAX: usize = 16 << 10;
/// Answers up to this size need no memory of their own: there are only so many requests.
const SMALL_BYTES_MAX: usize = 8 << 10;

/// Keeps the request's place until the answer is sent, and has memory for it; `None` if there is none.
pub(super) fn hold(response: Response, ticket: Arc<Ticket>, activity: &Arc<Activity>) -> Option<Response> {
    let bytes = response.body().size_hint().lower();
    if bytes > SMALL_BYTES_MAX as u64 && !ticket.exchange(usize::try_from(bytes).unwrap_or(usize::MAX)) {
        return None;
    }
    if bytes == 0 && response.body().is_end_stream() {
        return Some(response);
    }
    let held = Arc::new(Held { sending: activity.send(), _ticket: ticket });
    Some(response.map(|body| Body::new(Outgoing { body, rest: Bytes::new(), held })))
}

/// What an answer holds while it is not sent.
struct Held {
    sending: Arc<Sending>,
    _ticket: Arc<Ticket>,
}

/// A part, as the connection's buffers have it.
struct Part {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct Outgoing {
    body: Body,
    rest: Bytes,
    held: Arc<Held>,
}

impl Outgoing {
    fn next_part(&mut self) -> Bytes {
        self.held.sending.moves();
        let bytes = self.rest.split_to(self.rest.len().min(PART_BYTES_MAX));
        Bytes::from_owner(Part { bytes, _held: Arc::clone(&self.held) })
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(self.next_part()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
