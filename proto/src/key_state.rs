//! What may be done with a remote key (`docs/skb1.md` section 5), as leases and manifests say it.

/// State of a remote key (section 5), in leases and manifests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum KeyState {
    /// In use.
    Active = 1,
    /// Cut off, reversibly.
    Suspended = 2,
    /// Cut off, to be destroyed after a cooling-off time.
    PendingDestroy = 3,
    /// Gone.
    Destroyed = 4,
}

impl KeyState {
    /// The state with this number on the wire.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Active,
            2 => Self::Suspended,
            3 => Self::PendingDestroy,
            4 => Self::Destroyed,
            _ => return None,
        })
    }
}
