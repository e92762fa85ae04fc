//! The listener's TLS configuration.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates of one chain.
const CHAIN_MAX: usize = 8;

/// Why a certificate and key cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file has no certificate in PEM, or a broken one.
    #[error("the certificate file holds no readable PEM certificate")]
    Certificate,
    /// The chain is too long to be meant.
    #[error("the certificate file holds more than {CHAIN_MAX} certificates")]
    Chain,
    /// The key file has no private key in PEM, or a broken one.
    #[error("the key file holds no readable PEM private key; PKCS#8 with P-256 or Ed25519 is expected")]
    Key,
    /// The two do not belong together, or the kind of key is not supported.
    #[error("certificate and key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3 with aws-lc-rs, HTTP/2 preferred. Takes the PEM texts of a chain (leaf first) and of its
/// key.
pub fn tls_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::Certificate);
    }
    if chain.len() > CHAIN_MAX {
        return Err(TlsError::Chain);
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::Key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // One ticket is what a client can use; more only make the handshake longer.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
