//! Transport security: TLS 1.3, X25519MLKEM768, mutual, HTTP/2 (`docs/skb1.md` 6.10).
//!
//! No other version, group or application protocol is offered, so there is nothing to downgrade to. Certificates are
//! self-signed envelopes around a key: a peer *is* the SHA-256 of its SubjectPublicKeyInfo. At this level any
//! well-formed P-256 or Ed25519 certificate is let in if the handshake proves possession of its key; what a peer may
//! say is decided by whether that hash is enrolled (`service.rs`). There is no session resumption and no early data:
//! every connection proves its key.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use sha2::{Digest, Sha256};
use symbolon_proto::Zeroizing;
use x509_parser::prelude::{FromDer, X509Certificate};

/// SHA-256 of a SubjectPublicKeyInfo in DER: who a peer is.
pub type SpkiHash = [u8; 32];

/// The only application protocol.
pub const ALPN: &[u8] = b"h2";

/// Largest peer certificate, in bytes. Ours have about 300.
pub const CERTIFICATE_BYTES_MAX: usize = 2048;

/// Name in our self-signed certificates. Nobody checks it: the pin is the key.
pub const CERTIFICATE_NAME: &str = "fragment.symbolon.invalid";

/// Why the service's TLS identity could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key or certificate could not be made.
    #[error("the TLS key of the service is not usable")]
    Identity(#[from] rcgen::Error),
    /// rustls refused the configuration.
    #[error("the TLS configuration was refused")]
    Config(#[from] Error),
    /// A certificate that is not X.509.
    #[error("a certificate could not be read")]
    Certificate,
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

/// Key and self-signed certificate of one end.
pub struct TlsIdentity {
    key_pkcs8: Zeroizing<Vec<u8>>,
    certificate: CertificateDer<'static>,
    spki: SpkiHash,
}

impl TlsIdentity {
    /// A fresh P-256 key.
    pub fn generate() -> Result<Self, TlsError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        Self::from_pkcs8(&Zeroizing::new(key.serialize_der()))
    }

    /// The identity of a stored key. The certificate is made anew; its SPKI, and hence the pin, stays.
    pub fn from_pkcs8(key_pkcs8: &[u8]) -> Result<Self, TlsError> {
        let der = PrivatePkcs8KeyDer::from(key_pkcs8);
        let key = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(vec![CERTIFICATE_NAME.to_owned()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let certificate = params.self_signed(&key)?.der().clone();
        let spki = spki_hash(&certificate)?;
        Ok(Self { key_pkcs8: Zeroizing::new(key_pkcs8.to_vec()), certificate, spki })
    }

    /// The private key in PKCS#8, for sealing.
    #[must_use]
    pub fn key_pkcs8(&self) -> &[u8] {
        &self.key_pkcs8
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What the other end pins.
    #[must_use]
    pub fn spki(&self) -> &SpkiHash {
        &self.spki
    }

    /// The server's half of the handshake.
    pub(crate) fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key_pkcs8.to_vec()));
        let provider = provider();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(AnyKey { provider }))
            .with_single_cert(vec![self.certificate.clone()], key)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
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

/// Lets in whoever proves possession of the key in one certificate. Who that is, others decide.
#[derive(Debug)]
struct AnyKey {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !intermediates.is_empty() || spki_hash(end_entity).is_err() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        Ok(ClientCertVerified::assertion())
    }

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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stored_key_keeps_its_pin() {
        let first = TlsIdentity::generate().unwrap();
        let again = TlsIdentity::from_pkcs8(first.key_pkcs8()).unwrap();
        assert_eq!(first.spki(), again.spki());
    }

    #[test]
    fn what_is_no_certificate_has_no_pin() {
        assert!(spki_hash(&CertificateDer::from(vec![0x30, 0x00])).is_err());
        assert!(spki_hash(&CertificateDer::from(vec![0; CERTIFICATE_BYTES_MAX + 1])).is_err());
        let mut trailing = TlsIdentity::generate().unwrap().certificate().to_vec();
        trailing.push(0);
        assert!(spki_hash(&CertificateDer::from(trailing)).is_err());
    }

    #[test]
    fn one_group_is_offered() {
        let names: Vec<_> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(names, [rustls::NamedGroup::X25519MLKEM768]);
    }
}
