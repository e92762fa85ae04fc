//! Which key agreement clients get.

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs::default_provider, aws_lc_rs::kx_group};
use rustls::version::{TLS12, TLS13};
use rustls::{NamedGroup, SupportedProtocolVersion};

use super::*;
use crate::access::Channel;

type Groups = Vec<&'static dyn SupportedKxGroup>;

/// A client that offers these groups, the first one with a share, and trusts whoever has the certificate.
fn client(
    cert: &str,
    groups: Groups,
    versions: &[&'static SupportedProtocolVersion],
) -> rustls::ClientConfig {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
    let provider = CryptoProvider { kx_groups: groups, ..default_provider() };
    rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Whoever can do both, whatever they would rather have.
fn able() -> [Groups; 3] {
    use kx_group::{SECP256R1, X25519, X25519MLKEM768};
    [vec![X25519MLKEM768, X25519], vec![X25519, X25519MLKEM768], vec![SECP256R1, X25519, X25519MLKEM768]]
}

#[tokio::test]
async fn the_hybrid_group_is_preferred_by_whoever_offers_it() {
    let (cert, key, _) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let running =
        start(Some(tls_config(cert.as_bytes(), key.as_bytes()).unwrap()), ServerLimits::default()).await;
    for groups in able() {
        let mut stream = handshake(&running, client(&cert, groups, &[&TLS13, &TLS12]), b"http/1.1").await;
        let agreed = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(agreed, NamedGroup::X25519MLKEM768);
        assert!(get_on(&mut stream, "/channel").await.unwrap().ends_with("Hybrid"));
    }
}

#[tokio::test]
async fn requests_know_how_their_connection_is_kept() {
    let (cert, key, _) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let running =
        start(Some(tls_config(cert.as_bytes(), key.as_bytes()).unwrap()), ServerLimits::default()).await;
    for (versions, protocol) in [(&TLS13, b"http/1.1".as_slice()), (&TLS12, b"http/1.1")] {
        let config = client(&cert, vec![kx_group::X25519], &[versions]);
        for _ in 0..2 {
            // the second time with a ticket
            let mut stream = handshake(&running, config.clone(), protocol).await;
            assert!(get_on(&mut stream, "/channel").await.unwrap().ends_with("Classical"));
        }
    }
    let plain = start(None, ServerLimits::default()).await;
    assert!(get_on(&mut connect(&plain).await, "/channel").await.unwrap().ends_with("Local"));
}

#[tokio::test]
async fn hybrid_only_refuses_every_other_handshake() {
    let (cert, key, _) = tls_pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let config = hybrid_only_tls_config(cert.as_bytes(), key.as_bytes()).unwrap();
    let running = start(Some(config), ServerLimits::default()).await;
    let classical = [
        client(&cert, vec![kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1], &[&TLS13, &TLS12]),
        client(&cert, vec![kx_group::X25519], &[&TLS13]),
        client(&cert, vec![kx_group::X25519, kx_group::X25519MLKEM768], &[&TLS12]),
    ];
    for config in classical {
        assert!(handshake_on(connect(&running).await, config, b"http/1.1").await.is_err());
    }
    for groups in able() {
        let mut stream = handshake(&running, client(&cert, groups, &[&TLS13, &TLS12]), b"http/1.1").await;
        let channel = format!("{:?}", Channel::Hybrid);
        assert!(get_on(&mut stream, "/channel").await.unwrap().ends_with(&channel));
    }
}
