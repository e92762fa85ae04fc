//! A TLS key and the self-signed envelope around it.
//!
//! A peer *is* the SHA-256 of its SubjectPublicKeyInfo. The certificate is made again from the key at each
//! start; what the other end pins does not change with it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use symbolon_proto::Zeroizing;
use symbolon_proto::secret::{SECRET_BYTES_MAX, Secret};

use crate::tls::{SpkiHash, TlsError, spki_hash};

/// Name in the certificate. Nobody checks it: the pin is the key.
const CERTIFICATE_NAME: &str = "symbolon.invalid";
/// Bytes of the key in one slot of secret memory.
const PIECE_BYTES: usize = SECRET_BYTES_MAX;

/// Key and self-signed certificate of one end.
pub struct TlsIdentity {
    /// In secret pages, in pieces of a slot each: it is there for as long as the process.
    key_pkcs8: Vec<Secret<PIECE_BYTES>>,
    key_bytes: usize,
    certificate: CertificateDer<'static>,
    spki: SpkiHash,
}

impl TlsIdentity {
    /// A fresh P-256 key.
    pub fn generate() -> Result<Self, TlsError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).and_then(|key| key.to_pkcs8v1());
        let key = key.map_err(|_| TlsError::Generate)?; // wiped by aws-lc-rs on drop
        Self::from_pkcs8(key.as_ref()).map_err(|_| TlsError::Generate)
    }

    /// The identity of a stored key.
    pub fn from_pkcs8(key_pkcs8: &[u8]) -> Result<Self, TlsError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key_pkcs8);
        let key = TlsKey(key.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?);
        let mut params = CertificateParams::new(vec![CERTIFICATE_NAME.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        let certificate = params.self_signed(&key)?.der().clone();
        let spki = spki_hash(&certificate)?;
        let piece = |bytes: &[u8]| Secret::filled_by(|out| out[..bytes.len()].copy_from_slice(bytes));
        let pieces = key_pkcs8.chunks(PIECE_BYTES).map(piece).collect();
        Ok(Self { key_pkcs8: pieces, key_bytes: key_pkcs8.len(), certificate, spki })
    }

    /// The private key in PKCS#8, for sealing. In ordinary memory for as long as the caller keeps it.
    #[must_use]
    pub fn key_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(Vec::with_capacity(self.key_pkcs8.len() * PIECE_BYTES));
        self.key_pkcs8.iter().for_each(|piece| key.extend_from_slice(piece.expose()));
        key.truncate(self.key_bytes);
        key
    }

    /// The certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What the other end pins.
    #[must_use]
    pub const fn spki(&self) -> &SpkiHash {
        &self.spki
    }

    /// The key at work. Lent and not given: rustls does not wipe a key that it is given.
    pub fn certified_key(&self) -> Result<CertifiedKey, TlsError> {
        let key_pkcs8 = self.key_pkcs8();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8.as_slice()));
        Ok(CertifiedKey::new(vec![self.certificate.clone()], any_ecdsa_type(&key)?))
    }
}

/// The TLS key while it signs its own certificate. rcgen's own key type keeps a copy that nobody wipes.
struct TlsKey(EcdsaKeyPair);

impl PublicKeyData for TlsKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature.map(|signature| signature.as_ref().to_vec()).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stored_key_keeps_its_pin() {
        let first = TlsIdentity::generate().unwrap();
        let again = TlsIdentity::from_pkcs8(&first.key_pkcs8()).unwrap();
        assert_eq!(first.spki(), again.spki());
        assert_ne!(first.spki(), TlsIdentity::generate().unwrap().spki());
    }

    /// Nothing else of the certificate goes into it: neither its name nor its dates.
    #[test]
    fn the_pin_is_that_of_the_public_key() {
        use sha2::{Digest, Sha256};
        let identity = TlsIdentity::generate().unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &identity.key_pkcs8()).unwrap();
        // SubjectPublicKeyInfo of RFC 5480: id-ecPublicKey, secp256r1, a bit string with the point.
        let head = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        let spki = [head.as_slice(), key.public_key().as_ref()].concat();
        assert_eq!(identity.spki(), Sha256::digest(spki).as_slice());
    }

    /// Nothing was stored yet, so nothing can be restored.
    #[test]
    fn a_key_that_could_not_be_made_is_not_said_to_be_damaged() {
        let text = TlsError::Generate.to_string();
        assert!(text.contains("could be made") && !text.contains("stored"), "{text}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let key = TlsIdentity::generate().unwrap();
        let key = key.key_pkcs8();
        for bytes in [&key[1..], &[], b"not a key"] {
            assert!(matches!(TlsIdentity::from_pkcs8(bytes), Err(TlsError::Identity(_))));
        }
    }
}
