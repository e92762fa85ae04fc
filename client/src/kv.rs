//! Key/value secrets, version 2.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroize;

use crate::client::Client;
use crate::error::{Error, Refusal};

/// One mount of secrets: see [`Client::kv`].
pub struct Kv<'a> {
    client: &'a Client,
    mount: &'a str,
}

/// A secret's fields. No `Debug`; texts are wiped on drop.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub struct SecretData(Map<String, Value>);

/// A version of a secret.
#[derive(Deserialize)]
pub struct Secret {
    /// The fields.
    pub data: SecretData,
    /// Facts about the version.
    pub metadata: VersionMetadata,
}

/// A version whose data may be gone.
#[derive(Deserialize)]
struct MaybeSecret {
    data: Option<SecretData>,
    metadata: VersionMetadata,
}

/// Facts about a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VersionMetadata {
    /// Its number.
    pub version: u64,
    /// When it was written, RFC 3339.
    pub created_time: String,
    /// When it was or will be deleted, RFC 3339; empty if never.
    #[serde(default)]
    pub deletion_time: String,
    /// Whether its payload is gone for good.
    #[serde(default)]
    pub destroyed: bool,
    /// The secret's custom metadata.
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// Facts about a version that was written.
pub type WroteVersion = VersionMetadata;

/// Facts about a secret and all of its versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretMetadata {
    /// Newest version; 0 if none was written.
    pub current_version: u64,
    /// Oldest version that is kept.
    #[serde(default)]
    pub oldest_version: u64,
    /// When the secret was made, RFC 3339.
    pub created_time: String,
    /// When it last changed, RFC 3339.
    #[serde(default)]
    pub updated_time: String,
    /// Versions to keep; 0 takes the mount's.
    #[serde(default)]
    pub max_versions: u64,
    /// Whether writes must carry `cas`.
    #[serde(default)]
    pub cas_required: bool,
    /// Lifetime of versions, such as `0s`.
    #[serde(default)]
    pub delete_version_after: String,
    /// Free facts.
    #[serde(default)]
    pub custom_metadata: Option<BTreeMap<String, String>>,
    /// Facts per version.
    #[serde(default)]
    pub versions: BTreeMap<String, Versions>,
}

/// Facts about one version in a list of versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Versions {
    /// When it was written, RFC 3339.
    pub created_time: String,
    /// When it was or will be deleted, RFC 3339; empty if never.
    #[serde(default)]
    pub deletion_time: String,
    /// Whether its payload is gone for good.
    #[serde(default)]
    pub destroyed: bool,
}

/// Changes to a secret's metadata; what is not given stays.
#[derive(Debug, Default, Clone, Serialize)]
pub struct MetadataChange {
    /// Versions to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_versions: Option<u64>,
    /// Whether writes must carry `cas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cas_required: Option<bool>,
    /// Lifetime of versions, such as `720h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_version_after: Option<String>,
    /// Replaces the whole map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

impl SecretData {
    /// Takes fields.
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A field as it is.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }
}

impl Secret {
    /// A field that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.data.field(name)?.as_str()
    }
}

