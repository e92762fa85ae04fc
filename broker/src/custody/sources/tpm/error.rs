//! What codes of a TPM mean, and who must act.

use std::io;
use std::time::Duration;

use symbolon_core::tpm::Malformed;

use crate::custody::sources::SourceError;

/// Why a TPM does nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TpmError {
    #[error("no way to the TPM ({0}): look whether the device is there and the broker may use it")]
    Link(io::Error),
    #[error("silent")]
    Silent(Duration),
    #[error("garbled")]
    Garbled,
    #[error("damaged")]
    Kept,
    #[error(
        "this is not the TPM of the enrolment, or it was cleared since: boot the machine of the enrolment, or enrol the source again, then reshare"
    )]
    OtherTpm,
    #[error(
        "{0} since the source was enrolled: boot what was booted then; if the change was wanted, enrol the source again, then reshare"
    )]
    Changed(String),
    #[error(
        "{differing}, and none of {signed} policies in policies_dir that the signer signed (of {files} files) covers the state: boot what was booted before, or let the signer sign a policy with the reference {reference}"
    )]
    NotSigned { differing: String, signed: usize, files: usize, reference: String },
    #[error(
        "the TPM is locked after wrong passwords: its owner must wait, or reset it with `tpm2_dictionarylockout`"
    )]
    Lockout,
    #[error("the owner hierarchy of the TPM has a password: its owner must take it away (`tpm2_changeauth`)")]
    OwnerPassword,
    #[error("the owner hierarchy of the TPM is turned off: turn it on in the firmware's settings")]
    Disabled,
    #[error(
        "the TPM has no place left for keys and sessions: its owner must flush what others left (`tpm2_flushcontext`), or use /dev/tpmrm0"
    )]
    Full,
    #[error("the TPM was not started (TPM2_Startup): the firmware does that; restart the machine")]
    NotStarted,
    #[error("the TPM keeps no SHA-256 values of these PCRs: turn the bank on in the firmware's settings")]
    NoBank,
    #[error("the TPM answered command {command:#06x} with code {code:#06x}; its owner must look at it")]
    Code { command: u32, code: u32 },
    #[error(transparent)]
    Source(SourceError),
}

/// Codes of parts of a command carry which part; this is without it.
pub(super) const fn plain(code: u32) -> u32 {
    if code & 0x80 == 0 { code } else { code & 0xbf }
}

impl TpmError {
    /// What a command's code means anywhere.
    pub fn of(command: u32, code: u32) -> Self {
        match plain(code) {
            0x921 => Self::Lockout,
            0x8e | 0xa2 => Self::OwnerPassword,
            0x85 => Self::Disabled,
            0x902..=0x906 => Self::Full,
            0x100 => Self::NotStarted,
            _ => Self::Code { command, code },
        }
    }

    /// Whether this is a certain code.
    pub fn is(&self, wanted: &[u32]) -> bool {
        matches!(self, Self::Code { code, .. } if wanted.contains(&plain(*code)))
    }
}

impl From<Malformed> for TpmError {
    fn from(_: Malformed) -> Self {
        Self::Garbled
    }
}

impl From<TpmError> for SourceError {
    fn from(error: TpmError) -> Self {
        match error {
            TpmError::Link(_) => Self::Unreachable(error.to_string()),
            TpmError::Silent(after) => Self::Silent { after },
            TpmError::Garbled => {
                Self::Garbled { expected: "what TPM 2.0 prescribes, under the key of the session" }
            }
            TpmError::Kept => Self::Kept,
            TpmError::Source(error) => error,
            error => Self::Refused(error.to_string()),
        }
    }
}
