//! The broker's side of the connection to a fragment service (`docs/skb1.md` 6.10).
//!
//! TLS 1.3 and X25519MLKEM768 only, so a network that breaks the connection cannot talk it down. The server is whoever
//! holds the key whose SPKI hash the manifest names: its name, issuer and dates say nothing. Sessions are not resumed,
//! because every connection shall prove its key.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::BrokerIdentity;

/// SHA-256 of a SubjectPublicKeyInfo in DER: who a peer is.
pub type SpkiHash = [u8; 32];

/// Largest server certificate, in bytes.
const CERTIFICATE_BYTES_MAX: usize = 2048;

/// The key of one server, as the newest manifest names it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pinned(Arc<RwLock<SpkiHash>>);

impl Pinned {
    pub(crate) fn new(spki: SpkiHash) -> Self {
        Self(Arc::new(RwLock::new(spki)))
    }

    pub(crate) fn get(&self) -> SpkiHash {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, spki: SpkiHash) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = spki;
    }
}

/// Which server keys are let in.
#[derive(Clone, Debug)]
pub(crate) enum Pin {
    /// This one, from a verified manifest.
    Exactly(Pinned),
    /// Any, noted down for the caller to compare: enrolment, before there is a manifest.
    Noted(Arc<Mutex<Option<SpkiHash>>>),
}

impl Pin {
    fn admits(&self, spki: SpkiHash) -> bool {
        match self {
            Self::Exactly(known) => known.get() == spki,
            Self::Noted(seen) => {
                // Two different keys under one enrolment would be two different servers.
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *seen.get_or_insert(spki) == spki
            }
        }
    }
}

/// Hash of the public key in a certificate, unless it is none.
pub(crate) fn spki_hash(certificate: &CertificateDer<'_>) -> Option<SpkiHash> {
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return None;
    }
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Some(Sha256::digest(parsed.tbs_certificate.subject_pki.raw).into()),
        _ => None,
    }
}

/// Cryptography of the connection: hybrid group only, two suites.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

/// Who the broker is in a handshake. Clones share the key.
#[derive(Clone, Debug)]
pub(crate) struct ClientKey(CertifiedKey);

impl ClientKey {
    pub(crate) fn new(identity: &BrokerIdentity) -> Result<Self, Error> {
        Ok(Self(CertifiedKey::new(vec![identity.certificate()], identity.tls_key()?)))
    }
}

/// The client's half of the handshake.
pub(crate) fn client_config(client: &ClientKey, pin: Pin) -> Result<ClientConfig, Error> {
    let provider = provider();
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedServer { pin, provider }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(client.0.clone())));
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

/// Knows servers by their key.
#[derive(Debug)]
struct PinnedServer {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let spki = spki_hash(end_entity).filter(|_| intermediates.is_empty());
        let spki = spki.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.pin.admits(spki) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
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
