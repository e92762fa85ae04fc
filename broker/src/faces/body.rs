//! Taking a request's body, within size and time.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use symbolon_proto::Zeroizing;
use tokio::time::timeout;

use crate::dialect::vault::error::BodyError;

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// How long each part of it may take.
const PART_TIME_MAX: Duration = Duration::from_secs(10);
/// How much of a body that is too large is read and thrown away, and for how long. A sender that still writes
/// when the connection closes would see a reset instead of the answer.
const DISCARD_BYTES_MAX: usize = 8 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);
/// First buffer of a body that does not say how long it is.
const BUFFER_BYTES: usize = 16 << 10;

/// The whole body, at most `bytes_max`.
pub async fn collect(mut body: Body, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let taken = timeout(BODY_TIME_MAX, take(&mut body, bytes_max)).await;
    let taken = taken.unwrap_or(Err(BodyError::TooSlow));
    if taken == Err(BodyError::TooLarge) {
        throw_away(&mut body).await;
    }
    taken
}

async fn take(body: &mut Body, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let declared =
        body.size_hint().exact().map_or(BUFFER_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if body.size_hint().exact().is_some() && declared > bytes_max {
        return Err(BodyError::TooLarge);
    }
    let mut whole = Zeroizing::new(Vec::with_capacity(declared));
    while let Some(frame) = timeout(PART_TIME_MAX, body.frame()).await.map_err(|_| BodyError::TooSlow)? {
        let Ok(data) = frame.map_err(|_| BodyError::Cut)?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        append(&mut whole, &data, bytes_max);
    }
    Ok(whole)
}

/// Appends; a buffer that is outgrown is wiped. None is larger than a body may be.
fn append(whole: &mut Zeroizing<Vec<u8>>, data: &[u8], bytes_max: usize) {
    let needed = whole.len() + data.len();
    if needed > whole.capacity() {
        let room = needed.max((2 * whole.capacity()).min(bytes_max));
        let mut larger = Zeroizing::new(Vec::with_capacity(room));
        larger.extend_from_slice(whole);
        *whole = larger;
    }
    whole.extend_from_slice(data);
}

/// Reads what a sender still sends, within size and time, so that it sees the answer.
pub async fn throw_away(body: &mut Body) {
    // Whether that succeeds or not, the answer is the same.
    let _ = timeout(DISCARD_TIME_MAX, discard(body)).await;
}

async fn discard(body: &mut Body) {
    let mut left = DISCARD_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len()));
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::body::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_body_may_be_as_large_as_allowed_and_no_larger() {
        for bytes in [0, 1, 99, 100] {
            assert_eq!(collect(Body::from(vec![7; bytes]), 100).await.unwrap().len(), bytes);
        }
        assert_eq!(collect(Body::from(vec![7; 101]), 100).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn pieces_without_declared_length_are_joined_and_counted() {
        fn pieces(count: u8) -> Body {
            let piece = |number: u8| Ok::<_, std::convert::Infallible>(Bytes::from(vec![number; 10_000]));
            Body::new(Pieces((0..count).map(piece).collect()))
        }
        let whole = collect(pieces(5), 50_000).await.unwrap();
        assert_eq!((whole.len(), whole[0], whole[49_999]), (50_000, 0, 4));
        assert_eq!(collect(pieces(6), 50_000).await, Err(BodyError::TooLarge));
    }

    /// A stream without the crate for streams.
    struct Pieces(std::collections::VecDeque<Result<Bytes, std::convert::Infallible>>);

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.pop_front().map(|piece| piece.map(hyper::body::Frame::data)))
        }
    }
}
