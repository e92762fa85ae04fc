//! The part of a backup that everybody can read.
//!
//! ```text
//! head      = format(1)=1 ‖ deployment(16) ‖ backup(16) ‖ made(8) ‖ entries(8) ‖ LP(log key) ‖ count(1)
//!             ‖ count × recipient
//! recipient = LP(name) ‖ SHA-256(sealing key)(32) ‖ HPKE(info, aad, backup key(32))
//! info      = label ‖ deployment(16) ‖ backup(16)
//! aad       = LP(name) ‖ SHA-256(sealing key)(32)
//! ```

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::codec::{DecodeError, Reader, Writer};
use crate::custodian::{CUSTODIAN_NAME_BYTES_MAX, Card, is_custodian_name};
use crate::id::{BackupId, DeploymentId};
use crate::label;
use crate::log::{VerifierKey, VerifierKeyError};
use crate::secret::Secret;
use crate::xwing::{SEALED_OVERHEAD_BYTES, XWingPublicKey, XWingSeed};

/// Most recipients of one backup.
pub const RECIPIENTS_MAX: usize = 32;

const FORMAT: u8 = 1;
const LOG_KEY_BYTES_MAX: usize = 512;
const SEALED_KEY_BYTES: usize = 32 + SEALED_OVERHEAD_BYTES;

pub(super) const HEAD_BYTES_MAX: usize = 1
    + 16
    + 16
    + 8
    + 8
    + 2
    + LOG_KEY_BYTES_MAX
    + 1
    + RECIPIENTS_MAX * (2 + CUSTODIAN_NAME_BYTES_MAX + 32 + SEALED_KEY_BYTES);

/// What a backup is of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct About {
    /// The broker's deployment.
    pub deployment: DeploymentId,
    /// Names this backup.
    pub backup: BackupId,
    /// When it was made, in seconds since the Unix epoch.
    pub made: u64,
    /// Entries of the audit log that it holds at least: those that were durable when it was begun.
    pub entries: u64,
    /// What verifies the audit log, and the backup.
    pub log_key: VerifierKey,
}

/// What everybody can read of a backup.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    about: About,
    recipients: Vec<Recipient>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Recipient {
    name: String,
    key_sha256: [u8; 32],
    sealed: Vec<u8>,
}

/// Why bytes are not the head of a backup, or why none can be made.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum HeadError {
    /// Not the layout.
    #[error("the head of the backup is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("backup format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// The key that signed it is none.
    #[error("the head of the backup names no usable key of an audit log: {0}")]
    LogKey(#[from] VerifierKeyError),
    /// No name, or one that cannot be told from others.
    #[error("the head of the backup is damaged: the name of a recipient is not printable")]
    Name,
    /// Sealed to nobody, or to too many.
    #[error("a backup has 1 to {RECIPIENTS_MAX} recipients, this has {found}")]
    Recipients {
        /// How many.
        found: usize,
    },
}

impl Head {
    /// Seals the backup's key to the owners of these cards.
    pub(super) fn seal(
        about: About,
        cards: &[Card],
        key: &Secret<32>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, HeadError> {
        check_count(cards.len())?;
        let recipients = cards.iter().map(|card| Recipient::seal(&about, card, key, rng)).collect();
        Ok(Self { about, recipients })
    }

    /// The backup's key, if it is sealed to the owner of this one.
    pub(super) fn open(&self, seed: &XWingSeed) -> Option<Secret<32>> {
        let key_sha256 = digest(&seed.public_key());
        let mine = self.recipients.iter().filter(|recipient| recipient.key_sha256 == key_sha256);
        mine.flat_map(|recipient| seed.open::<32>(&info(&self.about), &recipient.aad(), &recipient.sealed))
            .next()
    }

    /// What it is of. Signed by whoever holds `log_key`, and nobody has checked that yet.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// Names of those who can open it.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.recipients.iter().map(|recipient| recipient.name.as_str())
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { about, recipients } = self;
        let mut out = Writer::with_capacity(256 + recipients.len() * (SEALED_KEY_BYTES + 128));
        out.u8(FORMAT).bytes(about.deployment.as_bytes()).bytes(about.backup.as_bytes());
        out.u64(about.made).u64(about.entries).lp(about.log_key.to_string().as_bytes());
        out.u8(u8::try_from(recipients.len()).expect("the number was checked"));
        for recipient in recipients {
            out.bytes(&recipient.aad()).bytes(&recipient.sealed);
        }
        out.finish()
    }

    /// Reads the bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(HeadError::Format { found: format });
        }
        let about = About {
            deployment: DeploymentId::from_bytes(reader.array()?),
            backup: BackupId::from_bytes(reader.array()?),
            made: reader.u64()?,
            entries: reader.u64()?,
            log_key: core::str::from_utf8(reader.lp(LOG_KEY_BYTES_MAX)?).unwrap_or_default().parse()?,
        };
        let count = usize::from(reader.u8()?);
        check_count(count)?;
        let recipients = (0..count).map(|_| Recipient::decode(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { about, recipients })
    }
}

impl Recipient {
    fn seal(about: &About, card: &Card, key: &Secret<32>, rng: &mut dyn CryptoRng) -> Self {
        let sealing = &card.keys().sealing;
        let mut it = Self { name: card.name().to_owned(), key_sha256: digest(sealing), sealed: Vec::new() };
        it.sealed = sealing.seal(&info(about), &it.aad(), key.expose(), rng);
        it
    }

    fn aad(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(2 + self.name.len() + 32);
        out.lp(self.name.as_bytes()).bytes(&self.key_sha256);
        out.finish()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, HeadError> {
        let name = core::str::from_utf8(reader.lp(CUSTODIAN_NAME_BYTES_MAX)?).map_err(|_| HeadError::Name)?;
        if !is_custodian_name(name) {
            return Err(HeadError::Name);
        }
        let (key_sha256, sealed) = (reader.array()?, reader.take(SEALED_KEY_BYTES)?.to_vec());
        Ok(Self { name: name.to_owned(), key_sha256, sealed })
    }
}

fn check_count(found: usize) -> Result<(), HeadError> {
    match (1..=RECIPIENTS_MAX).contains(&found) {
        true => Ok(()),
        false => Err(HeadError::Recipients { found }),
    }
}

fn digest(key: &XWingPublicKey) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn info(about: &About) -> Vec<u8> {
    [label::BACKUP_KEY, about.deployment.as_bytes(), about.backup.as_bytes()].concat()
}
