//! The router in process, on a broker that nobody has initialised: what answers, and what stays closed.
#![allow(clippy::unwrap_used)]

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use symbolon_core::clock::{Clock, Now};
use tower::ServiceExt;

use super::*;
use crate::config::Config;
use crate::dialect::vault::limits::{BODY_BYTES_MAX, OPEN_BODY_BYTES_MAX, UNKNOWN_BODY_BYTES_MAX};
use crate::run::assemble;
use crate::store::Store;
use crate::store::memory::MemoryStore;

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Now {
        Now { unix_ms: 1_709_210_096_000, boot_ms: 1_000 }
    }
}

fn app() -> Arc<App> {
    let config = Config::parse(
        r#"
        listen = "127.0.0.1:8200"
        [store]
        path = "nowhere"
        [remote]
        url = "https://fragment.example:8300"
        fingerprint = "0000-0000"
    "#,
    )
    .unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock: Arc<dyn Clock> = Arc::new(Noon);
    Arc::new(assemble(config, store, clock, None))
}

struct Got {
    status: u16,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

async fn ask(method: &str, uri: &str, body: &str) -> Got {
    send(Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap()).await
}

async fn send(request: Request<Body>) -> Got {
    let response = router(app(), None).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Got { status: head.status.as_u16(), headers: head.headers, text }
}

#[tokio::test]
async fn status_routes_answer_before_init() {
    let health = ask("GET", "/v1/sys/health", "").await;
    assert_eq!((health.status, &health.json()["initialized"]), (501, &json!(false)));
    assert_eq!(health.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(ask("HEAD", "/v1/sys/health?uninitcode=299", "").await.status, 299);
    let wrong = ask("GET", "/v1/sys/health?uninitcode=x", "").await;
    assert_eq!((wrong.status, wrong.json()), (400, json!({"errors": []})));
    let seal = ask("GET", "/v1/sys/seal-status", "").await;
    assert_eq!(
        (seal.status, &seal.json()["sealed"], &seal.json()["type"]),
        (200, &json!(true), &json!("shamir"))
    );
    assert_eq!(ask("GET", "/v1/sys/init", "").await.json(), json!({"initialized": false}));
    let leader = ask("GET", "/v1/sys/leader", "").await;
    assert_eq!((leader.status, &leader.json()["ha_enabled"]), (200, &json!(false)));
    assert_eq!(leader.json()["is_self"], false, "a sealed broker leads nobody");
}

/// Every route, with a verb that it knows. New routes belong here.
const ROUTES: [(&str, &str); 92] = [
    ("GET", "/v1/sys/health"),
    ("GET", "/v1/sys/seal-status"),
    ("GET", "/v1/sys/init"),
    ("PUT", "/v1/sys/init"),
    ("PUT", "/v1/sys/unseal"),
    ("PUT", "/v1/sys/seal"),
    ("GET", "/v1/sys/leader"),
    ("GET", "/v1/sys/mounts"),
    ("GET", "/v1/sys/mounts/secret"),
    ("GET", "/v1/sys/mounts/secret/tune"),
    ("PUT", "/v1/sys/mounts/secret/tune"),
    ("GET", "/v1/sys/mounts/auth/jwt/tune"),
    ("PUT", "/v1/sys/mounts/auth/jwt/tune"),
    ("PUT", "/v1/sys/mounts/secret"),
    ("DELETE", "/v1/sys/mounts/secret"),
    ("GET", "/v1/sys/auth"),
    ("GET", "/v1/sys/auth/jwt"),
    ("GET", "/v1/sys/auth/jwt/tune"),
    ("PUT", "/v1/sys/auth/jwt/tune"),
    ("PUT", "/v1/sys/auth/jwt"),
    ("DELETE", "/v1/sys/auth/jwt"),
    ("GET", "/v1/sys/internal/ui/mounts"),
    ("GET", "/v1/sys/internal/ui/mounts/secret/x"),
    ("GET", "/v1/sys/internal/ui/mounts/auth/jwt"),
    ("GET", "/v1/sys/internal/ui/resultant-acl"),
    ("LIST", "/v1/sys/policies/acl"),
    ("GET", "/v1/sys/policies/acl/x"),
    ("PUT", "/v1/sys/policies/acl/x"),
    ("DELETE", "/v1/sys/policies/acl/x"),
    ("GET", "/v1/sys/policy"),
    ("GET", "/v1/sys/policy/x"),
    ("PUT", "/v1/sys/policy/x"),
    ("DELETE", "/v1/sys/policy/x"),
    ("PUT", "/v1/sys/capabilities-self"),
    ("PUT", "/v1/sys/capabilities"),
    ("PUT", "/v1/sys/capabilities-accessor"),
    ("GET", "/v1/sys/symbolon/audit"),
    ("PUT", "/v1/sys/rotate"),
    ("GET", "/v1/sys/symbolon/rotation"),
    ("PUT", "/v1/sys/symbolon/rotate/remote"),
    ("PUT", "/v1/sys/symbolon/rotate/retire"),
    ("PUT", "/v1/sys/symbolon/rotate/refresh"),
    ("PUT", "/v1/sys/symbolon/rotate/reshare"),
    ("GET", "/v1/sys/symbolon/rotate/reshare"),
    ("PUT", "/v1/sys/symbolon/rotate/kek"),
    ("PUT", "/v1/sys/symbolon/rotate/kek/secret"),
    ("GET", "/v1/sys/symbolon/ceremony"),
    ("PUT", "/v1/sys/symbolon/ceremony/submit"),
    ("GET", "/v1/sys/symbolon/ceremony/root"),
    ("PUT", "/v1/sys/symbolon/ceremony/root"),
    ("PUT", "/v1/sys/wrapping/wrap"),
    ("GET", "/v1/sys/wrapping/lookup"),
    ("PUT", "/v1/sys/wrapping/unwrap"),
    ("PUT", "/v1/sys/wrapping/rewrap"),
    ("GET", "/v1/sys/unknown"),
    ("PUT", "/v1/auth/token/create"),
    ("PUT", "/v1/auth/token/create-orphan"),
    ("GET", "/v1/auth/token/lookup-self"),
    ("PUT", "/v1/auth/token/lookup"),
    ("PUT", "/v1/auth/token/lookup-accessor"),
    ("PUT", "/v1/auth/token/renew-self"),
    ("PUT", "/v1/auth/token/renew"),
    ("PUT", "/v1/auth/token/renew-accessor"),
    ("PUT", "/v1/auth/token/revoke-self"),
    ("PUT", "/v1/auth/token/revoke"),
    ("PUT", "/v1/auth/token/revoke-accessor"),
    ("PUT", "/v1/auth/token/revoke-orphan"),
    ("LIST", "/v1/auth/token/accessors"),
    ("PUT", "/v1/auth/approle/login"),
    ("GET", "/v1/auth/approle/role/x"),
    ("GET", "/v1/auth/kubernetes/config"),
    ("GET", "/v1/auth/jwt/role/x"),
    ("PUT", "/v1/auth/userpass/login/x"),
    ("GET", "/v1/auth/userpass/users/x"),
    ("PUT", "/v1/auth/userpass/users/x/password"),
    ("PUT", "/v1/auth/userpass/users/x/policies"),
    ("GET", "/v1/secret/config"),
    ("PUT", "/v1/secret/config"),
    ("GET", "/v1/secret/data/x"),
    ("PUT", "/v1/secret/data/x"),
    ("DELETE", "/v1/secret/data/x"),
    ("PUT", "/v1/secret/delete/x"),
    ("PUT", "/v1/secret/undelete/x"),
    ("PUT", "/v1/secret/destroy/x"),
    ("GET", "/v1/secret/subkeys/x"),
    ("GET", "/v1/secret/metadata/x"),
    ("PUT", "/v1/secret/metadata/x"),
    ("DELETE", "/v1/secret/metadata/x"),
    ("LIST", "/v1/secret/metadata"),
    ("GET", "/v1/secret/metadata?list=true"),
    ("GET", "/v1/cubbyhole/x"),
    ("GET", "/v1/x"),
];

/// A body that every route accepts, so that nothing is refused before it is asked whether it may.
const BODY: &str = r#"{"policy":"path \"x\" {}","token":"t","accessor":"a","paths":["x"],
    "data":{},"versions":[1],"role_id":"r","secret_id":"s","password":"p"}"#;

#[tokio::test]
async fn without_keys_nothing_else_answers_and_nothing_is_absent() {
    let open = unauthenticated();
    for (method, uri) in
        ROUTES.into_iter().filter(|(method, uri)| !open.contains(&(*method, (*uri).to_owned())))
    {
        let mounts = uri.starts_with("/v1/sys/mounts") || uri.starts_with("/v1/sys/auth");
        let got = ask(method, uri, if mounts { r#"{"type":"kv"}"# } else { BODY }).await;
        assert_eq!(got.status, 503, "{method} {uri}: {}", got.text);
        assert_eq!(got.json(), json!({"errors": ["Vault is not initialized"]}), "{method} {uri}");
    }
}

#[tokio::test]
async fn the_dialect_refuses_before_it_asks() {
    for (method, uri, body, status) in [
        ("GET", "/v1/secret/data/../x", "", 400),
        ("GET", "/v1/secret/data/%2e%2e/x", "", 400),
        ("GET", "/v1/secret//x", "", 400),
        ("GET", "/v1/secret/metadata?list=maybe", "", 400),
        ("PUT", "/v1/secret/data/x", "{", 400),
        ("PATCH", "/v1/secret/data/x", "{}", 400),
        ("OPTIONS", "/v1/secret/data/x", "", 405),
        ("PATCH", "/v1/sys/health", "{}", 400),
        ("DELETE", "/v1/sys/unseal", "", 405),
        ("PUT", "/v1/sys/unseal", "{}", 400),
        ("PUT", "/v1/sys/symbolon/ceremony/submit", "{}", 400),
        ("PUT", "/v1/sys/symbolon/ceremony/submit", r#"{"submission":"aHVudGVyMg=="}"#, 400),
        ("DELETE", "/v1/sys/symbolon/ceremony", "", 405),
        ("PUT", "/v1/sys/unseal", r#"{"key":"hunter2"}"#, 400),
        ("PUT", "/v1/sys/init", r#"{"secret_shares":3,"secret_threshold":2,"pgp_keys":["x"]}"#, 400),
        ("PUT", "/v1/sys/init", r#"{"secret_shares":3,"secret_threshold":2}"#, 400), // no recovery chosen
    ] {
        let got = ask(method, uri, body).await;
        assert_eq!(got.status, status, "{method} {uri}: {}", got.text);
        assert!(got.json()["errors"].is_array(), "{method} {uri}");
        assert!(!got.text.contains("hunter2"));
    }
}

#[tokio::test]
async fn the_token_endpoint_answers_in_its_own_words() {
    let wrong_type = ask("POST", "/oauth2/token", "grant_type=x").await;
    assert_eq!((wrong_type.status, &wrong_type.json()["error"]), (400, &json!("invalid_request")));
    let form =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=hunter2&audience=a";
    for (extra, form, status, code) in [
        ("accept", "grant_type=password", 400, "unsupported_grant_type"),
        ("authorization", form, 400, "invalid_request"),
        ("accept", "a=1&a=2", 400, "invalid_request"),
        ("accept", form, 503, "temporarily_unavailable"),
    ] {
        let request = Request::post("/oauth2/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header(extra, "Basic hunter2")
            .body(Body::from(form))
            .unwrap();
        let got = send(request).await;
        assert_eq!((got.status, &got.json()["error"]), (status, &json!(code)), "{form}");
        assert!(!got.text.contains("hunter2"));
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store");
    }
    assert_eq!(ask("GET", "/oauth2/token", "").await.status, 405);
    assert_eq!(ask("GET", "/oauth2/jwks", "").await.status, 503);
    let discovery = ask("GET", "/.well-known/openid-configuration", "").await.json();
    assert_eq!(discovery["issuer"], "https://127.0.0.1:8200");
    assert_eq!(discovery, ask("GET", "/.well-known/oauth-authorization-server", "").await.json());
}

#[tokio::test]
async fn an_empty_log_has_no_parts() {
    for path in ["checkpoint", "tile/0/000", "tile/entries/000.p/1", "tile/../x", "x"] {
        let got = ask("GET", &format!("/log/{path}"), "").await;
        assert_eq!((got.status, got.text.as_str()), (404, "the log has no such part\n"), "{path}");
    }
    assert_eq!(ask("PUT", "/log/checkpoint", "").await.status, 405);
}

#[tokio::test]
async fn a_wrong_address_is_no_absent_secret() {
    for uri in ["/", "/compat/v1/secret/data/x", "/v1", "/v2/secret/data/x"] {
        let got = ask("GET", uri, "").await;
        assert_eq!(got.status, 404, "{uri}");
        assert!(serde_json::from_str::<Value>(&got.text).is_err() && !got.text.is_empty(), "{uri}");
    }
}

/// Nothing is read of a body that a sealed broker cannot use; nobody is told that a secret is too large.
#[tokio::test]
async fn bodies_have_an_end() {
    for (bytes, status) in [(OPEN_BODY_BYTES_MAX, 400), (OPEN_BODY_BYTES_MAX + 1, 413)] {
        assert_eq!(ask("POST", "/v1/sys/unseal", &" ".repeat(bytes)).await.status, status);
    }
    for bytes in [UNKNOWN_BODY_BYTES_MAX, UNKNOWN_BODY_BYTES_MAX + 1, BODY_BYTES_MAX + 1] {
        assert_eq!(ask("POST", "/v1/secret/data/x", &" ".repeat(bytes)).await.status, 503);
    }
}
