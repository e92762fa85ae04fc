//! What can go wrong in a run, and who did it.

use thiserror::Error;

/// Why a run does not go on. Nothing changes when one of these is answered.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DkgError {
    /// A participant broke the protocol, or what came from it was changed on the way.
    #[error("participant {participant} of the group ceremony: {fault}")]
    Participant {
        /// Its index, from 1: in a resharing that of the old group for a dealing, that of the new one for a
        /// receive key or a signature.
        participant: u16,
        /// What it did.
        fault: DkgFault,
    },
    /// The run does not go with the groups and the sharing that were given for it.
    #[error("the run of the group ceremony does not go with {0}")]
    Setup(SetupError),
    /// More or fewer messages than participants.
    #[error("{found} messages of {expected} participants")]
    Count {
        /// Messages found.
        found: usize,
        /// Participants.
        expected: usize,
    },
    /// This node has no part in this round of the run.
    #[error("this node has no part in this round of the group ceremony")]
    NoPart,
    /// The new key or a share would be zero. Cannot happen unless dealers conspire; run again with a new
    /// session.
    #[error("the result of the group ceremony is not a usable key")]
    Degenerate,
    /// A state between rounds that cannot be read.
    #[error("the stored state of the group ceremony cannot be read")]
    State,
}

/// What of the setup does not go with the run.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SetupError {
    /// The group that is to have the shares.
    #[error("the group")]
    Group,
    /// The group that has them.
    #[error("the group before")]
    Previous,
    /// The sharing that there is.
    #[error("the sharing before")]
    Base,
    /// Who deals: everybody, or exactly t of the old group in a resharing.
    #[error("the number of its dealers")]
    Dealers,
    /// A sharing of threshold 1 gives everybody the key itself; nothing in it can be refreshed.
    #[error("a threshold of 1")]
    Threshold,
}

/// What a participant did.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[repr(u8)]
pub enum DkgFault {
    /// Its message does not have the length it must have: commitments or ciphertexts are missing or extra.
    #[error("its message has too many or too few commitments or shares")]
    Length = 1,
    /// A point of its message is the identity or not canonical.
    #[error("its message has a point that is not usable")]
    Point = 2,
    /// It did not sign its message for this run: another session's, or changed on the way.
    #[error("its message is not signed by it for this run")]
    Signature = 3,
    /// Its proof of possession does not hold.
    #[error("its proof of possession does not hold")]
    Possession = 4,
    /// Its constant commitment is not the public key of the share it is to reshare.
    #[error("it does not reshare its own share")]
    OtherShare = 5,
    /// Its encrypted share for this node does not open.
    #[error("its share does not open")]
    Ciphertext = 6,
    /// Its share for this node is not on the polynomial that it committed to.
    #[error("its share does not fit its commitments")]
    Share = 7,
    /// Its signature does not verify over the transcript: it saw other messages, or it lies.
    #[error("its signature does not certify the same transcript")]
    Certificate = 8,
    /// Its key for the run is missing, or not one that it made for this run and showed everybody: another
    /// session's, another participant's, or changed on the way.
    #[error("its receive key is missing, or not the one that it made for this run")]
    ReceiveKey = 9,
}

impl DkgFault {
    /// The fault with this number on the wire.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Length,
            2 => Self::Point,
            3 => Self::Signature,
            4 => Self::Possession,
            5 => Self::OtherShare,
            6 => Self::Ciphertext,
            7 => Self::Share,
            8 => Self::Certificate,
            9 => Self::ReceiveKey,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The error that names who did it.
    pub const fn by(self, participant: u16) -> DkgError {
        DkgError::Participant { participant, fault: self }
    }
}
