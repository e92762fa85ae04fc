//! What an entry of the log is about, beside who asked and for which path. Whoever ends a request must say it.

use symbolon_core::audit::Detail;
use symbolon_core::path::PolicyName;
use symbolon_core::token::Caller;

/// The object of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Path and operation say it all.
    Path,
    /// A version of the secret at the path.
    Version(u64),
    /// Something that is known by another name than the path: one of our own texts, or names that were checked.
    Named(String),
}

impl Object {
    /// A token that was made or changed: whose it is, by its accessor, and what it may.
    #[must_use]
    pub fn token(caller: &Caller) -> Self {
        let policies: Vec<&str> = caller.policies.iter().map(PolicyName::as_str).collect();
        let accessor = caller.accessor.as_deref().unwrap_or("none");
        Self::Named(format!("token {accessor} with policies {}", policies.join(",")))
    }

    pub(super) fn describe(self, detail: &mut Detail) {
        match self {
            Self::Path => {}
            Self::Version(version) => detail.version = version,
            Self::Named(what) => detail.object = what,
        }
    }
}
