//! Which engine or login method answers below which path.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use symbolon_core::audit::Action;
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_core::token::ttl::TtlLimits;
use symbolon_core::token::{TokenKind, TokenType};
use symbolon_proto::id::{MountId, TenantId};

use crate::error::OpError;
use crate::random::os_rng;
use crate::rows::{Layout, Life, NO_SCOPE, Place, Rows, Table};
use crate::store::{Expect, Write};

/// The two mount tables, and settings of single mounts under their ids.
pub const MOUNTS: Table = Table::new(0x03, "mounts and their settings", Layout::Row, Life::Kept);

/// Mounts of each kind that a deployment may have.
pub const MOUNTS_MAX: usize = 1000;

/// A mounted secrets engine or login method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, without slashes at the ends.
    #[serde(with = "mount_path")]
    pub path: MountPath,
    /// The kind of its engine or login method, as their descriptors have it.
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
    /// Who sees it in the list for user interfaces.
    #[serde(default, skip_serializing_if = "Listing::is_usual")]
    pub listing: Listing,
    /// Which kind of tokens its logins give, beside what their roles say. Only login methods have it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token_type: TokenType,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
fn is_default(token_type: &TokenType) -> bool {
    *token_type == TokenType::Default
}

/// Who sees a mount in the list for user interfaces, `listing_visibility` of Vault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listing {
    /// Everybody, without a token.
    Unauth,
    /// Whoever may do something below it: Vault has two words for this one.
    Hidden,
    /// Whoever may do something below it.
    #[default]
    #[serde(other)]
    Usual,
}

impl Listing {
    /// One by its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Usual, Self::Hidden, Self::Unauth].into_iter().find(|listing| listing.as_str() == word)
    }

    /// Its word; the usual one has none.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Hidden => "hidden",
            Self::Unauth => "unauth",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
    fn is_usual(&self) -> bool {
        *self == Self::Usual
    }
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
    /// How long tokens of this mount may live.
    #[must_use]
    pub fn ttl_limits(&self) -> TtlLimits {
        TtlLimits::of_mount(self.default_ttl_secs, self.max_ttl_secs)
    }

    /// Which kind of tokens its logins give, where the method gives `usual` ones if nobody says anything.
    #[must_use]
    pub fn token_type(&self, usual: TokenKind) -> TokenType {
        match (self.token_type, usual) {
            (TokenType::Default, TokenKind::Service) => TokenType::DefaultService,
            (TokenType::Default, TokenKind::Batch) => TokenType::DefaultBatch,
            (said, _) => said,
        }
    }

    /// The tier that was chosen when it was enabled. A name that this version does not know means the
    /// stricter one.
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
    /// Reads both tables, at unseal.
    pub async fn read(rows: &Rows) -> Result<Self, OpError> {
        Ok(Self { secrets: read(rows, Side::Secrets).await?, logins: read(rows, Side::Logins).await? })
    }

    /// One list as it is stored, for whoever must not take a missing one for an empty one.
    pub async fn read_stored(rows: &Rows, side: Side) -> Result<Option<MountList>, OpError> {
        Ok(rows.read::<MountList>(side.row()).await?.map(|(list, _)| list))
    }

    /// The secrets engine that answers for `path`, and the rest of the path below it.
    #[must_use]
    pub fn secret<'a, 'p>(&'a self, path: &'p ApiPath) -> Option<(&'a Mount, &'p str)> {
        let mount = self.secrets.longest_match(path.as_str())?;
        Some((mount, below(path.as_str(), &mount.path)?))
    }

    /// How long a token may live that was made at `path`: as long as its mount says now, or the system if
    /// that mount is gone.
    #[must_use]
    pub fn ttl_limits_at(&self, path: &str) -> TtlLimits {
        let mount = path.strip_prefix("auth/").and_then(|path| self.logins.longest_match(path));
        mount.map_or_else(|| TtlLimits::of_mount(0, 0), Mount::ttl_limits)
    }

    /// How many bytes of `path` name the mount that answers for it, `auth/` and `sys` included; 0 if none
    /// does.
    #[must_use]
    pub fn prefix_bytes(&self, path: &ApiPath) -> usize {
        const SYSTEM: &str = "sys";
        let whole = path.as_str().len();
        let of = |rest: &str| whole - rest.len() - usize::from(!rest.is_empty());
        match path.as_str().strip_prefix(SYSTEM) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => SYSTEM.len(),
            _ => self.login(path).or_else(|| self.secret(path)).map_or(0, |(_, rest)| of(rest)),
        }
    }

    /// The login method that answers for `path`, and the rest of the path below `auth/<mount>`.
    #[must_use]
    pub fn login<'a, 'p>(&'a self, path: &'p ApiPath) -> Option<(&'a Mount, &'p str)> {
        let path = path.as_str().strip_prefix("auth/")?;
        let mount = self.logins.longest_match(path)?;
        Some((mount, below(path, &mount.path)?))
    }
}

async fn read(rows: &Rows, side: Side) -> Result<MountList, OpError> {
    Ok(Mounts::read_stored(rows, side).await?.unwrap_or_default())
}

fn below<'p>(path: &'p str, mount: &MountPath) -> Option<&'p str> {
    let rest = path.strip_prefix(mount.as_str())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Secrets engines, `sys/mounts`.
    Secrets,
    /// Login methods, `sys/auth`.
    Logins,
}

