//! Whose certificates are believed if a CA file is given, and why one is not, in words of who made it.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Settings of a TLS client that believes these certificates in PEM, and what they have signed. `None` if
/// there is none. For HTTP clients of their own that are to believe what a [`crate::Client`] believes.
#[must_use]
pub fn tls_client_config(pem: &[u8]) -> Option<ClientConfig> {
    let given: Vec<_> = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(given.iter().cloned());
    let chains = WebPkiServerVerifier::builder(Arc::new(roots)).build().ok()?;
    let mut config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Given { chains, given }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Some(config)
}

/// Believes what the given certificates have signed, and each of them itself.
#[derive(Debug)]
struct Given {
    chains: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Given {
    /// `openssl req -x509` marks what it makes as a CA, and a CA is no server for webpki; nor does it look
    /// for a server's certificate among the roots. Whoever gave exactly this certificate meant it. Its dates
    /// have been checked before either is found; its name is here.
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chains.verify_server_cert(own, intermediates, name, ocsp, now);
        match verified {
            Err(error) if is_of_a_given_one(&error) && self.gave(own) => {
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl Given {
    fn gave(&self, own: &CertificateDer<'_>) -> bool {
        self.given.iter().any(|given| given.as_ref() == own.as_ref())
    }
}

/// What webpki finds last of a certificate that is a root itself.
fn is_of_a_given_one(error: &Error) -> bool {
    matches!(error, Error::InvalidCertificate(CertificateError::UnknownIssuer))
        || found_in(error) == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// The error of webpki, where rustls has no word of its own for it.
fn found_in(error: &Error) -> Option<&webpki::Error> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// Why a server's certificate is not believed.
#[derive(Debug)]
pub(crate) struct Why(pub(crate) Error);

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0, found_in(&self.0)) {
            (Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }), _) => {
                named(out, expected, presented)
            }
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), _) => out.write_str(
                "the CA file (or the system, without one) holds neither this certificate nor the one that signed it",
            ),
            (Error::InvalidCertificate(CertificateError::BadSignature), _) => out.write_str(
                "a CA of the same name signed it with another key: the CA file is not the newest, or not of this broker",
            ),
            (_, Some(webpki::Error::CaUsedAsEndEntity)) => out.write_str(
                "it is the certificate of a CA that serves itself, as `openssl req -x509` makes it: give exactly this \
                 certificate as CA file, or make it with -addext basicConstraints=critical,CA:FALSE",
            ),
            (_, Some(webpki::Error::UnsupportedCertVersion)) => out.write_str(
                "it is of X.509 version 1, as `openssl x509 -req` makes it without -extfile; make it with \
                 `openssl req -x509 … -addext subjectAltName=DNS:NAME`",
            ),
            (error, _) => error.fmt(out),
        }
    }
}

impl std::error::Error for Why {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// For whom a certificate is, and for whom it would have to be.
fn named(out: &mut fmt::Formatter<'_>, expected: &ServerName<'_>, presented: &[String]) -> fmt::Result {
    let (kind, wanted) = match expected {
        ServerName::IpAddress(_) => ("IP", expected.to_str()),
        _ => ("DNS", expected.to_str()),
    };
    let again = format!("make it again with -addext subjectAltName={kind}:{wanted}");
    if presented.is_empty() {
        return write!(out, "it names nobody in subjectAltName, and a CN does not count: {again}");
    }
    // They come as `DnsName("broker.example")`.
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
        inner.trim_matches(['(', ')', '"']).to_owned()
    };
    let names: Vec<_> = presented.iter().map(bare).collect();
    write!(out, "it is for {} and not for {wanted}: use a name that it has, or {again}", names.join(", "))
}
