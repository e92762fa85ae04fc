//! Configurations and roles: all methods keep them the same way.

use serde::Serialize;
use serde::de::DeserializeOwned;
use symbolon_core::audit::Action;
use symbolon_core::path::RoleName;
use symbolon_core::policy::Operation;
use symbolon_proto::id::TenantId;

use super::jwks::LoginKeys;
use crate::access::mounts::{Mount, Side};
use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::audit::writer::JOB_OPS_MAX;
use crate::error::OpError;
use crate::rows::{Layout, Life, Place, Rows, Table};
use crate::store::{Expect, Write};

pub mod route;

/// Configurations of login methods.
pub const CONFIGS: Table = Table::new(0x05, "login configurations", Layout::Row, Life::Kept);
/// Roles of login methods, and what leads to them.
pub const ROLES: Table = Table::new(0x06, "login roles", Layout::Row, Life::Kept);

/// The configuration of a mounted method.
pub trait Config: Serialize + DeserializeOwned + Default + Send + Sync {
    /// The method's rules for it.
    fn check(&self) -> Result<(), OpError>;
}

/// A role of a mounted method.
pub trait Role: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// Below which segment of the mount the method has its roles.
    const COLLECTION: &'static str = "role";

    /// The method's rules for it.
    fn check(&self) -> Result<(), OpError>;
    /// Its name, folded.
    fn name(&self) -> &str;

    /// What else changes when a role takes the place of another, or goes: rows that lead to it.
    fn changed(_: &Rows, _: &Mount, _: Option<&Self>, _: Option<&Self>) -> Result<Vec<Write>, OpError> {
        Ok(Vec::new())
    }

    /// The removal of what belongs to a role of this name and goes with it, at most `limit` changes; none
    /// when nothing is left.
    fn belongings(
        _: &Session,
        _: &Mount,
        _: &RoleName,
        _limit: usize,
    ) -> impl Future<Output = Result<Vec<Write>, OpError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }
}

pub(super) fn config_place(mount: &Mount) -> Place<'static> {
    Place { tenant: TenantId::SYSTEM, table: CONFIGS, scope: mount.id, group: "", name: "" }
}

pub(super) fn role_place<'a>(mount: &Mount, name: &'a RoleName) -> Place<'a> {
    Place { tenant: TenantId::SYSTEM, table: ROLES, scope: mount.id, group: "", name: name.as_str() }
}

fn config_route(mount: &Mount) -> Route {
    Route::below(Side::Logins, mount, "config")
}

pub(super) fn role_route<R: Role>(mount: &Mount, name: &RoleName, part: &str) -> Route {
    let slash = if part.is_empty() { "" } else { "/" };
    Route::below(Side::Logins, mount, format_args!("{}/{name}{slash}{part}", R::COLLECTION))
}

pub(super) async fn find_config<C: Config>(session: &Session, mount: &Mount) -> Result<C, OpError> {
    Ok(session.rows.read::<C>(config_place(mount)).await?.map(|(config, _)| config).unwrap_or_default())
}

pub(super) async fn find_role<R: Role>(
    session: &Session,
    mount: &Mount,
    name: &RoleName,
) -> Result<Option<(R, u64)>, OpError> {
    Ok(session.rows.read::<R>(role_place(mount, name)).await?)
}

/// A method's configuration; the default if none was written.
pub async fn read_config<C: Config>(who: &Asker<'_>, mount: &Mount) -> Result<C, OpError> {
    let request =
        Request::begin(who, Action::AuthRead, &config_route(mount)).await?.authorise(Operation::Read).await?;
    let config = request.record_failure(find_config(request.session(), mount).await).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(config)
}

/// Changes a method's configuration: `edit` gets the present one.
pub async fn edit_config<C: Config, E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    edit: impl FnOnce(C) -> Result<C, E>,
) -> Result<(), E> {
    let request = Request::begin(who, Action::AuthWrite, &config_route(mount))
        .await?
        .authorise(Operation::Update)
        .await?;
    let session = request.session();
    let (present, expect) = match session.rows.read::<C>(config_place(mount)).await.map_err(OpError::from)? {
        Some((config, revision)) => (config, Expect::Revision(revision)),
        None => (C::default(), Expect::Absent),
    };
    let config = edit(present)?;
    request.record_failure(config.check()).await?;
    let change = session.rows.put(config_place(mount), &config, expect).map_err(OpError::from)?;
    request.commit(Object::Path, vec![change]).await?;
    session.of::<LoginKeys>().forget(mount.id).await;
    Ok(())
}

/// One role.
pub async fn read_role<R: Role>(who: &Asker<'_>, mount: &Mount, name: &RoleName) -> Result<R, OpError> {
    read_part(who, mount, name, "").await
}

