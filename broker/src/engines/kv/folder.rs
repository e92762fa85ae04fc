//! Removes a folder with everything in it, some at a time: for whoever keeps a folder for somebody who is
//! gone.

use symbolon_core::audit::Draft;
use symbolon_core::path::FolderPath;

use super::names::{self, Named};
use super::{KvTarget, OpError, find_meta, meta_place, values};
use crate::access::Session;
use crate::access::mounts::Mount;
use crate::store::{Expect, Write};

/// Names looked at in one step, and so secrets that one commit removes.
const PAGE_NAMES: usize = 128;

/// A folder on the way down.
struct Level {
    folder: FolderPath,
    /// Takes its name out of the folder above, if nothing has come into it since.
    removal: Write,
}

/// Removes a folder. A secret that comes meanwhile makes it fail, before anything of that secret is out of
/// reach; then or after a kill it is begun again. Each commit has the entry that `entry` makes.
pub async fn remove_folder(
    session: &Session,
    mount: &Mount,
    folder: FolderPath,
    entry: fn() -> Draft,
) -> Result<(), OpError> {
    let Some(removal) = names::folder_removal(session, mount, &folder).await? else { return Ok(()) };
    let mut levels = vec![Level { folder, removal }];
    while let Some(Level { folder, .. }) = levels.last() {
        let page = names::page(session, mount, folder, PAGE_NAMES).await?;
        let (folders, secrets): (Vec<Named>, Vec<Named>) =
            page.into_iter().partition(|named| named.name.ends_with('/'));
        let mut changes = Vec::new();
        for named in &secrets {
            changes.extend(secret_removals(session, mount, folder, named).await?);
        }
        match folders.into_iter().next() {
            Some(named) => levels.push(below(folder, named)?),
            None if secrets.is_empty() => changes.extend(levels.pop().map(|level| level.removal)),
            None => {}
        }
        if !changes.is_empty() {
            drop(session.commit(changes, entry()).await?);
        }
    }
    Ok(())
}

fn below(folder: &FolderPath, named: Named) -> Result<Level, OpError> {
    let path = folder.secret(named.name.trim_end_matches('/')).map_err(|_| OpError::INTEGRITY)?;
    let folder = FolderPath::parse(path.as_str()).map_err(|_| OpError::INTEGRITY)?;
    Ok(Level { folder, removal: named.removal })
}

/// The rows of a secret, its name among them.
async fn secret_removals(
    session: &Session,
    mount: &Mount,
    folder: &FolderPath,
    named: &Named,
) -> Result<Vec<Write>, OpError> {
    let secret = folder.secret(&named.name).map_err(|_| OpError::INTEGRITY)?;
    let target = KvTarget::new(mount.clone(), secret);
    let mut changes = vec![named.removal.clone()];
    if let Some((meta, revision)) = find_meta(session, &target).await? {
        changes.extend(values::removals(&target, &meta, meta.payloads()));
        changes.push(session.rows.delete(meta_place(&target), Expect::Revision(revision)));
    }
    Ok(changes)
}
