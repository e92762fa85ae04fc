//! What is known of sources, sealed or not.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::custody::sources::error::Fault;

/// How a source stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was asked of it since the broker was started.
    #[default]
    Idle,
    /// It gave what it was asked for.
    Gave,
    /// It gave nothing.
    Failed(Fault),
    /// It is not asked, because an operator sealed the broker.
    Held,
    /// It is not asked, because the share set is weaker than the configuration demands.
    Weak,
}

impl Standing {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "not asked yet",
            Self::Gave => "gave what it was asked for",
            Self::Failed(fault) => fault.as_str(),
            Self::Held => "held: the broker was sealed by an operator, and people open it",
            Self::Weak => "held: the share set is weaker than [custody] demands; see the broker's log",
        }
    }
}

/// What is known of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// How it stands.
    pub standing: Standing,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Attempts that gave nothing, since the last that did.
    pub failures: u64,
}

/// What is known of all that were asked.
#[derive(Debug, Default)]
pub struct Journal(Mutex<BTreeMap<String, Known>>);

impl Journal {
    /// Of this one.
    #[must_use]
    pub fn of(&self, name: &str) -> Known {
        self.lock().get(name).copied().unwrap_or_default()
    }

    /// It stands like this now. Whether that is news.
    pub fn note(&self, name: &str, standing: Standing, now_ms: u64) -> bool {
        let mut all = self.lock();
        let known = all.entry(name.to_owned()).or_default();
        let is_news = known.standing != standing;
        if is_news {
            (known.standing, known.since_ms) = (standing, now_ms);
        }
        match standing {
            Standing::Failed(_) => known.failures += 1,
            _ => known.failures = 0,
        }
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
