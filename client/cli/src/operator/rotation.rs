//! Rotations: asking for new keys, and how far they are. The broker does the work in the background.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symbolon::{Error, Method};

use super::Operator;

/// Rotations of a broker: see [`Operator::rotations`].
pub struct Rotations<'a>(&'a Operator);

/// How all rotations stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RotationStatus {
    /// The customer fragment.
    #[serde(default)]
    pub fragment: FragmentKeys,
    /// The remote half of every key.
    pub remote: RemoteKeyStatus,
    /// KEKs of the KV mounts, by path with a slash at its end.
    pub keks: BTreeMap<String, MountKeks>,
    /// KEKs of the deployment's own records.
    pub own: OwnKeks,
    /// What stands in the way, if something does.
    pub problem: Option<String>,
    /// Numbers for monitoring.
    #[serde(default)]
    pub numbers: BTreeMap<String, u64>,
}

/// The customer fragment and its epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FragmentKeys {
    /// The fragment epoch that everything new is closed for.
    pub epoch: u32,
    /// Whether something is left that the epoch before has closed.
    pub changing: bool,
    /// Rows sealed anew since the broker was unsealed.
    pub rows_resealed: u64,
}

/// The remote half of every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoteKeyStatus {
    /// Key epochs whose capsules can be opened, oldest first.
    pub key_epochs: Vec<u32>,
    /// Whether capsules are being re-wrapped now.
    pub running: bool,
    /// Capsules re-wrapped a second.
    pub rate_per_second: f64,
    /// The last rotation; `None` if there was none.
    pub last: Option<RewrapProgress>,
    /// Fragment services that left the group and have not confirmed that their share is erased.
    #[serde(default)]
    pub leaving: Vec<LeavingNode>,
    /// How far the change of a group of services is that is under way, if one is.
    #[serde(default)]
    pub under_way: Option<GroupChange>,
}

/// A fragment service that left the group and still holds an old share, as far as the broker knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeavingNode {
    /// Where it is; empty if the broker does not know.
    pub url: String,
    /// Fingerprint of its root.
    pub fingerprint: String,
    /// Fingerprint of the group that its operator must approve there.
    pub approve: String,
    /// What it waits for, and who must act.
    pub waits: String,
}

/// A change of a group of fragment services, while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChange {
    /// `refresh`, `reshare`, `rotate` or `renew`.
    pub change: String,
    /// The step under way.
    pub step: String,
    /// Nodes or checks done in this step.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// How far the re-wrapping of capsules is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewrapProgress {
    /// Capsules are re-wrapped for this key epoch.
    pub key_epoch: u32,
    /// Capsules to re-wrap.
    pub capsules: u64,
    /// Capsules re-wrapped.
    pub done: u64,
    /// Capsules that are left.
    pub left: u64,
    /// When it began, RFC 3339.
    pub started: Option<String>,
    /// When it ended, verified, RFC 3339; `None` if it has not.
    pub finished: Option<String>,
}

/// KEKs of a KV mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountKeks {
    /// `standard` or `high`.
    pub tier: String,
    /// New payloads are sealed under this KEK epoch.
    pub kek_epoch: u32,
    /// `settled`, `preparing` or `moving`.
    pub state: String,
    /// Payloads that the roll under way, or the last one, has moved.
    pub payloads_moved: u64,
    /// When that roll was asked for, RFC 3339; `None` if there was none.
    pub started: Option<String>,
    /// When it ended, RFC 3339; `None` if it has not.
    pub finished: Option<String>,
}

/// KEKs of the deployment's own records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnKeks {
    /// KEK epoch of new records and machine tokens.
    pub kek_epoch: u32,
    /// Whether a roll was asked for and has not happened.
    pub rolling: bool,
    /// Older epochs under which machine tokens may still live, newest first.
    pub older_token_epochs: Vec<u32>,
}

#[derive(Deserialize)]
struct Made {
    key_epoch: u32,
}

#[derive(Deserialize)]
struct Proposed {
    fingerprint: String,
}

