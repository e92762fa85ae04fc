//! Who a broker is to fragment services: a TLS key with its self-signed certificate, and an Ed25519 key.
//!
//! Both are made once at `init` and kept encrypted under K_netkey (`docs/skb1.md` 6.2), so a stolen store
//! alone cannot even ask. The fragment service knows the broker by the SHA-256 of the TLS key's
//! SubjectPublicKeyInfo.

use rustls::sign::CertifiedKey;
use symbolon_net::{SpkiHash, TlsError, TlsIdentity};
use symbolon_proto::Zeroizing;
use symbolon_proto::codec::{DecodeError, Reader};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::{SigningPublicKey, SigningSeed};

use crate::error::OpError;
use crate::random::os_rng;

/// Version of [`BrokerIdentity::to_bytes`].
const FORMAT: u8 = 1;

/// Largest PKCS#8 key accepted, in bytes. A P-256 key has 138 or 121.
const PKCS8_BYTES_MAX: usize = 512;

/// Why an identity could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are not an identity of this version.
    #[error(
        "the broker's network identity is damaged or of another version; restore the store from a backup"
    )]
    Format,
    /// No new TLS key.
    #[error(
        "a new TLS key could not be made; nothing was changed: check the memory and randomness of this machine and retry"
    )]
    NotMade,
    /// The TLS key that is stored.
    #[error(
        "the broker's stored TLS key is not usable: it was damaged, or written by other software; restore the store from a backup"
    )]
    Key(#[source] TlsError),
}

impl From<TlsError> for IdentityError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Generate => Self::NotMade,
            error => Self::Key(error),
        }
    }
}

impl From<IdentityError> for OpError {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::NotMade => Self::no_key_made(),
            IdentityError::Format | IdentityError::Key(_) => Self::INTEGRITY,
        }
    }
}

impl From<DecodeError> for IdentityError {
    fn from(_: DecodeError) -> Self {
        Self::Format
    }
}

/// The broker's network identity.
pub struct BrokerIdentity {
    tls: TlsIdentity,
    signing: SigningSeed,
}

impl BrokerIdentity {
    /// Fresh keys: P-256 for TLS, Ed25519 for signatures.
    pub fn generate() -> Result<Self, IdentityError> {
        Ok(Self { tls: TlsIdentity::generate()?, signing: SigningSeed::random(&mut os_rng()) })
    }

    /// `format(1) ‖ Ed25519 seed(32) ‖ LP(PKCS#8)`: what to encrypt. The certificate is made again from the
    /// key.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let tls = self.tls.key_pkcs8();
        let length = u16::try_from(tls.len()).unwrap_or(u16::MAX);
        // Reserved in full, so that no half-filled copy is left behind by growth.
        let mut bytes = Zeroizing::new(Vec::with_capacity(35 + tls.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.signing.secret().expose());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&tls);
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(IdentityError::Format);
        }
        let seed = reader.take(32)?;
        let seed = Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(seed));
        let key_pkcs8 = reader.lp(PKCS8_BYTES_MAX)?;
        reader.finish()?;
        Ok(Self { tls: TlsIdentity::from_pkcs8(key_pkcs8)?, signing: SigningSeed::from_secret(seed) })
    }

    /// Hash of the TLS key.
    #[must_use]
    pub fn spki(&self) -> &SpkiHash {
        self.tls.spki()
    }

    /// The Ed25519 key.
    #[must_use]
    pub fn sign_key(&self) -> SigningPublicKey {
        self.signing.public_key()
    }

    /// What the operator of this broker reads to the operator of the fragment service.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_broker(self.spki(), &self.sign_key())
    }

    /// The TLS key at work.
    pub(crate) fn certified_key(&self) -> Result<CertifiedKey, TlsError> {
        self.tls.certified_key()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_identity_survives_sealing() {
        let identity = BrokerIdentity::generate().unwrap();
        let again = BrokerIdentity::from_bytes(&identity.to_bytes()).unwrap();
        assert_eq!(identity.spki(), again.spki());
        assert_eq!(identity.sign_key(), again.sign_key());
        assert_eq!(identity.fingerprint(), again.fingerprint());
    }

    #[test]
    fn a_key_that_cannot_be_made_is_no_damage() {
        let not_made = OpError::from(IdentityError::from(TlsError::Generate));
        assert_eq!(not_made, OpError::no_key_made());
        let bytes = BrokerIdentity::generate().unwrap().to_bytes();
        let damaged = BrokerIdentity::from_bytes(&bytes[1..]).err().unwrap();
        assert_eq!(OpError::from(damaged), OpError::INTEGRITY);
    }

    #[test]
    fn damaged_identities_are_refused() {
        let bytes = BrokerIdentity::generate().unwrap().to_bytes();
        for damaged in [&bytes[..bytes.len() - 1], &bytes[1..], &[], &[&bytes[..], &[0]].concat()] {
            assert!(BrokerIdentity::from_bytes(damaged).is_err());
        }
    }
}
