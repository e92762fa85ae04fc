//! Configurations and roles: all methods keep them the same way.

use serde::Serialize;
use serde::de::DeserializeOwned;
use symbolon_core::audit::Action;
use symbolon_core::path::RoleName;
use symbolon_core::policy::Operation;
use symbolon_proto::id::TenantId;

use super::jwks::{KeysError, LoginKeys, Source};
use crate::access::mounts::{Mount, Side};
use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::audit::writer::JOB_OPS_MAX;
use crate::error::{OpError, Text};
use crate::rows::{Layout, Life, Place, Rows, Table};
use crate::store::{Expect, Write};

pub mod route;

/// Configurations of login methods.
pub const CONFIGS: Table = Table::new(0x05, "login configurations", Layout::Row, Life::Kept);
/// Roles of login methods, and what leads to them.
pub const ROLES: Table = Table::new(0x06, "login roles", Layout::Row, Life::Kept);

/// The configuration of a mounted method.
pub trait Config: Serialize + DeserializeOwned + Send + Sync {
    /// The method's rules for it.
    fn check(&self) -> Result<(), OpError>;
    /// Where the keys of its mount come from.
    fn source(&self) -> Source;
}

/// Whether a configuration is stored although its issuer does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It is not.
    Needed,
    /// It is, with a warning.
    Later,
}

/// A role of a mounted method.
pub trait Role: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// Below which segment of the mount the method has its roles.
    const COLLECTION: &'static str = "role";

    /// The method's rules for it.
    fn check(&self) -> Result<(), OpError>;
    /// Its name, folded.
    fn name(&self) -> &str;

    /// What whoever has written it should know, although it is allowed.
    fn warnings(&self, _: &Session, _: &Mount) -> impl Future<Output = Result<Vec<String>, OpError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

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

pub(super) async fn find_config<C: Config>(session: &Session, mount: &Mount) -> Result<Option<C>, OpError> {
    Ok(session.rows.read::<C>(config_place(mount)).await?.map(|(config, _)| config))
}

pub(super) async fn find_role<R: Role>(
    session: &Session,
    mount: &Mount,
    name: &RoleName,
) -> Result<Option<(R, u64)>, OpError> {
    Ok(session.rows.read::<R>(role_place(mount, name)).await?)
}

/// A method's configuration.
pub async fn read_config<C: Config>(who: &Asker<'_>, mount: &Mount) -> Result<C, OpError> {
    let request =
        Request::begin(who, Action::AuthRead, &config_route(mount)).await?.authorise(Operation::Read).await?;
    let config = request.found(find_config(request.session(), mount).await).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(config)
}

/// Why logins would fail now for want of keys; `None` if they would not.
pub async fn standing<C: Config>(session: &Session, mount: &Mount, config: &C) -> Option<KeysError> {
    session.of::<LoginKeys>().current(mount.id, &config.source(), session.now()).await.err()
}

/// Writes a method's configuration, once it is shown to be true: keys are fetched now and not at the first
/// login. Gives warnings.
pub async fn write_config<C: Config>(
    who: &Asker<'_>,
    mount: &Mount,
    config: &C,
    proof: Proof,
) -> Result<Vec<String>, OpError> {
    let request = Request::begin(who, Action::AuthWrite, &config_route(mount))
        .await?
        .authorise(Operation::Update)
        .await?;
    let session = request.session();
    let present = session.rows.read::<C>(config_place(mount)).await?;
    let expect = present.map_or(Expect::Absent, |(_, revision)| Expect::Revision(revision));
    request.record_failure(config.check()).await?;
    let warnings = request.record_failure(prove(config, proof).await).await?;
    let change = session.rows.put(config_place(mount), config, expect)?;
    request.commit(Object::Path, vec![change]).await?;
    session.of::<LoginKeys>().forget(mount.id).await;
    Ok(warnings)
}

async fn prove<C: Config>(config: &C, proof: Proof) -> Result<Vec<String>, OpError> {
    match config.source().prove().await {
        Ok(()) => Ok(Vec::new()),
        Err(error) if proof == Proof::Later && error.is_of_today() => {
            Ok(vec![format!("stored without proof; logins fail until this is mended: {error}")])
        }
        Err(error) if error.is_of_today() => Err(OpError::Invalid(Text::of(&format_args!(
            "nothing was stored, because logins would fail: {error}; then write the configuration again, or store it \
             as it is with skip_jwks_validation"
        )))),
        Err(error) => Err(OpError::Invalid(Text::of(&format_args!(
            "nothing was stored, because logins would fail: {error}"
        )))),
    }
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

    /// Makes the change. Gives warnings.
    pub async fn finish(self, mount: &Mount, name: &RoleName, role: &R) -> Result<Vec<String>, OpError> {
        let Self { request, old, expect } = self;
        request.record_failure(role.check()).await?;
        let warnings = request.record_failure(role.warnings(request.session(), mount).await).await?;
        let rows = &request.session().rows;
        let mut changes = vec![rows.put(role_place(mount, name), role, expect)?];
        changes.extend(R::changed(rows, mount, old.as_ref(), Some(role))?);
        request.commit(Object::Path, changes).await?;
        Ok(warnings)
    }
}

/// Creates or changes a role: `edit` gets the present one, if any. Gives warnings.
pub async fn edit_role<R: Role, E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    edit: impl FnOnce(Option<R>) -> Result<R, E>,
) -> Result<Vec<String>, E> {
    edit_part(who, mount, name, "", edit).await
}

/// The same for one part of it: `part` is the path of that below the role's.
pub async fn edit_part<R: Role, E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    part: &'static str,
    edit: impl FnOnce(Option<R>) -> Result<R, E>,
) -> Result<Vec<String>, E> {
    let change = begin_change::<R>(who, mount, name, part).await?;
    let role = edit(change.present().cloned())?;
    Ok(change.finish(mount, name, &role).await?)
}

/// Takes one part of a role back to what it is by default. Gives warnings.
pub async fn reset_part<R: Role, E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &RoleName,
    part: &'static str,
    reset: impl FnOnce(R) -> Result<R, E>,
) -> Result<Vec<String>, E> {
    let request = Request::begin(who, Action::AuthDelete, &role_route::<R>(mount, name, part))
        .await?
        .authorise(Operation::Delete)
        .await?;
    let (old, revision) = request.found(find_role::<R>(request.session(), mount, name).await).await?;
    let role = reset(old.clone())?;
    let change = RoleChange { request, old: Some(old), expect: Expect::Revision(revision) };
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
