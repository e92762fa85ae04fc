//! What a custodian is handed: the envelope with the manifest that it belongs to, as one file.
//!
//! ```text
//! format(1)=1 ‖ x(1) ‖ LP32(manifest) ‖ envelope(1181)
//! ```
//!
//! With it and the key file the share can be opened years later, without the broker.

use thiserror::Error;

use super::envelope::{ENVELOPE_BYTES, EnvelopeError, ShareEnvelope};
use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer};
use crate::share::{SHARE_SET_BYTES_MAX, Share, ShareSetError, ShareSetManifest};
use crate::xwing::XWingSeed;

/// Longest binary parcel in bytes.
pub const PARCEL_BYTES_MAX: usize = 1 + 1 + 4 + SHARE_SET_BYTES_MAX + ENVELOPE_BYTES;

const FORMAT: u8 = 1;

/// An envelope, its manifest, and the number of the share inside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parcel {
    manifest: ShareSetManifest,
    x: u8,
    envelope: ShareEnvelope,
}

/// Why a file is no parcel.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ParcelError {
    /// Not the text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Not the layout.
    #[error("the share envelope file is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("share envelope file format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// The manifest inside is not valid.
    #[error(transparent)]
    Manifest(#[from] ShareSetError),
    /// The envelope inside is not valid, or is for nobody in the manifest.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
}

impl Parcel {
    /// Puts the envelope of custodian `x` and the manifest together.
    pub fn new(manifest: ShareSetManifest, x: u8, envelope: ShareEnvelope) -> Result<Self, ParcelError> {
        match manifest.custodian(x) {
            Some(_) => Ok(Self { manifest, x, envelope }),
            None => Err(EnvelopeError::NoSuchHolder { x }.into()),
        }
    }

    /// The set that the share belongs to.
    pub const fn manifest(&self) -> &ShareSetManifest {
        &self.manifest
    }

    /// Number of the share.
    pub const fn x(&self) -> u8 {
        self.x
    }

    /// The sealed share.
    pub const fn envelope(&self) -> &ShareEnvelope {
        &self.envelope
    }

    /// Name of the custodian it is for.
    pub fn holder(&self) -> &str {
        self.manifest.custodian(self.x).map_or("", |custodian| custodian.name.as_str())
    }

    /// The share, checked against the manifest.
    pub fn open(&self, seed: &XWingSeed) -> Result<Share, EnvelopeError> {
        self.envelope.open(&self.manifest, self.x, seed)
    }

    /// Its binary form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(2048);
        writer.u8(FORMAT).u8(self.x).lp32(&self.manifest.encode()).bytes(self.envelope.as_bytes());
        writer.finish()
    }

    /// Reads the binary form.
    pub fn decode(bytes: &[u8]) -> Result<Self, ParcelError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(ParcelError::Format { found: format });
        }
        let x = reader.u8()?;
        let manifest = ShareSetManifest::decode(reader.lp32(SHARE_SET_BYTES_MAX)?)?;
        let envelope = ShareEnvelope::from_bytes(reader.take(ENVELOPE_BYTES)?)?;
        reader.finish()?;
        Self::new(manifest, x, envelope)
    }

    /// Its text form, for a file or a mail.
    pub fn to_text(&self) -> String {
        armour::encode(Kind::Parcel, &self.encode())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, ParcelError> {
        Self::decode(&armour::decode(Kind::Parcel, text)?)
    }
}
