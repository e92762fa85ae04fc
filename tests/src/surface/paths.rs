//! Paths and bodies that are no request.

use std::time::Duration;

use serde_json::json;

use super::{CLOSED, OPEN, TEAM, shared};

/// Every spelling by which a path has ever climbed out of a policy, and some more.
const STRANGE: [&str; 39] = [
    "/v1/secret/data/open/../closed/b",
    "/v1/secret/data/open/../../data/closed/b",
    "/v1/secret/data/open/%2e%2e/closed/b",
    "/v1/secret/data/open/%2E%2E/closed/b",
    "/v1/secret/data/open/.%2e/closed/b",
    "/v1/secret/data/open/%2e./closed/b",
    "/v1/secret/data/open/..%2fclosed/b",
    "/v1/secret/data/open/..%2Fclosed%2Fb",
    "/v1/secret/data/open%2f..%2fclosed%2fb",
    "/v1/secret%2fdata%2fopen%2f%2e%2e%2fclosed%2fb",
    "/v1/secret/data/open/%252e%252e/closed/b",
    "/v1/secret/data/open/%252e%252e%252fclosed%252fb",
    "/v1/secret/data/open%252fa",
    "/v1/secret/data/open%25252fa",
    "/v1/secret/data/open/..%255cclosed/b",
    "/v1/secret/data/open%2f%2fa",
    "/v1/secret/data%2f/open/a",
    "/v1/%2fsecret/data/open/a",
    "/v1/secret/data/open%2f%00a",
    "/v1/secret/data/open/./a",
    "/v1/secret/data/open/%2e/a",
    "/v1/secret/data/open/a/.",
    "/v1/secret/data/open/a/..",
    "/v1/secret/data/./open/a",
    "/v1/secret/data//open/a",
    "/v1/secret/data/open//a",
    "/v1//secret/data/open/a",
    "/v1/secret/data/open/a//",
    "/v1/./secret/data/open/a",
    "/v1/../v1/secret/data/open/a",
    "/v1/sys/../secret/data/open/a",
    "/v1/secret/data/open/a%00",
    "/v1/secret/data/open/%00a",
    "/v1/secret/data/open/%0aa",
    "/v1/secret/data/open/%7fa",
    "/v1/secret/data/open/%c2%85a",
    "/v1/secret/data/open/a%",
    "/v1/secret/data/open/%zz",
    "/v1/secret/data/open/%ff",
];

#[test]
fn strange_paths_are_refused_before_anybody_is_asked() {
    shared().run(async |site| {
        let team = site.token_with("strange", TEAM).await;
        for target in STRANGE {
            for token in [team.as_str(), &site.root, ""] {
                let got = site.send_raw("GET", target, token).await;
                assert_eq!(got.status, 400, "{target}: {}", got.text);
                assert!(!got.text.contains(CLOSED) && !got.text.contains(OPEN), "{target}");
            }
        }
        let deep = format!("/v1/secret/data/open/{}", vec!["x"; 70].join("/"));
        let long = format!("/v1/secret/data/open/{}", "x".repeat(1100));
        for target in [deep, long] {
            assert_eq!(site.send_raw("GET", &target, &site.root).await.status, 400);
        }
    });
}