impl Side {
    pub(crate) fn row(self) -> Place<'static> {
        let name = match self {
            Self::Secrets => "secrets",
            Self::Logins => "logins",
        };
        Place { tenant: TenantId::SYSTEM, table: MOUNTS, scope: NO_SCOPE, group: "", name }
    }

    /// Its table of both.
    pub fn of(self, mounts: &Mounts) -> &MountList {
        match self {
            Self::Secrets => &mounts.secrets,
            Self::Logins => &mounts.logins,
        }
    }

    /// Where the system lists and changes them, below `sys/`.
    #[must_use]
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Secrets => "mounts",
            Self::Logins => "auth",
        }
    }

    /// What entries call reading, writing and deleting its mounts.
    pub fn actions(self) -> [Action; 3] {
        match self {
            Self::Secrets => [Action::MountRead, Action::MountWrite, Action::MountDelete],
            Self::Logins => [Action::AuthRead, Action::AuthWrite, Action::AuthDelete],
        }
    }
}

/// A change that writes a table, for `init`.
pub fn first_write(rows: &Rows, side: Side, list: &MountList) -> Result<Write, OpError> {
    Ok(rows.put(side.row(), list, Expect::Absent)?)
}

/// What enabling needs.
#[derive(Clone, Debug, Default)]
pub struct Enable {
    /// Kind: `kv`, or a login method.
    pub kind: String,
    /// Free text, at most 1024 bytes.
    pub description: String,
    /// Options; for `kv` `version = 2`, and `tier = standard` or `high`.
    pub options: BTreeMap<String, String>,
    /// Default lifetime in seconds, 0 for the system's.
    pub default_ttl_secs: u64,
    /// Longest lifetime in seconds, 0 for the system's.
    pub max_ttl_secs: u64,
    /// Who sees it listed.
    pub listing: Listing,
    /// Which kind of tokens its logins give.
    pub token_type: TokenType,
}

/// A mount that does not exist yet, with fresh identifiers.
#[must_use]
pub fn new_mount(path: MountPath, spec: Enable) -> Mount {
    let id = MountId::random(&mut os_rng());
    let accessor = format!("{}_{}", spec.kind, &id.to_string()[..8]);
    Mount {
        path,
        kind: spec.kind,
        description: spec.description,
        id,
        accessor,
        options: spec.options,
        default_ttl_secs: spec.default_ttl_secs,
        max_ttl_secs: spec.max_ttl_secs,
        listing: spec.listing,
        token_type: spec.token_type,
    }
}

/// A mount that every deployment has.
#[must_use]
pub fn builtin(path: &'static str, kind: &str) -> Mount {
    let spec = Enable { kind: kind.to_owned(), ..Enable::default() };
    new_mount(MountPath::parse(path).expect("a fixed name"), spec)
}

/// Both tables in use. Replaced as a whole, so that a request sees one or the other.
pub(super) struct MountTables(RwLock<Arc<Mounts>>);

impl MountTables {
    pub(super) fn new(mounts: Mounts) -> Self {
        Self(RwLock::new(Arc::new(mounts)))
    }

    pub(super) fn now(&self) -> Arc<Mounts> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace_all(&self, mounts: Mounts) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(mounts);
    }

    pub(super) fn replace(&self, side: Side, list: MountList) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Mounts::clone(&current);
        match side {
            Side::Secrets => next.secrets = list,
            Side::Logins => next.logins = list,
        }
        *current = Arc::new(next);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mount(path: &str) -> Mount {
        let spec = Enable { kind: "kv".to_owned(), ..Enable::default() };
        new_mount(MountPath::parse(path).unwrap(), spec)
    }

    /// Both ways: the version before this one ignores members that it does not know.
    #[test]
    fn a_stored_mount_of_the_version_before_is_read_and_one_without_new_settings_is_written_as_before() {
        let plain = serde_json::to_value(mount("a")).unwrap();
        let members: Vec<&str> = plain.as_object().unwrap().keys().map(String::as_str).collect();
        let before =
            ["path", "kind", "description", "id", "accessor", "options", "default_ttl_secs", "max_ttl_secs"];
        assert_eq!(members, before);
        let set = Mount { listing: Listing::Unauth, token_type: TokenType::Batch, ..mount("a") };
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<Mount>(&text).unwrap(), set);
        let later = text.replace("unauth", "something-new");
        assert_eq!(serde_json::from_str::<Mount>(&later).unwrap().listing, Listing::Usual);
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
    fn entries_name_the_mount_by_its_length() {
        let mounts = Mounts {
            secrets: MountList(vec![mount("team"), mount("team/secret")]),
            logins: MountList(vec![mount("jwt")]),
        };
        let expected = [
            ("team/secret/data/a", "team/secret"),
            ("team/x", "team"),
            ("team", "team"),
            ("auth/jwt/login", "auth/jwt"),
            ("auth/none/login", ""),
            ("sys/mounts", "sys"),
            ("system/x", ""),
        ];
        for (path, mount) in expected {
            let parsed = ApiPath::parse(path).unwrap();
            assert_eq!(&path[..mounts.prefix_bytes(&parsed)], mount, "{path}");
        }
    }

    #[test]
    fn the_longest_mount_on_whole_segments_wins() {
        assert_eq!(found("team/secret/data/a"), Some(("team/secret".into(), "data/a".into())));
        assert_eq!(found("team/secrets/data/a"), Some(("team".into(), "secrets/data/a".into())));
        assert_eq!(found("teams/data/a"), None);
        assert_eq!(found("auth/jwt/login"), Some(("jwt".into(), "login".into())));
    }
}
