//! What codes of a library mean, and who must act.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use crate::custody::sources::SourceError;

/// Why a token does nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error(
        "no token of the configured label or serial is there: plug it in, start what leads to it, or correct the name in [[custody.sources]]"
    )]
    NotThere,
    #[error("two tokens have the configured label: name the token by `serial` instead of `token`")]
    TwoTokens,
    #[error(
        "the token did not take the PIN in pin_file; that PIN is not tried again, so that the token does not lock itself: put the right PIN into the file"
    )]
    PinWrong,
    #[error(
        "the token has refused the PIN that is in pin_file, so it is not tried again: put the right PIN into the file; if it is right by now, restart the broker"
    )]
    PinNotTriedAgain,
    #[error(
        "one more wrong PIN would lock the token, so none is tried: log in once by hand with the right one, which sets its counter back"
    )]
    PinLastTry,
    #[error("the token has locked itself after wrong PINs: its security officer must set a new PIN")]
    PinLocked,
    #[error("the PIN of the token has expired: its owner must set a new one and put it into pin_file")]
    PinExpired,
    #[error("the token has no PIN of a user yet: its security officer must set one")]
    NoPin,
    #[error(
        "the token has no key of the configured label or id and of this mechanism's type: make one, or correct the name; after the loss of a key enrol the source again, then reshare"
    )]
    NoKey,
    #[error("two keys of the token have the configured label or id: name one that is alone")]
    TwoKeys,
    #[error(
        "the key may leave the token (CKA_EXTRACTABLE is true or CKA_SENSITIVE is false), so it would be a key beside the data: make one that stays inside"
    )]
    KeyMayLeave,
    #[error("the key may not decrypt (CKA_DECRYPT is false): make one that may")]
    KeyMayNotDecrypt,
    #[error("the key is too short: RSA takes 2048 bits at least, AES 128")]
    KeyTooShort,
    #[error(
        "the token does not know the configured mechanism, or not with this key or oaep_hash: choose another mechanism or hash in [[custody.sources]]"
    )]
    NoMechanism,
    #[error(
        "the token did not decrypt what the store keeps: it is damaged, or was made for another source, or the key of this name is another one now; enrol the source again, then reshare"
    )]
    DoesNotOpen,
    #[error("the library did not encrypt as the standard says; report its vendor and version")]
    Strange,
    #[error("{0} of its library ended with {1:?}: its owner must look at the token and at what leads to it")]
    Code(Function, RvError),
    #[error("its library does not do what PKCS#11 demands; report its vendor and version")]
    NoLibrary,
}

impl TokenError {
    /// What a library said, outside of decryption.
    pub fn of(error: Error) -> Self {
        let Error::Pkcs11(code, function) = error else { return Self::NoLibrary };
        match code {
            RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::DeviceRemoved
            | RvError::DeviceError
            | RvError::CryptokiNotInitialized
            | RvError::SessionHandleInvalid
            | RvError::SessionClosed => Self::NotThere,
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Self::PinWrong,
            RvError::PinLocked => Self::PinLocked,
            RvError::PinExpired => Self::PinExpired,
            RvError::UserPinNotInitialized => Self::NoPin,
            code => Self::Code(function, code),
        }
    }

    /// What a library said when a key was to be used with a mechanism.
    pub fn of_use(error: Error) -> Self {
        match error {
            Error::Pkcs11(
                RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::ArgumentsBad
                | RvError::KeyTypeInconsistent
                | RvError::KeyFunctionNotPermitted
                | RvError::KeySizeRange
                | RvError::FunctionNotSupported,
                Function::EncryptInit | Function::DecryptInit | Function::Encrypt,
            ) => Self::NoMechanism,
            error => Self::of(error),
        }
    }

    /// What a library said when a key was to decrypt. Every refusal is one: whoever writes the store learns
    /// nothing of what was inside.
    pub fn of_decryption(error: Error) -> Self {
        match Self::of_use(error) {
            Self::Code(Function::Decrypt, _) => Self::DoesNotOpen,
            error => error,
        }
    }

    /// Whether the PIN was judged, and counted.
    pub fn is_of_the_pin(&self) -> bool {
        matches!(self, Self::PinWrong | Self::PinLocked | Self::PinExpired)
    }
}

impl From<TokenError> for SourceError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotThere => Self::Unreachable(error.to_string()),
            TokenError::Strange | TokenError::NoLibrary => {
                Self::Garbled { expected: "what PKCS#11 demands; report the library's vendor and version" }
            }
            error => Self::Refused(error.to_string()),
        }
    }
}
