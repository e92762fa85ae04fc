//! What an entry of the log is about, beside who asked and for which path. Whoever ends a request must say
//! it.

use symbolon_core::audit::Detail;
use symbolon_core::path::{PolicyName, RoleName};
use symbolon_core::token::Caller;

use super::mounts::Mount;

/// Versions that an entry names one by one; what are more is counted.
const VERSIONS_MAX: usize = 32;

/// The object of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// Path and operation say it all.
    Path,
    /// A version of the secret at the path.
    Version(u64),
    /// Something that is known by another name than the path: one of our own texts, or names that were
    /// checked.
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

    /// A secret id of a role, by its accessor.
    #[must_use]
    pub fn secret_id(role: &RoleName, accessor: &str) -> Self {
        Self::Named(format!("secret id {accessor} of role {}", role.as_str()))
    }

    /// A mount: what it is, and its accessor, which no other mount ever gets.
    #[must_use]
    pub fn mount(mount: &Mount) -> Self {
        Self::Named(format!("{} mount {}/ with accessor {}", mount.kind, mount.path, mount.accessor))
    }

    /// Versions of the secret at the path.
    #[must_use]
    pub fn versions(versions: &[u64]) -> Self {
        let named: Vec<String> = versions.iter().take(VERSIONS_MAX).map(u64::to_string).collect();
        let more = versions.len().saturating_sub(VERSIONS_MAX);
        let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
        Self::Named(format!("versions {}{rest}", named.join(", ")))
    }

    /// A list that was shown: how long it was.
    #[must_use]
    pub fn names(count: usize) -> Self {
        Self::Named(format!("{count} names"))
    }

    /// The same as it stands in an entry that no request makes, such as a login's or that of `init`.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Path => String::new(),
            Self::Version(version) => format!("version {version}"),
            Self::Named(what) => what,
        }
    }

    pub(super) fn describe(self, detail: &mut Detail) {
        match self {
            Self::Path => {}
            Self::Version(version) => detail.version = version,
            Self::Named(what) => detail.object = what,
        }
    }
}
