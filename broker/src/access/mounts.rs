//! Which engine or login method answers below which path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_proto::id::MountId;

/// Mounts of each kind that a deployment may have.
pub const MOUNTS_MAX: usize = 1000;

/// A mounted secrets engine or login method.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Where, without slashes at the ends.
    #[serde(with = "mount_path")]
    pub path: MountPath,
    /// `kv`, `system`, `identity`, `cubbyhole`; for login methods `token`, `approle`, `kubernetes`, `jwt`.
    pub kind: String,
    /// Free text of the operator.
    pub description: String,
    /// Stable identifier; the SKB1 namespace of everything below.
    #[serde(with = "mount_id")]
    pub id: MountId,
    /// `kv_1a2b3c4d` and the like.
    pub accessor: String,
    /// Options such as `version = 2`.
    pub options: BTreeMap<String, String>,
    /// Default lifetime of tokens or leases in seconds; 0 takes the system's.
    pub default_ttl_secs: u64,
    /// Longest lifetime of tokens or leases in seconds; 0 takes the system's.
    pub max_ttl_secs: u64,
}

/// How the keys of a KV mount's secrets are kept (`docs/skb1.md` 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// One KEK for up to 1,024 secrets, cached while the lease lasts.
    Standard,
    /// A capsule for each version of each secret, opened through the remote for each read and never cached.
    High,
}

impl Tier {
    /// The name of the mount option.
    pub const OPTION: &'static str = "tier";

    /// A tier by its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "standard" => Some(Self::Standard),
            "high" => Some(Self::High),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::High => "high",
        }
    }
}

impl Mount {
    /// The tier that was chosen when it was enabled. A name that this version does not know means the stricter one.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self.options.get(Tier::OPTION) {
            None => Tier::Standard,
            Some(name) => Tier::parse(name).unwrap_or(Tier::High),
        }
    }
}

/// Mount paths in rows are their text.
mod mount_path {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use symbolon_core::path::MountPath;

    pub(super) fn serialize<S: Serializer>(path: &MountPath, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(path.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MountPath, D::Error> {
        MountPath::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Ids in rows are 32 hexadecimal digits.
mod mount_id {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use symbolon_proto::id::MountId;

    pub(super) fn serialize<S: Serializer>(id: &MountId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MountId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

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
