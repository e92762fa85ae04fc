//! Keys that several nodes make and hold together (`docs/skb1.md` sections 6.7 and 16.13).
//!
//! COCKTAIL-DKG (c2sp.org/cocktail-dkg, v0.2.0) with the suite `COCKTAIL(Ristretto255, SHA-512)`, and in the
//! same three rounds and messages a refresh of the shares of a key and their passing on to another group. The
//! nodes never talk to each other: the broker carries every message, and can neither read a share, nor change
//! a message without being found out, nor show different nodes different messages.
//!
//! ```text
//! before    Roster::offer      at each receiver    → a key for this run, signed, for every dealer
//! round 1   Session::deal      at each dealer      → a dealing, for everybody
//! round 2   Session::receive   at each receiver    → a pending share, and a signature for everybody
//!           Session::outcome   at the broker       → y, the commitments, every y_i
//! round 3   PendingShare::finish                   → the share, with the certificate of all
//! ```
//!
//! Every check names the participant that failed it. A receiver keeps the private half of its key for the run
//! until it has opened the dealings, then erases it: afterwards nobody can open them, whatever else is
//! stolen. A dealer keeps nothing secret besides its static key, since its own share is encrypted to itself
//! like all others; between rounds 2 and 3 a receiver keeps [`PendingShare::to_secret_bytes`].

mod certificate;
mod context;
mod dealing;
mod envelope;
mod error;
mod keys;
mod offer;
mod outcome;
mod polynomial;
mod public;
mod roster;
mod run;
mod schnorr;
mod session;
mod share;

pub use self::certificate::Certificate;
pub use self::error::{DkgError, DkgFault, SetupError};
pub use self::keys::{NodeKey, Receive, ReceiveKey, Static, StaticKey};
pub use self::offer::OFFER_BYTES;
pub use self::outcome::Outcome;
pub use self::public::{GroupKey, GroupKeyError};
pub use self::roster::{Before, Roster};
pub use self::run::{Dealers, RUN_BYTES, Run, RunError, RunKind};
pub use self::schnorr::SCHNORR_BYTES;
pub use self::session::Session;
pub use self::share::{CertifiedShare, PendingShare};
use crate::group::{POINT_BYTES, SCALAR_BYTES};
use crate::limits::NODES_MAX;

/// Bytes of an encrypted share.
const CIPHERTEXT_BYTES: usize = SCALAR_BYTES + 16;
/// Bytes of the longest dealing, 16 of 16.
pub const DEALING_BYTES_MAX: usize = dealing_bytes(NODES_MAX as usize, NODES_MAX as usize);

/// Bytes of a dealing: commitments, proof, ephemeral key, framed ciphertexts, signature.
const fn dealing_bytes(commitments: usize, receivers: usize) -> usize {
    commitments * POINT_BYTES
        + SCHNORR_BYTES
        + POINT_BYTES
        + receivers * (8 + CIPHERTEXT_BYTES)
        + SCHNORR_BYTES
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
