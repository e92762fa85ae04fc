#![allow(clippy::unwrap_used)]
use hyper::http::Request;
use serde_json::json;

use super::*;

fn read(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Result<VaultRequest, FaceError> {
    let mut builder = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let raw = uri.split('?').next().unwrap().strip_prefix("/v1/").unwrap().to_owned();
    Head::parse(&raw, parts)?.with_body(body.as_bytes(), "test".to_owned(), None)
}

fn check_verb(method: &str, uri: &str, verb: Verb) {
    assert_eq!(read(method, uri, &[], "").ok().unwrap().verb, verb, "{method} {uri}");
}

fn check_refused(method: &str, uri: &str, headers: &[(&str, &str)], body: &'static str, error: FaceError) {
    assert_eq!(read(method, uri, headers, body).err().unwrap(), error, "{method} {uri}");
}

#[test]
fn verbs() {
    check_verb("GET", "/v1/secret/data/x", Verb::Read);
    check_verb("HEAD", "/v1/sys/health", Verb::Read);
    check_verb("LIST", "/v1/secret/metadata", Verb::List);
    check_verb("LIST", "/v1/secret/metadata?list=true", Verb::List);
    check_verb("GET", "/v1/secret/metadata?list=1", Verb::List);
    check_verb("GET", "/v1/secret/metadata?list=false", Verb::Read);
    check_verb("PUT", "/v1/secret/data/x", Verb::Write);
    check_verb("POST", "/v1/secret/data/x", Verb::Write);
    check_verb("DELETE", "/v1/secret/data/x", Verb::Delete);
    check_refused("GET", "/v1/secret/metadata?list=maybe", &[], "", FaceError::ListFlag);
    check_refused("OPTIONS", "/v1/secret/data/x", &[], "", FaceError::Unsupported);
}

#[test]
fn bodies_without_content_type_null_and_nothing() {
    for (body, expected) in [
        (r#"{"a":1}"#, json!({"a": 1})),
        ("null", json!({})),
        ("{}", json!({})),
        ("", json!({})),
        (" \n", json!({})),
    ] {
        let got = read("PUT", "/v1/auth/cert/login", &[], body).ok().unwrap();
        assert_eq!(Value::Object(got.fields.as_map().clone()), expected, "{body:?}");
    }
}

#[test]
fn forms_are_forms_only_if_they_do_not_look_like_json() {
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let got = read("POST", "/v1/x/y", &form, "a=1&b=two+words%21&a=2").ok().unwrap();
    assert_eq!(Value::Object(got.fields.as_map().clone()), json!({"a": ["1", "2"], "b": "two words!"}));
    let got = read("POST", "/v1/x/y", &form, r#" {"a":1}"#).ok().unwrap();
    assert_eq!(got.fields.as_map()["a"], json!(1));
}

#[test]
fn reads_take_their_parameters_from_the_query_and_writes_from_the_body() {
    let got = read("GET", "/v1/secret/data/x?version=3", &[], r#"{"version":4}"#).ok().unwrap();
    assert_eq!(got.fields.as_map()["version"], json!("3"));
    let got = read("POST", "/v1/secret/data/x?version=3", &[], "{}").ok().unwrap();
    assert!(got.fields.as_map().is_empty());
}

#[test]
fn hostile_json_is_refused_and_not_repeated() {
    let deep = "[".repeat(100_000);
    let deep: &'static str = Box::leak(format!(r#"{{"a":{deep}"#).into_boxed_str());
    for body in [deep, r#"{"a":1,"a":2}"#, r#"["hunter2"]"#, r#"{"hunter2""#, r#"{"a":1}hunter2"#] {
        let error = read("POST", "/v1/secret/data/x", &[], body).err().unwrap();
        assert!(matches!(error, FaceError::Json(_)), "{error:?}");
        assert_eq!(error.status().as_u16(), 400);
        assert!(!error.to_string().contains("hunter2"));
    }
}

#[test]
fn patch_says_what_it_is() {
    let merge = ("content-type", "application/merge-patch+json");
    assert!(read("PATCH", "/v1/secret/data/x", &[merge], "{}").is_ok());
    let json = ("content-type", "application/json");
    check_refused("PATCH", "/v1/secret/data/x", &[json], "{}", FaceError::PatchType);
    check_refused("PATCH", "/v1/secret/data/x", &[], "{}", FaceError::PatchTypeMissing);
    assert_eq!(FaceError::PatchType.status().as_u16(), 415);
    assert_eq!(FaceError::PatchTypeMissing.status().as_u16(), 400);
}

#[test]
fn tokens_come_in_two_headers() {
    fn token_of(headers: &[(&str, &str)]) -> Option<String> {
        let got = read("GET", "/v1/secret/data/x", headers, "").ok().unwrap();
        got.token.map(|token| token.as_str().to_owned())
    }
    assert_eq!(token_of(&[]), None);
    assert_eq!(token_of(&[("x-vault-token", "hvs.a")]).as_deref(), Some("hvs.a"));
    assert_eq!(token_of(&[("authorization", "Bearer hvs.b")]).as_deref(), Some("hvs.b"));
    assert_eq!(token_of(&[("authorization", "Basic hvs.b")]), None);
    let both = [("x-vault-token", "hvs.a"), ("authorization", "Bearer hvs.b")];
    assert_eq!(token_of(&both).as_deref(), Some("hvs.a"));
    let twice = [("x-vault-token", "hvs.a"), ("x-vault-token", "hvs.b")];
    check_refused("GET", "/v1/secret/data/x", &twice, "", FaceError::TokenMalformed);
}

#[test]
fn headers_that_would_change_the_meaning_are_refused() {
    for namespace in ["", "root", "root/", "/"] {
        assert!(read("GET", "/v1/a/b", &[("x-vault-namespace", namespace)], "").is_ok(), "{namespace}");
    }
    check_refused("GET", "/v1/a/b", &[("x-vault-namespace", "team")], "", FaceError::Namespace);
}

#[test]
fn the_time_to_keep_an_answer_wrapped() {
    let secs = |text| read("GET", "/v1/a/b", &[("x-vault-wrap-ttl", text)], "").map(|got| got.wrap_ttl_secs);
    for (text, expected) in [
        ("", 0),
        ("0", 0),
        ("60", 60),
        ("5m", 300),
        ("1m30s", 90),
        ("1500ms", 1),
        ("1ms", 1),
        ("768h", 2_764_800),
    ] {
        assert_eq!(secs(text), Ok(expected), "{text}");
    }
    assert_eq!(read("GET", "/v1/a/b", &[], "").ok().unwrap().wrap_ttl_secs, 0);
    for (text, expected) in [
        ("-5", FaceError::WrapTtlNegative),
        ("-1s", FaceError::WrapTtlNegative),
        ("x", FaceError::WrapTtl),
        ("2764801", FaceError::WrapTtlTooLong),
        ("99999999999999999999", FaceError::WrapTtl),
    ] {
        assert_eq!(secs(text), Err(expected), "{text}");
    }
    let format = [("x-vault-wrap-ttl", "60"), ("x-vault-wrap-format", "jwt")];
    check_refused("GET", "/v1/a/b", &format, "", FaceError::WrapFormat);
    let twice = [("x-vault-wrap-ttl", "60"), ("x-vault-wrap-ttl", "60")];
    check_refused("GET", "/v1/a/b", &twice, "", FaceError::Header("x-vault-wrap-ttl"));
    assert!(read("GET", "/v1/a/b", &[("x-vault-wrap-format", "jwt")], "").is_ok());
}

#[test]
fn paths_are_normalised_or_refused() {
    let got = read("GET", "/v1/secret/data/a%20b", &[], "").ok().unwrap();
    assert_eq!(got.path.as_str(), "secret/data/a b");
    assert_eq!(read("GET", "/v1/secret%2Fdata%2fa", &[], "").ok().unwrap().path.as_str(), "secret/data/a");
    for uri in [
        "/v1/secret/data/../x",
        "/v1/secret//x",
        "/v1/secret/data/%2e%2e/x",
        "/v1/secret/a%252Fb",
        "/v1/a%00",
    ] {
        let error = read("GET", uri, &[], "").err().unwrap();
        assert!(matches!(error, FaceError::Path(_)), "{uri} {error:?}");
    }
}