impl Drop for SecretData {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| wipe(value));
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.iter_mut().for_each(|(_, value)| wipe(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Client {
    /// The secrets of one mount, such as `secret`.
    #[must_use]
    pub fn kv<'a>(&'a self, mount: &'a str) -> Kv<'a> {
        Kv { client: self, mount }
    }
}

impl Kv<'_> {
    fn path(&self, kind: &str, path: &str) -> String {
        format!("{}/{kind}/{path}", self.mount)
    }

    /// A version, or the newest one. A deleted version is [`Error::NotFound`].
    pub async fn get(&self, path: &str, version: Option<u64>) -> Result<Secret, Error> {
        let mut call = self.client.call(Method::GET, &self.path("data", path)).accept(&[404]);
        if let Some(version) = version {
            call = call.query("version", &version.to_string());
        }
        let answer = call.send().await?;
        if answer.status() != 404 {
            let secret: MaybeSecret = answer.data("a secret with its metadata")?;
            let gone = || Error::NotFound(Refusal::new(404, &["this version is deleted".to_owned()]));
            return Ok(Secret { data: secret.data.ok_or_else(gone)?, metadata: secret.metadata });
        }
        // 404 with an envelope: the version existed and was deleted or destroyed.
        let reason = match answer.data::<MaybeSecret>("a secret") {
            Ok(secret) if secret.metadata.destroyed => "this version was destroyed",
            Ok(_) => "this version was deleted; `symbolon kv undelete` takes that back",
            Err(_) => "no such secret",
        };
        Err(Error::NotFound(Refusal::new(404, &[reason.to_owned()])))
    }

    /// Writes a new version. `cas` is the expected current version; 0 means that none must exist.
    pub async fn put(&self, path: &str, data: &SecretData, cas: Option<u64>) -> Result<WroteVersion, Error> {
        let call = self.client.call(Method::PUT, &self.path("data", path)).json(&Write::new(data, cas));
        call.send().await?.data("facts about the version written")
    }

    /// Changes some fields of the current version; null removes a field.
    pub async fn patch(
        &self,
        path: &str,
        data: &SecretData,
        cas: Option<u64>,
    ) -> Result<WroteVersion, Error> {
        let call =
            self.client.call(Method::PATCH, &self.path("data", path)).merge_patch(&Write::new(data, cas));
        call.send().await?.data("facts about the version written")
    }

    /// Names in a folder; folders end with `/`. The empty path is the mount itself.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let folder = folder.trim_end_matches('/');
        let path =
            if folder.is_empty() { self.path("metadata", "") } else { self.path("metadata", folder) + "/" };
        let call = self.client.call(Method::GET, &path).query("list", "true");
        Ok(call.send().await?.data::<Keys>("names of secrets")?.keys)
    }

    /// Deletes the newest version, or the given ones. They can be undeleted.
    pub async fn delete(&self, path: &str, versions: &[u64]) -> Result<(), Error> {
        if versions.is_empty() {
            return self.client.call(Method::DELETE, &self.path("data", path)).send().await.map(drop);
        }
        self.change_versions("delete", path, versions).await
    }

    /// Takes deletes back.
    pub async fn undelete(&self, path: &str, versions: &[u64]) -> Result<(), Error> {
        self.change_versions("undelete", path, versions).await
    }

    /// Removes payloads for good.
    pub async fn destroy(&self, path: &str, versions: &[u64]) -> Result<(), Error> {
        self.change_versions("destroy", path, versions).await
    }

    async fn change_versions(&self, what: &str, path: &str, versions: &[u64]) -> Result<(), Error> {
        let call =
            self.client.call(Method::PUT, &self.path(what, path)).json(&json!({ "versions": versions }));
        call.send().await.map(drop)
    }

    /// Facts about a secret and its versions.
    pub async fn metadata(&self, path: &str) -> Result<SecretMetadata, Error> {
        let call = self.client.call(Method::GET, &self.path("metadata", path));
        call.send().await?.data("metadata of a secret")
    }

    /// Changes a secret's metadata; makes the secret, without versions, if it is absent.
    pub async fn put_metadata(&self, path: &str, change: &MetadataChange) -> Result<(), Error> {
        let call = self.client.call(Method::PUT, &self.path("metadata", path)).json(change);
        call.send().await.map(drop)
    }

    /// Removes a secret with all versions and metadata, for good.
    pub async fn delete_metadata(&self, path: &str) -> Result<(), Error> {
        self.client.call(Method::DELETE, &self.path("metadata", path)).send().await.map(drop)
    }
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Write<'a> {
    data: &'a SecretData,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Value>,
}

impl<'a> Write<'a> {
    fn new(data: &'a SecretData, cas: Option<u64>) -> Self {
        Self { data, options: cas.map(|version| json!({ "cas": version })) }
    }
}
