//! Custodian keys and everything that travels under them (docs/skb1.md sections 7.3 to 7.6 and 8).
//!
//! ```text
//! KeyPair ──seal (passphrase)──▶ key file            KeyPair ──card──▶ Card (public, given to the dealer)
//! KeyPair ──seal (a device's key)──▶ source file
//! Share   ──ShareEnvelope::seal──▶ one custodian     Share ──Submission::seal──▶ one ceremony of the broker
//! k_i     ──EscrowEnvelope::seal──▶ escrow key       events ──Transcript──▶ final hash, signed by all
//! card    ──SignedRootRequest──▶ a ceremony of its own ──SealedRootToken──▶ the same card
//! ```
//!
//! All encryption to a public key is HPKE (RFC 9180) in base mode with X-Wing (ML-KEM-768 and X25519),
//! HKDF-SHA-512 and AES-256-GCM: what is recorded today stays closed when a quantum computer exists.

mod envelope;
pub mod escrow;
mod key_file;
mod parcel;
pub mod passphrase;
pub mod receipt;
mod root_request;
mod root_token;
mod source_file;
mod submission;
pub mod transcript;

pub use self::envelope::{ENVELOPE_BYTES, EnvelopeError, ShareEnvelope};
pub use self::key_file::{KEY_FILE_BYTES_MAX, KeyFile, KeyFileError};
pub use self::parcel::{PARCEL_BYTES_MAX, Parcel, ParcelError};
pub use self::passphrase::{PASSPHRASE_BYTES_MAX, PassphraseCost, PassphraseError};
pub use self::root_request::{
    ROOT_REQUEST_BYTES, ROOT_TTL_SECS_DEFAULT, ROOT_TTL_SECS_MAX, ROOT_TTL_SECS_MIN, ROOT_WINDOW_MS, RootAsk,
    RootAsker, RootNonce, RootRequest, RootRequestError, RootScope, SignedRootRequest,
};
pub use self::root_token::{
    ROOT_TOKEN_TEXT_BYTES_MAX, RootTokenError, SEALED_ROOT_TOKEN_BYTES, SealedRootToken,
};
pub use self::source_file::{
    BINDING_BYTES_MAX, DealtShare, SOURCE_KIND_BYTES_MAX, SourceFile, SourceFileError,
};
pub use self::submission::{
    CeremonyBinding, CeremonyKey, Purpose, SUBMISSION_BYTES, Submission, SubmissionError,
};
pub use crate::custodian::{Card, CardError, CustodianKeys, KeyKind, KeyPair};
pub use crate::xwing::{SEALED_OVERHEAD_BYTES, XWING_PUBLIC_BYTES, XWingKeyError, XWingPublicKey, XWingSeed};

#[cfg(test)]
mod tests;
