//! Key/value secrets, version 2.

mod data;
mod metadata;

use std::any::type_name;

use reqwest::Method;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use self::data::SecretData;
pub use self::metadata::{MetadataChange, SecretMetadata, VersionInfo, VersionMetadata};
use crate::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::exchange::Answer;
use crate::refusal::Refusal;

/// What was expected where something else came.
const SECRET: &str = "a secret with its metadata";
const WRITTEN: &str = "facts about the version written";

/// One mount of secrets: see [`Client::kv`].
#[derive(Debug, Clone, Copy)]
pub struct Kv<'a> {
    client: &'a Client,
    mount: &'a str,
}

/// A version of a secret, in the form that the caller asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Secret<T = SecretData> {
    /// What was written.
    pub data: T,
    /// Facts about the version.
    pub metadata: VersionMetadata,
}

/// What must hold for a write to happen (check-and-set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cas {
    /// Nothing. Whoever wrote last wins.
    Any,
    /// There is no such secret yet.
    Absent,
    /// This is the current version, as [`VersionMetadata::version`] told.
    Version(u64),
}

/// A version whose data may be gone.
#[derive(Deserialize)]
struct MaybeSecret<T> {
    data: Option<T>,
    metadata: VersionMetadata,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Write<'a, T: ?Sized> {
    data: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    options: Option<Options>,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

impl Client {
    /// The secrets of one mount, such as `secret`.
    #[must_use]
    pub fn kv<'a>(&'a self, mount: &'a str) -> Kv<'a> {
        Kv { client: self, mount }
    }
}

impl Kv<'_> {
    fn call(&self, method: Method, kind: &str, path: &str) -> Call<'_> {
        self.client.call(method, &format!("{}/{kind}/{path}", self.mount))
    }

    /// The newest version. One that is deleted is [`Error::Absent`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Secret<T>, Error> {
        let call = self.call(Method::GET, "data", path);
        read(&call.accept(&[404]).send().await?)
    }

    /// One version.
    pub async fn get_version<T: DeserializeOwned>(
        &self,
        path: &str,
        version: u64,
    ) -> Result<Secret<T>, Error> {
        let call = self.call(Method::GET, "data", path).query("version", &version.to_string());
        read(&call.accept(&[404]).send().await?)
    }

    /// Writes a new version, if what `cas` asks for holds; otherwise it is [`Error::Conflict`].
    pub async fn put<T: Serialize + ?Sized>(
        &self,
        path: &str,
        data: &T,
        cas: Cas,
    ) -> Result<VersionMetadata, Error> {
        let call = self.call(Method::PUT, "data", path).json(&Write::new(data, cas));
        call.send().await?.data(WRITTEN)
    }

    /// Changes some fields of the current version; null removes a field.
    pub async fn patch<T: Serialize + ?Sized>(
        &self,
        path: &str,
        data: &T,
        cas: Cas,
    ) -> Result<VersionMetadata, Error> {
        let call = self.call(Method::PATCH, "data", path).merge_patch(&Write::new(data, cas));
        call.send().await?.data(WRITTEN)
    }

    /// Names in a folder; folders end with `/`. The empty path is the mount itself. A folder without names
    /// does not exist: [`Error::Absent`].
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let folder = folder.trim_end_matches('/');
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let call = self.call(Method::GET, "metadata", &folder).query("list", "true");
        Ok(call.send().await?.data::<Keys>("names of secrets")?.keys)
    }

    /// Deletes the newest version. It can be undeleted.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, "data", path).send().await.map(drop)
    }

    /// Deletes these versions. They can be undeleted.
    pub async fn delete_versions(&self, path: &str, versions: &[u64]) -> Result<(), Error> {
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
        let call = self.call(Method::PUT, what, path).json(&json!({ "versions": versions }));
        call.send().await.map(drop)
    }

    /// Facts about a secret and its versions.
    pub async fn metadata(&self, path: &str) -> Result<SecretMetadata, Error> {
        self.call(Method::GET, "metadata", path).send().await?.data("metadata of a secret")
    }

    /// Changes a secret's metadata; makes the secret, without versions, if it is absent.
    pub async fn put_metadata(&self, path: &str, change: &MetadataChange) -> Result<(), Error> {
        self.call(Method::PUT, "metadata", path).json(change).send().await.map(drop)
    }

    /// Removes a secret with all versions and metadata, for good.
    pub async fn delete_metadata(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, "metadata", path).send().await.map(drop)
    }
}

/// The version in an answer; 404 with metadata says that it existed and is gone.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<Secret<T>, Error> {
    if answer.status() == 404 {
        return Err(match answer.data::<MaybeSecret<IgnoredAny>>(SECRET) {
            Ok(gone) => absent(&gone.metadata),
            Err(_) => answer.refused(),
        });
    }
    match answer.data::<MaybeSecret<T>>(SECRET) {
        Ok(MaybeSecret { data: Some(data), metadata }) => Ok(Secret { data, metadata }),
        Ok(MaybeSecret { data: None, metadata }) => Err(absent(&metadata)),
        // The error of the parser would repeat what it found, so it is dropped.
        Err(_) if answer.data::<MaybeSecret<IgnoredAny>>(SECRET).is_ok() => {
            Err(Error::Shape { wanted: type_name::<T>() })
        }
        Err(foreign) => Err(foreign),
    }
}

fn absent(metadata: &VersionMetadata) -> Error {
    let what = if metadata.destroyed { "this version was destroyed" } else { "this version was deleted" };
    Error::Absent(Refusal::absent(what))
}

impl<'a, T: ?Sized> Write<'a, T> {
    fn new(data: &'a T, cas: Cas) -> Self {
        let cas = match cas {
            Cas::Any => None,
            Cas::Absent => Some(0),
            Cas::Version(version) => Some(version),
        };
        Self { data, options: cas.map(|cas| Options { cas }) }
    }
}

#[cfg(test)]
mod tests;
