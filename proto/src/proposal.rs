//! Group proposals: who is to hold a remote key together (`docs/skb1.md` section 16.12).
//!
//! ```text
//! "SKB1/proposal" format=1 suite deployment(16) key_id(16) broker(16)
//! broker_spki_sha256(32) broker_ed25519(32)
//! number(4) previous(32) t(2) n(2) n × card(219)
//! ```
//!
//! The operators of all nodes and of the broker compare its fingerprint, so nobody, the broker included, can
//! slip in a false member. The order of the cards is the order of the indices, from 1. `number` counts the
//! groups of a key from 1, and `previous` is the SHA-256 of the proposal before (zeros for the first): an old
//! approval cannot be used again.

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::card::{CARD_BYTES, CardError, NodeCard, VerifiedCard};
use crate::codec::{DecodeError, Reader, Writer};
use crate::fingerprint::Fingerprint;
use crate::group::Suite;
use crate::id::{BrokerId, DeploymentId, KeyId};
use crate::label;
use crate::limits::NODES_MAX;
use crate::signing::{PublicKeyError, SigningPublicKey};

/// Bytes of the longest proposal, 16 nodes.
pub const PROPOSAL_BYTES_MAX: usize = HEAD_BYTES + NODES_MAX as usize * CARD_BYTES;

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = label::PROPOSAL.len() + 2 + 3 * 16 + 2 * 32 + 4 + 32 + 4;

/// SHA-256 of a proposal: names a group in runs.
pub type GroupId = [u8; 32];

/// A group of nodes for one key: every field is well formed, every card signed by its root, no member twice.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal {
    terms: ProposalTerms,
    cards: Vec<VerifiedCard>,
}

/// The fields of a proposal besides its members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProposalTerms {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The key.
    pub key: KeyId,
    /// The broker.
    pub broker: BrokerId,
    /// SHA-256 of the public key info of the broker's TLS certificate.
    pub broker_spki_sha256: [u8; 32],
    /// The broker's Ed25519 key.
    pub broker_signing: SigningPublicKey,
    /// Counts the groups of the key, from 1.
    pub number: u32,
    /// The group that this one follows; zeros for the first.
    pub previous: GroupId,
    /// t, the number of nodes that must answer.
    pub threshold: u16,
}

