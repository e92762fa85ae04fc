//! A share on its way to a ceremony: sealed to the key that the broker made for this ceremony alone, so that
//! no proxy and no access log sees it (docs/skb1.md section 7.5).
//!
//! ```text
//! submission = version(1)=1 ‖ purpose(1) ‖ set_id(8) ‖ x(1) ‖ HPKE(info, aad, share(44))
//! info       = label ‖ deployment(16) ‖ ceremony nonce(32)
//! aad        = purpose(1) ‖ set_id(8) ‖ x(1)
//! ```
//!
//! Set and number stand outside too, so that a share of an old set can be refused by that name. The broker
//! shows the key's fingerprint at its console and in its status; the custodian compares before sending.

use rand_core::CryptoRng;
use thiserror::Error;

use crate::codec::{DecodeError, Reader, Writer};
use crate::fingerprint::Fingerprint;
use crate::id::DeploymentId;
use crate::label;
use crate::share::{SHARE_BYTES, SetId, Share};
use crate::xwing::{SEALED_OVERHEAD_BYTES, XWingPublicKey, XWingSeed};

/// Bytes of a submission.
pub const SUBMISSION_BYTES: usize = HEADER_BYTES + SHARE_BYTES + SEALED_OVERHEAD_BYTES;
/// Bytes of the nonce that names a ceremony.
pub const CEREMONY_NONCE_BYTES: usize = 32;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 11;

/// Which ceremony a share is meant for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CeremonyBinding {
    /// The broker's deployment.
    pub deployment: DeploymentId,
    /// Random, fresh for each ceremony.
    pub nonce: [u8; CEREMONY_NONCE_BYTES],
}

/// What a share is sent for. One ceremony may ask for shares of the old set and, as proof, for those of the
/// new one. A root token has a purpose of its own: whoever shows a custodian another type of ceremony than
/// the broker has gets a share that the broker does not take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Purpose {
    /// To be recombined.
    Give = 1,
    /// To prove that a new share opens before anything is committed.
    Prove = 2,
    /// To be recombined for a new root token.
    RootToken = 3,
}

impl Purpose {
    /// The purpose with this number.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Give),
            2 => Some(Self::Prove),
            3 => Some(Self::RootToken),
            _ => None,
        }
    }

    /// Its number.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// A share sealed to a ceremony. Public.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Submission {
    purpose: Purpose,
    set: SetId,
    x: u8,
    sealed: Vec<u8>,
}

/// Why bytes are no submission, or do not open.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SubmissionError {
    /// Not the length of a submission.
    #[error("a sealed share has {SUBMISSION_BYTES} bytes, this has {found}")]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// Made by a version that does not exist yet.
    #[error("sealed share version {found} is not known to this version; only 1 is")]
    Version {
        /// The version number.
        found: u8,
    },
    /// A purpose that does not exist.
    #[error(
        "a share is given, proven, or given for a root token; {found} is none of these: use the same version everywhere"
    )]
    Purpose {
        /// The number.
        found: u8,
    },
    /// Sealed to another key, for another ceremony, set, purpose or number, or damaged.
    #[error(
        "share number {x} does not open: it was sealed for another ceremony or set, or damaged; fetch the ceremony state and submit again"
    )]
    DoesNotOpen {
        /// Number that it claims.
        x: u8,
    },
}

/// The broker's key for one ceremony. Drop it with the ceremony.
pub struct CeremonyKey {
    seed: XWingSeed,
    public: XWingPublicKey,
    binding: CeremonyBinding,
}

impl CeremonyKey {
    /// A fresh key and a fresh nonce.
    pub fn generate(deployment: DeploymentId, rng: &mut dyn CryptoRng) -> Self {
        let seed = XWingSeed::random(rng);
        let mut nonce = [0; CEREMONY_NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        Self { public: seed.public_key(), seed, binding: CeremonyBinding { deployment, nonce } }
    }

    /// What custodians seal to.
    pub const fn public(&self) -> &XWingPublicKey {
        &self.public
    }

    /// What custodians compare.
    pub fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    /// The ceremony's name, which goes into every submission and into the transcript.
    pub const fn binding(&self) -> &CeremonyBinding {
        &self.binding
    }

    /// Opens a submission. Whether it is a share of the right set is for the set's manifest to say.
    pub fn open(&self, submission: &Submission) -> Result<Share, SubmissionError> {
        let Submission { purpose, set, x, sealed } = submission;
        let does_not_open = SubmissionError::DoesNotOpen { x: *x };
        let opened = self.seed.open::<SHARE_BYTES>(&info(&self.binding), &aad(*purpose, *set, *x), sealed);
        let opened = opened.map_err(|_| does_not_open)?;
        let share = Share::from_bytes(opened.expose()).map_err(|_| does_not_open)?;
        match share.set_id() == *set && share.x() == *x {
            true => Ok(share),
            false => Err(does_not_open),
        }
    }
}

impl Submission {
    /// Seals `share` for the ceremony of `binding`, whose key is `key`.
    pub fn seal(
        share: &Share,
        purpose: Purpose,
        binding: &CeremonyBinding,
        key: &XWingPublicKey,
        rng: &mut dyn CryptoRng,
    ) -> Self {
        let (set, x) = (share.set_id(), share.x());
        let aad = aad(purpose, set, x);
        Self { purpose, set, x, sealed: key.seal(&info(binding), &aad, share.to_bytes().expose(), rng) }
    }

    /// What it is for.
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Set of the share inside, as the sender says.
    pub const fn set_id(&self) -> SetId {
        self.set
    }

    /// Number of the share inside, as the sender says.
    pub const fn x(&self) -> u8 {
        self.x
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(SUBMISSION_BYTES);
        writer.u8(VERSION).u8(self.purpose.byte()).bytes(self.set.as_bytes()).u8(self.x).bytes(&self.sealed);
        writer.finish()
    }

    /// Reads the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SubmissionError> {
        let length = |_: DecodeError| SubmissionError::Length { found: bytes.len() };
        let mut reader = Reader::new(bytes);
        let version = reader.u8().map_err(length)?;
        if version != VERSION {
            return Err(SubmissionError::Version { found: version });
        }
        let purpose = reader.u8().map_err(length)?;
        let purpose = Purpose::from_byte(purpose).ok_or(SubmissionError::Purpose { found: purpose })?;
        let set = SetId::from_bytes(reader.array().map_err(length)?);
        let x = reader.u8().map_err(length)?;
        let sealed = reader.take(SUBMISSION_BYTES - HEADER_BYTES).map_err(length)?.to_vec();
        reader.finish().map_err(length)?;
        Ok(Self { purpose, set, x, sealed })
    }
}

fn info(binding: &CeremonyBinding) -> Vec<u8> {
    [label::SHARE_SUBMISSION, binding.deployment.as_bytes(), &binding.nonce].concat()
}

fn aad(purpose: Purpose, set: SetId, x: u8) -> Vec<u8> {
    [&[purpose.byte()], set.as_bytes().as_slice(), &[x]].concat()
}
