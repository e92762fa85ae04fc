//! Who somebody is, as entries of the log name them.

use serde::{Deserialize, Serialize};

use crate::path::{MountPath, RoleName};

/// Most bytes of one text: who somebody is may come from a token of somebody else, of any length.
const TEXT_BYTES_MAX: usize = 256;

/// Who a login method let in, by what it proved: never by what somebody with a token wrote down. Wire type,
/// in details and in tokens, version 1: fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// Kind of the login method, or `token`, `custodian` or `broker`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The login mount as paths name it, `auth/kubernetes`. Two mounts of one
    /// method know different people by the same names. Empty in tokens
    /// of earlier versions, and in entries of refused logins, whose path begins with it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount: String,
    /// Role by which they came.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Who it is within the method: a service account, the `sub` of a token, a user; never a credential.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// Kubernetes namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Uid of the Kubernetes service account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

impl Actor {
    /// Somebody of whom no more is known than the name that entries have of every caller.
    #[must_use]
    pub fn of(method: &str) -> Self {
        Self { method: method.to_owned(), ..Self::default() }
    }

    /// Somebody who is known by a name alone.
    #[must_use]
    pub fn named(method: &str, subject: &str) -> Self {
        Self { subject: beginning(subject), ..Self::of(method) }
    }

    /// A Kubernetes service account.
    #[must_use]
    pub fn service_account(subject: &str, namespace: &str, uid: &str) -> Self {
        let (namespace, uid) = (beginning(namespace), beginning(uid));
        Self { namespace, uid, ..Self::named("kubernetes", subject) }
    }

    /// The same, having come by a role.
    #[must_use]
    pub fn by_role(self, role: &RoleName) -> Self {
        Self { role: role.to_string(), ..self }
    }

    /// The same, having come through a login mount.
    #[must_use]
    pub fn through(self, mount: &MountPath) -> Self {
        Self { mount: format!("auth/{mount}"), ..self }
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A text, or its beginning and a mark.
fn beginning(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default())
}
