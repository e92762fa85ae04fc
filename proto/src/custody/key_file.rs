//! A key file: the private keys of one person, at rest under a passphrase (docs/skb1.md section 7.4).
//!
//! ```text
//! header = format(1)=1 ‖ kind(1) ‖ memory_kib(4) ‖ passes(4) ‖ lanes(4) ‖ salt(16) ‖ LP(public)
//! public = a card (custodian), or LP(name) ‖ Ed25519 key(32) (officer)
//! file   = header ‖ SealedBox(Argon2id(passphrase, salt), LP(label) ‖ header, seeds(64))
//! ```
//!
//! The header is the context of the box, so a changed one does not open: neither weaker parameters nor
//! another person's public keys can be slipped in. Everything in it can be shown without the passphrase.

use rand_core::CryptoRng;
use thiserror::Error;

use super::passphrase::{PassphraseCost, PassphraseError, SALT_BYTES};
use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer};
use crate::custodian::{CUSTODIAN_NAME_BYTES_MAX, is_custodian_name};
use crate::custodian::{Card, CardError};
use crate::custodian::{KeyKind, KeyPair};
use crate::fingerprint::Fingerprint;
use crate::label;
use crate::sealedbox;
use crate::secret::Secret;
use crate::signing::SigningPublicKey;

/// Longest binary key file in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 4096;

const FORMAT: u8 = 1;
const SEEDS_BYTES: usize = 64;

/// A key file that was read but not opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFile {
    public: Public,
    cost: PassphraseCost,
    salt: [u8; SALT_BYTES],
    boxed: Vec<u8>,
}

/// What a key file shows without its passphrase.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Public {
    Custodian(Box<Card>),
    Officer { name: String, key: Box<SigningPublicKey> },
}

/// Why there is no key file, or why it stays closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum KeyFileError {
    /// Not the text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Not the layout.
    #[error("the key file is damaged: {0}; restore it from a copy")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("key file format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// Neither a custodian's nor an officer's.
    #[error("the key file holds keys of a kind that this version does not know ({found})")]
    Kind {
        /// The kind number.
        found: u8,
    },
    /// A name that nobody could read or tell from another.
    #[error("a name has 1 to 64 printable characters and no blank at either end")]
    Name,
    /// The public part is no card.
    #[error("the public part of the key file is not valid: {0}")]
    Card(#[from] CardError),
    /// Bad passphrase or parameters.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The wrong passphrase, or the file was changed.
    #[error("the key file does not open: the passphrase is wrong, or the file was altered")]
    DoesNotOpen,
    /// An officer's keys where a custodian's are needed, or the other way round.
    #[error("this is the key file of an {found}; a key file of a {expected} is needed here")]
    OtherKind {
        /// Whose it is.
        found: &'static str,
        /// Whose is needed.
        expected: &'static str,
    },
}

