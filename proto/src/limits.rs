//! Bounds that several formats share.

/// Most nodes of a remote key.
pub const NODES_MAX: u16 = 16;
/// The longest lease, 24 hours.
pub const LEASE_TTL_SECS_MAX: u32 = 24 * 60 * 60;
