//! Node cards: what a fragment service node is, in one signed message (`docs/skb1.md` section 16.12).
//!
//! ```text
//! "SKB1/card" format=1 suite node_id(16) ed25519(32) spki_sha256(32) P(32) root_ed25519(32) sig_root(64)
//! ```
//!
//! A card proves nothing about who runs the node: its root signs itself. Trust comes from people who compare
//! the fingerprint of the root ([`NodeCard::fingerprint`]) or of the whole group ([`crate::proposal`]). `P`
//! is the static key with which the node signs its messages of a group ceremony ([`crate::dkg`]), among them
//! the key of each run to which shares are sealed.

use thiserror::Error;

use crate::codec::{DecodeError, Reader, Writer};
use crate::fingerprint::Fingerprint;
use crate::group::{Point, PointError, Suite};
use crate::id::NodeId;
use crate::label;
use crate::signing::{PublicKeyError, SIGNATURE_BYTES, SigningPublicKey, SigningSeed};

/// Bytes of a card.
pub const CARD_BYTES: usize = label::CARD.len() + 2 + 16 + 4 * 32 + SIGNATURE_BYTES;

const FORMAT: u8 = 1;

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeCard {
    /// Its id.
    pub node: NodeId,
    /// Its Ed25519 key: signs leases and manifests.
    pub signing: SigningPublicKey,
    /// SHA-256 of the public key info of its TLS certificate.
    pub spki_sha256: [u8; 32],
    /// Its static DKG key P.
    pub dkg: Point,
    /// Its root key, which people know by its fingerprint.
    pub root: SigningPublicKey,
}

/// Why bytes are not a card.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CardError {
    /// Too short, too long.
    #[error("not a node card: {0}")]
    Layout(#[from] DecodeError),
    /// It does not begin with its label.
    #[error("not a node card")]
    Label,
    /// A format byte that this version does not know.
    #[error("node card format {found}, this version reads 1")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// A suite that this version does not know.
    #[error("node card suite {found}, this version knows 1")]
    Suite {
        /// The suite byte.
        found: u8,
    },
    /// The signing key or the root key is not an Ed25519 public key.
    #[error(transparent)]
    SigningKey(#[from] PublicKeyError),
    /// P is not a usable point.
    #[error("the DKG key of the node card is {0}")]
    Point(#[from] PointError),
    /// Its root did not sign it.
    #[error("the signature of the node card does not verify")]
    Signature,
}

impl NodeCard {
    /// The fingerprint of the node's root: what its operator reads out.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.root.as_bytes())
    }

    /// The card, signed by `root`, whose public half must be [`NodeCard::root`].
    pub fn sign(&self, root: &SigningSeed) -> VerifiedCard {
        let mut bytes = self.signed_bytes();
        let signature = root.sign(&bytes);
        bytes.extend(signature);
        VerifiedCard {
            card: *self,
            bytes: bytes.try_into().expect("every field of a card has a fixed length"),
        }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(CARD_BYTES);
        writer.bytes(label::CARD).u8(FORMAT).u8(Suite::Ristretto255.byte()).bytes(self.node.as_bytes());
        writer.bytes(self.signing.as_bytes()).bytes(&self.spki_sha256).bytes(self.dkg.as_bytes());
        writer.bytes(self.root.as_bytes());
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CardError> {
        if reader.take(label::CARD.len())? != label::CARD {
            return Err(CardError::Label);
        }
        match (reader.u8()?, reader.u8()?) {
            (FORMAT, suite) if Suite::from_byte(suite).is_none() => Err(CardError::Suite { found: suite }),
            (FORMAT, _) => Ok(Self {
                node: NodeId::from_bytes(reader.array()?),
                signing: SigningPublicKey::from_bytes(&reader.array()?)?,
                spki_sha256: reader.array()?,
                dkg: Point::decode(&reader.array()?)?,
                root: SigningPublicKey::from_bytes(&reader.array()?)?,
            }),
            (found, _) => Err(CardError::Format { found }),
        }
    }
}

/// A card whose fields are well formed and whose root signed it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VerifiedCard {
    card: NodeCard,
    bytes: [u8; CARD_BYTES],
}

impl VerifiedCard {
    /// Reads and verifies a card.
    pub fn parse(bytes: &[u8]) -> Result<Self, CardError> {
        let mut reader = Reader::new(bytes);
        let card = NodeCard::read(&mut reader)?;
        let signature = reader.array()?;
        reader.finish()?;
        let (signed, _) = bytes.split_at(CARD_BYTES - SIGNATURE_BYTES);
        if !card.root.verifies(signed, &signature) {
            return Err(CardError::Signature);
        }
        let mut whole = [0; CARD_BYTES];
        whole.copy_from_slice(bytes);
        Ok(Self { card, bytes: whole })
    }

    /// Its fields.
    pub const fn card(&self) -> &NodeCard {
        &self.card
    }

    /// Its encoding.
    pub const fn as_bytes(&self) -> &[u8; CARD_BYTES] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::test_card;

    #[test]
    fn every_byte_is_signed_or_the_signature() {
        let (card, member) = test_card(1);
        assert_eq!(VerifiedCard::parse(card.as_bytes()).unwrap(), card);
        assert_eq!(card.card().dkg, *member.dkg.public());
        for position in 0..CARD_BYTES {
            let mut forged = *card.as_bytes();
            forged[position] ^= 1;
            assert!(VerifiedCard::parse(&forged).is_err(), "byte {position}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let (card, _) = test_card(1);
        let with = |position: usize, bytes: &[u8]| {
            let mut changed = card.as_bytes().to_vec();
            changed[position..position + bytes.len()].copy_from_slice(bytes);
            VerifiedCard::parse(&changed).unwrap_err()
        };
        assert_eq!(with(0, b"X"), CardError::Label);
        assert_eq!(with(9, &[2]), CardError::Format { found: 2 });
        assert_eq!(with(10, &[2]), CardError::Suite { found: 2 });
        assert_eq!(with(91, &[0; 32]), CardError::Point(PointError::Identity));
        assert_eq!(with(91, &[0xff; 32]), CardError::Point(PointError::NotCanonical));
        assert_eq!(with(123, &[0; 32]), CardError::SigningKey(PublicKeyError));
        assert_eq!(with(11, &[0; 16]), CardError::Signature);
        let short = VerifiedCard::parse(&card.as_bytes()[..CARD_BYTES - 1]).unwrap_err();
        assert_eq!(short, CardError::Layout(DecodeError::Truncated { missing: 1 }));
        let long = VerifiedCard::parse(&[card.as_bytes().as_slice(), &[0]].concat()).unwrap_err();
        assert_eq!(long, CardError::Layout(DecodeError::Trailing { extra: 1 }));
    }
}
