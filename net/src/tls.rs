//! Transport security between broker and fragment service (`docs/skb1.md` 6.10).
//!
//! TLS 1.3, X25519MLKEM768 and HTTP/2 only: nothing else is offered, so a network that breaks the connection
//! cannot talk it down. Certificates are self-signed envelopes around a key; their names, issuers and dates
//! say nothing. The handshake proves possession of the key, and an [`Admission`] says whose key is let in.
//! There is no resumption and no early data: every connection proves its key.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of a SubjectPublicKeyInfo in DER: who a peer is.
pub type SpkiHash = [u8; 32];

/// The only application protocol.
pub const ALPN: &[u8] = b"h2";

/// Largest peer certificate, in bytes. Ours have about 300.
pub const CERTIFICATE_BYTES_MAX: usize = 2048;

/// Why a TLS identity could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No new key.
    #[error("no TLS key could be made; check this machine's source of randomness and try again")]
    Generate,
    /// The stored key is none, or does not sign its own certificate.
    #[error("the stored TLS key is not usable: it was damaged, or written by other software")]
    Identity(#[from] rcgen::Error),
    /// rustls refused the configuration.
    #[error("the TLS configuration was refused")]
    Config(#[from] Error),
    /// A certificate that is not X.509.
    #[error("a certificate could not be read")]
    Certificate,
}

/// Whose key is let in, after the handshake has proven that the peer has it.
pub trait Admission: Debug + Send + Sync {
    /// Whether the owner of the key with this hash may connect.
    fn admits(&self, peer: SpkiHash) -> bool;
}

/// Everybody with a key. What a peer may say is then decided by whether its hash is known.
#[derive(Clone, Copy, Debug)]
pub struct Anybody;

impl Admission for Anybody {
    fn admits(&self, _peer: SpkiHash) -> bool {
        true
    }
}

/// Cryptography of both ends: hybrid group only, two suites, aws-lc.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// Hash of the public key in a certificate.
pub fn spki_hash(certificate: &CertificateDer<'_>) -> Result<SpkiHash, TlsError> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(TlsError::Certificate);
    }
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(Sha256::digest(parsed.tbs_certificate.subject_pki.raw).into()),
        _ => Err(TlsError::Certificate),
    }
}

/// When a certificate in DER ends, Unix seconds. `None` if it is none.
#[must_use]
pub fn end_secs(certificate: &[u8]) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// The client's half of the handshake, with a server that `admission` lets in.
pub fn client_config(key: &CertifiedKey, admission: impl Admission + 'static) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(KnownByKey::new(admission))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// The server's half of the handshake, with clients that `admission` lets in.
pub fn server_config(key: CertifiedKey, admission: impl Admission + 'static) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(KnownByKey::new(admission))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Knows peers by their key.
#[derive(Debug)]
struct KnownByKey<A> {
    admission: A,
    provider: Arc<CryptoProvider>,
}

impl<A: Admission> KnownByKey<A> {
    fn new(admission: A) -> Arc<Self> {
        Arc::new(Self { admission, provider: provider() })
    }

    /// One certificate, well formed, of a key that is let in.
    fn check(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        let spki = spki_hash(own).ok().filter(|_| others.is_empty());
        let spki = spki.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.admission.admits(spki) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }
}

/// What both verifier traits of rustls want in the same words.
macro_rules! checks_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
        }
    };
}

impl<A: Admission> ServerCertVerifier for KnownByKey<A> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    checks_signatures!();
}

impl<A: Admission> ClientCertVerifier for KnownByKey<A> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    checks_signatures!();
}

#[cfg(test)]
mod tests;
