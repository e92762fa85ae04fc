//! KV: secrets with versions (version 2), and without ([`v1`]).
//!
//! ```text
//! mod.rs       read, list, metadata, versions: what the faces call
//! write.rs     new versions, with check-and-set and retries
//! values.rs    sealed payloads, in both tiers
//! names.rs     which folders show which names
//! folder.rs    a folder that goes with everything in it
//! v1/          version 1, on the same rows
//! ```
//!
//! The rules are `symbolon_core::kv`; here they meet rows, records and keys. Each operation authorises before
//! it looks, except that a write first asks whether the secret exists, because that decides between `create`
//! and `update`.

mod folder;
mod names;
mod recover;
mod route;
mod types;
pub mod v1;
pub(crate) mod values;
mod write;

use std::collections::BTreeMap;

use symbolon_core::audit::{Action, SecretValue};
use symbolon_core::kv::{KvSettings, MetadataUpdate, SecretMeta, SettingsUpdate};
use symbolon_core::policy::Operation;
use symbolon_proto::id::TenantId;

use super::Engine;
use crate::access::mounts::{MOUNTS, Mount, Side, Tier};
use crate::access::shape::Facts;
use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::dialect::vault::{Answering, Call};
use crate::error::OpError;
use crate::rows::{Layout, Life, Place, Table};
use crate::store::{Expect, Write};

pub use folder::remove_folder;
pub use names::{name_of, root_names};
pub(crate) use recover::{RecoveredVersion, recover_mount};
pub use types::{KvFolder, KvTarget, Page, Patched, ReadSecret, VersionsChange, WriteSecret, WroteSecret};
use values::Behalf;
use write::Tries;
pub use write::{patch, write};

/// Metadata of secrets.
pub const SECRETS: Table = Table::new(0x10, "metadata of secrets", Layout::Row, Life::Kept);
/// Which names stand in which folders.
pub const ENTRIES: Table = Table::new(0x11, "directory entries", Layout::Row, Life::Kept);
/// Versions of secrets: SKB1 records.
pub const VERSIONS: Table = Table::new(0x12, "versions", Layout::Record, Life::Kept);

/// Tables of every engine that keeps secrets as this one does.
pub const TABLES: &[Table] = &[SECRETS, ENTRIES, VERSIONS];

/// The descriptor of version 2.
pub static V2: Engine = Engine {
    facts: Facts {
        kind: "kv",
        builtin: None,
        tables: TABLES,
        sudo: &[],
        folds: &[],
        open: &[],
        first_rows: None,
    },
    options: &["version", Tier::OPTION],
    serves: |_| true,
    enable,
    tune,
    keeps_secrets: true,
    token_removed: None,
    endings: &[],
    route: answer,
};

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route::route(call, mount, rest))
}

fn enable(options: &BTreeMap<String, String>) -> Result<Option<BTreeMap<String, String>>, OpError> {
    if options.get("version").is_some_and(|version| version != "2") {
        return Err(OpError::invalid("the option `version` of a KV engine is 1 or 2"));
    }
    check_tier(options)?;
    Ok(Some(options.clone()))
}

fn check_tier(options: &BTreeMap<String, String>) -> Result<(), OpError> {
    if options.get(Tier::OPTION).is_some_and(|tier| Tier::parse(tier).is_none()) {
        return Err(OpError::invalid("the option `tier` of a KV engine is `standard` or `high`"));
    }
    Ok(())
}

/// A tier is chosen once. What is in the mount would have to be encrypted again, and whoever read the mount
/// list meanwhile would be told of a protection that most of it does not have yet.
fn tune(mount: &Mount, options: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, OpError> {
    for (name, value) in options {
        match name.as_str() {
            Tier::OPTION => return Err(OpError::invalid(TIER_STAYS)),
            "version" if value == "2" => {}
            "version" => return Err(OpError::invalid("a KV mount of version 2 stays one")),
            _ => return Err(OpError::invalid("a KV engine has the options `version` and `tier`")),
        }
    }
    Ok(mount.options.clone())
}

const TIER_STAYS: &str = "the tier of a mount is chosen when it is enabled; enable another mount with the tier you want and copy the secrets";

/// A secret's metadata and the revision of its row.
type Found = (SecretMeta, u64);

fn meta_place(target: &KvTarget) -> Place<'_> {
    Place {
        tenant: TenantId::SYSTEM,
        table: SECRETS,
        scope: target.mount.id,
        group: "",
        name: target.secret.as_str(),
    }
}

