//! Certificates of destruction: a service's signed word that a key, or an epoch of it, is gone
//! (`docs/skb1.md` section 5).
//!
//! It names the public keys whose private halves were erased, the order that asked for it, and the date until
//! which backups of the service may still hold them: before that date "destroyed" is a promise and not a
//! fact, and the certificate says so itself. Root and node sign it. The customer keeps it;
//! [`Certificate::verify`] needs nothing but the fingerprint of the service root that was compared at
//! enrolment.
//!
//! ```text
//! "SKB1/destroyed" format=1 node(16) deployment(16) key_id(16) whole(1)
//! count(1) count × { key_epoch(4) share_epoch(4) y(32) }
//! ordered(8) destroyed(8) backups_until(8) order_sha256(32) root(32) signing(32) sig_root(64) sig_node(64)
//! ```

use std::fmt;

use thiserror::Error;

use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer};
use crate::fingerprint::Fingerprint;
use crate::group::{PointError, PublicKey};
use crate::id::{DeploymentId, KeyId, NodeId};
use crate::label;
use crate::signing::{PublicKeyError, SIGNATURE_BYTES, SigningPublicKey, SigningSeed};

/// Most shares that one certificate names: two living epochs and two retired ones, each with two share
/// epochs.
pub const SHARES_MAX: usize = 8;

const FORMAT: u8 = 1;

/// A share that was destroyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DestroyedShare {
    /// Epoch of the key.
    pub key_epoch: u32,
    /// Epoch of the shares.
    pub share_epoch: u32,
    /// Its public half: y, or y_i of this node.
    pub public: PublicKey,
}

/// What a certificate says. Nothing is implied about the fields.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destruction {
    /// The node that destroyed.
    pub node: NodeId,
    /// Whose key it was.
    pub deployment: DeploymentId,
    /// The key.
    pub key: KeyId,
    /// Whether the whole key is gone, or only the epochs that are named.
    pub whole: bool,
    /// What was erased.
    pub shares: Vec<DestroyedShare>,
    /// When two officers ordered it, Unix seconds.
    pub ordered_secs: u64,
    /// When it was done, Unix seconds.
    pub destroyed_secs: u64,
    /// Until then a backup of the service may still hold it, Unix seconds.
    pub backups_until_secs: u64,
    /// SHA-256 of the signed order.
    pub order_sha256: [u8; 32],
}

/// Why bytes are no certificate, or are not believed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CertificateError {
    /// Not a text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Fields missing or too many.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// It does not begin with its label.
    #[error("not a certificate of destruction")]
    Label,
    /// A format of the future, or a flag that is none.
    #[error("a certificate of another version")]
    Format,
    /// No share, or too many.
    #[error("{found} shares, where 1 to 8 are allowed")]
    Count {
        /// The number found.
        found: usize,
    },
    /// A public key that is none.
    #[error("a share's public key is {0}")]
    Point(#[from] PointError),
    /// A signing key that is none.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// Destroyed before it was ordered, or backups that end before.
    #[error("the certificate's dates are out of order")]
    Dates,
    /// Signed by another service.
    #[error("the certificate is of another service: its root has the fingerprint {found}")]
    OtherRoot {
        /// The fingerprint of the root that signed.
        found: Fingerprint,
    },
    /// A signature does not verify.
    #[error("the certificate's signatures do not verify; it was changed")]
    Signature,
}

/// A certificate whose fields and signatures were checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    destruction: Destruction,
    bytes: Vec<u8>,
}

