//! A server on this machine, which nobody but an operator may have the broker ask.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use super::*;
use crate::testing::{Https, ok};

struct Inner(Https);

const HERE: &str = "127.0.0.1";

impl Inner {
    async fn start(answer: String) -> Self {
        Self(Https::start(move |_| answer.clone()).await)
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/keys", self.0.port)
    }

    async fn fetch(&self, address: &Address) -> Result<Vec<u8>, FetchError> {
        fetch(address, &self.0.ca_pem, everything_is_here).await
    }

    fn came(&self) -> usize {
        self.0.came()
    }
}

/// A name service of somebody who means this machine, whatever the name.
fn everything_is_here(_: String) -> reach::Found {
    Box::pin(async { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]) })
}

fn both(_: String) -> reach::Found {
    let addresses = [([127, 0, 0, 1], 0), ([1, 1, 1, 1], 0)].map(SocketAddr::from);
    Box::pin(async move { Ok(addresses.to_vec()) })
}

#[tokio::test]
async fn what_a_document_names_does_not_lead_inside() {
    let inner = Inner::start(ok("{}")).await;
    let issuer = Address::configured("https://issuer.example").unwrap();
    let named = issuer.named(&inner.url("keys.example")).unwrap();
    assert!(matches!(inner.fetch(&named).await, Err(FetchError::Inside)), "the name leads to this machine");
    for host in [HERE, "[::1]", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "169.254.169.254", "10.0.0.1"] {
        assert!(matches!(issuer.named(&inner.url(host)), Err(FetchError::Inside)), "{host}");
    }
    assert_eq!(inner.came(), 0, "nobody was connected to");
}

#[tokio::test]
async fn an_operator_may_mean_this_machine_and_its_documents_the_same_host() {
    let inner = Inner::start(ok("{}")).await;
    for host in ["keys.example", HERE] {
        let configured = Address::configured(&inner.url(host)).unwrap();
        assert_eq!(inner.fetch(&configured).await.unwrap(), b"{}", "{host}");
        let named = configured.named(&inner.url(host)).unwrap();
        assert_eq!(inner.fetch(&named).await.unwrap(), b"{}", "{host}");
    }
    let other = Address::configured(&inner.url("localhost")).unwrap().named(&inner.url("keys.example"));
    assert!(matches!(inner.fetch(&other.unwrap()).await, Err(FetchError::Inside)));
    let far = Address::configured("https://issuer.example").unwrap().named("https://keys.example").unwrap();
    assert!(far.named("https://127.0.0.1/").is_err(), "nor by a detour");
}

#[tokio::test]
async fn of_several_addresses_only_public_ones_are_used() {
    use reqwest::dns::Resolve;
    let resolve = async |reach| -> Vec<SocketAddr> {
        let found = Resolver::new(reach, both).resolve("keys.example".parse().unwrap()).await;
        found.unwrap().collect()
    };
    assert_eq!(resolve(Reach::Public).await, [SocketAddr::from(([1, 1, 1, 1], 0))]);
    assert_eq!(resolve(Reach::Anywhere).await.len(), 2);
}

#[tokio::test]
async fn redirects_and_long_documents_are_refused() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n";
    let inner = Inner::start(moved.to_owned()).await;
    let address = Address::configured(&inner.url("keys.example")).unwrap();
    assert!(matches!(inner.fetch(&address).await, Err(FetchError::Status { status: 302 })));
    assert_eq!(inner.came(), 1);
    let long = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(DOCUMENT_BYTES_MAX + 1));
    let inner = Inner::start(long).await;
    let address = Address::configured(&inner.url("keys.example")).unwrap();
    assert!(matches!(inner.fetch(&address).await, Err(FetchError::TooLong)));
}

#[test]
fn only_https_is_asked() {
    for text in ["http://issuer.example", "file:///etc/passwd", "issuer.example", "", "https://"] {
        assert!(matches!(Address::configured(text), Err(FetchError::Address)), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_apart() {
    let inner = Inner::start(ok("{}")).await;
    let why = async |url: &str, ca_pem: &str| {
        let address = Address::configured(url).unwrap();
        match fetch(&address, ca_pem, everything_is_here).await {
            Err(FetchError::Unreachable { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    };
    let other_ca = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap().cert.pem();
    let url = inner.url(HERE);
    assert_eq!(why(&url, &other_ca).await, Obstacle::Certificate);
    assert_eq!(
        why(&inner.url("other.example"), &inner.0.ca_pem).await,
        Obstacle::Certificate,
        "another name"
    );
    let nobody = std::net::TcpListener::bind((HERE, 0)).unwrap().local_addr().unwrap();
    assert_eq!(why(&format!("https://{nobody}/"), &other_ca).await, Obstacle::Connection);
}

#[test]
fn an_authority_is_certificates() {
    let made = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
    let pem = made.cert.pem();
    for good in ["", &pem, &format!("# ours\n{pem}\n{pem}")] {
        assert!(check_authority(good).is_ok(), "{good}");
    }
    let cut = pem.lines().take(3).collect::<Vec<_>>().join("\n");
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    for bad in ["none", " ", &cut, hollow, &made.signing_key.serialize_pem(), &format!("{pem}{hollow}")] {
        assert!(matches!(check_authority(bad), Err(FetchError::Authority)), "{bad}");
    }
}
