//! What ends a command that has made keys of its own: whoever presses Ctrl-C, and a terminal that is closed.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears from its making on, so that none of these signals kills the process before it has deleted what it
/// made.
pub struct Stop([Signal; 4]);

impl Stop {
    /// Begins to hear.
    pub fn new() -> std::io::Result<Self> {
        let kinds =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let [interrupt, terminate, hangup, quit] = kinds.map(signal);
        Ok(Self([interrupt?, terminate?, hangup?, quit?]))
    }

    /// When the first one comes.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup, quit] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
        }
    }
}