impl Destruction {
    fn write(&self, root: &SigningPublicKey, node: &SigningPublicKey) -> Vec<u8> {
        let mut writer = Writer::with_capacity(640);
        writer.bytes(label::DESTROYED).u8(FORMAT).bytes(self.node.as_bytes());
        writer.bytes(self.deployment.as_bytes()).bytes(self.key.as_bytes()).u8(u8::from(self.whole));
        writer.u8(u8::try_from(self.shares.len()).unwrap_or(u8::MAX));
        for share in &self.shares {
            writer.u32(share.key_epoch).u32(share.share_epoch).bytes(share.public.as_bytes());
        }
        writer.u64(self.ordered_secs).u64(self.destroyed_secs).u64(self.backups_until_secs);
        writer.bytes(&self.order_sha256).bytes(root.as_bytes()).bytes(node.as_bytes());
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CertificateError> {
        if reader.take(label::DESTROYED.len())? != label::DESTROYED {
            return Err(CertificateError::Label);
        }
        if reader.u8()? != FORMAT {
            return Err(CertificateError::Format);
        }
        let node = NodeId::from_bytes(reader.array()?);
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let key = KeyId::from_bytes(reader.array()?);
        let whole = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CertificateError::Format),
        };
        let shares = read_shares(reader)?;
        Ok(Self {
            node,
            deployment,
            key,
            whole,
            shares,
            ordered_secs: reader.u64()?,
            destroyed_secs: reader.u64()?,
            backups_until_secs: reader.u64()?,
            order_sha256: reader.array()?,
        })
    }

    fn check(&self) -> Result<(), CertificateError> {
        if !(1..=SHARES_MAX).contains(&self.shares.len()) {
            return Err(CertificateError::Count { found: self.shares.len() });
        }
        match self.ordered_secs <= self.destroyed_secs && self.destroyed_secs <= self.backups_until_secs {
            true => Ok(()),
            false => Err(CertificateError::Dates),
        }
    }
}

fn read_shares(reader: &mut Reader<'_>) -> Result<Vec<DestroyedShare>, CertificateError> {
    let count = usize::from(reader.u8()?);
    if !(1..=SHARES_MAX).contains(&count) {
        return Err(CertificateError::Count { found: count });
    }
    let share = |_| {
        let (key_epoch, share_epoch) = (reader.u32()?, reader.u32()?);
        Ok(DestroyedShare { key_epoch, share_epoch, public: PublicKey::decode(&reader.array()?)? })
    };
    (0..count).map(share).collect()
}

impl Certificate {
    /// Signs a destruction with root and node key.
    pub fn sign(
        destruction: Destruction,
        root: &SigningSeed,
        node: &SigningSeed,
    ) -> Result<Self, CertificateError> {
        destruction.check()?;
        let mut bytes = destruction.write(&root.public_key(), &node.public_key());
        let signatures = [root.sign(&bytes), node.sign(&bytes)];
        bytes.extend(signatures.as_flattened());
        Ok(Self { destruction, bytes })
    }

    /// Believes a certificate if the root with this fingerprint, and the node key it vouches for, signed it.
    pub fn verify(bytes: &[u8], root: &Fingerprint) -> Result<Self, CertificateError> {
        let mut reader = Reader::new(bytes);
        let destruction = Destruction::read(&mut reader)?;
        let root_key = SigningPublicKey::from_bytes(&reader.array()?)?;
        let node_key = SigningPublicKey::from_bytes(&reader.array()?)?;
        let signed = &bytes[..bytes.len() - reader.rest().len()];
        let by_root: [u8; SIGNATURE_BYTES] = reader.array()?;
        let by_node = reader.array()?;
        reader.finish()?;
        destruction.check()?;
        let found = Fingerprint::of(root_key.as_bytes());
        if found != *root {
            return Err(CertificateError::OtherRoot { found });
        }
        match root_key.verifies(signed, &by_root) && node_key.verifies(signed, &by_node) {
            true => Ok(Self { destruction, bytes: bytes.to_vec() }),
            false => Err(CertificateError::Signature),
        }
    }

    /// What it says.
    pub const fn destruction(&self) -> &Destruction {
        &self.destruction
    }

    /// Its encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text form for files and mail.
    pub fn to_text(&self) -> String {
        armour::encode(Kind::Certificate, &self.bytes)
    }

    /// Reads and verifies a text form.
    pub fn from_text(text: &str, root: &Fingerprint) -> Result<Self, CertificateError> {
        Self::verify(&armour::decode(Kind::Certificate, text)?, root)
    }
}

