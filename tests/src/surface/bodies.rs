//! How much is read of whom.

use serde_json::json;
use symbolon_broker::dialect::vault::limits::{BODY_BYTES_MAX, OPEN_BODY_BYTES_MAX, UNKNOWN_BODY_BYTES_MAX};

use super::{TEAM, shared};

/// A write of one value, `bytes` long in all.
fn body(bytes: usize) -> String {
    let empty = json!({ "data": { "value": "" } }).to_string();
    json!({ "data": { "value": "x".repeat(bytes - empty.len()) } }).to_string()
}

#[test]
fn a_large_body_is_read_of_those_whose_token_lives() {
    shared().run(async |site| {
        let put = async |token: &str, bytes: usize| {
            site.ask("PUT", "secret/data/open/large", token, &body(bytes)).await.status
        };
        assert_eq!(put(&site.root, 1 << 20).await, 200);
        assert_eq!(put(&site.root, BODY_BYTES_MAX + 1).await, 413);
        let team = site.token_with("bodies", TEAM).await;
        for token in ["", "hvs.nobody", &team] {
            for bytes in [UNKNOWN_BODY_BYTES_MAX, UNKNOWN_BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 1] {
                let status = put(token, bytes).await;
                let is_read = token == team && bytes > BODY_BYTES_MAX;
                assert_eq!(status, if is_read { 413 } else { 403 }, "{bytes} bytes of {token:?}");
            }
        }
        site.ask("DELETE", "secret/metadata/open/large", &site.root, "").await.expect(204);
    });
}

/// Whoever logs in has no token yet.
#[test]
fn a_login_may_be_larger_than_the_request_of_somebody_unknown() {
    shared().run(async |site| {
        site.root_put("sys/auth/jwt", &json!({ "type": "jwt" })).await;
        for (bytes, status) in [(OPEN_BODY_BYTES_MAX - 100, 400), (OPEN_BODY_BYTES_MAX + 1, 413)] {
            let login = json!({ "role": "none", "jwt": "x".repeat(bytes) }).to_string();
            assert_eq!(site.ask("PUT", "auth/jwt/login", "", &login).await.status, status, "{bytes}");
        }
    });
}
