//! The dialect's answers as HTTP has them.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;

use crate::dialect::vault::{Reply, Status};

/// The answer as HTTP has it.
#[must_use]
pub fn response(reply: Reply) -> Response {
    let Reply { status, body, form: _, retry_secs } = reply;
    let is_json = !body.is_empty();
    let mut response = Response::new(Body::from(Bytes::from_owner(body)));
    *response.status_mut() = status.code();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_json {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if matches!(status, Status::SERVICE_UNAVAILABLE | Status::TOO_MANY_REQUESTS) {
        // Small on purpose unless it is known: the External Secrets Operator reconciles one object at a time
        // and would stand still.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_secs.unwrap_or(1)));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::vault::VaultError;
    use crate::error::{Busy, OpError, Text};

    #[test]
    fn unavailable_asks_to_retry_soon() {
        let response = response(VaultError::Op(OpError::SEALED).into_reply());
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn who_has_to_wait_is_told_how_long() {
        for (all, status) in [(false, 429), (true, 503)] {
            let busy = Busy::Until { text: Text::fixed("used up"), secs: 7, all };
            let response = response(VaultError::Op(OpError::Busy(busy)).into_reply());
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[header::RETRY_AFTER], "7");
        }
    }
}