/// What it says, for people; times as Unix seconds.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = &self.destruction;
        let what = if said.whole { "the whole key" } else { "epochs of the key" };
        writeln!(f, "destroyed      {what} {}", said.key)?;
        writeln!(f, "deployment     {}", said.deployment)?;
        writeln!(f, "node           {}", said.node)?;
        for share in &said.shares {
            write!(f, "public key     ")?;
            share.public.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            writeln!(f, "  key epoch {}, share epoch {}", share.key_epoch, share.share_epoch)?;
        }
        writeln!(f, "ordered        {}", said.ordered_secs)?;
        writeln!(f, "destroyed      {}", said.destroyed_secs)?;
        write!(
            f,
            "backups until  {} (until then a backup of the service may still hold it)",
            said.backups_until_secs
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::evaluate::RemoteKey;
    use crate::testing::rng;

    fn destruction() -> Destruction {
        let share = |key_epoch| DestroyedShare {
            key_epoch,
            share_epoch: 1,
            public: *RemoteKey::generate(&mut rng()).public_key(),
        };
        Destruction {
            node: NodeId::from_bytes([1; 16]),
            deployment: DeploymentId::from_bytes([2; 16]),
            key: KeyId::from_bytes([3; 16]),
            whole: true,
            shares: vec![share(1), share(2)],
            ordered_secs: 10,
            destroyed_secs: 20,
            backups_until_secs: 30,
            order_sha256: [4; 32],
        }
    }

    fn certificate() -> (Certificate, Fingerprint) {
        let (root, node) = (SigningSeed::random(&mut rng()), SigningSeed::random(&mut rng()));
        let certificate = Certificate::sign(destruction(), &root, &node).unwrap();
        (certificate, Fingerprint::of(root.public_key().as_bytes()))
    }

    #[test]
    fn says_what_was_destroyed_and_until_when_it_is_a_promise() {
        let (certificate, root) = certificate();
        assert_eq!(Certificate::from_text(&certificate.to_text(), &root).unwrap(), certificate);
        let text = certificate.to_string();
        assert!(text.contains("the whole key 0303") && text.contains("backups until  30"), "{text}");
    }

    #[test]
    fn every_byte_is_signed() {
        let (certificate, root) = certificate();
        for position in 0..certificate.as_bytes().len() {
            let mut forged = certificate.as_bytes().to_vec();
            forged[position] ^= 1;
            assert!(Certificate::verify(&forged, &root).is_err(), "byte {position}");
        }
        assert!(Certificate::verify(&certificate.as_bytes()[1..], &root).is_err());
        let longer = [certificate.as_bytes(), &[0]].concat();
        assert!(matches!(Certificate::verify(&longer, &root), Err(CertificateError::Layout(_))));
    }

    #[test]
    fn another_service_is_named() {
        let (certificate, root) = certificate();
        let other = Fingerprint::of(b"another root");
        let error = Certificate::verify(certificate.as_bytes(), &other).unwrap_err();
        assert_eq!(error, CertificateError::OtherRoot { found: root });
    }

    #[test]
    fn dates_and_counts_are_checked_on_both_sides() {
        let (root, node) = (SigningSeed::random(&mut rng()), SigningSeed::random(&mut rng()));
        let sign = |destruction| Certificate::sign(destruction, &root, &node).map(|_| ());
        assert_eq!(sign(Destruction { ordered_secs: 21, ..destruction() }), Err(CertificateError::Dates));
        assert_eq!(
            sign(Destruction { backups_until_secs: 19, ..destruction() }),
            Err(CertificateError::Dates)
        );
        let none = Destruction { shares: Vec::new(), ..destruction() };
        assert_eq!(sign(none), Err(CertificateError::Count { found: 0 }));
        let share = destruction().shares[0];
        let many = Destruction { shares: vec![share; 9], ..destruction() };
        assert_eq!(sign(many), Err(CertificateError::Count { found: 9 }));
    }
}
