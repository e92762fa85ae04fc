//! Bounds of the dialect that several of its files name.

/// Largest body of a request: a secret of 1 MiB with room for its JSON and escapes.
pub const BODY_BYTES_MAX: usize = (1 << 20) + (64 << 10);
