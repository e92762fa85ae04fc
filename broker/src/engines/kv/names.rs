//! Which folders show which names.
//!
//! A row for every name in every folder, so that a list costs its own length and not the mount's. Creating a
//! secret writes the rows of all its folders again, which moves their revisions; removing one takes an empty
//! folder's row away only if its revision did not move meanwhile. So a folder never disappears under a secret
//! that has just come.

use serde::{Deserialize, Serialize};
use symbolon_core::path::{Child, FolderPath};
use symbolon_proto::id::TenantId;

use super::{KvFolder, KvTarget};
use crate::access::Session;
use crate::access::mounts::Mount;
use crate::engines::kv::ENTRIES;
use crate::error::OpError;
use crate::rows::{Cursor, Found, Place};
use crate::store::{Expect, Write};

/// One name in one folder. Wire type.
#[derive(Serialize, Deserialize)]
struct Entry(String);

fn place<'a>(mount: &Mount, folder: &'a FolderPath, name: &'a str) -> Place<'a> {
    Place { tenant: TenantId::SYSTEM, table: ENTRIES, scope: mount.id, group: folder.as_str(), name }
}

/// Names in a folder, in order; a folder without any does not exist.
pub(super) async fn in_folder(session: &Session, folder: &KvFolder) -> Result<Option<Vec<String>>, OpError> {
    let entries = session.rows.list::<Entry>(place(&folder.mount, &folder.folder, "")).await?;
    let mut names: Vec<String> = entries.into_iter().map(|(Entry(name), _)| name).collect();
    names.sort_unstable();
    Ok((!names.is_empty()).then_some(names))
}

/// The names at the top of a mount, for whoever goes through them page by page.
pub fn root_names(session: &Session, mount: &Mount) -> Cursor {
    Cursor::of_group(&session.rows, &place(mount, &FolderPath::root(), ""))
}

/// A name that was met there, as a list shows it.
pub fn name_of(session: &Session, found: &Found) -> Result<String, OpError> {
    let Entry(name) = session.rows.open_found(found)?;
    Ok(name)
}

/// A name in a folder, met by going through the rows of it.
pub(super) struct Named {
    /// As a list shows it.
    pub(super) name: String,
    /// Takes it out of the folder, if nothing has been written there since.
    pub(super) removal: Write,
}

/// The first names in a folder, in no order, at most `limit`.
pub(super) async fn page(
    session: &Session,
    mount: &Mount,
    folder: &FolderPath,
    limit: usize,
) -> Result<Vec<Named>, OpError> {
    let mut cursor = Cursor::of_group(&session.rows, &place(mount, folder, ""));
    let rows = cursor.next(&session.rows, limit).await?.unwrap_or_default();
    let named = |found: &Found| Ok(Named { name: name_of(session, found)?, removal: found.removal() });
    rows.iter().map(named).collect()
}

/// What takes a folder's name out of the one above, if nothing comes into it; `None` if it is not there.
pub(super) async fn folder_removal(
    session: &Session,
    mount: &Mount,
    folder: &FolderPath,
) -> Result<Option<Write>, OpError> {
    let above = folder.parent().unwrap_or_default();
    let name = folder.as_str().rsplit('/').next().unwrap_or_default();
    let name = Child::Folder(name.to_owned()).to_string();
    let place = place(mount, &above, &name);
    let entry = session.rows.read::<Entry>(place).await?;
    Ok(entry.map(|(_, revision)| session.rows.delete(place, Expect::Revision(revision))))
}

/// The rows that make a new secret visible.
pub(super) fn additions(session: &Session, target: &KvTarget) -> Result<Vec<Write>, OpError> {
    let entries = target.secret.trail();
    let put = |(folder, child): (FolderPath, Child)| {
        let name = child.to_string();
        Ok(session.rows.put(place(&target.mount, &folder, &name), &Entry(name.clone()), Expect::Any)?)
    };
    entries.map(put).collect()
}

/// Takes a secret's name away, and then each folder that is empty without it.
///
/// Every revision is read before any folder is found empty: a secret that comes in between has then moved
/// them.
pub(super) async fn removals(session: &Session, target: &KvTarget) -> Result<Vec<Write>, OpError> {
    let mut seen = Vec::new();
    for (folder, child) in target.secret.trail() {
        let name = child.to_string();
        let entry = session.rows.read::<Entry>(place(&target.mount, &folder, &name)).await?;
        seen.push((folder, name, entry.map(|(_, revision)| revision)));
    }
    let mut changes = Vec::new();
    for (folder, name, revision) in seen.iter().rev() {
        let place = place(&target.mount, folder, name);
        let Some(revision) = revision else { break };
        changes.push(session.rows.delete(place, Expect::Revision(*revision)));
        if session.rows.holds_others(place).await? {
            break;
        }
    }
    Ok(changes)
}