/// Why bytes are not a proposal, or members do not make one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ProposalError {
    /// Too short, too long.
    #[error("not a group proposal: {0}")]
    Layout(#[from] DecodeError),
    /// It does not begin with its label.
    #[error("not a group proposal")]
    Label,
    /// A format byte that this version does not know.
    #[error("group proposal format {found}, this version reads 1")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// A suite that this version does not know.
    #[error("group proposal suite {found}, this version knows 1")]
    Suite {
        /// The suite byte.
        found: u8,
    },
    /// Not 1 ≤ t ≤ n ≤ 16.
    #[error("threshold {threshold} of {nodes} nodes")]
    Threshold {
        /// t.
        threshold: u16,
        /// n.
        nodes: u16,
    },
    /// The first group of a key has number 1 and no predecessor, every other has both.
    #[error("group number {number} does not go with its predecessor")]
    Number {
        /// The number.
        number: u32,
    },
    /// The broker's key is not an Ed25519 public key.
    #[error(transparent)]
    SigningKey(#[from] PublicKeyError),
    /// The card of a member is none.
    #[error("member {index}: {error}")]
    Card {
        /// The member, from 1.
        index: u16,
        /// What is wrong with its card.
        error: CardError,
    },
    /// A member shares an id or a key with one before it.
    #[error("member {index} has an id or a key of another member")]
    Repeated {
        /// The member, from 1.
        index: u16,
    },
}

impl Proposal {
    /// A group with these members, whose indices are their places from 1.
    pub fn new(terms: ProposalTerms, cards: Vec<VerifiedCard>) -> Result<Self, ProposalError> {
        let nodes = u16::try_from(cards.len()).unwrap_or(u16::MAX);
        check_threshold(terms.threshold, nodes)?;
        if (terms.number == 1) != (terms.previous == [0; 32]) || terms.number == 0 {
            return Err(ProposalError::Number { number: terms.number });
        }
        for (index, (place, card)) in (1_u16..).zip(cards.iter().enumerate()) {
            if cards[..place].iter().any(|other| overlap(card.card(), other.card())) {
                return Err(ProposalError::Repeated { index });
            }
        }
        Ok(Self { terms, cards })
    }

    /// Reads a proposal and verifies its cards.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProposalError> {
        let mut reader = Reader::new(bytes);
        let terms = read_terms(&mut reader)?;
        let nodes = reader.u16()?;
        check_threshold(terms.threshold, nodes)?;
        let card = |index| {
            let bytes = reader.take(CARD_BYTES)?;
            VerifiedCard::parse(bytes).map_err(|error| ProposalError::Card { index, error })
        };
        let cards = (1..=nodes).map(card).collect::<Result<_, _>>()?;
        reader.finish()?;
        Self::new(terms, cards)
    }

    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(HEAD_BYTES + self.cards.len() * CARD_BYTES);
        let terms = &self.terms;
        writer.bytes(label::PROPOSAL).u8(FORMAT).u8(Suite::Ristretto255.byte());
        writer.bytes(terms.deployment.as_bytes()).bytes(terms.key.as_bytes()).bytes(terms.broker.as_bytes());
        writer.bytes(&terms.broker_spki_sha256).bytes(terms.broker_signing.as_bytes());
        writer.u32(terms.number).bytes(&terms.previous).u16(terms.threshold).u16(self.nodes());
        for card in &self.cards {
            writer.bytes(card.as_bytes());
        }
        writer.finish()
    }

    /// What names the group in runs.
    pub fn id(&self) -> GroupId {
        Sha256::digest(self.to_bytes()).into()
    }

    /// What the operators of all nodes and of the broker compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.to_bytes())
    }

    /// What the operator of the broker reads out for the broker alone.
    pub fn broker_fingerprint(&self) -> Fingerprint {
        Fingerprint::of_broker(&self.terms.broker_spki_sha256, &self.terms.broker_signing)
    }

    /// The fields besides the members.
    pub const fn terms(&self) -> &ProposalTerms {
        &self.terms
    }

    /// The members; the index of each is its place from 1.
    pub fn cards(&self) -> &[VerifiedCard] {
        &self.cards
    }

    /// n.
    pub fn nodes(&self) -> u16 {
        u16::try_from(self.cards.len()).expect("at most 16 members")
    }

    /// The member with this index, from 1.
    pub fn member(&self, index: u16) -> Option<&NodeCard> {
        let place = usize::from(index).checked_sub(1)?;
        self.cards.get(place).map(VerifiedCard::card)
    }

    /// The index of the member with exactly this card, from 1.
    pub fn index_of(&self, card: &NodeCard) -> Option<u16> {
        (1..).zip(&self.cards).find_map(|(index, member)| (member.card() == card).then_some(index))
    }
}

fn check_threshold(threshold: u16, nodes: u16) -> Result<(), ProposalError> {
    match 1 <= threshold && threshold <= nodes && nodes <= NODES_MAX {
        true => Ok(()),
        false => Err(ProposalError::Threshold { threshold, nodes }),
    }
}

/// Whether two members have anything in common that must be each one's own. One machine that counts twice
/// would make t smaller than people think.
fn overlap(a: &NodeCard, b: &NodeCard) -> bool {
    a.node == b.node
        || a.signing == b.signing
        || a.spki_sha256 == b.spki_sha256
        || a.dkg == b.dkg
        || a.root == b.root
}