fn settings_place(mount: &Mount) -> Place<'static> {
    Place { tenant: TenantId::SYSTEM, table: MOUNTS, scope: mount.id, group: "", name: "kv settings" }
}

fn settings_route(mount: &Mount) -> Route {
    Route::below(Side::Secrets, mount, "config")
}

async fn find_meta(session: &Session, target: &KvTarget) -> Result<Option<Found>, OpError> {
    Ok(session.rows.read::<SecretMeta>(meta_place(target)).await?)
}

async fn mount_settings(session: &Session, mount: &Mount) -> Result<KvSettings, OpError> {
    Ok(session.rows.read(settings_place(mount)).await?.map(|(settings, _)| settings).unwrap_or_default())
}

/// A version that was found, before anyone may see its value.
struct Version {
    number: u64,
    meta: symbolon_core::kv::VersionMeta,
    custom: Option<BTreeMap<String, String>>,
    value: Option<SecretValue>,
}

/// Reads a version; 0 is the newest. A deleted or destroyed one answers without data.
pub async fn read(who: &Asker<'_>, target: &KvTarget, version: u64) -> Result<ReadSecret, OpError> {
    read_at(who, &target.route("data"), target, version).await
}

/// The same for somebody who wants to see only the names in it: another right, at another path.
pub async fn subkeys(who: &Asker<'_>, target: &KvTarget, version: u64) -> Result<ReadSecret, OpError> {
    read_at(who, &target.route("subkeys"), target, version).await
}

async fn read_at(
    who: &Asker<'_>,
    route: &Route,
    target: &KvTarget,
    version: u64,
) -> Result<ReadSecret, OpError> {
    let request = Request::begin(who, Action::SecretRead, route).await?.authorise(Operation::Read).await?;
    let found = request.found(find_version(Behalf::Caller(&request), target, version).await).await?;
    let value = match found.value {
        Some(value) => Ok(value),
        None => Err(request.absence().await?), // "deleted" is an absence too
    };
    let receipt = request.commit_for_disclosure(Object::Version(found.number), Vec::new()).await?;
    Ok(ReadSecret {
        data: value.map(|value| value.disclose(receipt)),
        version: found.number,
        meta: found.meta,
        custom_metadata: found.custom,
    })
}

async fn find_version(
    behalf: Behalf<'_>,
    target: &KvTarget,
    version: u64,
) -> Result<Option<Version>, OpError> {
    let Some(((meta, _), value)) = values::find(behalf, target, version).await? else { return Ok(None) };
    let found = meta.version(version).map(|(number, facts)| (number, *facts));
    Ok(found.map(|(number, meta_of)| Version { number, meta: meta_of, custom: meta.custom_metadata, value }))
}

/// Names in a folder, folders with a slash at their end.
pub async fn list(who: &Asker<'_>, folder: &KvFolder, page: &Page) -> Result<Vec<String>, OpError> {
    let request =
        Request::begin(who, Action::List, &folder.route()).await?.authorise(Operation::List).await?;
    let names = names::in_folder(request.session(), folder).await;
    listed(&request, names, page).await
}

async fn listed(
    request: &Authorised,
    names: Result<Option<Vec<String>>, OpError>,
    page: &Page,
) -> Result<Vec<String>, OpError> {
    let names = request.found(names).await?;
    request.commit(Object::names(names.len()), Vec::new()).await?;
    let after = page.after.as_deref().unwrap_or_default();
    let limit = page.limit.unwrap_or(usize::MAX);
    Ok(names.into_iter().filter(|name| name.as_str() > after).take(limit).collect())
}

