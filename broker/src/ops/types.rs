//! What faces hand to operations and get back: plain, typed, free of any dialect.

use std::collections::BTreeMap;

use symbolon_core::json::Map;
use symbolon_core::kv::VersionMeta;
use symbolon_core::path::{ApiPath, FolderPath, MountPath, PolicyName, SecretPath};
use symbolon_core::policy::Capabilities;
use symbolon_core::token::Caller;
use symbolon_proto::id::MountId;

/// Seal state as everyone may see it.
#[derive(Clone, Debug)]
pub struct SealStatus {
    /// Whether the store holds a deployment.
    pub initialized: bool,
    /// Whether the broker holds no keys.
    pub sealed: bool,
    /// Shares needed.
    pub threshold: u8,
    /// Shares that exist.
    pub shares: u8,
    /// Shares given in the ceremony under way.
    pub progress: u8,
    /// Names of the custodians who have given theirs.
    pub given: Vec<String>,
    /// Identifier of the ceremony under way; empty if none.
    pub nonce: String,
    /// Fingerprint of this broker while `init` waits for the fragment service's operator to compare and approve it.
    pub enrolling: String,
    /// Deployment id in hex; empty if not initialised or sealed.
    pub cluster_id: String,
    /// `none` or `customer-escrow`; empty if not initialised.
    pub recovery: String,
    /// How secret memory is kept.
    pub memory: String,
    /// State of the lease on cached keys: `active`, `suspended`, `expired`, `unknown`.
    pub lease: String,
    /// Seconds until the lease ends; 0 if there is none.
    pub lease_left_secs: u64,
    /// Seconds until the broker seals itself if no active lease comes; 0 when sealed.
    pub dead_man_left_secs: u64,
    /// Why the broker sealed itself or would not open; empty otherwise.
    pub sealed_because: String,
    /// How often the deployment was unsealed; 0 when sealed.
    pub generation: u64,
}

/// What `init` needs from the operator.
#[derive(Clone, Debug)]
pub struct Init {
    /// Shares to make, 2 to 16.
    pub shares: u8,
    /// Shares needed to unseal.
    pub threshold: u8,
    /// One name per share; missing names become `custodian-1`, `custodian-2`, ….
    pub custodians: Vec<String>,
    /// One card per share, instead of names. Then no share is ever shown: each is sealed to its card.
    pub cards: Vec<symbolon_proto::custody::Card>,
    /// Recovery policy; `None` takes the one in the configuration, and there is no other default.
    pub recovery: Option<String>,
}

/// What `init` gives back, once.
pub struct InitAnswer {
    /// One share per custodian, in order of x; none if they have cards.
    pub shares: Vec<CustodianShare>,
    /// One share per custodian with a card, in order of x: name, and the text form of the parcel.
    pub parcels: Vec<(String, String)>,
    /// The root token.
    pub root_token: String,
    /// Verifier key of the audit log (C2SP signed-note form).
    pub log_key: String,
}

impl InitAnswer {
    /// The custodians, in order of x.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let shares = self.shares.iter().map(|share| share.name.as_str());
        shares.chain(self.parcels.iter().map(|(name, _)| name.as_str())).collect()
    }
}

/// A share on its way to its custodian.
pub struct CustodianShare {
    /// Name of the custodian.
    pub name: String,
    /// bech32m text.
    pub text: symbolon_proto::Zeroizing<String>,
    /// The same 44 bytes.
    pub bytes: symbolon_proto::Zeroizing<Vec<u8>>,
}

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

/// A secret's version as read.
pub struct ReadSecret {
    /// The JSON object as it was written, byte for byte; `None` if this version is deleted or destroyed.
    pub data: Option<symbolon_proto::Zeroizing<Vec<u8>>>,
    /// Facts about the version.
    pub version: u64,
    /// Facts about the version.
    pub meta: VersionMeta,
    /// The secret's custom metadata.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// A version as written.
pub struct WroteSecret {
    /// The new version.
    pub version: u64,
    /// Facts about it.
    pub meta: VersionMeta,
    /// The secret's custom metadata.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// A write of KV v2 data.
pub struct WriteSecret<'a> {
    /// The JSON object to store, or to merge.
    pub data: &'a Map,
    /// Expected current version, if the caller checks.
    pub cas: Option<u64>,
}

/// Which of the three version lists an operation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionsChange {
    /// Soft delete.
    Delete,
    /// Take a soft delete back.
    Undelete,
    /// Remove the payload for good.
    Destroy,
}

/// Where a KV operation goes: the path as the policy sees it, and the same path below its mount.
#[derive(Clone, Debug)]
pub struct KvTarget {
    /// The whole route, e.g. `secret/data/team/db`.
    pub api: ApiPath,
    /// The mount it lies in.
    pub mount: Mount,
    /// The secret.
    pub secret: SecretPath,
}

/// Where a KV list goes.
#[derive(Clone, Debug)]
pub struct KvFolder {
    /// The whole route, e.g. `secret/metadata/team/`.
    pub api: ApiPath,
    /// The mount it lies in.
    pub mount: Mount,
    /// The folder; the root is the mount itself.
    pub folder: FolderPath,
}

/// An issued token.
pub struct IssuedToken {
    /// The token itself, shown once.
    pub token: symbolon_proto::Zeroizing<String>,
    /// What it stands for.
    pub caller: Caller,
    /// Lifetime in seconds; 0 never ends.
    pub ttl_secs: u64,
    /// Things the caller should know, such as a capped lifetime.
    pub warnings: Vec<String>,
}

/// Capabilities of a token on some paths, in the order asked.
pub type CapabilitiesAnswer = Vec<(String, Capabilities)>;

/// A policy as stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredPolicy {
    /// Folded name.
    pub name: PolicyName,
    /// The text as written.
    pub text: String,
}

/// Limits on a list page, as OpenBao has them.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Names after this one only.
    pub after: Option<String>,
    /// At most so many; 0 means all.
    pub limit: usize,
}
