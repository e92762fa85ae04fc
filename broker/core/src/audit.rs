//! What is written about each request, and the proof that it was written.
//!
//! Nothing secret leaves the broker without a [`Receipt`]: the writer makes one when the entry is durable,
//! and [`Withheld::disclose`] consumes it. `clippy.toml` bans [`Receipt::attest`] everywhere but in the
//! writer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use symbolon_proto::Zeroizing;
pub use symbolon_proto::log::{Action, Outcome};

use crate::path::PolicyName;

mod actor;
mod counts;
mod named;

pub use actor::Actor;
pub use counts::{Asked, COUNTED, Counts, Kind};

/// An entry before it has a place in the log.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What was asked for.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Who, what and from where. Sealed on disk, because it names things.
    pub detail: Detail,
}

impl Draft {
    /// The entry of something that the broker does by itself.
    #[must_use]
    pub fn by_broker(action: Action, what: impl Into<String>) -> Self {
        let detail = Detail {
            caller: "broker".to_owned(),
            actor: Some(Arc::new(Actor::of("broker"))),
            role: what.into(),
            ..Detail::default()
        };
        Self { action, outcome: Outcome::Allowed, detail }
    }

    /// The entry of a request that was not authorised, as everybody may read its head: one action for all of
    /// them, and what was asked for in the sealed part. Done twice it is done once.
    #[must_use]
    pub fn veiled(mut self) -> Self {
        if self.action != Action::Refused {
            self.detail.asked = Some(self.action);
            self.action = Action::Refused;
        }
        self
    }
}

/// The part of an entry that only an unsealed broker can read. Wire type, version 1: fields are only ever
/// added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// Identifier that the answer to this request carried.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request_id: String,
    /// Display name of the caller; empty for unauthenticated requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub caller: String,
    /// Accessor of the caller's token, never the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accessor: String,
    /// Normalised path of the request, as the policy saw it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Version of the secret that was read or written; 0 if none applies.
    #[serde(skip_serializing_if = "is_zero")]
    pub version: u64,
    /// What it was about beside the path: the accessor and policies of a token that was made, the accessor of
    /// a secret id, what an operator asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub object: String,
    /// Role of a login; of what no request asked for, what it was, in a text of ours.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Peer address as the listener saw it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote: String,
    /// Why it was refused or failed: one of our own fixed texts, never caller-supplied text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was asked for, where the head says only that it was refused.
    #[serde(with = "named::action", skip_serializing_if = "Option::is_none")]
    pub asked: Option<Action>,
    /// Who the caller is to the method that let them in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Arc<Actor>>,
    /// How many bytes of `path` are the mount's own; 0 if nothing is mounted there. A length, so that the
    /// sealed entry of a stranger is as long whether or not something is.
    #[serde(skip_serializing_if = "is_zero")]
    pub mount_bytes: u64,
    /// Policies whose rule decided; none if no rule is about the path.
    #[serde(skip_serializing_if = "is_nobody")]
    pub policies: Arc<[PolicyName]>,
    /// The requests that this entry stands for, if it stands for more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Box<Counts>>,
}

impl Detail {
    /// The role or user of a login; details of earlier versions have it as their role.
    #[must_use]
    pub fn claim(&self) -> &str {
        let actor = self.actor.as_deref();
        let (role, subject) = actor.map_or(("", ""), |actor| (&actor.role, &actor.subject));
        [self.role.as_str(), role, subject].into_iter().find(|text| !text.is_empty()).unwrap_or_default()
    }

    /// What was asked for: the head's action, or the one that the head does not show.
    #[must_use]
    pub fn action(&self, head: Action) -> Action {
        self.asked.unwrap_or(head)
    }
}

fn is_nobody(policies: &[PolicyName]) -> bool {
    policies.is_empty()
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the shape that serde asks for
fn is_zero(version: &u64) -> bool {
    *version == 0
}

/// Proof that the entry of a request is durable. Made by the writer, consumed by the step that discloses.
#[derive(Debug)]
#[must_use = "a receipt is what allows the answer to leave"]
pub struct Receipt {
    index: u64,
}

impl Receipt {
    /// States that entry `index` is durable. Only the writer may say so (`clippy.toml`).
    pub fn attest(index: u64) -> Self {
        Self { index }
    }

    /// Index of the entry in the log.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// Something secret that may leave only with a receipt: the value of a secret, a token, a secret id, a
/// private key. No `Debug`, no `Clone`, no way out but [`Withheld::disclose`].
pub struct Withheld<T>(T);

/// Plaintext of a secret inside the broker, typically straight from an opened record.
pub type SecretValue = Withheld<Zeroizing<Vec<u8>>>;

impl<T> Withheld<T> {
    /// Keeps a secret back.
    #[must_use]
    pub const fn new(secret: T) -> Self {
        Self(secret)
    }

    /// Works on the secret inside the broker, to make another stored value from it. Nothing leaves this way.
    pub fn transform<U>(self, work: impl FnOnce(&T) -> U) -> U {
        work(&self.0)
    }

    /// The same secret as part of an answer that is still withheld.
    #[must_use]
    pub fn map<U>(self, work: impl FnOnce(T) -> U) -> Withheld<U> {
        Withheld(work(self.0))
    }

    /// Two secrets of one answer, which one entry lets leave.
    #[must_use]
    pub fn and<U>(self, other: Withheld<U>) -> Withheld<(T, U)> {
        Withheld((self.0, other.0))
    }

    /// Gives the secret to an answer whose audit entry is durable.
    #[must_use]
    pub fn disclose(self, receipt: Receipt) -> T {
        drop(receipt);
        self.0
    }
}