/// Facts about a secret and its versions.
pub async fn read_metadata(who: &Asker<'_>, target: &KvTarget) -> Result<SecretMeta, OpError> {
    let request = Request::begin(who, Action::MetadataRead, &target.route("metadata"))
        .await?
        .authorise(Operation::Read)
        .await?;
    let (meta, _) = request.found(find_meta(request.session(), target).await).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(meta)
}

/// Changes a secret's settings, and creates an entry without versions if there is none.
pub async fn write_metadata(
    who: &Asker<'_>,
    target: &KvTarget,
    update: &MetadataUpdate,
) -> Result<(), OpError> {
    let request = Request::begin(who, Action::MetadataWrite, &target.route("metadata")).await?;
    let _pass = request.session().keys.pass().await; // it may choose a bucket for a new secret
    let found = find_meta(request.session(), target).await?;
    let operation = if found.is_some() { Operation::Update } else { Operation::Create };
    let request = request.authorise(operation).await?;
    let changes =
        request.record_failure(metadata_changes(request.session(), target, found, update).await).await?;
    request.commit(Object::Path, changes).await
}

/// Changes an existing secret's settings.
pub async fn patch_metadata(
    who: &Asker<'_>,
    target: &KvTarget,
    update: &MetadataUpdate,
) -> Result<(), OpError> {
    let request = Request::begin(who, Action::MetadataWrite, &target.route("metadata"))
        .await?
        .authorise(Operation::Patch)
        .await?;
    let found = request.found(find_meta(request.session(), target).await).await?;
    let changes = metadata_changes(request.session(), target, Some(found), update).await;
    let changes = request.record_failure(changes).await?;
    request.commit(Object::Path, changes).await
}

async fn metadata_changes(
    session: &Session,
    target: &KvTarget,
    found: Option<Found>,
    update: &MetadataUpdate,
) -> Result<Vec<Write>, OpError> {
    let (meta, expect, mut changes) = write::existing_or_new(session, target, found).await?;
    let meta = meta.update(update, session.now().unix_ms)?;
    changes.push(session.rows.put(meta_place(target), &meta, expect)?);
    Ok(changes)
}

/// Removes a secret with all its versions. Removing an absent one is no error.
pub async fn delete_metadata(who: &Asker<'_>, target: &KvTarget) -> Result<(), OpError> {
    let request = Request::begin(who, Action::MetadataDelete, &target.route("metadata"))
        .await?
        .authorise(Operation::Delete)
        .await?;
    remove(&request, target).await
}

async fn remove(request: &Authorised, target: &KvTarget) -> Result<(), OpError> {
    let mut tries = Tries::default();
    loop {
        let changes = request.record_failure(removal(request.session(), target).await).await?;
        let done = request.commit(Object::Named("all versions".to_owned()), changes).await;
        if !tries.again(&done) {
            return done;
        }
    }
}

async fn removal(session: &Session, target: &KvTarget) -> Result<Vec<Write>, OpError> {
    let Some((meta, revision)) = find_meta(session, target).await? else { return Ok(Vec::new()) };
    let mut changes = values::removals(target, &meta, meta.payloads());
    changes.push(session.rows.delete(meta_place(target), Expect::Revision(revision)));
    changes.extend(names::removals(session, target).await?);
    Ok(changes)
}

/// Soft-deletes the newest version. Deleting an absent one is no error.
pub async fn delete_latest(who: &Asker<'_>, target: &KvTarget) -> Result<(), OpError> {
    let request = Request::begin(who, Action::SecretDelete, &target.route("data"))
        .await?
        .authorise(Operation::Delete)
        .await?;
    let newest = |meta: &SecretMeta| Object::Version(meta.current);
    change_meta(&request, target, newest, |meta, now| {
        Ok(meta.delete_latest(now).map(|meta| (meta, Vec::new())))
    })
    .await
}