fn read_terms(reader: &mut Reader<'_>) -> Result<ProposalTerms, ProposalError> {
    if reader.take(label::PROPOSAL.len())? != label::PROPOSAL {
        return Err(ProposalError::Label);
    }
    match (reader.u8()?, reader.u8()?) {
        (FORMAT, suite) if Suite::from_byte(suite).is_none() => Err(ProposalError::Suite { found: suite }),
        (FORMAT, _) => Ok(ProposalTerms {
            deployment: DeploymentId::from_bytes(reader.array()?),
            key: KeyId::from_bytes(reader.array()?),
            broker: BrokerId::from_bytes(reader.array()?),
            broker_spki_sha256: reader.array()?,
            broker_signing: SigningPublicKey::from_bytes(&reader.array()?)?,
            number: reader.u32()?,
            previous: reader.array()?,
            threshold: reader.u16()?,
        }),
        (found, _) => Err(ProposalError::Format { found }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::{test_card, test_proposal};

    #[test]
    fn comes_back_and_names_its_members() {
        for (t, nodes) in [(1, 1), (2, 3), (16, 16)] {
            let (proposal, _) = test_proposal(t, nodes);
            let n = u16::from(nodes);
            let bytes = proposal.to_bytes();
            assert_eq!(Proposal::parse(&bytes).unwrap(), proposal);
            assert_eq!(bytes.len(), HEAD_BYTES + usize::from(nodes) * CARD_BYTES);
            assert_eq!(proposal.index_of(proposal.member(n).unwrap()), Some(n));
            assert_eq!(proposal.member(0), None);
            assert_eq!(proposal.member(n + 1), None);
        }
        assert_eq!(test_proposal(16, 16).0.to_bytes().len(), PROPOSAL_BYTES_MAX);
    }

    #[test]
    fn every_byte_changes_the_fingerprint() {
        let (proposal, _) = test_proposal(2, 3);
        let bytes = proposal.to_bytes();
        for position in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[position] ^= 1;
            let same = Proposal::parse(&forged).is_ok_and(|p| p.fingerprint() == proposal.fingerprint());
            assert!(!same, "byte {position}");
        }
    }

    #[test]
    fn refuses_members_and_numbers_that_do_not_go_together() {
        let (proposal, _) = test_proposal(2, 3);
        let (terms, cards) = (*proposal.terms(), proposal.cards().to_vec());
        let new =
            |terms: ProposalTerms, cards: &[VerifiedCard]| Proposal::new(terms, cards.to_vec()).unwrap_err();
        let t = |threshold| ProposalTerms { threshold, ..terms };
        assert_eq!(new(t(0), &cards), ProposalError::Threshold { threshold: 0, nodes: 3 });
        assert_eq!(new(t(4), &cards), ProposalError::Threshold { threshold: 4, nodes: 3 });
        let many: Vec<_> = (0..17).map(|node| test_card(node).0).collect();
        assert_eq!(new(t(2), &many), ProposalError::Threshold { threshold: 2, nodes: 17 });
        assert_eq!(new(terms, &[cards[0], cards[1], cards[0]]), ProposalError::Repeated { index: 3 });
        let number = |number, previous| ProposalTerms { number, previous, ..terms };
        assert_eq!(new(number(0, [0; 32]), &cards), ProposalError::Number { number: 0 });
        assert_eq!(new(number(2, [0; 32]), &cards), ProposalError::Number { number: 2 });
        assert_eq!(new(number(1, [1; 32]), &cards), ProposalError::Number { number: 1 });
        assert!(Proposal::new(number(2, [1; 32]), cards).is_ok());
    }

    #[test]
    fn one_key_of_another_member_is_enough_to_refuse() {
        let (proposal, seeds) = test_proposal(2, 2);
        let (first, second) = (proposal.cards()[0], *proposal.cards()[1].card());
        let own = first.card();
        for stolen in [
            NodeCard { node: own.node, ..second },
            NodeCard { signing: own.signing, ..second },
            NodeCard { spki_sha256: own.spki_sha256, ..second },
            NodeCard { dkg: own.dkg, ..second },
        ] {
            let cards = vec![first, stolen.sign(&seeds[1].root)];
            assert_eq!(Proposal::new(*proposal.terms(), cards), Err(ProposalError::Repeated { index: 2 }));
        }
        let root = NodeCard { root: own.root, ..second }.sign(&seeds[0].root);
        assert_eq!(
            Proposal::new(*proposal.terms(), vec![first, root]),
            Err(ProposalError::Repeated { index: 2 })
        );
    }

    #[test]
    fn a_forged_card_names_its_member() {
        let (proposal, _) = test_proposal(2, 3);
        let mut bytes = proposal.to_bytes();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(
            Proposal::parse(&bytes),
            Err(ProposalError::Card { index: 3, error: CardError::Signature })
        );
    }
}
