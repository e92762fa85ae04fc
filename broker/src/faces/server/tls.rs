//! The listener's TLS configuration.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::Acceptor;
use rustls::{NamedGroup, ServerConfig, ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access::Channel;

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

/// How handshakes are answered. Whoever offers X25519MLKEM768 gets it, whatever they would rather have:
/// rustls itself follows the order of the client.
#[derive(Clone)]
pub struct Tls {
    hybrid: Arc<ServerConfig>,
    /// For clients that do not offer it; none if they are refused.
    classical: Option<Arc<ServerConfig>>,
}

/// TLS 1.2 and 1.3 with aws-lc-rs, X25519MLKEM768 and HTTP/2 preferred. Takes the PEM texts of a chain (leaf
/// first) and of its key.
pub fn tls_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Tls, TlsError> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let classical = config(chain_pem, key_pem, aws_lc_rs::default_provider(), &versions)?;
    Ok(Tls { classical: Some(classical), ..hybrid_only_tls_config(chain_pem, key_pem)? })
}

/// The same for clients that offer X25519MLKEM768, and nobody else.
pub fn hybrid_only_tls_config(chain_pem: &[u8], key_pem: &[u8]) -> Result<Tls, TlsError> {
    let provider = CryptoProvider { kx_groups: vec![X25519MLKEM768], ..aws_lc_rs::default_provider() };
    let hybrid = config(chain_pem, key_pem, provider, &[&rustls::version::TLS13])?;
    Ok(Tls { hybrid, classical: None })
}

impl Tls {
    /// The whole handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let groups = begun.client_hello().named_groups().unwrap_or_default();
        let config = match &self.classical {
            // It exists in TLS 1.3 only, so this client speaks that.
            Some(classical) if !groups.contains(&NamedGroup::X25519MLKEM768) => classical,
            _ => &self.hybrid,
        };
        begun.into_stream(Arc::clone(config)).await
    }
}

/// How a connection is kept, after its handshake.
pub(super) fn channel(connection: &ServerConnection) -> Channel {
    match connection.negotiated_key_exchange_group() {
        Some(group) if group.name() == NamedGroup::X25519MLKEM768 => Channel::Hybrid,
        _ => Channel::Classical, // none is known after a resumption of TLS 1.2, which has classical ones only
    }
}

fn config(
    chain_pem: &[u8],
    key_pem: &[u8],
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Arc<ServerConfig>, TlsError> {
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
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // One ticket is what a client can use; more only make the handshake longer.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