/// The same for somebody who wants to see one part of it: `part` is the path of that below the role's.
pub async fn read_part<R: Role>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    part: &'static str,
) -> Result<R, OpError> {
    let request = Request::begin(who, Action::AuthRead, &role_route::<R>(mount, name, part))
        .await?
        .authorise(Operation::Read)
        .await?;
    let (role, _) = request.found(find_role::<R>(request.session(), mount, name).await).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(role)
}

/// Names of all roles, in order.
pub async fn list_roles<R: Role>(who: &Asker<'_>, mount: &Mount) -> Result<Vec<String>, OpError> {
    let request = Request::begin(who, Action::AuthRead, &Route::below(Side::Logins, mount, R::COLLECTION))
        .await?
        .authorise(Operation::List)
        .await?;
    let roles = request.session().rows.list::<R>(config_place(mount).in_table(ROLES)).await?;
    let mut names: Vec<String> = roles.iter().map(|(role, _)| role.name().to_owned()).collect();
    names.sort_unstable();
    let names = request.found(Ok((!names.is_empty()).then_some(names))).await?;
    request.commit(Object::names(names.len()), Vec::new()).await?;
    Ok(names)
}

/// A change of a role that a policy allows, and that has not been made.
pub struct RoleChange<R> {
    request: Authorised,
    old: Option<R>,
    expect: Expect,
}

/// Begins to create or change a role, for whoever has something to compute in between. Who is not allowed to
/// make the change gets no further than this.
pub async fn begin_change<R: Role>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    part: &'static str,
) -> Result<RoleChange<R>, OpError> {
    let request = Request::begin(who, Action::AuthWrite, &role_route::<R>(mount, name, part)).await?;
    let found = find_role::<R>(request.session(), mount, name).await?;
    let operation = if found.is_some() { Operation::Update } else { Operation::Create };
    let request = request.authorise(operation).await?;
    let expect = found.as_ref().map_or(Expect::Absent, |(_, revision)| Expect::Revision(*revision));
    Ok(RoleChange { request, old: found.map(|(role, _)| role), expect })
}

impl<R: Role> RoleChange<R> {
    /// The present role, if there is one.
    #[must_use]
    pub fn present(&self) -> Option<&R> {
        self.old.as_ref()
    }

    /// Passes on what was computed in between, after a failure has left its entry.
    pub async fn record_failure<T>(&self, result: Result<T, OpError>) -> Result<T, OpError> {
        self.request.record_failure(result).await
    }

    /// Makes the change.
    pub async fn finish(self, mount: &Mount, name: &RoleName, role: &R) -> Result<(), OpError> {
        let Self { request, old, expect } = self;
        request.record_failure(role.check()).await?;
        let rows = &request.session().rows;
        let mut changes = vec![rows.put(role_place(mount, name), role, expect)?];
        changes.extend(R::changed(rows, mount, old.as_ref(), Some(role))?);
        request.commit(Object::Path, changes).await
    }
}

/// Creates or changes a role: `edit` gets the present one, if any.
pub async fn edit_role<R: Role, E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    edit: impl FnOnce(Option<R>) -> Result<R, E>,
) -> Result<(), E> {
    edit_part(who, mount, name, "", edit).await
}

/// The same for one part of it: `part` is the path of that below the role's.
pub async fn edit_part<R: Role, E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    part: &'static str,
    edit: impl FnOnce(Option<R>) -> Result<R, E>,
) -> Result<(), E> {
    let change = begin_change::<R>(who, mount, name, part).await?;
    let role = edit(change.present().cloned())?;
    Ok(change.finish(mount, name, &role).await?)
}

/// Removes a role; tokens that it gave live on. Removing an absent one is no error.
pub async fn delete_role<R: Role>(who: &Asker<'_>, mount: &Mount, name: &RoleName) -> Result<(), OpError> {
    let request = Request::begin(who, Action::AuthDelete, &role_route::<R>(mount, name, ""))
        .await?
        .authorise(Operation::Delete)
        .await?;
    let session = request.session();
    let Some((role, revision)) = find_role::<R>(session, mount, name).await? else {
        return request.commit(Object::Path, Vec::new()).await;
    };
    let mut changes = vec![session.rows.delete(role_place(mount, name), Expect::Revision(revision))];
    changes.extend(R::changed(&session.rows, mount, Some(&role), None)?);
    // What belongs to it goes first, in as many commits as it takes: a role that is made again must not find
    // it. What comes in at this moment is collected, once the role is gone.
    let room = JOB_OPS_MAX - changes.len();
    loop {
        let belongings = R::belongings(session, mount, name, room).await?;
        if belongings.len() < room {
            changes.extend(belongings);
            return request.commit(Object::Path, changes).await;
        }
        request.commit(Object::Named("what belongs to the role".to_owned()), belongings).await?;
    }
}
