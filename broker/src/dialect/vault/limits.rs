//! Bounds of the dialect that several of its files name.

/// Largest body of a request: a secret of 1 MiB with room for its JSON and escapes.
pub const BODY_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// The same of a request whose path needs no token: the largest has sixteen cards of custodians, or a JWT.
pub const OPEN_BODY_BYTES_MAX: usize = 96 << 10;
/// The same of a request whose path needs a token that is not there, or is none that lives.
pub const UNKNOWN_BODY_BYTES_MAX: usize = 8 << 10;
