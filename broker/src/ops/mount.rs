//! Mounts of secrets engines and of login methods: list, read, enable, disable.

use std::collections::BTreeMap;

use symbolon_core::audit::Action;
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_core::policy::Operation;
use symbolon_proto::id::{MountId, TenantId};

use super::App;
use crate::access::Requester;
use crate::access::mounts::{MOUNTS_MAX, Mount, MountList, Mounts, Tier};
use crate::access::session::{Attempt, Authorised, Session};
use crate::error::OpError;
use crate::random::os_rng;
use crate::rows::{self, NO_SCOPE, Place, Table};
use crate::store::{Expect, Op};

/// Rows that one commit removes while a mount is being deleted.
const DELETE_BATCH: usize = 4096;

/// Which of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Secrets engines, `sys/mounts`.
    Secrets,
    /// Login methods, `sys/auth`.
    Logins,
}

impl Side {
    fn row(self) -> Place<'static> {
        let name = match self {
            Self::Secrets => "secrets",
            Self::Logins => "logins",
        };
        Place { tenant: TenantId::SYSTEM, table: Table::Mount, scope: NO_SCOPE, group: "", name }
    }

    fn of(self, mounts: &Mounts) -> &MountList {
        match self {
            Self::Secrets => &mounts.secrets,
            Self::Logins => &mounts.logins,
        }
    }

    /// Kinds that can be enabled, beside those that always exist.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Secrets => &["kv"],
            Self::Logins => &["approle", "kubernetes", "jwt"],
        }
    }

    fn actions(self) -> [Action; 3] {
        match self {
            Self::Secrets => [Action::MountRead, Action::MountWrite, Action::MountDelete],
            Self::Logins => [Action::AuthRead, Action::AuthWrite, Action::AuthDelete],
        }
    }
}

/// What enabling needs.
#[derive(Clone, Debug)]
pub struct Enable {
    /// Kind: `kv`, or a login method.
    pub kind: String,
    /// Free text, at most 1024 bytes.
    pub description: String,
    /// Options; for `kv` `version = 2`, and `tier = standard` or `high`.
    pub options: BTreeMap<String, String>,
    /// Default lifetime in seconds, 0 for the system's.
    pub default_ttl_secs: u64,
    /// Longest lifetime in seconds, 0 for the system's.
    pub max_ttl_secs: u64,
}

/// Reads a table from the store, at unseal.
pub async fn load(rows: &rows::Rows, side: Side) -> Result<MountList, OpError> {
    Ok(rows.read::<MountList>(side.row()).await?.map(|(list, _)| list).unwrap_or_default())
}

/// A change that writes a table, for `init`.
pub fn first_write(rows: &rows::Rows, side: Side, list: &MountList) -> Result<Op, OpError> {
    Ok(rows.put(side.row(), list, Expect::Absent)?)
}

/// A mount that does not exist yet, with fresh identifiers.
#[must_use]
pub fn new_mount(path: MountPath, spec: Enable) -> Mount {
    let id = MountId::random(&mut os_rng());
    let accessor = format!("{}_{}", spec.kind, &id.to_string()[..8]);
    Mount {
        path,
        kind: spec.kind,
        description: spec.description,
        id,
        accessor,
        options: spec.options,
        default_ttl_secs: spec.default_ttl_secs,
        max_ttl_secs: spec.max_ttl_secs,
    }
}

/// All mounts of one side.
pub async fn list(app: &App, who: &Requester<'_>, api: &ApiPath, side: Side) -> Result<Vec<Mount>, OpError> {
    let attempt = Attempt::begin(app.session()?, who, side.actions()[0], api)
        .await?
        .authorise(Operation::Read, api)
        .await?;
    attempt.conclude(Vec::new()).await?;
    Ok(side.of(&attempt.session().mounts()).0.clone())
}

/// One mount.
pub async fn read(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    side: Side,
    path: &MountPath,
) -> Result<Mount, OpError> {
    let attempt = Attempt::begin(app.session()?, who, side.actions()[0], api)
        .await?
        .authorise(Operation::Read, api)
        .await?;
    let found = side.of(&attempt.session().mounts()).at(path).cloned();
    let found = attempt.audited(found.ok_or(OpError::invalid("no mount at this path"))).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(found)
}

/// The mount that answers for a path, for anyone who may do anything below it (`sys/internal/ui/mounts/:path`).
pub async fn visible(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    path: &ApiPath,
) -> Result<Mount, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::MountRead, api).await?.about_itself();
    let mounts = attempt.session().mounts();
    let found =
        mounts.secret(path).map(|(mount, _)| mount).filter(|mount| attempt.acl().reaches(&mount.path));
    let found = attempt.audited(found.cloned().ok_or(OpError::INVISIBLE)).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(found)
}

/// Mounts that the caller may do anything below, both sides (`sys/internal/ui/mounts`).
pub async fn all_visible(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<Mounts, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::MountRead, api).await?.about_itself();
    let mut mounts = Mounts::clone(&attempt.session().mounts());
    mounts.secrets.0.retain(|mount| attempt.acl().reaches(&mount.path));
    mounts.logins.0.retain(|mount| {
        MountPath::parse(&format!("auth/{}", mount.path)).is_ok_and(|path| attempt.acl().reaches(&path))
    });
    attempt.conclude(Vec::new()).await?;
    Ok(mounts)
}

