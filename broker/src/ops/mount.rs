//! Mounts of secrets engines and of login methods: list, read, enable, tune, disable.

use std::collections::BTreeMap;

use symbolon_core::audit::{Action, Draft, Outcome};
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_core::policy::Operation;
use symbolon_core::token::TokenType;
use symbolon_core::token::ttl::SYSTEM_TTL_SECS;

use crate::access::mounts::{Enable, Listing, MOUNTS_MAX, Mount, MountList, Mounts, Side, new_mount};
use crate::access::shape::Facts;
use crate::access::{Asker, Authorised, Object, Request, Route, Turn, describe};
use crate::auth::{METHODS, Method, method_of};
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

/// A mount whose settings are asked for.
#[derive(Clone, Copy)]
pub struct Tuned<'a> {
    /// Of which table.
    pub side: Side,
    /// Where.
    pub path: &'a MountPath,
    /// Under which collection of `sys/`: login methods are found under both.
    pub below: Side,
}

impl Tuned<'_> {
    fn route(self) -> Route {
        let auth = if self.side == self.below { "" } else { "auth/" };
        Route::system(format_args!("{}/{auth}{}/tune", self.below.collection(), self.path))
    }
}

/// The same for somebody who wants to see its settings: another right, at another path.
pub async fn read_tuning(who: &Asker<'_>, tuned: Tuned<'_>) -> Result<Mount, OpError> {
    read_at(who, &tuned.route(), tuned.side, tuned.path).await
}

fn at(side: Side, path: &MountPath) -> Route {
    Route::system(format_args!("{}/{path}", side.collection()))
}

async fn read_at(who: &Asker<'_>, route: &Route, side: Side, path: &MountPath) -> Result<Mount, OpError> {
    let request = Request::begin(who, side.actions()[0], route).await?.authorise(Operation::Read).await?;
    let found = request.record_failure(mount_at(&request, side, path)).await?;
    request.commit(Object::mount(&found), Vec::new()).await?;
    Ok(found)
}

fn mount_at(request: &Authorised, side: Side, path: &MountPath) -> Result<Mount, OpError> {
    let found = side.of(&request.session().mounts()).at(path).cloned();
    found.ok_or(OpError::invalid("no mount at this path"))
}

/// The mount that answers for a path, for anyone who may do anything below it
/// (`sys/internal/ui/mounts/:path`).
pub async fn visible(who: &Asker<'_>, path: &ApiPath) -> Result<(Side, Mount), OpError> {
    let route = Route::system(format_args!("{VISIBLE}/{path}"));
    let request = Request::begin(who, Action::MountRead, &route).await?.about_itself();
    let mounts = request.session().mounts();
    let login = mounts.login(path).map(|(mount, _)| (Side::Logins, mount));
    let found = login.or(mounts.secret(path).map(|(mount, _)| (Side::Secrets, mount)));
    let found = found.filter(|(side, mount)| reaches(&request, *side, mount));
    let (side, mount) = request.record_failure(found.ok_or(OpError::INVISIBLE)).await?;
    request.commit(Object::mount(mount), Vec::new()).await?;
    Ok((side, mount.clone()))
}

/// Whether the caller may do anything below a mount.
fn reaches(request: &Authorised, side: Side, mount: &Mount) -> bool {
    match side {
        Side::Secrets => request.acl().reaches(&mount.path),
        Side::Logins => {
            MountPath::parse(&format!("auth/{}", mount.path)).is_ok_and(|path| request.acl().reaches(&path))
        }
    }
}

/// Where user interfaces ask for mounts.
const VISIBLE: &str = "internal/ui/mounts";

/// Mounts that are marked for everybody, for somebody without a token.
pub async fn listed(who: &Asker<'_>) -> Result<Mounts, OpError> {
    let mut mounts = Mounts::clone(&who.session.mounts());
    for list in [&mut mounts.secrets, &mut mounts.logins] {
        list.0.retain(|mount| mount.listing == Listing::Unauth);
    }
    let mut detail = describe(who.session, &who.requester, &Route::system(VISIBLE).path_for(who)?);
    detail.object = Object::names(mounts.secrets.0.len() + mounts.logins.0.len()).text();
    let draft = Draft { action: Action::MountRead, outcome: Outcome::Allowed, detail };
    who.session.record_stranger(who.requester.remote, draft).await?; // what everybody may see is no secret
    Ok(mounts)
}

