//! Bounds of the dialect that several of its files name.

use symbolon_core::json::Limits;

/// Most bytes of what a request says, as they are written again: a secret of 1 MiB with room for its JSON.
pub const SAID_BYTES_MAX: usize = Limits::BODY.bytes_max;
/// Largest body of a request. Clients that escape all but ASCII (Python's, Java's) need three times as much
/// as what they say, in any script.
///
/// The memory for it is that of [`SAID_BYTES_MAX`] and its copies: the body is there with what is read out of
/// it, and is gone when that is sealed and stored.
pub const BODY_BYTES_MAX: usize = 3 * SAID_BYTES_MAX;
/// The same of a request whose path needs no token: the largest has sixteen cards of custodians, or a JWT.
pub const OPEN_BODY_BYTES_MAX: usize = 96 << 10;
/// The same of a request whose path needs a token that is not there, or is none that lives.
pub const UNKNOWN_BODY_BYTES_MAX: usize = 8 << 10;
