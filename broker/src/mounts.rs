//! Which engine or login method answers below which path.

use serde::{Deserialize, Serialize};
use symbolon_core::path::{ApiPath, MountPath};

use crate::ops::types::Mount;

/// Mounts of each kind that a deployment may have.
pub const MOUNTS_MAX: usize = 1000;

/// The mount table. Wire type of two rows: secrets engines and login methods.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MountList(pub Vec<Mount>);

/// Both tables, as requests see them.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// Secrets engines.
    pub secrets: MountList,
    /// Login methods, below `auth/`.
    pub logins: MountList,
}

impl MountList {
    /// The mount whose path is the longest prefix of `path`, on whole segments.
    #[must_use]
    pub fn longest_match(&self, path: &str) -> Option<&Mount> {
        self.0
            .iter()
            .filter(|mount| below(path, &mount.path).is_some())
            .max_by_key(|mount| mount.path.as_str().len())
    }

    /// The mount at exactly this path.
    #[must_use]
    pub fn at(&self, path: &MountPath) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.path == *path)
    }
}

impl Mounts {
    /// The secrets engine that answers for `path`, and the rest of the path below it.
    #[must_use]
    pub fn secret<'a, 'p>(&'a self, path: &'p ApiPath) -> Option<(&'a Mount, &'p str)> {
        let mount = self.secrets.longest_match(path.as_str())?;
        Some((mount, below(path.as_str(), &mount.path)?))
    }

    /// The login method that answers for `path`, and the rest of the path below `auth/<mount>`.
    #[must_use]
    pub fn login<'a, 'p>(&'a self, path: &'p ApiPath) -> Option<(&'a Mount, &'p str)> {
        let path = path.as_str().strip_prefix("auth/")?;
        let mount = self.logins.longest_match(path)?;
        Some((mount, below(path, &mount.path)?))
    }
}

fn below<'p>(path: &'p str, mount: &MountPath) -> Option<&'p str> {
    let rest = path.strip_prefix(mount.as_str())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use symbolon_proto::id::MountId;

    use super::*;

    fn mount(path: &str) -> Mount {
        Mount {
            path: MountPath::parse(path).unwrap(),
            kind: "kv".into(),
            description: String::new(),
            id: MountId::from_bytes([1; 16]),
            accessor: "kv_00000000".into(),
            options: BTreeMap::new(),
            default_ttl_secs: 0,
            max_ttl_secs: 0,
        }
    }

    fn found(path: &str) -> Option<(String, String)> {
        let mounts = Mounts {
            secrets: MountList(vec![mount("team"), mount("team/secret")]),
            logins: MountList(vec![mount("jwt")]),
        };
        let path = ApiPath::parse(path).unwrap();
        let (mount, rest) = mounts.secret(&path).or_else(|| mounts.login(&path))?;
        Some((mount.path.as_str().to_owned(), rest.to_owned()))
    }

    #[test]
    fn the_longest_mount_on_whole_segments_wins() {
        assert_eq!(found("team/secret/data/a"), Some(("team/secret".into(), "data/a".into())));
        assert_eq!(found("team/secrets/data/a"), Some(("team".into(), "secrets/data/a".into())));
        assert_eq!(found("teams/data/a"), None);
        assert_eq!(found("auth/jwt/login"), Some(("jwt".into(), "login".into())));
    }
}