/// Those, and the mounts that the caller may do anything below, both sides (`sys/internal/ui/mounts`).
pub async fn all_visible(who: &Asker<'_>) -> Result<Mounts, OpError> {
    let request = Request::begin(who, Action::MountRead, &Route::system(VISIBLE)).await?.about_itself();
    let mut mounts = Mounts::clone(&request.session().mounts());
    for (side, list) in [(Side::Secrets, &mut mounts.secrets), (Side::Logins, &mut mounts.logins)] {
        list.0.retain(|mount| mount.listing == Listing::Unauth || reaches(&request, side, mount));
    }
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
    request.record_failure(check_settings(&mount)).await?;
    let turn = request.turn().await;
    change(request, turn, side, Object::mount(&mount), |list| {
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

fn check_settings(mount: &Mount) -> Result<(), OpError> {
    if mount.description.len() > DESCRIPTION_BYTES_MAX {
        return Err(OpError::invalid("the description is longer than 1024 bytes"));
    }
    let max = if mount.max_ttl_secs == 0 { SYSTEM_TTL_SECS } else { mount.max_ttl_secs };
    if mount.default_ttl_secs > max {
        return Err(OpError::invalid(
            "default_lease_ttl must not be longer than max_lease_ttl, which is 768h unless it is given",
        ));
    }
    Ok(())
}

/// The options of the new mount, as its engine or method completes them.
fn options(side: Side, spec: &Enable) -> Result<BTreeMap<String, String>, OpError> {
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

/// What is to change in the settings of a mount; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Free text.
    pub description: Option<String>,
    /// Default lifetime in seconds; 0 takes the system's.
    pub default_ttl_secs: Option<u64>,
    /// Longest lifetime in seconds; 0 takes the system's.
    pub max_ttl_secs: Option<u64>,
    /// Who sees it listed.
    pub listing: Option<Listing>,
    /// Which kind of tokens its logins give.
    pub token_type: Option<TokenType>,
    /// Options of an engine, as far as it lets them be changed.
    pub options: Option<BTreeMap<String, String>>,
}

/// Changes the settings of a mount.
pub async fn tune(who: &Asker<'_>, tuned: Tuned<'_>, tuning: Tuning) -> Result<(), OpError> {
    let Tuned { side, path, .. } = tuned;
    let request =
        Request::begin(who, side.actions()[1], &tuned.route()).await?.authorise(Operation::Update).await?;
    let turn = request.turn().await; // what is left as it is, is as the one before has left it
    let mount = request.record_failure(mount_at(&request, side, path)).await?;
    if side == Side::Secrets && is_builtin(&request, side, &mount) {
        return request
            .record_failure(Err(OpError::invalid("this mount is part of the system and cannot be tuned")))
            .await;
    }
    let after = request.record_failure(after(side, &mount, tuning)).await?;
    if after == mount {
        return request.commit(Object::mount(&mount), Vec::new()).await;
    }
    let edit = |list: &mut MountList| {
        let stored = list.0.iter_mut().find(|other| **other == mount).ok_or(OpError::CONFLICT)?;
        stored.clone_from(&after);
        Ok(())
    };
    change(request, turn, side, Object::mount(&mount), edit).await.map(drop)
}

/// The mount as it will be.
fn after(side: Side, mount: &Mount, tuning: Tuning) -> Result<Mount, OpError> {
    let options = match (tuning.options, side) {
        (None, _) => mount.options.clone(),
        (Some(options), Side::Secrets) => {
            let engine = engine_of(mount).ok_or(OpError::invalid("this mount has no options"))?;
            (engine.tune)(mount, &options)?
        }
        (Some(options), Side::Logins) if options.is_empty() => options,
        (Some(_), Side::Logins) => return Err(OpError::invalid("login methods have no options")),
    };
    let after = Mount {
        description: tuning.description.unwrap_or_else(|| mount.description.clone()),
        default_ttl_secs: tuning.default_ttl_secs.unwrap_or(mount.default_ttl_secs),
        max_ttl_secs: tuning.max_ttl_secs.unwrap_or(mount.max_ttl_secs),
        listing: tuning.listing.unwrap_or(mount.listing),
        token_type: tuning.token_type.unwrap_or(mount.token_type),
        options,
        ..mount.clone()
    };
    check_settings(&after)?;
    let is_own = method_of(mount).is_some_and(|method| method.facts.builtin.is_some());
    if side == Side::Logins && is_own && after.token_type != mount.token_type {
        return Err(OpError::invalid("the token method gives the kind of token that its caller asks for"));
    }
    Ok(after)
}

/// Disables an engine or login method and removes everything below it. Disabling an absent one is no error.
pub async fn disable(who: &Asker<'_>, side: Side, path: &MountPath) -> Result<(), OpError> {
    let request =
        Request::begin(who, side.actions()[2], &at(side, path)).await?.authorise(Operation::Delete).await?;
    let turn = request.turn().await;
    let Some(mount) = side.of(&request.session().mounts()).at(path).cloned() else {
        request.commit(Object::Path, Vec::new()).await?;
        return Ok(());
    };
    if is_builtin(&request, side, &mount) {
        return request
            .record_failure(Err(OpError::invalid("this mount is part of the system and stays")))
            .await;
    }
    let request = change(request, turn, side, Object::mount(&mount), |list| {
        list.0.retain(|other| other.id != mount.id);
        Ok(())
    })
    .await?;
    let erasure = async move { erase(&request, &mount).await };
    tokio::spawn(erasure).await.unwrap_or(Err(OpError::BUSY)) // goes on if the asker goes away
}

/// Whether every deployment has it.
fn is_builtin(request: &Authorised, side: Side, mount: &Mount) -> bool {
    request.session().shape().builtins(side).any(|(path, _)| path == mount.path.as_str())
}

/// Changes a table and takes it into use. Only another broker can come between: then nothing is changed.
async fn change(
    request: Authorised,
    turn: Turn,
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
    request.commit_and_take(turn, object, changes, move |session| session.replace_mounts(side, list)).await
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