#[derive(Deserialize)]
struct Retired {
    retired_key_epoch: u32,
}

impl Operator {
    /// The rotations of the broker.
    #[must_use]
    pub fn rotations(&self) -> Rotations<'_> {
        Rotations(self)
    }
}

impl Rotations<'_> {
    /// Asks for new KEKs for every KV mount and for the deployment itself.
    pub async fn all_keks(&self) -> Result<(), Error> {
        self.0.call(Method::PUT, "sys/rotate").send().await.map(drop)
    }

    /// Asks for new KEKs for one KV mount. An empty path is refused here: the broker would take it for all
    /// mounts.
    pub async fn mount_keks(&self, mount: &str) -> Result<(), Error> {
        let mount = mount.trim_end_matches('/');
        if mount.is_empty() {
            return Err(Error::Path);
        }
        self.0.call(Method::PUT, &format!("sys/symbolon/rotate/kek/{mount}")).send().await.map(drop)
    }

    /// Has the remote make a new key epoch, and every capsule re-wrapped for it. Answers the newest key
    /// epoch.
    pub async fn remote(&self) -> Result<u32, Error> {
        let answer = self.0.call(Method::PUT, "sys/symbolon/rotate/remote").send().await?;
        Ok(answer.data::<Made>("a key epoch")?.key_epoch)
    }

    /// Tells the remote that its oldest key epoch is needed no more. Refused while a capsule needs it.
    /// Answers that epoch.
    pub async fn retire(&self) -> Result<u32, Error> {
        let answer = self.0.call(Method::PUT, "sys/symbolon/rotate/retire").send().await?;
        Ok(answer.data::<Retired>("a retired key epoch")?.retired_key_epoch)
    }

    /// Has several fragment services make new shares of the same key; old ones that leaked are worth nothing
    /// afterwards.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.0.call(Method::PUT, "sys/symbolon/rotate/refresh").send().await.map(drop)
    }

    /// Passes the same key on to the services and the threshold of the broker's configuration. Refused until
    /// the operators of all of them have approved [`Self::proposed`].
    pub async fn reshare(&self) -> Result<(), Error> {
        self.0.call(Method::PUT, "sys/symbolon/rotate/reshare").send().await.map(drop)
    }

    /// The fingerprint that the operators compare before a reshare.
    pub async fn proposed(&self) -> Result<String, Error> {
        let answer = self.0.call(Method::GET, "sys/symbolon/rotate/reshare").send().await?;
        Ok(answer.data::<Proposed>("a fingerprint")?.fingerprint)
    }

    /// How all rotations stand.
    pub async fn status(&self) -> Result<RotationStatus, Error> {
        self.0.call(Method::GET, "sys/symbolon/rotation").send().await?.data("the state of rotations")
    }
}

impl RotationStatus {
    /// Whether the remote key is at `key_epoch`, every capsule re-wrapped and the end verified.
    #[must_use]
    pub fn is_rewrapped_for(&self, key_epoch: u32) -> bool {
        let last = self.remote.last.as_ref();
        last.is_some_and(|last| last.key_epoch == key_epoch && last.finished.is_some())
    }

    /// Whether capsules of an older key epoch are waiting to be re-wrapped.
    #[must_use]
    pub fn is_rewrapping(&self) -> bool {
        let newest = self.remote.key_epochs.last();
        self.remote.key_epochs.len() > 1 && newest.is_some_and(|&newest| !self.is_rewrapped_for(newest))
    }

    /// Whether the KEKs of any mount, or of the deployment itself, are being rolled.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.own.rolling || self.keks.values().any(MountKeks::is_rolling)
    }

    /// Capsules and payloads that the broker found damaged and left where they are.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        let number = |name| self.numbers.get(name).copied().unwrap_or(0);
        number("symbolon_rewrap_capsules_damaged") + number("symbolon_kek_roll_payloads_damaged")
    }
}

impl MountKeks {
    /// Whether a roll has not ended.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.state != "settled"
    }
}