/// Spellings that are no escape: each is either the same path, or another one that the policy judges as such.
#[test]
fn policy_and_handler_see_one_spelling() {
    shared().run(async |site| {
        let team = site.token_with("spelling", TEAM).await;
        for (target, status) in [
            ("/v1/secret/data/open/a", 200),
            ("/v1/secret/data/op%65n/a", 200),
            ("/v1/secre%74/data/open/%61", 200),
            ("/v1/secret/data/closed/b", 403),
            ("/v1/secret/data/clos%65d/b", 403),
            ("/v1/secret/data/open;/..;/closed/b", 403),
            ("/v1/secret/data/OPEN/a", 403),
            ("/v1/Secret/data/open/a", 403),
            ("/v1/secret/data/open%2fa", 200), // as clients send a name that they escape as a whole
            ("/v1/secret%2Fdata%2fopen%2Fa", 200),
            ("/v1/secret/data%2Fclosed%2Fb", 403),
            ("/v1/secret%2fdata%2fclosed%2fb", 403),
            ("/v1/sys%2Fpolicies%2Facl%2Fdefault", 403),
            ("/v1/secret/data/open%5ca", 403), // a backslash is a character like any other
            ("/v1/secret/data/open\\a", 403),
            ("/v1/secret/data/open/..%5cclosed/b", 404),
            ("/v1/secret/data/open/..\\closed/b", 404),
            ("/v1/secret/data/open/100%25", 404),
            ("/v1/secret/data/open/a?path=closed/b", 200),
            ("/v1/secret/data/open/a#/../closed/b", 200), // hyper drops what no client should have sent
        ] {
            let got = site.send_raw("GET", target, &team).await;
            assert_eq!(got.status, status, "{target}: {}", got.text);
            assert!(!got.text.contains(CLOSED), "{target}");
        }
    });
}

#[test]
fn a_body_that_is_too_large_is_refused_and_nothing_changes() {
    shared().run(async |site| {
        let large = json!({ "data": { "value": "x".repeat(2 << 20) } }).to_string();
        for path in ["secret/data/open/a", "sys/policies/acl/large", "auth/token/create", "sys/unseal"] {
            site.ask("PUT", path, &site.root, &large).await.expect(413);
        }
        site.send_bytes(endless_chunks(&site.root)).await.expect(413);
        let form = format!("grant_type={}", "x".repeat(2 << 20));
        let request = site.request("POST", "oauth2/token");
        let request = request.header("Content-Type", "application/x-www-form-urlencoded").body(form);
        assert!(matches!(site.send(request).await.status, 400 | 413));
        assert_eq!(site.read("open/a").await.expect(200).json()["data"]["data"]["value"], OPEN);
    });
}

/// A body of 4 MiB that does not say so beforehand, and does not end.
fn endless_chunks(token: &str) -> Vec<u8> {
    let head = "PUT /v1/secret/data/open/a HTTP/1.1\r\nHost: broker\r\nTransfer-Encoding: chunked\r\n";
    let mut request = format!("{head}X-Vault-Token: {token}\r\n\r\n");
    for _ in 0..64 {
        request.push_str(&format!("10000\r\n{}\r\n", "x".repeat(0x10000)));
    }
    request.into_bytes()
}

#[test]
fn json_beyond_bounds_is_refused_at_once() {
    shared().run(async |site| {
        let nested =
            |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let many: Vec<String> = (0..20_000).map(|number| format!("\"k{number}\":1")).collect();
        for body in [
            nested("{\"data\":", "}", 40),
            nested("{\"data\":", "}", 50_000),
            format!("{{\"data\":{}}}", nested("[", "]", 400_000)),
            "{\"data\":".repeat(100_000),
            "[".repeat(1_000_000),
            format!("{{\"data\":{{{}}}}}", many.join(",")),
            r#"{"data":{"value":1,"value":2}}"#.to_owned(),
            r#"{"data":{"value":1},"data":{"value":2}}"#.to_owned(),
            r#"{"data":{"value":1},"d\u0061ta":{"value":2}}"#.to_owned(),
            format!("{{\"data\":{{\"value\":{}}}}}", "1".repeat(1000)),
            r#"{"data":{"value":"\ud800"}}"#.to_owned(),
            r#"{"data":{"value":1}} {}"#.to_owned(),
            r#"{"data":{"value":1},}"#.to_owned(),
            r#"["data"]"#.to_owned(),
            r#""data""#.to_owned(),
            "{\"data\":{\"value\":\"\u{1}\"}}".to_owned(),
        ] {
            let asked = site.ask("PUT", "secret/data/open/a", &site.root, &body);
            let got = tokio::time::timeout(Duration::from_secs(10), asked).await.expect("an answer at once");
            assert_eq!(got.status, 400, "{}: {}", body.chars().take(40).collect::<String>(), got.text);
        }
        assert_eq!(site.read("open/a").await.expect(200).json()["data"]["data"]["value"], OPEN);
    });
}