/// Enables an engine or login method.
pub async fn enable(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    side: Side,
    path: MountPath,
    spec: Enable,
) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, side.actions()[1], api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    attempt.audited(check(side, &spec)).await?;
    attempt.audited(check_path(side, &path)).await?;
    let mount = new_mount(path, spec);
    change(attempt, side, |list| {
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

/// Routes of the dialect answer below `auth` and `sys` first; and what the policy `default` gives everybody below `cubbyhole` and
/// `identity` is meant for other engines than those that can be mounted.
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

fn check(side: Side, spec: &Enable) -> Result<(), OpError> {
    if !side.kinds().contains(&spec.kind.as_str()) {
        return Err(OpError::invalid(match side {
            Side::Secrets => "this version mounts `kv` (version 2) only",
            Side::Logins => "this version enables `approle`, `kubernetes` and `jwt` only",
        }));
    }
    if spec.kind == "kv" && spec.options.get("version").is_some_and(|version| version != "2") {
        return Err(OpError::invalid("this version serves KV version 2 only; set the option `version` to 2"));
    }
    if spec.kind == "kv" && spec.options.get(Tier::OPTION).is_some_and(|tier| Tier::parse(tier).is_none()) {
        return Err(OpError::invalid("the option `tier` of a KV engine is `standard` or `high`"));
    }
    if spec.description.len() > 1024 {
        return Err(OpError::invalid("the description is longer than 1024 bytes"));
    }
    Ok(())
}

/// A tier is chosen once. What is in the mount would have to be sealed anew, and whoever read the mount list meanwhile would be
/// told of a protection that most of it does not have yet.
pub async fn change_tier(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    path: &MountPath,
) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::MountWrite, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let found = Side::Secrets.of(&attempt.session().mounts()).at(path).is_some();
    let why = if found {
        "the tier of a mount is chosen when it is enabled; enable another mount with the tier you want and copy the secrets"
    } else {
        "no mount at this path"
    };
    attempt.audited(Err(OpError::invalid(why))).await
}

/// Disables an engine or login method and removes everything below it. Disabling an absent one is no error.
pub async fn disable(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    side: Side,
    path: &MountPath,
) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, side.actions()[2], api)
        .await?
        .authorise(Operation::Delete, api)
        .await?;
    let Some(mount) = side.of(&attempt.session().mounts()).at(path).cloned() else {
        attempt.conclude(Vec::new()).await?;
        return Ok(());
    };
    if !side.kinds().contains(&mount.kind.as_str()) {
        return attempt.audited(Err(OpError::invalid("this mount is part of the system and stays"))).await;
    }
    let attempt = change(attempt, side, |list| {
        list.0.retain(|other| other.id != mount.id);
        Ok(())
    })
    .await?;
    let erasure = async move { erase(&attempt, mount.id).await };
    tokio::spawn(erasure).await.unwrap_or(Err(OpError::BUSY)) // goes on if the asker goes away
}

/// Changes a table by compare-and-set and takes it into use.
async fn change(
    attempt: Authorised,
    side: Side,
    edit: impl Fn(&mut MountList) -> Result<(), OpError>,
) -> Result<Authorised, OpError> {
    let rows = &attempt.session().rows;
    let (mut list, expect) = match rows.read::<MountList>(side.row()).await? {
        Some((list, revision)) => (list, Expect::Revision(revision)),
        None => (MountList::default(), Expect::Absent),
    };
    attempt.audited(edit(&mut list)).await?;
    let changes = vec![rows.put(side.row(), &list, expect)?];
    attempt.conclude_and_take(changes, move |session| session.replace_mounts(side, list)).await
}

/// Removes the rows of a mount that is no longer in the table; nothing can reach them, whatever happens on the way.
async fn erase(attempt: &Authorised, mount: MountId) -> Result<(), OpError> {
    for table in [
        Table::Mount,
        Table::Meta,
        Table::Entry,
        Table::Version,
        Table::Capsule,
        Table::VersionCapsule,
        Table::Counter,
        Table::LoginConfig,
        Table::LoginRole,
        Table::SecretId,
        Table::SecretIdAccessor,
    ] {
        let prefix = rows::prefix(TenantId::SYSTEM, table, mount);
        loop {
            let rows = attempt.session().rows.scan(&prefix, DELETE_BATCH).await?;
            if rows.is_empty() {
                break;
            }
            let changes = rows.into_iter().map(|(key, _)| Op::Delete { key, expect: Expect::Any }).collect();
            attempt.conclude(changes).await?;
        }
    }
    Ok(())
}

impl Session {
    /// Takes a changed table into use.
    pub(crate) fn replace_mounts(&self, side: Side, list: MountList) {
        let mut current = self.mounts.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = Mounts::clone(&current);
        match side {
            Side::Secrets => next.secrets = list,
            Side::Logins => next.logins = list,
        }
        *current = std::sync::Arc::new(next);
    }
}