impl KeyFile {
    /// Seals `keys` under `phrase` for the person called `name`.
    pub fn seal(
        keys: &KeyPair,
        name: &str,
        phrase: &str,
        cost: PassphraseCost,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, KeyFileError> {
        let public = Public::of(keys, name)?;
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let mut file = Self { public, cost, salt, boxed: Vec::new() };
        let key = cost.stretch(phrase, &salt)?;
        let boxed = sealedbox::seal(&key, &file.context(), keys.seeds().expose(), rng);
        file.boxed = boxed.expect("64 bytes are fewer than a box takes");
        Ok(file)
    }

    /// The keys, if `phrase` is right. Takes as long as the cost says: a second at the default.
    pub fn open(&self, phrase: &str) -> Result<KeyPair, KeyFileError> {
        let key = self.cost.stretch(phrase, &self.salt)?;
        let opened = sealedbox::open(&key, &self.context(), &self.boxed);
        let opened = opened.map_err(|_| KeyFileError::DoesNotOpen)?;
        let opened = opened.first_chunk::<SEEDS_BYTES>().ok_or(KeyFileError::DoesNotOpen)?;
        let seeds = Secret::filled_by(|out| out.copy_from_slice(opened));
        Ok(KeyPair::from_seeds(self.kind(), &seeds))
    }

    /// [`KeyFile::open`], only for keys of this kind.
    pub fn open_as(&self, kind: KeyKind, phrase: &str) -> Result<KeyPair, KeyFileError> {
        match self.kind() == kind {
            true => self.open(phrase),
            false => Err(KeyFileError::OtherKind { found: self.kind().name(), expected: kind.name() }),
        }
    }

    /// Whose keys these are.
    pub const fn kind(&self) -> KeyKind {
        match self.public {
            Public::Custodian(_) => KeyKind::Custodian,
            Public::Officer { .. } => KeyKind::Officer,
        }
    }

    /// The person's name.
    pub fn name(&self) -> &str {
        match &self.public {
            Public::Custodian(card) => card.name(),
            Public::Officer { name, .. } => name,
        }
    }

    /// What two people compare.
    pub fn fingerprint(&self) -> Fingerprint {
        match &self.public {
            Public::Custodian(card) => card.fingerprint(),
            Public::Officer { key, .. } => Fingerprint::of(key.as_bytes()),
        }
    }

    /// The custodian's card; `None` in an officer's file.
    pub const fn card(&self) -> Option<&Card> {
        match &self.public {
            Public::Custodian(card) => Some(card),
            Public::Officer { .. } => None,
        }
    }

    /// The Ed25519 key that verifies this person's signatures.
    pub const fn signing_key(&self) -> &SigningPublicKey {
        match &self.public {
            Public::Custodian(card) => &card.keys().signing,
            Public::Officer { key, .. } => key,
        }
    }

    /// What opening it costs.
    pub const fn cost(&self) -> PassphraseCost {
        self.cost
    }

    /// Its binary form.
    pub fn encode(&self) -> Vec<u8> {
        [self.header(), self.boxed.clone()].concat()
    }

    /// Reads the binary form. Parameters below the minimum are refused before any passphrase is asked.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(KeyFileError::Format { found: format });
        }
        let kind = reader.u8()?;
        let kind = KeyKind::from_byte(kind).ok_or(KeyFileError::Kind { found: kind })?;
        let cost = PassphraseCost::new(reader.u32()?, reader.u32()?, reader.u32()?)?;
        let salt = reader.array()?;
        let public = Public::decode(kind, reader.lp(KEY_FILE_BYTES_MAX)?)?;
        let boxed = reader.take(SEEDS_BYTES + sealedbox::OVERHEAD_BYTES)?.to_vec();
        reader.finish()?;
        Ok(Self { public, cost, salt, boxed })
    }

    /// Its text form, as it stands in the file.
    pub fn to_text(&self) -> String {
        armour::encode(Kind::KeyFile, &self.encode())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        Self::decode(&armour::decode(Kind::KeyFile, text)?)
    }

    fn header(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1536);
        writer.u8(FORMAT).u8(self.kind().byte());
        writer.u32(self.cost.memory_kib()).u32(self.cost.passes()).u32(self.cost.lanes());
        writer.bytes(&self.salt).lp(&self.public.encode());
        writer.finish()
    }

    fn context(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1600);
        writer.lp(label::CONTEXT_KEY_FILE).bytes(&self.header());
        writer.finish()
    }
}

impl Public {
    fn of(keys: &KeyPair, name: &str) -> Result<Self, KeyFileError> {
        if !is_custodian_name(name) {
            return Err(KeyFileError::Name);
        }
        Ok(match keys.kind() {
            KeyKind::Custodian => Self::Custodian(Box::new(keys.card(name)?)),
            KeyKind::Officer => {
                Self::Officer { name: name.to_owned(), key: Box::new(keys.signing().public_key()) }
            }
        })
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Custodian(card) => card.encode(),
            Self::Officer { name, key } => {
                let mut writer = Writer::with_capacity(2 + name.len() + 32);
                writer.lp(name.as_bytes()).bytes(key.as_bytes());
                writer.finish()
            }
        }
    }

    fn decode(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyFileError> {
        if kind == KeyKind::Custodian {
            return Ok(Self::Custodian(Box::new(Card::decode(bytes)?)));
        }
        let mut reader = Reader::new(bytes);
        let name = core::str::from_utf8(reader.lp(CUSTODIAN_NAME_BYTES_MAX)?);
        let name = name.ok().filter(|name| is_custodian_name(name)).ok_or(KeyFileError::Name)?.to_owned();
        let key = SigningPublicKey::from_bytes(&reader.array()?).map_err(|_| CardError::Key)?;
        reader.finish()?;
        Ok(Self::Officer { name, key: Box::new(key) })
    }
}
