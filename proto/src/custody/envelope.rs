//! A share sealed to one custodian (docs/skb1.md section 7.4).
//!
//! ```text
//! envelope = version(1)=1 ‖ HPKE(info = label ‖ deployment ‖ set_id, aad = SHA-256(manifest) ‖ x, share(44))
//! ```
//!
//! Nothing else is in it: the manifest beside it says for whom it is. The version is there because the text
//! on post-quantum HPKE is still a draft.

use rand_core::CryptoRng;
use thiserror::Error;

use crate::label;
use crate::share::{SHARE_BYTES, Share, ShareError, ShareSetManifest};
use crate::xwing::{SEALED_OVERHEAD_BYTES, XWingSeed};

/// Bytes of an envelope.
pub const ENVELOPE_BYTES: usize = 1 + SHARE_BYTES + SEALED_OVERHEAD_BYTES;

const VERSION: u8 = 1;

/// A sealed share. Public: only its custodian opens it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ShareEnvelope(Box<[u8; ENVELOPE_BYTES]>);

/// Why a share was not sealed, or does not come out.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EnvelopeError {
    /// Not the length of an envelope.
    #[error("a share envelope has {ENVELOPE_BYTES} bytes, this has {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Made by a version that does not exist yet.
    #[error("share envelope version {found} is not known to this version; only 1 is")]
    Version {
        /// The version number.
        found: u8,
    },
    /// The set has no such custodian.
    #[error("this set has no share number {x}")]
    NoSuchHolder {
        /// The number.
        x: u8,
    },
    /// The custodian has no key that anything could be sealed to.
    #[error(
        "{holder} has no custodian key in this set; ask for a card made with `symbolon custodian keygen`"
    )]
    NoKey {
        /// Name of the custodian.
        holder: String,
    },
    /// Another custodian's envelope.
    #[error("this envelope is for {holder} (number {x}), not for the owner of this key file")]
    OtherRecipient {
        /// Name of the custodian it is for.
        holder: String,
        /// Number of the share.
        x: u8,
    },
    /// Changed on the way, or made for another set, deployment or position.
    #[error(
        "the envelope of {holder} (number {x}) does not open: it was damaged, or is of another set or position"
    )]
    DoesNotOpen {
        /// Name of the custodian.
        holder: String,
        /// Number of the share.
        x: u8,
    },
    /// It opens, but what is inside is not what the set's manifest names.
    #[error(transparent)]
    Share(#[from] ShareError),
}

impl ShareEnvelope {
    /// Seals `share` to its holder in the set of `manifest`.
    pub fn seal(
        share: &Share,
        manifest: &ShareSetManifest,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, EnvelopeError> {
        manifest.check_share(share)?;
        let x = share.x();
        let holder = manifest.custodian(x).ok_or(EnvelopeError::NoSuchHolder { x })?;
        let no_key = || EnvelopeError::NoKey { holder: holder.name.clone() };
        let keys = holder.keys.as_ref().ok_or_else(no_key)?;
        let sealed = keys.sealing.seal(&info(manifest), &aad(manifest, x), share.to_bytes().expose(), rng);
        let mut bytes = Box::new([VERSION; ENVELOPE_BYTES]);
        bytes[1..].copy_from_slice(&sealed);
        Ok(Self(bytes))
    }

    /// Opens the envelope of custodian `x` and checks the share against the manifest.
    pub fn open(&self, manifest: &ShareSetManifest, x: u8, seed: &XWingSeed) -> Result<Share, EnvelopeError> {
        let custodian = manifest.custodian(x).ok_or(EnvelopeError::NoSuchHolder { x })?;
        let holder = custodian.name.clone();
        match &custodian.keys {
            None => return Err(EnvelopeError::NoKey { holder }),
            Some(keys) if keys.sealing != seed.public_key() => {
                return Err(EnvelopeError::OtherRecipient { holder, x });
            }
            Some(_) => {}
        }
        let opened = seed.open::<SHARE_BYTES>(&info(manifest), &aad(manifest, x), &self.0[1..]);
        let does_not_open = EnvelopeError::DoesNotOpen { holder, x };
        let opened = opened.map_err(|_| does_not_open.clone())?;
        let share = Share::from_bytes(opened.expose()).map_err(|_| does_not_open)?;
        manifest.check_share(&share)?;
        Ok(share)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; ENVELOPE_BYTES] {
        &self.0
    }

    /// Reads the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let bytes: &[u8; ENVELOPE_BYTES] =
            bytes.try_into().map_err(|_| EnvelopeError::Length { found: bytes.len() })?;
        match bytes[0] {
            VERSION => Ok(Self(Box::new(*bytes))),
            found => Err(EnvelopeError::Version { found }),
        }
    }
}

fn info(manifest: &ShareSetManifest) -> Vec<u8> {
    [label::SHARE_ENVELOPE, manifest.deployment().as_bytes(), manifest.set_id().as_bytes()].concat()
}

fn aad(manifest: &ShareSetManifest, x: u8) -> Vec<u8> {
    [manifest.hash().as_slice(), &[x]].concat()
}
