//! How well a connection keeps what passes on it.

/// What whoever records the connection can make of it later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// Plain HTTP, which is served on loopback only: no network to record. What stands before it, if anything
    /// does, speaks for its own connections.
    #[default]
    Local,
    /// TLS 1.3 with X25519MLKEM768.
    Hybrid,
    /// TLS with a classical group: a quantum computer opens the recording.
    Classical,
}

impl Channel {
    /// Whether a secret that stays one for decades should not pass.
    #[must_use]
    pub const fn is_classical(self) -> bool {
        matches!(self, Self::Classical)
    }
}
