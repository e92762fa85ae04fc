//! Servers that answer anything but what they should, or never.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers every request with these bytes and ends no connection; without bytes it never answers.
pub(super) async fn server(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&answer).await;
            held.push(stream);
        }
    });
    url
}

fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).into()
}

/// Why nothing is bound to this server, and why it opens nothing.
async fn errors(answer: Vec<u8>) -> [SourceError; 2] {
    let patience = if answer.is_empty() { "timeout_ms = 300" } else { "timeout_ms = 60000" };
    let url = server(answer).await;
    let device = parse(&settings(&[(&url, PINNED)], patience)).unwrap();
    let bound = device.bind(&key(), PURPOSE).await.err().unwrap();
    let opened = device.recover(&binding(), PURPOSE).await.err().unwrap();
    assert!(bound.to_string().contains(&url), "{bound}");
    [bound, opened]
}

const PINNED: &str = include_str!("../../../../../core/src/tang/testdata/signing.s256");

/// Of the server in the test data of `symbolon-core`.
fn binding() -> Vec<u8> {
    let advertised = include_bytes!("../../../../../core/src/tang/testdata/adv.json");
    let set = symbolon_core::tang::Advertisement::verify(advertised, &PINNED.parse().unwrap()).unwrap();
    let mut rng = crate::random::os_rng();
    let sealed = symbolon_core::tang::seal(&set, "http://tang.example", PURPOSE, &key(), &mut rng).unwrap();
    format!("tang-1\n{PINNED} {sealed}\n").into_bytes()
}

async fn check_garbled(answer: Vec<u8>) {
    let [bound, opened] = errors(answer).await;
    assert!(bound.to_string().contains("did not answer with a signed advertisement of its keys"), "{bound}");
    assert!(matches!(opened, SourceError::Garbled { .. }), "{opened:?}");
    assert_eq!(opened.to_string(), "it did not answer with the point of an exchange");
}

#[tokio::test]
async fn garbage_huge_bodies_and_redirects_are_no_answer() {
    check_garbled(http("200 OK", "secret garbage of the server")).await;
    check_garbled(http("200 OK", "{}")).await;
    check_garbled(http("200 OK", &format!("{{\"payload\":\"{}\"}}", "A".repeat(1 << 20)))).await;
    check_garbled(http("500 Oh", "no")).await;
    // The rest of this never comes: it is not waited for.
    let endless = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", 1 << 30, "A".repeat(128 << 10));
    check_garbled(endless.into_bytes()).await;
    let elsewhere =
        server(http("200 OK", include_str!("../../../../../core/src/tang/testdata/adv.json"))).await;
    let moved = format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}/adv\r\ncontent-length: 0\r\n\r\n");
    check_garbled(moved.into_bytes()).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_silent() {
    let [bound, opened] = errors(Vec::new()).await;
    assert!(bound.to_string().contains("it did not answer within 300 ms"), "{bound}");
    assert!(matches!(opened, SourceError::Silent { .. }), "{opened:?}");
}

#[tokio::test]
async fn what_is_no_http_is_not_reached() {
    for opened in errors(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await {
        assert!(matches!(opened, SourceError::Unreachable(_)), "{opened:?}");
        assert!(!opened.to_string().contains("SSH"), "{opened}");
    }
}

#[tokio::test]
async fn a_server_without_the_key_refuses_and_the_text_says_who_acts() {
    let [bound, opened] = errors(http("404 Not Found", "")).await;
    assert!(bound.to_string().contains("whoever runs it must say which it has"), "{bound}");
    assert!(matches!(opened, SourceError::Refused(_)), "{opened:?}");
    assert!(opened.to_string().contains("whoever runs it must put the key back"), "{opened}");
}

#[tokio::test]
async fn an_answer_with_another_point_opens_nothing() {
    let point = include_str!("../../../../../core/src/tang/testdata/point.json");
    let [_, opened] = errors(http("200 OK", point)).await;
    assert!(matches!(opened, SourceError::Refused(_)), "{opened:?}");
    assert!(opened.to_string().contains("does not give the key"), "{opened}");
}

#[tokio::test]
async fn a_damaged_binding_is_said_to_be_damaged() {
    let device = device(&[("http://127.0.0.1:1", PINNED)]);
    let whole = binding();
    let of_others = String::from_utf8(whole.clone()).unwrap().replace(PINNED, NOBODY).into_bytes();
    let later = [b"tang-2", &whole[6..]].concat();
    for damaged in [&b""[..], b"tang-1\n", &whole[..whole.len() / 2], b"\xff\xff", &later, &of_others] {
        let error = device.recover(damaged, PURPOSE).await.err().unwrap();
        assert!(matches!(error, SourceError::Kept), "{error:?}");
    }
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_is_named() {
    let rest = "ca_file = '/nonexistent/ca.pem'";
    let device = parse(&settings(&[("https://127.0.0.1:1", PINNED)], rest)).unwrap();
    let error = device.recover(&binding(), PURPOSE).await.err().unwrap();
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
}

#[tokio::test]
async fn over_https_the_configured_authority_is_believed_and_no_other() {
    let advertised = include_str!("../../../../../core/src/tang/testdata/adv.json");
    let https = crate::testing::Https::start(|_| crate::testing::ok(advertised)).await;
    let url = format!("https://localhost:{}", https.port);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &https.ca_pem).unwrap();
    let rest = format!("ca_file = '{}'", file.path().display());
    let believed = parse(&settings(&[(&url, PINNED)], &rest)).unwrap();
    believed.bind(&key(), PURPOSE).await.unwrap();
    let error = device(&[(&url, PINNED)]).bind(&key(), PURPOSE).await.err().unwrap();
    assert!(error.to_string().contains("certificate is not accepted"), "{error}");
}
