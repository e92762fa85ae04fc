//! The service's own keys: the root that signs manifests, the node that signs leases, the TLS key that
//! brokers pin.
//!
//! Root and node are two keys already, although one process holds both: with several nodes the root moves off
//! line (`docs/skb1.md` 6.8) and nothing on the wire changes.

use symbolon_proto::Zeroizing;
use symbolon_proto::card::{NodeCard, VerifiedCard};
use symbolon_proto::codec::{DecodeError, Reader};
use symbolon_proto::dkg::StaticKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::NodeId;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use crate::rng::os_rng;
use crate::tls::{TlsError, TlsIdentity};

/// Index of a node that holds a key alone; evaluation point of its share.
pub const NODE_INDEX: u16 = 1;

const FORMAT: u8 = 2;
/// Of the first release, without a key for group ceremonies.
const FORMAT_1: u8 = 1;
const PKCS8_BYTES_MAX: usize = 512;

/// Why the identity file is not usable.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not what this version writes.
    #[error("the identity in the state directory was written by another version")]
    Format,
    /// The TLS key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl From<DecodeError> for IdentityError {
    fn from(_: DecodeError) -> Self {
        Self::Format
    }
}

/// Keys of the service.
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) root: SigningSeed,
    pub(crate) node: SigningSeed,
    /// Static key of group ceremonies.
    pub(crate) dkg: StaticKey,
    pub(crate) tls: TlsIdentity,
}

impl Identity {
    /// Fresh keys.
    pub(crate) fn generate() -> Result<Self, TlsError> {
        let mut rng = os_rng();
        Ok(Self {
            node_id: NodeId::random(&mut rng),
            root: SigningSeed::random(&mut rng),
            node: SigningSeed::random(&mut rng),
            dkg: StaticKey::generate(&mut rng),
            tls: TlsIdentity::generate()?,
        })
    }

    /// `format(1) ‖ node id(16) ‖ root seed(32) ‖ node seed(32) ‖ static DKG key(32) ‖ LP(PKCS#8)`.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let tls = self.tls.key_pkcs8();
        // Reserved in full: growing would leave copies of seeds behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 16 + 3 * 32 + 2 + tls.len()));
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.node_id.as_bytes());
        bytes.extend_from_slice(self.root.secret().expose());
        bytes.extend_from_slice(self.node.secret().expose());
        bytes.extend_from_slice(self.dkg.secret().expose());
        bytes.extend_from_slice(&u16::try_from(tls.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&tls);
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; one of format 1 gets a fresh DKG key and must be written again
    /// before that key is shown to anybody. See [`is_current`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if !matches!(format, FORMAT | FORMAT_1) {
            return Err(IdentityError::Format);
        }
        let node_id = NodeId::from_bytes(reader.array()?);
        let root = read_seed(&mut reader)?;
        let node = read_seed(&mut reader)?;
        let dkg = match format {
            FORMAT_1 => StaticKey::generate(&mut os_rng()),
            _ => StaticKey::from_secret(read_secret(&mut reader)?).map_err(|_| IdentityError::Format)?,
        };
        let tls = TlsIdentity::from_pkcs8(reader.lp(PKCS8_BYTES_MAX)?)?;
        reader.finish()?;
        Ok(Self { node_id, root, node, dkg, tls })
    }

    /// What this node is, for groups.
    pub(crate) fn card(&self) -> VerifiedCard {
        let card = NodeCard {
            node: self.node_id,
            signing: self.node.public_key(),
            spki_sha256: *self.tls.spki(),
            dkg: *self.dkg.public(),
            root: self.root.public_key(),
        };
        card.sign(&self.root)
    }

    /// What brokers' operators must be told.
    pub(crate) fn root_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.root.public_key().as_bytes())
    }
}

/// Whether the identity was written in today's format.
pub(crate) fn is_current(bytes: &[u8]) -> bool {
    bytes.first() == Some(&FORMAT)
}

fn read_seed(reader: &mut Reader<'_>) -> Result<SigningSeed, DecodeError> {
    read_secret(reader).map(SigningSeed::from_secret)
}

fn read_secret(reader: &mut Reader<'_>) -> Result<Secret<32>, DecodeError> {
    let bytes = reader.take(32)?;
    Ok(Secret::filled_by(|out: &mut [u8; 32]| out.copy_from_slice(bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_identity_survives_its_file() {
        let first = Identity::generate().unwrap();
        let again = Identity::from_bytes(&first.to_bytes()).unwrap();
        assert_eq!(first.root_fingerprint(), again.root_fingerprint());
        assert_eq!(first.node.public_key(), again.node.public_key());
        assert_eq!(first.tls.spki(), again.tls.spki());
        assert_eq!(first.card(), again.card());
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = Identity::generate().unwrap().to_bytes();
        assert!(Identity::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Identity::from_bytes(&bytes[1..]).is_err());
    }
}
