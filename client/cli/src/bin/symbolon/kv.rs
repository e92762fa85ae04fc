//! `symbolon kv`: secrets.

use clap::{Args, Subcommand};
use symbolon::{Cas, Error, MetadataChange, Secret, SecretData, VersionMetadata};

use crate::failure::Failure;
use crate::fields::{self, FIELDS_HELP};
use crate::globals::Globals;
use crate::input;
use crate::output::{SecretOutput, plain, printable};

/// `symbolon kv`
#[derive(Subcommand)]
pub enum Kv {
    /// Print a secret, or one field of it
    Get(Get),
    /// Write a new version
    #[command(after_help = FIELDS_HELP)]
    Put(Put),
    /// Change some fields of the current version
    #[command(after_help = FIELDS_HELP)]
    Patch(Put),
    /// List names; folders end with `/`
    List(Place),
    /// Delete the newest version, or some; `undelete` takes it back
    Delete(SomeVersions),
    /// Take deletes back
    Undelete(TheseVersions),
    /// Remove payloads for good
    Destroy(TheseVersions),
    /// Facts about a secret and its versions
    #[command(subcommand)]
    Metadata(Metadata),
}

/// A mount and a path in it.
#[derive(Args)]
pub struct Place {
    /// Path, such as secret/team/database; its first segment is the mount unless --mount is given
    path: String,
    /// Mount of the secrets, if it has slashes in it
    #[arg(long)]
    mount: Option<String>,
}

impl Place {
    fn split(&self) -> Result<(&str, &str), Failure> {
        let path = self.path.trim_start_matches('/');
        if let Some(mount) = &self.mount {
            return Ok((mount.trim_matches('/'), path));
        }
        match path.split_once('/') {
            Some((mount, rest)) if !mount.is_empty() => Ok((mount, rest)),
            None if !path.is_empty() => Ok((path, "")),
            _ => Err(Failure::usage("the path names no mount").hint("write it as secret/team/database")),
        }
    }

    /// Like [`Self::split`], for commands that need one secret.
    fn secret(&self) -> Result<(&str, &str), Failure> {
        match self.split()? {
            (mount, "") => {
                Err(Failure::usage(format!("the path names the mount {} but no secret", printable(mount)))
                    .hint("write it as secret/team/database, or give the mount with --mount"))
            }
            found => Ok(found),
        }
    }
}

/// `symbolon kv get`
#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    place: Place,
    /// Print this field only, without a line feed if standard output is not a terminal
    #[arg(long, short)]
    field: Option<String>,
    /// Which version; the newest if not given
    #[arg(long)]
    version: Option<u64>,
}

/// `symbolon kv put`
#[derive(Args)]
pub struct Put {
    #[command(flatten)]
    place: Place,
    /// What to write
    #[arg(required = true, value_name = "FIELD")]
    fields: Vec<String>,
    /// Write only if this is the current version; 0: only if there is none
    #[arg(long)]
    cas: Option<u64>,
}

/// Versions that may be left out.
#[derive(Args)]
pub struct SomeVersions {
    #[command(flatten)]
    place: Place,
    /// Which versions, such as 1,2
    #[arg(long, value_delimiter = ',')]
    versions: Vec<u64>,
}

/// Versions that must be named.
#[derive(Args)]
pub struct TheseVersions {
    #[command(flatten)]
    place: Place,
    /// Which versions, such as 1,2
    #[arg(long, value_delimiter = ',', required = true)]
    versions: Vec<u64>,
}

/// `symbolon kv metadata`
#[derive(Subcommand)]
pub enum Metadata {
    /// Print facts about a secret and its versions
    Get(Place),
    /// Change them
    Put(MetadataPut),
    /// Remove a secret with all of its versions, for good
    Delete(Place),
}

/// `symbolon kv metadata put`
#[derive(Args)]
pub struct MetadataPut {
    #[command(flatten)]
    place: Place,
    /// Versions to keep
    #[arg(long)]
    max_versions: Option<u64>,
    /// Whether writes must say which version they replace
    #[arg(long)]
    cas_required: Option<bool>,
    /// Lifetime of versions, such as 720h
    #[arg(long)]
    delete_version_after: Option<String>,
    /// Free fact, NAME=VALUE; all given ones replace all that were there
    #[arg(long, value_name = "NAME=VALUE")]
    custom: Vec<String>,
}

impl Kv {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        // Whatever is wrong with the arguments is said before anything is asked of the broker.
        match self {
            Self::Get(command) => command.run(globals).await,
            Self::Put(command) => command.run(globals, false).await,
            Self::Patch(command) => command.run(globals, true).await,
            Self::List(place) => list(globals, &place).await,
            Self::Delete(command) => {
                let (mount, path) = command.place.secret()?;
                let client = globals.client()?;
                match command.versions.as_slice() {
                    [] => client.kv(mount).delete(path).await?,
                    versions => client.kv(mount).delete_versions(path, versions).await?,
                }
                globals.out().done("deleted; `symbolon kv undelete` takes it back")
            }
            Self::Undelete(command) => {
                let (mount, path) = command.place.secret()?;
                globals.client()?.kv(mount).undelete(path, &command.versions).await?;
                globals.out().done("undeleted")
            }
            Self::Destroy(command) => {
                let (mount, path) = command.place.secret()?;
                globals.client()?.kv(mount).destroy(path, &command.versions).await?;
                globals.out().done("destroyed")
            }
            Self::Metadata(command) => command.run(globals).await,
        }
    }
}

async fn list(globals: &Globals, place: &Place) -> Result<(), Failure> {
    let (mount, folder) = place.split()?;
    let names = globals.client()?.kv(mount).list(folder).await?;
    globals.out().names(&names)
}

