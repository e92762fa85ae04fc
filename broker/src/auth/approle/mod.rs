//! AppRole: a role id that says who, and a secret id that proves it.

use serde::{Deserialize, Serialize};
use symbolon_core::audit::{Action, Withheld};
use symbolon_core::identity::Evidence;
use symbolon_core::identity::approle::{
    AppRole, AppRoleError, REFUSED, SecretIdRecord, SecretIdRequest, SecretIdUse, check_id, new_id,
    secret_id_hash,
};
use symbolon_core::path::RoleName;
use symbolon_core::policy::Operation;
use symbolon_core::token::TokenKind;
use symbolon_proto::Zeroizing;
use symbolon_proto::id::TenantId;

use super::Method;
use super::login::{Claim, Login};
use super::roles::{CONFIGS, ROLES, Role, find_role, role_route};
use crate::access::mounts::{Mount, Side};
use crate::access::shape::Facts;
use crate::access::tokens::IssuedToken;
use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::dialect::vault::{Answering, Call};
use crate::error::{OpError, Text};
use crate::random::os_rng;
use crate::rows::{Layout, Life, Place, Rows, Table};
use crate::store::{Expect, Write};

mod expired;
mod parts;
mod route;
mod settings;

/// The descriptor.
pub static METHOD: Method = Method {
    facts: Facts {
        kind: "approle",
        builtin: None,
        tables: &[CONFIGS, ROLES, SECRET_IDS, SECRET_ID_ACCESSORS],
        sudo: &[],
        folds: &["role/+", "role/+/*"],
        open: &[("PUT", "login")],
        first_rows: None,
    },
    usual: TokenKind::Service,
    enable: |_| Ok(()),
    route: answer,
    recognise: None,
    endings: &[expired::ENDING],
};

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route::route(call, mount, rest))
}

/// Secret ids.
pub const SECRET_IDS: Table = Table::new(0x07, "secret ids", Layout::Row, Life::Ends);
/// Accessors of secret ids.
pub const SECRET_ID_ACCESSORS: Table = Table::new(0x08, "accessors of secret ids", Layout::Row, Life::Kept);

/// Secret ids that one role may have.
const SECRET_IDS_MAX: usize = 10_000;

/// Which role has a role id. Wire type.
#[derive(Serialize, Deserialize)]
struct RoleOf(RoleName);

/// Which secret id has an accessor. Wire type.
#[derive(Serialize, Deserialize)]
struct HashOf(String);

fn role_id_place<'a>(mount: &Mount, role_id: &'a str) -> Place<'a> {
    Place { tenant: TenantId::SYSTEM, table: ROLES, scope: mount.id, group: "role id", name: role_id }
}

fn secret_id_place<'a>(mount: &Mount, role: &'a RoleName, hash: &'a str) -> Place<'a> {
    Place { tenant: TenantId::SYSTEM, table: SECRET_IDS, scope: mount.id, group: role.as_str(), name: hash }
}

fn accessor_place<'a>(mount: &Mount, role: &'a RoleName, accessor: &'a str) -> Place<'a> {
    Place {
        tenant: TenantId::SYSTEM,
        table: SECRET_ID_ACCESSORS,
        scope: mount.id,
        group: role.as_str(),
        name: accessor,
    }
}

impl Role for AppRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The index from role ids to roles.
    fn changed(
        rows: &Rows,
        mount: &Mount,
        old: Option<&Self>,
        new: Option<&Self>,
    ) -> Result<Vec<Write>, OpError> {
        if old.map(|role| &role.role_id) == new.map(|role| &role.role_id) {
            return Ok(Vec::new());
        }
        let gone = old.map(|role| rows.delete(role_id_place(mount, &role.role_id), Expect::Any));
        let mut changes: Vec<Write> = gone.into_iter().collect();
        if let Some(new) = new {
            let place = role_id_place(mount, &new.role_id);
            changes.push(rows.put(place, &RoleOf(new.name.clone()), Expect::Absent)?);
        }
        Ok(changes)
    }

    /// Its secret ids, damaged ones too: a role that is made again must not find them.
    async fn belongings(
        session: &Session,
        mount: &Mount,
        name: &RoleName,
        limit: usize,
    ) -> Result<Vec<Write>, OpError> {
        let of_table = |table| secret_id_place(mount, name, "").in_table(table);
        let mut changes = session.rows.group_erasure(of_table(SECRET_IDS), limit).await?;
        let rest = limit - changes.len();
        changes.extend(session.rows.group_erasure(of_table(SECRET_ID_ACCESSORS), rest).await?);
        Ok(changes)
    }
}

fn removal(session: &Session, mount: &Mount, record: &SecretIdRecord, expect: Expect) -> [Write; 2] {
    [
        session.rows.delete(secret_id_place(mount, &record.role, &record.hash), expect),
        session.rows.delete(accessor_place(mount, &record.role, &record.accessor), Expect::Any),
    ]
}

