//! What an operator must look at although everything is served. An alarm stays until it is put right.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something is wrong, in words that anyone may read: the status shows them without a token. Details are in
/// the broker's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// The files of the certificate cannot be used.
    Certificate,
    /// The configuration file cannot be used.
    Configuration,
    /// No backup has been made for too long, or the last one failed.
    Backup,
    /// The log has used four fifths of its disk budget, or all of it.
    LogBudget,
    /// Segments of the log cannot be exported, or it cannot be pruned.
    Retention,
    /// Entries of the log do not reach a sink.
    Sink,
    /// The configuration file says something that a running broker cannot take over.
    Restart,
}

impl Alarm {
    /// What happened, and who must do what.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Certificate => {
                "the certificate files cannot be used, so the certificate of before is served; put them right, the broker's log says what is wrong"
            }
            Self::Configuration => {
                "the configuration file cannot be used, so the one of before holds; put it right before the next start, the broker's log says what is wrong"
            }
            Self::Backup => {
                "the last backup failed, or none has been made for twice the time between two; the status and the broker's log say more"
            }
            Self::LogBudget => {
                "the audit log has used four fifths of its disk budget; export and prune it, or raise audit.disk_budget_mib: when all is used up, audit.when_full says what happens"
            }
            Self::Retention => {
                "the audit log cannot be exported or pruned as configured; the status and the broker's log say more"
            }
            Self::Sink => {
                "entries of the audit log do not reach a sink of [[audit.sinks]]; the status and the broker's log say more"
            }
            Self::Restart => {
                "the configuration file has changed in settings that need a restart; the broker's log names them"
            }
        }
    }
}

/// Those that are raised.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<BTreeSet<Alarm>>);

impl Alarms {
    /// Raises or puts down one of them. Whether that is news.
    pub fn set(&self, alarm: Alarm, is_raised: bool) -> bool {
        let mut raised = self.raised();
        if is_raised { raised.insert(alarm) } else { raised.remove(&alarm) }
    }

    /// What is raised, in words.
    #[must_use]
    pub fn texts(&self) -> Vec<&'static str> {
        self.raised().iter().map(|alarm| alarm.text()).collect()
    }

    fn raised(&self) -> MutexGuard<'_, BTreeSet<Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
