//! Mounts of secrets engines and of login methods: list, read, enable, disable.

use std::collections::BTreeMap;

use symbolon_core::audit::Action;
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_core::policy::Operation;

use crate::access::mounts::{Enable, MOUNTS_MAX, Mount, MountList, Mounts, Side, new_mount};
use crate::access::shape::Facts;
use crate::access::{Asker, Authorised, Object, Request, Route};
use crate::auth::{METHODS, Method};
use crate::engines::{ENGINES, engine_of};
use crate::error::{OpError, Text};
use crate::store::Expect;

/// Longest description of a mount.
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// Rows that one commit removes while a mount is being deleted. Only their keys are read.
const DELETE_BATCH: usize = 1024;

/// All mounts of one side.
pub async fn list(who: &Asker<'_>, side: Side) -> Result<Vec<Mount>, OpError> {
    let request = Request::begin(who, side.actions()[0], &Route::system(side.collection()))
        .await?
        .authorise(Operation::Read)
        .await?;
    let mounts = side.of(&request.session().mounts()).0.clone();
    request.commit(Object::names(mounts.len()), Vec::new()).await?;
    Ok(mounts)
}

/// One mount.
pub async fn read(who: &Asker<'_>, side: Side, path: &MountPath) -> Result<Mount, OpError> {
    read_at(who, &at(side, path), side, path).await
}

/// The same for somebody who wants to see its settings: another right, at another path.
pub async fn read_tuning(who: &Asker<'_>, side: Side, path: &MountPath) -> Result<Mount, OpError> {
    read_at(who, &tuning(side, path), side, path).await
}

fn at(side: Side, path: &MountPath) -> Route {
    Route::system(format_args!("{}/{path}", side.collection()))
}

fn tuning(side: Side, path: &MountPath) -> Route {
    Route::system(format_args!("{}/{path}/tune", side.collection()))
}

async fn read_at(who: &Asker<'_>, route: &Route, side: Side, path: &MountPath) -> Result<Mount, OpError> {
    let request = Request::begin(who, side.actions()[0], route).await?.authorise(Operation::Read).await?;
    let found = side.of(&request.session().mounts()).at(path).cloned();
    let found = request.record_failure(found.ok_or(OpError::invalid("no mount at this path"))).await?;
    request.commit(Object::mount(&found), Vec::new()).await?;
    Ok(found)
}

/// The mount that answers for a path, for anyone who may do anything below it
/// (`sys/internal/ui/mounts/:path`).
pub async fn visible(who: &Asker<'_>, path: &ApiPath) -> Result<Mount, OpError> {
    let request =
        Request::begin(who, Action::MountRead, &Route::system(format!("internal/ui/mounts/{path}")))
            .await?
            .about_itself();
    let mounts = request.session().mounts();
    let found =
        mounts.secret(path).map(|(mount, _)| mount).filter(|mount| request.acl().reaches(&mount.path));
    let found = request.record_failure(found.cloned().ok_or(OpError::INVISIBLE)).await?;
    request.commit(Object::mount(&found), Vec::new()).await?;
    Ok(found)
}

/// Mounts that the caller may do anything below, both sides (`sys/internal/ui/mounts`).
pub async fn all_visible(who: &Asker<'_>) -> Result<Mounts, OpError> {
    let request =
        Request::begin(who, Action::MountRead, &Route::system("internal/ui/mounts")).await?.about_itself();
    let mut mounts = Mounts::clone(&request.session().mounts());
    mounts.secrets.0.retain(|mount| request.acl().reaches(&mount.path));
    mounts.logins.0.retain(|mount| {
        MountPath::parse(&format!("auth/{}", mount.path)).is_ok_and(|path| request.acl().reaches(&path))
    });
    let shown = mounts.secrets.0.len() + mounts.logins.0.len();
    request.commit(Object::names(shown), Vec::new()).await?;
    Ok(mounts)
}

/// Enables an engine or login method.
pub async fn enable(who: &Asker<'_>, side: Side, path: MountPath, spec: Enable) -> Result<(), OpError> {
    let request =
        Request::begin(who, side.actions()[1], &at(side, &path)).await?.authorise(Operation::Update).await?;
    let options = request.record_failure(options(side, &spec)).await?;
    request.record_failure(check_path(side, &path)).await?;
    let mount = new_mount(path, Enable { options, ..spec });
    change(request, side, Object::mount(&mount), |list| {
        if list.0.iter().any(|other| other.path.overlaps(&mount.path)) {
            return Err(OpError::invalid("path is already in use"));
        }
        if list.0.len() >= MOUNTS_MAX {
            return Err(OpError::invalid("too many mounts"));
        }
        list.0.push(mount.clone());
        Ok(())
    })
    .await
    .map(drop)
}

/// Routes of the dialect answer below `auth` and `sys` first; and what the policy `default` gives everybody
/// below `cubbyhole` and `identity` is meant for other engines than those that can be mounted.
fn check_path(side: Side, path: &MountPath) -> Result<(), OpError> {
    const RESERVED: [&str; 5] = ["audit", "auth", "cubbyhole", "identity", "sys"];
    let first = path.as_str().split('/').next().unwrap_or_default();
    match side {
        Side::Secrets if RESERVED.contains(&first) => Err(OpError::invalid(
            "this path is reserved: choose another one than audit, auth, cubbyhole, identity or sys",
        )),
        Side::Secrets | Side::Logins => Ok(()),
    }
}

