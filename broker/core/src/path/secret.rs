//! Mounts, secrets and folders.

use std::fmt;

use super::{ApiPath, PathError, check_segments};

/// Where an engine or auth method is mounted: one or more segments, without slashes at the ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MountPath(String);

impl MountPath {
    /// Checks a mount name as clients spell it: `secret`, `secret/`, `/team/secret`.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        check_segments(text)?;
        Ok(Self(text.to_owned()))
    }

    /// `team/secret`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `team/secret/`, the form in which mount tables show it.
    #[must_use]
    pub fn with_slash(&self) -> String {
        format!("{}/", self.0)
    }

    /// Whether one mount would hide part of the other: they are equal, or one lies below the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        is_below(&self.0, &other.0) || is_below(&other.0, &self.0)
    }
}

fn is_below(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a secret below its mount: at least one segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath(String);

impl SecretPath {
    /// Checks a decoded name, such as what [`ApiPath::strip_mount`] leaves after the route's first segment.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        check_segments(text)?;
        Ok(Self(text.to_owned()))
    }

    /// `app/db/password`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that holds this secret.
    #[must_use]
    pub fn parent(&self) -> FolderPath {
        FolderPath(self.0.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned()))
    }

    /// The last segment.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Every folder on the way from the root to this secret, each with what it shows of it: for `a/b/c` the
    /// pairs (``, `a/`), (`a`, `b/`), (`a/b`, `c`).
    pub fn trail(&self) -> impl Iterator<Item = (FolderPath, Child)> + '_ {
        let cuts = self.0.match_indices('/').map(|(at, _)| at).chain([self.0.len()]);
        let mut start = 0;
        cuts.map(move |end| {
            let folder = FolderPath(self.0[..start.max(1) - 1].to_owned());
            let name = self.0[start..end].to_owned();
            start = end + 1;
            (folder, if end == self.0.len() { Child::Secret(name) } else { Child::Folder(name) })
        })
    }
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder below a mount; the root is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderPath(String);

impl FolderPath {
    /// The folder at the mount itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks a decoded folder name; empty means the root. One trailing slash is allowed.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::root());
        }
        check_segments(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The folder without slashes at its ends; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that holds this one; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned())))
    }

    /// What a list of this folder shows of `secret`; `None` if it lies elsewhere.
    #[must_use]
    pub fn shows(&self, secret: &SecretPath) -> Option<Child> {
        let rest = if self.0.is_empty() {
            secret.as_str()
        } else {
            secret.as_str().strip_prefix(&self.0)?.strip_prefix('/')?
        };
        Some(match rest.split_once('/') {
            Some((folder, _)) => Child::Folder(folder.to_owned()),
            None => Child::Secret(rest.to_owned()),
        })
    }

    /// The secret of this name in this folder.
    pub fn secret(&self, name: &str) -> Result<SecretPath, PathError> {
        if self.0.is_empty() { SecretPath::parse(name) } else { SecretPath::parse(&format!("{self}/{name}")) }
    }

    /// The path by which a client would list this folder at `prefix`, for authorisation:
    /// `secret/metadata/app`.
    pub fn api_path(&self, prefix: &str) -> Result<ApiPath, PathError> {
        if self.0.is_empty() {
            ApiPath::from_decoded(&format!("{prefix}/"))
        } else {
            ApiPath::from_decoded(&format!("{prefix}/{self}/"))
        }
    }
}

impl fmt::Display for FolderPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Child {
    /// A secret; shown as it is.
    Secret(String),
    /// A folder; shown with a slash at its end.
    Folder(String),
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => f.write_str(name),
            Self::Folder(name) => write!(f, "{name}/"),
        }
    }
}
