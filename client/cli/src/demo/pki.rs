//! Certificates for one afternoon: a CA and a server certificate for this machine, P-256, never written with
//! its key anywhere but into the temporary directory of the process.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use symbolon_proto::Zeroizing;

/// A CA certificate and a server certificate that it signed.
pub struct ServerIdentity {
    /// Certificate of the CA, PEM: what clients trust.
    pub ca_pem: String,
    /// Certificate of the server, PEM.
    pub cert_pem: String,
    /// Key of the server, PKCS#8 PEM.
    pub key_pem: Zeroizing<String>,
}

impl ServerIdentity {
    /// A fresh CA, used once, and a certificate for `127.0.0.1`, `::1` and `localhost`. The CA's key is
    /// dropped here.
    pub fn for_loopback(name: &str) -> Result<Self, rcgen::Error> {
        Self::for_names(name, &[])
    }

    /// The same, also for these names and addresses.
    pub fn for_names(name: &str, others: &[String]) -> Result<Self, rcgen::Error> {
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, format!("{name} CA"));
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = ca.self_signed(&ca_key)?.pem();

        let key = KeyPair::generate()?;
        let own = ["127.0.0.1", "::1", "localhost"].map(str::to_owned);
        let names: Vec<String> = own.into_iter().chain(others.iter().cloned()).collect();
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, name);
        server.use_authority_key_identifier_extension = true;
        let certificate = server.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?;
        Ok(Self { ca_pem, cert_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}