/// The options of the new mount, as its engine or method completes them.
fn options(side: Side, spec: &Enable) -> Result<BTreeMap<String, String>, OpError> {
    if spec.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(OpError::invalid("the description is longer than 1024 bytes"));
    }
    match side {
        Side::Secrets => engine_options(spec),
        Side::Logins => method_options(spec),
    }
}

fn engine_options(spec: &Enable) -> Result<BTreeMap<String, String>, OpError> {
    for engine in
        ENGINES.iter().filter(|engine| engine.facts.kind == spec.kind && can_be_enabled(&engine.facts))
    {
        if let Some(options) = (engine.enable)(&spec.options)? {
            return Ok(options);
        }
    }
    Err(unknown_kind("secrets engine", ENGINES.iter().map(|engine| &engine.facts)))
}

fn method_options(spec: &Enable) -> Result<BTreeMap<String, String>, OpError> {
    let of_kind = |method: &&&Method| method.facts.kind == spec.kind && can_be_enabled(&method.facts);
    let Some(method) = METHODS.iter().find(of_kind) else {
        return Err(unknown_kind("login method", METHODS.iter().map(|method| &method.facts)));
    };
    (method.enable)(&spec.options)?;
    Ok(spec.options.clone())
}

fn can_be_enabled(facts: &Facts) -> bool {
    facts.builtin.is_none()
}

fn unknown_kind(what: &str, all: impl Iterator<Item = &'static Facts>) -> OpError {
    let mut kinds: Vec<&str> = all.filter(|facts| can_be_enabled(facts)).map(|facts| facts.kind).collect();
    kinds.dedup();
    OpError::Invalid(Text::of(&format_args!("unknown {what}; this version has {}", kinds.join(", "))))
}

/// Changes the options of an engine, as far as it lets itself be changed.
pub async fn tune(
    who: &Asker<'_>,
    path: &MountPath,
    options: &BTreeMap<String, String>,
) -> Result<(), OpError> {
    let request = Request::begin(who, Action::MountWrite, &tuning(Side::Secrets, path))
        .await?
        .authorise(Operation::Update)
        .await?;
    let found = Side::Secrets.of(&request.session().mounts()).at(path).cloned();
    let mount = request.record_failure(found.ok_or(OpError::invalid("no mount at this path"))).await?;
    let engine = engine_of(&mount).ok_or(OpError::invalid("this mount has no options"));
    let engine = request.record_failure(engine).await?;
    let options = request.record_failure((engine.tune)(&mount, options)).await?;
    if options == mount.options {
        return request.commit(Object::mount(&mount), Vec::new()).await;
    }
    let edit = |list: &mut MountList| {
        let stored = list.0.iter_mut().find(|other| other.id == mount.id).ok_or(OpError::CONFLICT)?;
        stored.options.clone_from(&options);
        Ok(())
    };
    change(request, Side::Secrets, Object::mount(&mount), edit).await.map(drop)
}

/// Disables an engine or login method and removes everything below it. Disabling an absent one is no error.
pub async fn disable(who: &Asker<'_>, side: Side, path: &MountPath) -> Result<(), OpError> {
    let request =
        Request::begin(who, side.actions()[2], &at(side, path)).await?.authorise(Operation::Delete).await?;
    let Some(mount) = side.of(&request.session().mounts()).at(path).cloned() else {
        request.commit(Object::Path, Vec::new()).await?;
        return Ok(());
    };
    if request.session().shape().builtins(side).any(|(path, _)| path == mount.path.as_str()) {
        return request
            .record_failure(Err(OpError::invalid("this mount is part of the system and stays")))
            .await;
    }
    let request = change(request, side, Object::mount(&mount), |list| {
        list.0.retain(|other| other.id != mount.id);
        Ok(())
    })
    .await?;
    let erasure = async move { erase(&request, &mount).await };
    tokio::spawn(erasure).await.unwrap_or(Err(OpError::BUSY)) // goes on if the asker goes away
}

/// Changes a table by compare-and-set and takes it into use.
async fn change(
    request: Authorised,
    side: Side,
    object: Object,
    edit: impl Fn(&mut MountList) -> Result<(), OpError>,
) -> Result<Authorised, OpError> {
    let rows = &request.session().rows;
    let (mut list, expect) = match rows.read::<MountList>(side.row()).await? {
        Some((list, revision)) => (list, Expect::Revision(revision)),
        None => (MountList::default(), Expect::Absent),
    };
    request.record_failure(edit(&mut list)).await?;
    let changes = vec![rows.put(side.row(), &list, expect)?];
    request.commit_and_take(object, changes, move |session| session.replace_mounts(side, list)).await
}

/// Removes the rows of a mount that is no longer in the table; nothing can reach them, whatever happens on
/// the way. Every table has the mount's id in its keys, so none can be forgotten. What a kill or a request
/// under way leaves is collected later (`upkeep::collect`).
async fn erase(request: &Authorised, mount: &Mount) -> Result<(), OpError> {
    for table in request.session().shape().tables().iter().filter(|table| table.holds_mounts()) {
        loop {
            let changes = request.session().rows.erasure(*table, mount.id, DELETE_BATCH).await?;
            if changes.is_empty() {
                break;
            }
            request.commit(Object::mount(mount), changes).await?;
        }
    }
    Ok(())
}