/// A fresh role id.
#[must_use]
pub fn fresh_role_id() -> String {
    new_id(&mut os_rng()).to_string()
}

/// A secret id, shown once.
pub struct NewSecretId {
    /// The secret id.
    pub secret_id: Zeroizing<String>,
    /// Its record.
    pub record: SecretIdRecord,
}

/// Makes a secret id for a role, a random one or the one given.
pub async fn create_secret_id(
    who: &Asker<'_>,
    mount: &Mount,
    role: &RoleName,
    wanted: &SecretIdRequest,
    custom: Option<Zeroizing<String>>,
) -> Result<NewSecretId, OpError> {
    let part = if custom.is_some() { "custom-secret-id" } else { "secret-id" };
    let request = Request::begin(who, Action::AuthWrite, &secret_ids_route(mount, role, part))
        .await?
        .authorise(Operation::Update)
        .await?;
    let (of, _) = request.found(find_role::<AppRole>(request.session(), mount, role).await).await?;
    let made = plan_secret_id(request.session(), mount, (role, &of), wanted, custom).await;
    let Planned { secret_id, record, changes } = request.record_failure(made).await?;
    let object = Object::secret_id(role, &record.accessor);
    let receipt = request.commit_for_disclosure(object, changes).await?;
    Ok(NewSecretId { secret_id: secret_id.disclose(receipt), record })
}

/// A secret id before its entry.
struct Planned {
    secret_id: Withheld<Zeroizing<String>>,
    record: SecretIdRecord,
    changes: Vec<Write>,
}

async fn plan_secret_id(
    session: &Session,
    mount: &Mount,
    (name, role): (&RoleName, &AppRole),
    wanted: &SecretIdRequest,
    custom: Option<Zeroizing<String>>,
) -> Result<Planned, OpError> {
    expired::require_room(session, mount, name).await?;
    let secret_id = custom.unwrap_or_else(|| new_id(&mut os_rng()));
    check_id(&secret_id)?;
    let hash = secret_id_hash(session.unsealed().names().secret(), name, secret_id.as_str());
    let accessor = new_id(&mut os_rng()).to_string();
    let record = role.secret_id(wanted, hash, accessor, session.now().unix_secs())?;
    let rows = &session.rows;
    let changes = vec![
        rows.put(secret_id_place(mount, name, &record.hash), &record, Expect::Absent)?,
        rows.put(
            accessor_place(mount, name, &record.accessor),
            &HashOf(record.hash.clone()),
            Expect::Absent,
        )?,
    ];
    Ok(Planned { secret_id: Withheld::new(secret_id), record, changes })
}

/// Which secret id of a role is meant.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// By itself.
    SecretId(&'a str),
    /// By its accessor, which must belong to the role (CVE-2023-24999).
    Accessor(&'a str),
}

impl Which<'_> {
    fn route(self, mount: &Mount, role: &RoleName, verb: &str) -> Route {
        let named = match self {
            Self::SecretId(_) => "secret-id",
            Self::Accessor(_) => "secret-id-accessor",
        };
        secret_ids_route(mount, role, &format!("{named}/{verb}"))
    }
}

fn secret_ids_route(mount: &Mount, role: &RoleName, part: &str) -> Route {
    role_route::<AppRole>(mount, role, part)
}

async fn find_secret_id(
    session: &Session,
    mount: &Mount,
    role: &RoleName,
    which: Which<'_>,
) -> Result<Option<(SecretIdRecord, u64)>, OpError> {
    let hash = match which {
        Which::SecretId(secret_id) => secret_id_hash(session.unsealed().names().secret(), role, secret_id),
        Which::Accessor(accessor) => {
            match session.rows.read::<HashOf>(accessor_place(mount, role, accessor)).await? {
                Some((HashOf(hash), _)) => hash,
                None => return Ok(None),
            }
        }
    };
    Ok(session.rows.read::<SecretIdRecord>(secret_id_place(mount, role, &hash)).await?)
}

/// Looks for a secret id. As in Vault, an accessor without one is an absence, and a secret id that is none is
/// not.
async fn look_for(
    request: &Authorised,
    mount: &Mount,
    role: &RoleName,
    which: Which<'_>,
) -> Result<Option<(SecretIdRecord, u64)>, OpError> {
    let found = find_secret_id(request.session(), mount, role, which).await;
    match which {
        Which::Accessor(_) => request.found(found).await.map(Some),
        Which::SecretId(_) => request.record_failure(found).await,
    }
}

fn object_of(role: &RoleName, found: Option<&(SecretIdRecord, u64)>) -> Object {
    found.map_or(Object::Path, |(record, _)| Object::secret_id(role, &record.accessor))
}