/// Deletes, undeletes or destroys the versions named.
pub async fn change_versions(
    who: &Asker<'_>,
    target: &KvTarget,
    change: VersionsChange,
    versions: &[u64],
) -> Result<(), OpError> {
    let (action, route) = match change {
        VersionsChange::Delete => (Action::SecretDelete, "delete"),
        VersionsChange::Undelete => (Action::SecretUndelete, "undelete"),
        VersionsChange::Destroy => (Action::SecretDestroy, "destroy"),
    };
    let request =
        Request::begin(who, action, &target.route(route)).await?.authorise(Operation::Update).await?;
    let named = |_: &SecretMeta| Object::versions(versions);
    change_meta(&request, target, named, |meta, now| match change {
        VersionsChange::Delete => Ok(meta.delete(versions, now)?.map(|meta| (meta, Vec::new()))),
        VersionsChange::Undelete => Ok(meta.undelete(versions, now)?.map(|meta| (meta, Vec::new()))),
        VersionsChange::Destroy => {
            Ok(meta.destroy(versions, now)?.map(|removal| (removal.meta, removal.removed)))
        }
    })
    .await
}

/// What a change of versions comes to: the new metadata and the payloads to remove, or nothing to do.
type Decision = Result<Option<(SecretMeta, Vec<u64>)>, OpError>;

/// Applies a decision to the metadata by compare-and-set and removes the payloads it names. An absent secret
/// stays absent.
async fn change_meta(
    request: &Authorised,
    target: &KvTarget,
    object: impl Fn(&SecretMeta) -> Object,
    decide: impl Fn(&SecretMeta, u64) -> Decision,
) -> Result<(), OpError> {
    let mut tries = Tries::default();
    loop {
        let found = find_meta(request.session(), target).await?;
        let object = found.as_ref().map_or(Object::Path, |(meta, _)| object(meta));
        let changes =
            request.record_failure(decided_changes(request.session(), target, found, &decide)).await?;
        let done = request.commit(object, changes).await;
        if !tries.again(&done) {
            return done;
        }
    }
}

fn decided_changes(
    session: &Session,
    target: &KvTarget,
    found: Option<Found>,
    decide: impl Fn(&SecretMeta, u64) -> Decision,
) -> Result<Vec<Write>, OpError> {
    let Some((meta, revision)) = found else { return Ok(Vec::new()) };
    let Some((next, removed)) = decide(&meta, session.now().unix_ms)? else { return Ok(Vec::new()) };
    let mut changes = values::removals(target, &meta, removed);
    changes.push(session.rows.put(meta_place(target), &next, Expect::Revision(revision))?);
    Ok(changes)
}

/// Settings of a mount.
pub async fn read_settings(who: &Asker<'_>, mount: &Mount) -> Result<KvSettings, OpError> {
    let request = Request::begin(who, Action::MountRead, &settings_route(mount))
        .await?
        .authorise(Operation::Read)
        .await?;
    let settings = request.record_failure(mount_settings(request.session(), mount).await).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(settings)
}

/// Changes the settings of a mount.
pub async fn write_settings(who: &Asker<'_>, mount: &Mount, update: &SettingsUpdate) -> Result<(), OpError> {
    let request = Request::begin(who, Action::MountWrite, &settings_route(mount))
        .await?
        .authorise(Operation::Update)
        .await?;
    let change = request.record_failure(settings_change(request.session(), mount, update).await).await?;
    request.commit(Object::Path, vec![change]).await?;
    Ok(())
}

async fn settings_change(
    session: &Session,
    mount: &Mount,
    update: &SettingsUpdate,
) -> Result<Write, OpError> {
    let (present, expect) = match session.rows.read::<KvSettings>(settings_place(mount)).await? {
        Some((settings, revision)) => (settings, Expect::Revision(revision)),
        None => (KvSettings::default(), Expect::Absent),
    };
    Ok(session.rows.put(settings_place(mount), &present.update(update)?, expect)?)
}