impl Get {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let (mount, path) = self.place.secret()?;
        let out = self.field.is_none().then(|| globals.out().only(None).for_secrets()).transpose()?;
        let client = globals.client()?;
        let kv = client.kv(mount);
        let got = match self.version {
            Some(version) => kv.get_version(path, version).await,
            None => kv.get(path).await,
        };
        let secret = got.map_err(gone)?;
        match (out, &self.field) {
            (Some(out), _) => print_secret(out, &secret),
            (None, field) => print_field(globals, &secret, field.as_deref().unwrap_or_default()),
        }
    }
}

/// Says what a deleted version can still be saved by.
fn gone(error: Error) -> Failure {
    let is_deleted = matches!(&error, Error::Absent(refusal)
        if refusal.messages().iter().any(|text| text.contains("was deleted")));
    let failure = Failure::from(error);
    if is_deleted { failure.hint("`symbolon kv undelete` takes that back") } else { failure }
}

fn print_field(globals: &Globals, secret: &Secret, field: &str) -> Result<(), Failure> {
    let Some(value) = secret.data.field(field) else {
        let names: Vec<String> = secret.data.fields().map(|(name, _)| printable(name)).collect();
        return Err(
            Failure::general("the secret has no such field").hint(format!("it has: {}", names.join(", ")))
        );
    };
    let out = globals.out().only(None);
    if out.is_json() { out.json(value) } else { out.bare(&plain(value)) }
}

/// A secret as JSON.
#[derive(serde::Serialize)]
struct Shown<'a> {
    data: &'a SecretData,
    metadata: &'a VersionMetadata,
}

fn print_secret(out: SecretOutput, secret: &Secret) -> Result<(), Failure> {
    let value = Shown { data: &secret.data, metadata: &secret.metadata };
    let rows =
        secret.data.fields().map(|(name, value)| vec![printable(name), printable(&plain(value))]).collect();
    out.rows(&value, &["FIELD", "VALUE"], rows)
}

impl Put {
    async fn run(self, globals: &Globals, is_patch: bool) -> Result<(), Failure> {
        let (mount, path) = self.place.secret()?;
        let data = SecretData::new(fields::read(&self.fields)?);
        let client = globals.client()?;
        let kv = client.kv(mount);
        let cas = match self.cas {
            None => Cas::Any,
            Some(0) => Cas::Absent,
            Some(version) => Cas::Version(version),
        };
        let wrote = if is_patch { kv.patch(path, &data, cas).await } else { kv.put(path, &data, cas).await }?;
        let facts = [("version", wrote.version.to_string()), ("created", wrote.created_time.clone())];
        globals.out().facts(&wrote, &facts)
    }
}

impl Metadata {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Get(place) => {
                let (mount, path) = place.secret()?;
                let metadata = globals.client()?.kv(mount).metadata(path).await?;
                print_metadata(globals, &metadata)
            }
            Self::Put(command) => {
                let (mount, path) = command.place.secret()?;
                let change = command.change()?;
                globals.client()?.kv(mount).put_metadata(path, &change).await?;
                globals.out().done("written")
            }
            Self::Delete(place) => {
                let (mount, path) = place.secret()?;
                globals.client()?.kv(mount).delete_metadata(path).await?;
                globals.out().done("removed with all versions")
            }
        }
    }
}

impl MetadataPut {
    fn change(&self) -> Result<MetadataChange, Failure> {
        let custom = input::pairs(&self.custom, "--custom")?;
        Ok(MetadataChange {
            max_versions: self.max_versions,
            cas_required: self.cas_required,
            delete_version_after: self.delete_version_after.clone(),
            custom_metadata: (!custom.is_empty()).then_some(custom),
        })
    }
}

fn print_metadata(globals: &Globals, metadata: &symbolon::SecretMetadata) -> Result<(), Failure> {
    let out = globals.out();
    if out.is_json() {
        return out.json(metadata);
    }
    let mut facts = vec![
        ("current version", metadata.current_version.to_string()),
        ("oldest version", metadata.oldest_version.to_string()),
        ("created", metadata.created_time.clone()),
        ("updated", metadata.updated_time.clone()),
        ("versions kept", metadata.max_versions.to_string()),
        ("cas required", metadata.cas_required.to_string()),
        ("versions live", metadata.delete_version_after.clone()),
    ];
    for (name, value) in metadata.custom_metadata.iter().flatten() {
        facts.push(("custom", printable(&format!("{name}={value}"))));
    }
    out.facts(&(), &facts)?;
    let mut versions: Vec<_> = metadata.versions.iter().collect();
    versions.sort_by_key(|(number, _)| number.parse::<u64>().unwrap_or(0));
    let row = |(number, version): (&String, &symbolon::VersionInfo)| {
        let state = match (version.destroyed, version.deletion_time.is_empty()) {
            (true, _) => "destroyed".to_owned(),
            (false, false) => format!("deleted {}", version.deletion_time),
            (false, true) => String::new(),
        };
        vec![number.clone(), version.created_time.clone(), state]
    };
    out.gap()?;
    out.rows(&(), &["VERSION", "CREATED", "STATE"], versions.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place(path: &str, mount: Option<&str>) -> Place {
        Place { path: path.to_owned(), mount: mount.map(str::to_owned) }
    }

    #[test]
    fn the_first_segment_is_the_mount() {
        assert_eq!(place("secret/team/db", None).secret().unwrap(), ("secret", "team/db"));
        assert_eq!(place("/secret/db", None).secret().unwrap(), ("secret", "db"));
        assert_eq!(place("db", Some("team/secret/")).secret().unwrap(), ("team/secret", "db"));
        assert_eq!(place("secret", None).split().unwrap(), ("secret", ""));
        assert!(place("secret", None).secret().is_err());
        assert!(place("/", None).split().is_err());
    }
}
