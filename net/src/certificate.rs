//! Certificates that people make: what is in one, and why a TLS library will not take it.
//!
//! TLS libraries say that something does not fit. This says which command made it so, and which one to type
//! instead. It never decides whether anything is trusted.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Types a certificate that every client of today takes.
const TYPE_INSTEAD: &str = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 \
     -keyout tls.key -out tls.crt -subj /CN=broker.example -addext subjectAltName=DNS:broker.example";

/// Key types that are served, by the object identifier of the algorithm or of its curve.
const SERVED: [&str; 5] = [
    "1.2.840.113549.1.1.1", // RSA
    "1.3.101.112",          // Ed25519
    "1.2.840.10045.3.1.7",  // P-256
    "1.3.132.0.34",         // P-384
    "1.3.132.0.35",         // P-521
];
/// Of keys whose parameters name a curve.
const CURVES: &str = "1.2.840.10045.2.1";
/// Shortest RSA key that is served, in bits.
const RSA_BITS_MIN: usize = 2048;

/// What is in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Version of X.509: 1 to 3.
    pub version: u32,
    /// Who it is for, as a distinguished name.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// DNS names and IP addresses that it is for. A common name is none.
    pub names: Vec<String>,
    /// First second in which it is not valid any more, Unix seconds.
    pub end_secs: i64,
    key: KeyFacts,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyFacts {
    /// Object identifier of the curve, or of the algorithm where there is no curve.
    kind: String,
    rsa_bits: Option<usize>,
}

/// Why a certificate and its key will not do. Each says what to type instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Complaint {
    /// The key cannot be read without a passphrase, and nobody is there to type it.
    #[error(
        "the key file is encrypted with a passphrase, and a server that starts by itself has nobody to ask: \
         `openssl pkey -in tls.key -out tls.plain.key` takes it off (`-nodes` makes a key without)"
    )]
    KeyEncrypted,
    /// Binary instead of text.
    #[error(
        "the {file} file is not text: PEM is expected, which begins with -----BEGIN. If it is DER, \
         `openssl {command} -inform der -in FILE -out FILE.pem` turns it into PEM"
    )]
    NotPem {
        /// Which of the two.
        file: &'static str,
        /// What reads such a file.
        command: &'static str,
    },
    /// One file where the other is expected.
    #[error("the {expected} file holds a {found}: give the two files the other way round")]
    Swapped {
        /// What was expected.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A request for one.
    #[error(
        "the certificate file holds a request (CSR) and no certificate; with -x509 it makes one: {TYPE_INSTEAD}"
    )]
    Request,
    /// What `openssl x509 -req` makes without a file of extensions.
    #[error(
        "the certificate is of X.509 version {version}, which has no place for names, and no TLS library of today \
         takes it. `openssl x509 -req` makes these without -extfile; type instead: {TYPE_INSTEAD}"
    )]
    Version {
        /// 1 or 2.
        version: u32,
    },
    /// Only a common name.
    #[error(
        "the certificate names nobody in subjectAltName, and clients have not looked at CN since 2017; type \
         instead: {TYPE_INSTEAD}"
    )]
    NoNames,
    /// A short RSA key.
    #[error(
        "the key is RSA of {bits} bits; at least {RSA_BITS_MIN} are needed, and P-256 is better: {TYPE_INSTEAD}"
    )]
    ShortKey {
        /// Its bits.
        bits: usize,
    },
    /// A key of another kind.
    #[error(
        "keys of this kind ({kind}) are not served; P-256, P-384, P-521, Ed25519 and RSA are: {TYPE_INSTEAD}"
    )]
    KeyKind {
        /// Its object identifier.
        kind: String,
    },
    /// The key of another certificate.
    #[error(
        "the key belongs to another certificate: `openssl x509 -noout -pubkey -in tls.crt` and `openssl pkey -pubout \
         -in tls.key` must print the same. In a chain, the server's own certificate comes first"
    )]
    Mismatch,
}

/// Reads a certificate in DER; `None` if it is none.
#[must_use]
pub fn facts(der: &[u8]) -> Option<Facts> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter().filter_map(name).collect());
    Some(Facts {
        version: parsed.version().0 + 1,
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        names: names.unwrap_or_default(),
        end_secs: parsed.validity().not_after.timestamp(),
        key: key_facts(&parsed),
    })
}

/// Reads the first certificate of a PEM text.
#[must_use]
pub fn first_facts(pem: &[u8]) -> Option<Facts> {
    let first = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    facts(&first)
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from);
            four.or(sixteen).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn key_facts(certificate: &X509Certificate<'_>) -> KeyFacts {
    let key = certificate.public_key();
    let parameters =
        key.algorithm.parameters.as_ref().filter(|_| key.algorithm.algorithm.to_id_string() == CURVES);
    let curve = parameters.and_then(|curve| curve.as_oid().ok());
    let kind = curve.map_or_else(|| key.algorithm.algorithm.to_id_string(), |curve| curve.to_id_string());
    let rsa_bits = match key.parsed() {
        Ok(PublicKey::RSA(key)) => Some(key.key_size()),
        _ => None,
    };
    KeyFacts { kind, rsa_bits }
}

/// Why these two PEM texts are not taken by a server, if it is one of the usual reasons.
#[must_use]
pub fn complaint(chain_pem: &[u8], key_pem: &[u8]) -> Option<Complaint> {
    let (in_chain, in_key) = (labels(chain_pem), labels(key_pem));
    let has = |labels: &[String], part: &str| labels.iter().any(|label| label.contains(part));
    if has(&in_key, "ENCRYPTED") || contains(key_pem, b"ENCRYPTED") {
        return Some(Complaint::KeyEncrypted);
    }
    if in_chain.is_empty() && !chain_pem.is_empty() {
        return Some(Complaint::NotPem { file: "certificate", command: "x509" });
    }
    if in_key.is_empty() && !key_pem.is_empty() {
        return Some(Complaint::NotPem { file: "key", command: "pkey" });
    }
    if has(&in_chain, "CERTIFICATE REQUEST") {
        return Some(Complaint::Request);
    }
    if !has(&in_chain, "CERTIFICATE") && has(&in_chain, "PRIVATE KEY") {
        return Some(Complaint::Swapped { expected: "certificate", found: "private key" });
    }
    if !has(&in_key, "PRIVATE KEY") && has(&in_key, "CERTIFICATE") {
        return Some(Complaint::Swapped { expected: "key", found: "certificate" });
    }
    let facts = first_facts(chain_pem)?;
    facts
        .version()
        .or_else(|| facts.key())
        .or(Some(Complaint::Mismatch).filter(|_| has(&in_key, "PRIVATE KEY")))
}

/// Why clients will not take a certificate that a server takes.
#[must_use]
pub fn unnamed(chain_pem: &[u8]) -> Option<Complaint> {
    first_facts(chain_pem).filter(|facts| facts.names.is_empty()).map(|_| Complaint::NoNames)
}

impl Facts {
    fn version(&self) -> Option<Complaint> {
        (self.version < 3).then_some(Complaint::Version { version: self.version })
    }

    fn key(&self) -> Option<Complaint> {
        let kind = self.key.kind.as_str();
        if !SERVED.contains(&kind) {
            return Some(Complaint::KeyKind { kind: kind.to_owned() });
        }
        self.key.rsa_bits.filter(|bits| *bits < RSA_BITS_MIN).map(|bits| Complaint::ShortKey { bits })
    }
}

/// Labels of the sections of a PEM text.
fn labels(text: &[u8]) -> Vec<String> {
    Pem::iter_from_buffer(text).map_while(Result::ok).map(|section| section.label).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
