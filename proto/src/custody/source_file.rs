//! The key file of a source: a custodian whose keys a device keeps instead of a passphrase (`docs/skb1.md`
//! 16.85).
//!
//! ```text
//! file  = format(1)=1 ‖ LP(kind) ‖ LP(card) ‖ box(64 + overhead) ‖ LP32(binding) ‖ dealt(1) ‖ share
//! box   = SealedBox(K, LP("SKB1/ctx/source-file") ‖ deployment(16) ‖ LP(kind) ‖ LP(card), seeds(64))
//! share = set_id(8) ‖ x(1) ‖ envelope(1181)                                      only if dealt = 1
//! ```
//!
//! K is 32 random bytes that the device keeps under the binding. All of the file is public: without the
//! device nothing in it opens. A binding can be made anew for the same K, so it is not part of the context.

use rand_core::CryptoRng;
use thiserror::Error;

use super::envelope::{ENVELOPE_BYTES, EnvelopeError, ShareEnvelope};
use crate::codec::{DecodeError, Reader, Writer};
use crate::custodian::{Card, CardError, KeyKind, KeyPair};
use crate::id::DeploymentId;
use crate::label;
use crate::sealedbox;
use crate::secret::Secret;
use crate::share::{SetId, Share, ShareSetManifest};

/// Longest binding in bytes.
pub const BINDING_BYTES_MAX: usize = 64 << 10;
/// Longest name of a kind of source in bytes.
pub const SOURCE_KIND_BYTES_MAX: usize = 16;

const FORMAT: u8 = 1;
const SEEDS_BYTES: usize = 64;
const CARD_BYTES_MAX: usize = 2048;

/// A source as the store keeps it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceFile {
    kind: String,
    card: Card,
    boxed: Vec<u8>,
    /// What it takes to ask the device for the key of the box.
    pub binding: Vec<u8>,
    /// Its share, if it holds one.
    pub dealt: Option<DealtShare>,
}

/// The share of a source, sealed to its card.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DealtShare {
    /// The set it belongs to.
    pub set: SetId,
    /// Its number.
    pub x: u8,
    /// The share.
    pub envelope: ShareEnvelope,
}

/// Why there is no file of a source, or why it stays closed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SourceFileError {
    /// Not the layout.
    #[error("what is kept of the source is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("what is kept of the source has format {found}, which this version does not know; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// Its card is none, or nobody's name.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The name of a kind.
    #[error("the kind of a source has 1 to 16 lower-case letters and digits")]
    Kind,
    /// The key is another's, or the file was changed.
    #[error("the keys of the source do not open: what is kept of it was altered, or is another deployment's")]
    DoesNotOpen,
    /// It holds no share of this set.
    #[error("the source holds no share of the present set; deal it one with a reshare")]
    NoShare,
    /// Its envelope does not open.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl SourceFile {
    /// Fresh keys for the source called `name`, sealed under `key`, which a device keeps under `binding`.
    pub fn generate(
        kind: &str,
        name: &str,
        deployment: DeploymentId,
        (key, binding): (&Secret<32>, Vec<u8>),
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, SourceFileError> {
        let keys = KeyPair::generate(KeyKind::Custodian, rng);
        let card = keys.card(name)?;
        let boxed = sealedbox::seal(key, &context(deployment, kind, &card), keys.seeds().expose(), rng);
        let boxed = boxed.map_err(|_| SourceFileError::DoesNotOpen)?;
        is_kind(kind).then_some(()).ok_or(SourceFileError::Kind)?;
        Ok(Self { kind: kind.to_owned(), card, boxed, binding, dealt: None })
    }

    /// Name and public keys.
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// The kind of its device.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The private keys, with the key that the device gave.
    pub fn open(&self, key: &Secret<32>, deployment: DeploymentId) -> Result<KeyPair, SourceFileError> {
        let opened = sealedbox::open(key, &context(deployment, &self.kind, &self.card), &self.boxed);
        let opened = opened.map_err(|_| SourceFileError::DoesNotOpen)?;
        let seeds = opened.first_chunk::<SEEDS_BYTES>().ok_or(SourceFileError::DoesNotOpen)?;
        let seeds = Secret::filled_by(|out| out.copy_from_slice(seeds));
        Ok(KeyPair::from_seeds(KeyKind::Custodian, &seeds))
    }

    /// Its share of a set, checked against the manifest.
    pub fn open_share(
        &self,
        key: &Secret<32>,
        manifest: &ShareSetManifest,
    ) -> Result<Share, SourceFileError> {
        let dealt = self.dealt.as_ref().filter(|dealt| dealt.set == manifest.set_id());
        let dealt = dealt.ok_or(SourceFileError::NoShare)?;
        self.open_envelope(key, manifest, dealt.x, &dealt.envelope)
    }

    /// A share that is sealed to its card, of a set that may not be in force yet.
    pub fn open_envelope(
        &self,
        key: &Secret<32>,
        manifest: &ShareSetManifest,
        x: u8,
        envelope: &ShareEnvelope,
    ) -> Result<Share, SourceFileError> {
        let keys = self.open(key, manifest.deployment())?;
        let seed = keys.sealing().ok_or(SourceFileError::DoesNotOpen)?;
        Ok(envelope.open(manifest, x, seed)?)
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(4096 + self.binding.len());
        out.u8(FORMAT)
            .lp(self.kind.as_bytes())
            .lp(&self.card.encode())
            .bytes(&self.boxed)
            .lp32(&self.binding);
        match &self.dealt {
            None => out.u8(0),
            Some(DealtShare { set, x, envelope }) => {
                out.u8(1).bytes(set.as_bytes()).u8(*x).bytes(envelope.as_bytes())
            }
        };
        out.finish()
    }

    /// Reads them.
    pub fn decode(bytes: &[u8]) -> Result<Self, SourceFileError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(SourceFileError::Format { found: format });
        }
        let kind = core::str::from_utf8(reader.lp(SOURCE_KIND_BYTES_MAX)?);
        let kind = kind.ok().filter(|kind| is_kind(kind)).ok_or(SourceFileError::Kind)?.to_owned();
        let card = Card::decode(reader.lp(CARD_BYTES_MAX)?)?;
        let boxed = reader.take(SEEDS_BYTES + sealedbox::OVERHEAD_BYTES)?.to_vec();
        let binding = reader.lp32(BINDING_BYTES_MAX)?.to_vec();
        let dealt = match reader.u8()? {
            0 => None,
            1 => Some(DealtShare::read(&mut reader)?),
            found => return Err(SourceFileError::Format { found }),
        };
        reader.finish()?;
        Ok(Self { kind, card, boxed, binding, dealt })
    }
}

impl DealtShare {
    fn read(reader: &mut Reader<'_>) -> Result<Self, SourceFileError> {
        let (set, x) = (SetId::from_bytes(reader.array()?), reader.u8()?);
        Ok(Self { set, x, envelope: ShareEnvelope::from_bytes(reader.take(ENVELOPE_BYTES)?)? })
    }
}

fn is_kind(kind: &str) -> bool {
    (1..=SOURCE_KIND_BYTES_MAX).contains(&kind.len())
        && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn context(deployment: DeploymentId, kind: &str, card: &Card) -> Vec<u8> {
    let mut out = Writer::with_capacity(1536);
    out.lp(label::CONTEXT_SOURCE_FILE).bytes(deployment.as_bytes()).lp(kind.as_bytes()).lp(&card.encode());
    out.finish()
}
