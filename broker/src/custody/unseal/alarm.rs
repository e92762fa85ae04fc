//! Why a broker seals itself, and how its tasks say so to the one that owns the seal.

use tokio::sync::mpsc;

use super::anchor::RolledBack;
use crate::error::{Closed, OpError, Text};

/// Alarms waiting for the seal task. The first one seals, so more need not wait.
const ALARMS_MAX: usize = 1;

/// What made a broker seal itself, or refuse to open. Shown in the seal status and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The store is not the newest one.
    #[error(transparent)]
    RolledBack(#[from] RolledBack),
    /// The log does not even let itself be compared.
    #[error(
        "the audit log of this store is damaged, so it cannot be compared with what the fragment service remembers; keep the store for an investigation and restore the newest backup"
    )]
    LogDamaged,
    /// No lease for too long.
    #[error(
        "the broker sealed itself after {hours} hours without an active lease; ask the operators of the fragment service, then let custodians give their shares again"
    )]
    DeadMan {
        /// The limit in the configuration.
        hours: u64,
    },
}

/// Raises the alarm. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alarm(mpsc::Sender<Reason>);

impl Alarm {
    /// An alarm, and where it is heard.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Reason>) {
        let (raise, hear) = mpsc::channel(ALARMS_MAX);
        (Self(raise), hear)
    }

    /// Has the broker seal itself. If an alarm is waiting already, that one will do.
    pub fn raise(&self, reason: Reason) {
        let _ = self.0.try_send(reason);
    }
}

impl From<Reason> for OpError {
    fn from(reason: Reason) -> Self {
        Self::Sealed(Closed::ByItself(Text::of(&reason)))
    }
}