/// Facts about a secret id; `None` if there is none.
pub async fn lookup_secret_id(
    who: &Asker<'_>,
    mount: &Mount,
    role: &RoleName,
    which: Which<'_>,
) -> Result<Option<SecretIdRecord>, OpError> {
    let request = Request::begin(who, Action::AuthRead, &which.route(mount, role, "lookup"))
        .await?
        .authorise(Operation::Update)
        .await?;
    let found = look_for(&request, mount, role, which).await?;
    request.commit(object_of(role, found.as_ref()), Vec::new()).await?;
    Ok(found.map(|(record, _)| record))
}

/// Accessors of a role's secret ids.
pub async fn list_secret_ids(
    who: &Asker<'_>,
    mount: &Mount,
    role: &RoleName,
) -> Result<Vec<String>, OpError> {
    let request = Request::begin(who, Action::AuthRead, &secret_ids_route(mount, role, "secret-id"))
        .await?
        .authorise(Operation::List)
        .await?;
    let records = request.session().rows.list::<SecretIdRecord>(secret_id_place(mount, role, "")).await?;
    let mut accessors: Vec<String> = records.into_iter().map(|(record, _)| record.accessor).collect();
    accessors.sort_unstable();
    let accessors = request.found(Ok((!accessors.is_empty()).then_some(accessors))).await?;
    request.commit(Object::names(accessors.len()), Vec::new()).await?;
    Ok(accessors)
}

/// Destroys a secret id; tells whether there was one.
pub async fn destroy_secret_id(
    who: &Asker<'_>,
    mount: &Mount,
    role: &RoleName,
    which: Which<'_>,
) -> Result<bool, OpError> {
    let request = Request::begin(who, Action::AuthDelete, &which.route(mount, role, "destroy"))
        .await?
        .authorise(Operation::Update)
        .await?;
    let found = look_for(&request, mount, role, which).await?;
    let changes = match &found {
        Some((record, _)) => removal(request.session(), mount, record, Expect::Any).to_vec(),
        None => Vec::new(),
    };
    request.commit(object_of(role, found.as_ref()), changes).await?;
    Ok(found.is_some())
}

/// Whether somebody may have expired secret ids removed. It is done anyway, in rounds.
pub async fn tidy(who: &Asker<'_>, mount: &Mount) -> Result<(), OpError> {
    let route = Route::below(Side::Logins, mount, "tidy/secret-id");
    let request = Request::begin(who, Action::AuthWrite, &route).await?.authorise(Operation::Update).await?;
    request.commit(Object::Path, Vec::new()).await
}

/// Logs an application in. A counted secret id is spent in the commit that records the login.
pub async fn login(
    who: &Asker<'_>,
    mount: &Mount,
    role_id: &str,
    secret_id: &str,
) -> Result<IssuedToken, OpError> {
    let session: &Session = who.session;
    let refused = OpError::refused(REFUSED);
    let role = role_of(session, mount, role_id).await?;
    // The hash is computed for unknown roles too, so that known and unknown ones take the same time.
    let name = role.as_ref().map_or_else(nobody, |role| role.name.clone());
    let login = Login::begin(session, who, mount, "login", Claim::Role(name.as_str()))?;
    let record = find_secret_id(session, mount, &name, Which::SecretId(secret_id)).await?;
    let login = login.with(record.as_ref().map(|(record, _)| Object::secret_id(&name, &record.accessor)));
    let Some(role) = role else { return login.refuse("unknown role id".to_owned(), refused).await };
    let now = session.now().unix_secs();
    let (identity, usage) =
        match role.admit(record.as_ref().map(|(record, _)| record), who.requester.remote, now) {
            Ok(admitted) => admitted,
            Err(refusal) => return login.refuse(refusal.to_string(), refused).await,
        };
    let spent = match (usage, &record) {
        (SecretIdUse::Left(next), Some((_, revision))) => {
            let place = secret_id_place(mount, &name, &next.hash);
            vec![session.rows.put(place, &*next, Expect::Revision(*revision))?]
        }
        (SecretIdUse::Last, Some((record, revision))) => {
            removal(session, mount, record, Expect::Revision(*revision)).to_vec()
        }
        _ => Vec::new(),
    };
    match login.admit(&identity, spent).await {
        Err(OpError::Conflict(_)) => Err(OpError::BUSY), // another login with the same secret id was first
        result => result,
    }
}

fn nobody() -> RoleName {
    RoleName::parse("nobody").expect("a fixed name")
}

async fn role_of(session: &Session, mount: &Mount, role_id: &str) -> Result<Option<AppRole>, OpError> {
    let role_id = Evidence::from(role_id).as_str();
    if check_id(role_id).is_err() {
        return Ok(None);
    }
    let Some((RoleOf(name), _)) = session.rows.read::<RoleOf>(role_id_place(mount, role_id)).await? else {
        return Ok(None);
    };
    Ok(find_role::<AppRole>(session, mount, &name).await?.map(|(role, _)| role))
}

impl From<AppRoleError> for OpError {
    fn from(error: AppRoleError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
