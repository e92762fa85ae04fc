//! Settings that change without a restart.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use super::{AuditConfig, CustodyConfig, HighTier, InitConfig, Metrics, OauthConfig};

/// What a running broker takes over from its file. A field has the name that it has there: this type is the
/// list of what needs no restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lives {
    /// Who may spend the evaluations that the remote allows.
    pub high_tier: HighTier,
    /// What `init` may not guess.
    pub init: InitConfig,
    /// Workload tokens.
    pub oauth: OauthConfig,
    /// How long the log is kept.
    pub audit: AuditConfig,
    /// Who gives shares without a person.
    pub custody: CustodyConfig,
    /// Numbers for Prometheus.
    pub metrics: Metrics,
    /// Version that Vault clients see in `sys/seal-status`; some gate features by it.
    pub vault_compatibility_version: String,
}

/// The settings as they are now. Clones see the same.
#[derive(Clone, Debug)]
pub struct Living(Arc<RwLock<Arc<Lives>>>);

impl From<Lives> for Living {
    fn from(lives: Lives) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(lives))))
    }
}

impl Living {
    /// At this moment. Ask again for the next request.
    #[must_use]
    pub fn now(&self) -> Arc<Lives> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes others over. Whether that is news.
    pub fn replace(&self, lives: Arc<Lives>) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = *held != lives;
        *held = lives;
        is_news
    }
}

impl Lives {
    /// The settings of the file that it holds, by name.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let whole = serde_json::to_value(self).unwrap_or_default();
        whole.as_object().map(|settings| settings.keys().cloned().collect()).unwrap_or_default()
    }
}
