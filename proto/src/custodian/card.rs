//! A custodian's public card: what the dealer of a share set must know about a person (docs/skb1.md section
//! 7.3).
//!
//! ```text
//! format(1)=1 ‖ LP(name) ‖ sealing key(1216) ‖ signing key(32) ‖ Ed25519 signature(64)
//! ```
//!
//! The signature is by the card's own signing key over a label and everything before it. It shows that the
//! card is whole and that one person has both keys; *which* person, the fingerprint says when it is compared
//! out of band.

use thiserror::Error;

use super::keys::{CustodianKeys, KeyPair};
use super::name::{CUSTODIAN_NAME_BYTES_MAX, is_custodian_name};
use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer};
use crate::fingerprint::Fingerprint;
use crate::label;
use crate::signing::{SigningPublicKey, SigningSeed};
use crate::xwing::{XWING_PUBLIC_BYTES, XWingPublicKey};

const FORMAT: u8 = 1;

/// Name and public keys of a custodian, with a signature that fits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Card {
    name: String,
    keys: CustodianKeys,
    signature: [u8; 64],
}

/// Why a text or bytes are no card.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CardError {
    /// Not the text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Not the layout.
    #[error("the custodian card is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("custodian card format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// The name cannot be told from others.
    #[error("the name on the custodian card is empty, longer than 64 characters, or not printable")]
    Name,
    /// A key that nothing can be sealed to or verified with.
    #[error("a key on the custodian card is not valid; ask its owner for a new card")]
    Key,
    /// Officers have no card: they hold no share.
    #[error("an officer has no custodian card; make custodian keys for this person")]
    Officer,
    /// Something on the card was changed.
    #[error(
        "the custodian card was damaged or changed: its signature does not fit; ask its owner for it again"
    )]
    Signature,
}

impl KeyPair {
    /// The public card of a custodian called `name`, signed with the card's own key.
    pub fn card(&self, name: &str) -> Result<Card, CardError> {
        let keys = self.custodian_keys().ok_or(CardError::Officer)?;
        Card::sign(name, keys, self.signing())
    }
}

impl Card {
    fn sign(name: &str, keys: CustodianKeys, seed: &SigningSeed) -> Result<Self, CardError> {
        if !is_custodian_name(name) {
            return Err(CardError::Name);
        }
        let signature = seed.sign(&signed_bytes(name, &keys));
        Ok(Self { name: name.to_owned(), keys, signature })
    }

    /// The name that its owner chose.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public keys.
    pub const fn keys(&self) -> &CustodianKeys {
        &self.keys
    }

    /// What to compare with its owner.
    pub fn fingerprint(&self) -> Fingerprint {
        self.keys.fingerprint()
    }

    /// Its binary form.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = body(&self.name, &self.keys);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads the binary form and verifies the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, CardError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(CardError::Format { found: format });
        }
        let name = core::str::from_utf8(reader.lp(CUSTODIAN_NAME_BYTES_MAX)?).map_err(|_| CardError::Name)?;
        let sealing = reader.take(XWING_PUBLIC_BYTES)?;
        let (signing, signature) = (reader.array()?, reader.array()?);
        reader.finish()?;
        let keys = CustodianKeys {
            sealing: XWingPublicKey::from_bytes(sealing).map_err(|_| CardError::Key)?,
            signing: SigningPublicKey::from_bytes(&signing).map_err(|_| CardError::Key)?,
        };
        if !is_custodian_name(name) {
            return Err(CardError::Name);
        }
        match keys.signing.verifies(&signed_bytes(name, &keys), &signature) {
            true => Ok(Self { name: name.to_owned(), keys, signature }),
            false => Err(CardError::Signature),
        }
    }

    /// Its text form, for a file or a mail.
    pub fn to_text(&self) -> String {
        armour::encode(Kind::Card, &self.encode())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        Self::decode(&armour::decode(Kind::Card, text)?)
    }
}

fn body(name: &str, keys: &CustodianKeys) -> Vec<u8> {
    let mut writer = Writer::with_capacity(1 + 2 + name.len() + XWING_PUBLIC_BYTES + 32 + 64);
    writer.u8(FORMAT).lp(name.as_bytes());
    writer.bytes(keys.sealing.as_bytes()).bytes(keys.signing.as_bytes());
    writer.finish()
}

fn signed_bytes(name: &str, keys: &CustodianKeys) -> Vec<u8> {
    [label::CUSTODIAN_CARD, &body(name, keys)].concat()
}
