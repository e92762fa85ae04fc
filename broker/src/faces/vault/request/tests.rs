#![allow(clippy::unwrap_used)]
use axum::body::Body;
use serde_json::json;

use super::*;

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

async fn read(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Result<VaultRequest, FaceError> {
    let request = request(method, uri, headers, body);
    let raw = request.uri().path().strip_prefix("/v1/").unwrap().to_owned();
    VaultRequest::read(&raw, request).await
}

async fn check_verb(method: &str, uri: &str, verb: Verb) {
    assert_eq!(read(method, uri, &[], "").await.ok().unwrap().verb, verb, "{method} {uri}");
}

async fn check_refused(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: &'static str,
    error: FaceError,
) {
    assert_eq!(read(method, uri, headers, body).await.err().unwrap(), error, "{method} {uri}");
}

#[tokio::test]
async fn verbs() {
    check_verb("GET", "/v1/secret/data/x", Verb::Read).await;
    check_verb("HEAD", "/v1/sys/health", Verb::Read).await;
    check_verb("LIST", "/v1/secret/metadata", Verb::List).await;
    check_verb("LIST", "/v1/secret/metadata?list=true", Verb::List).await;
    check_verb("GET", "/v1/secret/metadata?list=1", Verb::List).await;
    check_verb("GET", "/v1/secret/metadata?list=false", Verb::Read).await;
    check_verb("PUT", "/v1/secret/data/x", Verb::Write).await;
    check_verb("POST", "/v1/secret/data/x", Verb::Write).await;
    check_verb("DELETE", "/v1/secret/data/x", Verb::Delete).await;
    check_refused("GET", "/v1/secret/metadata?list=maybe", &[], "", FaceError::ListFlag).await;
    check_refused("OPTIONS", "/v1/secret/data/x", &[], "", FaceError::Unsupported).await;
}

#[tokio::test]
async fn bodies_without_content_type_null_and_nothing() {
    for (body, expected) in [
        (r#"{"a":1}"#, json!({"a": 1})),
        ("null", json!({})),
        ("{}", json!({})),
        ("", json!({})),
        (" \n", json!({})),
    ] {
        let got = read("PUT", "/v1/auth/cert/login", &[], body).await.ok().unwrap();
        assert_eq!(Value::Object(got.fields.as_map().clone()), expected, "{body:?}");
    }
}

#[tokio::test]
async fn forms_are_forms_only_if_they_do_not_look_like_json() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let got = read("POST", "/v1/x/y", &form, "a=1&b=two+words%21&a=2").await.ok().unwrap();
    assert_eq!(Value::Object(got.fields.as_map().clone()), json!({"a": ["1", "2"], "b": "two words!"}));
    let got = read("POST", "/v1/x/y", &form, r#" {"a":1}"#).await.ok().unwrap();
    assert_eq!(got.fields.as_map()["a"], json!(1));
}

#[tokio::test]
async fn reads_take_their_parameters_from_the_query_and_writes_from_the_body() {
    let got = read("GET", "/v1/secret/data/x?version=3", &[], r#"{"version":4}"#).await.ok().unwrap();
    assert_eq!(got.fields.as_map()["version"], json!("3"));
    let got = read("POST", "/v1/secret/data/x?version=3", &[], "{}").await.ok().unwrap();
    assert!(got.fields.as_map().is_empty());
}

#[tokio::test]
async fn hostile_json_is_refused_and_not_repeated() {
    let deep = "[".repeat(100_000);
    let deep: &'static str = Box::leak(format!(r#"{{"a":{deep}"#).into_boxed_str());
    for body in [deep, r#"{"a":1,"a":2}"#, r#"["hunter2"]"#, r#"{"hunter2""#, r#"{"a":1}hunter2"#] {
        let error = read("POST", "/v1/secret/data/x", &[], body).await.err().unwrap();
        assert!(matches!(error, FaceError::Json(_)), "{error:?}");
        assert_eq!(error.status().as_u16(), 400);
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn bodies_have_an_end() {
    let error = read("POST", "/v1/secret/data/x", &[], vec![b' '; BODY_BYTES_MAX + 1]).await.err().unwrap();
    assert_eq!(error, FaceError::Body(body::BodyError::TooLarge));
    assert_eq!(error.status().as_u16(), 413);
}

#[tokio::test]
async fn patch_says_what_it_is() {
    let merge = ("content-type", "application/merge-patch+json");
    assert!(read("PATCH", "/v1/secret/data/x", &[merge], "{}").await.is_ok());
    let json = ("content-type", "application/json");
    check_refused("PATCH", "/v1/secret/data/x", &[json], "{}", FaceError::PatchType).await;
    check_refused("PATCH", "/v1/secret/data/x", &[], "{}", FaceError::PatchTypeMissing).await;
    assert_eq!(FaceError::PatchType.status().as_u16(), 415);
    assert_eq!(FaceError::PatchTypeMissing.status().as_u16(), 400);
}

#[tokio::test]
async fn tokens_come_in_two_headers() {
    async fn token_of(headers: &[(&str, &str)]) -> Option<String> {
        let got = read("GET", "/v1/secret/data/x", headers, "").await.ok().unwrap();
        got.token.map(|token| token.as_str().to_owned())
    }
    assert_eq!(token_of(&[]).await, None);
    assert_eq!(token_of(&[("x-vault-token", "hvs.a")]).await.as_deref(), Some("hvs.a"));
    assert_eq!(token_of(&[("authorization", "Bearer hvs.b")]).await.as_deref(), Some("hvs.b"));
    assert_eq!(token_of(&[("authorization", "Basic hvs.b")]).await, None);
    let both = [("x-vault-token", "hvs.a"), ("authorization", "Bearer hvs.b")];
    assert_eq!(token_of(&both).await.as_deref(), Some("hvs.a"));
    let twice = [("x-vault-token", "hvs.a"), ("x-vault-token", "hvs.b")];
    check_refused("GET", "/v1/secret/data/x", &twice, "", FaceError::TokenMalformed).await;
}

#[tokio::test]
async fn headers_that_would_change_the_meaning_are_refused() {
    for namespace in ["", "root", "root/", "/"] {
        assert!(read("GET", "/v1/a/b", &[("x-vault-namespace", namespace)], "").await.is_ok(), "{namespace}");
    }
    check_refused("GET", "/v1/a/b", &[("x-vault-namespace", "team")], "", FaceError::Namespace).await;
    assert!(read("GET", "/v1/a/b", &[("x-vault-wrap-ttl", "0")], "").await.is_ok());
    check_refused("GET", "/v1/a/b", &[("x-vault-wrap-ttl", "60")], "", FaceError::Wrapping).await;
    check_refused("GET", "/v1/a/b", &[("x-vault-wrap-ttl", "-1s")], "", FaceError::WrapTtl).await;
}

#[tokio::test]
async fn paths_are_normalised_or_refused() {
    let got = read("GET", "/v1/secret/data/a%20b", &[], "").await.ok().unwrap();
    assert_eq!(got.path.as_str(), "secret/data/a b");
    for uri in
        ["/v1/secret/data/../x", "/v1/secret//x", "/v1/secret/data/%2e%2e/x", "/v1/secret/a%2Fb", "/v1/a%00"]
    {
        let error = read("GET", uri, &[], "").await.err().unwrap();
        assert!(matches!(error, FaceError::Path(_)), "{uri} {error:?}");
    }
}
