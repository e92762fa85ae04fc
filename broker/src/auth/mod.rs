//! Login methods: evidence in, token out. Roles and configurations of all methods are kept the same way.
//!
//! ```text
//! mod.rs         configurations and roles; from a verified identity to a token
//! evidence.rs    tokens of Kubernetes and OIDC issuers, verified with the keys of a mount
//! approle.rs     role ids and secret ids
//! ```
//!
//! A machine token is sealed and stored nowhere, so such a login leaves an entry in the log and nothing else.

pub mod approle;
pub mod evidence;
pub mod jwks;
pub mod signer;
pub mod token;
pub mod workload;

use serde::Serialize;
use serde::de::DeserializeOwned;
use symbolon_core::audit::{Action, Detail, Draft, Outcome};
use symbolon_core::identity::approle::AppRole;
use symbolon_core::identity::jwt_role::{JwtConfig, JwtRole};
use symbolon_core::identity::kubernetes::{KubernetesConfig, KubernetesRole};
use symbolon_core::identity::{IssuedKind, VerifiedIdentity};
use symbolon_core::path::{ApiPath, RoleName};
use symbolon_core::policy::Operation;
use symbolon_core::token::TokenKind;
use symbolon_core::token::ttl::TtlLimits;
use symbolon_proto::id::TenantId;

use crate::access::Requester;
use crate::access::mounts::Mount;
use crate::access::session::{Attempt, Session, describe};
use crate::audit::writer::JOB_OPS_MAX;
use crate::error::OpError;
use crate::ops::App;
use crate::rows::{Place, Table};
use crate::store::{Expect, Op};
use token::{IssuedToken, NewToken};

pub use evidence::{jwt, kubernetes};

/// The configuration of a mounted method.
pub trait Config: Serialize + DeserializeOwned + Default + Send + Sync {
    /// The method's rules for it.
    fn check(&self) -> Result<(), OpError>;
}

/// A role of a mounted method.
pub trait Role: Serialize + DeserializeOwned + Send + Sync {
    /// The method's rules for it.
    fn check(&self) -> Result<(), OpError>;
    /// Its name.
    fn name(&self) -> &RoleName;
}

impl Config for KubernetesConfig {
    fn check(&self) -> Result<(), OpError> {
        evidence::check_kubernetes(self)
    }
}

impl Config for JwtConfig {
    fn check(&self) -> Result<(), OpError> {
        evidence::check_jwt(self)
    }
}

impl Role for KubernetesRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &RoleName {
        &self.name
    }
}

impl Role for JwtRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &RoleName {
        &self.name
    }
}

impl Role for AppRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &RoleName {
        &self.name
    }
}

fn config_place(mount: &Mount) -> Place<'static> {
    Place { tenant: TenantId::SYSTEM, table: Table::LoginConfig, scope: mount.id, group: "", name: "" }
}

fn role_place<'a>(mount: &Mount, name: &'a RoleName) -> Place<'a> {
    Place {
        tenant: TenantId::SYSTEM,
        table: Table::LoginRole,
        scope: mount.id,
        group: "",
        name: name.as_str(),
    }
}

async fn find_config<C: Config>(session: &Session, mount: &Mount) -> Result<C, OpError> {
    Ok(session.rows.read::<C>(config_place(mount)).await?.map(|(config, _)| config).unwrap_or_default())
}

async fn find_role<R: Role>(
    session: &Session,
    mount: &Mount,
    name: &RoleName,
) -> Result<Option<(R, u64)>, OpError> {
    Ok(session.rows.read::<R>(role_place(mount, name)).await?)
}

/// A method's configuration; the default if none was written.
pub async fn read_config<C: Config>(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
) -> Result<C, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuthRead, api)
        .await?
        .authorise(Operation::Read, api)
        .await?;
    let config = attempt.audited(find_config(attempt.session(), mount).await).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(config)
}

/// Changes a method's configuration: `edit` gets the present one.
pub async fn edit_config<C: Config, E: From<OpError>>(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
    edit: impl FnOnce(C) -> Result<C, E>,
) -> Result<(), E> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuthWrite, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let session = attempt.session();
    let (present, expect) = match session.rows.read::<C>(config_place(mount)).await.map_err(OpError::from)? {
        Some((config, revision)) => (config, Expect::Revision(revision)),
        None => (C::default(), Expect::Absent),
    };
    let config = edit(present)?;
    attempt.audited(config.check()).await?;
    let change = session.rows.put(config_place(mount), &config, expect).map_err(OpError::from)?;
    attempt.conclude(vec![change]).await?;
    session.login_keys.forget(mount.id).await;
    Ok(())
}

/// One role.
pub async fn read_role<R: Role>(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
    name: &RoleName,
) -> Result<R, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuthRead, api)
        .await?
        .authorise(Operation::Read, api)
        .await?;
    let found = find_role::<R>(attempt.session(), mount, name).await?.ok_or(OpError::NOT_FOUND);
    let (role, _) = attempt.audited(found).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(role)
}

/// Names of all roles, in order.
pub async fn list_roles<R: Role>(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
) -> Result<Vec<String>, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuthRead, api)
        .await?
        .authorise(Operation::List, api)
        .await?;
    let roles = attempt.session().rows.list::<R>(config_place(mount).in_table(Table::LoginRole)).await?;
    let mut names: Vec<String> = roles.iter().map(|(role, _)| role.name().to_string()).collect();
    names.sort_unstable();
    let names = if names.is_empty() { Err(OpError::NOT_FOUND) } else { Ok(names) };
    let names = attempt.audited(names).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(names)
}

/// Creates or changes a role: `edit` gets the present one, if any.
pub async fn edit_role<R: Role + 'static, E: From<OpError>>(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
    name: &RoleName,
    edit: impl FnOnce(Option<R>) -> Result<R, E>,
) -> Result<(), E> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuthWrite, api).await?;
    let found = find_role::<R>(attempt.session(), mount, name).await?;
    let operation = if found.is_some() { Operation::Update } else { Operation::Create };
    let attempt = attempt.authorise(operation, api).await?;
    let expect = found.as_ref().map_or(Expect::Absent, |(_, revision)| Expect::Revision(*revision));
    let old = found.map(|(role, _)| role);
    let index = approle::RoleIdIndex::of(old.as_ref());
    let role = edit(old)?;
    attempt.audited(role.check()).await?;
    let rows = &attempt.session().rows;
    let mut changes = vec![rows.put(role_place(mount, name), &role, expect).map_err(OpError::from)?];
    changes.extend(index.changes(rows, mount, Some(&role))?);
    attempt.conclude(changes).await?;
    Ok(())
}

/// Removes a role; tokens that it gave live on. Removing an absent one is no error.
pub async fn delete_role<R: Role + 'static>(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
    name: &RoleName,
) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::AuthDelete, api)
        .await?
        .authorise(Operation::Delete, api)
        .await?;
    let session = attempt.session();
    let Some((role, revision)) = find_role::<R>(session, mount, name).await? else {
        return attempt.conclude(Vec::new()).await;
    };
    let mut changes = vec![session.rows.delete(role_place(mount, name), Expect::Revision(revision))];
    changes.extend(approle::RoleIdIndex::of(Some(&role)).changes(&session.rows, mount, None::<&R>)?);
    // Secret ids go first, in as many commits as they need: a role that is made again must not find them.
    let mut removals = approle::secret_id_removals(session, mount, name).await?;
    while removals.len() + changes.len() > JOB_OPS_MAX {
        let rest = removals.split_off(removals.len().min(JOB_OPS_MAX));
        attempt.conclude(std::mem::replace(&mut removals, rest)).await?;
    }
    changes.extend(removals);
    attempt.conclude(changes).await
}

/// A login on its way: there is no caller yet, so the entry names the role.
struct Login<'a> {
    session: &'a Session,
    mount: &'a Mount,
    detail: Detail,
}

impl<'a> Login<'a> {
    fn begin(session: &'a Session, who: &Requester<'_>, api: &ApiPath, mount: &'a Mount, role: &str) -> Self {
        let mut detail = describe(who, api);
        // A role name that does not parse is the caller's text and stays out of the log.
        detail.role = RoleName::parse(role).map(|role| role.to_string()).unwrap_or_default();
        Self { session, mount, detail }
    }

    /// Records why the login was refused; the caller learns only `answer`.
    async fn refuse<T>(mut self, reason: String, answer: OpError) -> Result<T, OpError> {
        self.detail.reason = reason;
        let draft = Draft { action: Action::Login, outcome: Outcome::Denied, detail: self.detail };
        self.session.record(draft).await?;
        Err(answer)
    }

    /// Turns a verified identity into a token. The entry is durable, and counted evidence is spent, before it leaves.
    async fn admit(
        self,
        identity: &VerifiedIdentity,
        spent: Vec<Op>,
        usual: TokenKind,
    ) -> Result<IssuedToken, OpError> {
        let (session, detail) = (self.session, self.detail.clone());
        let result = self.issue(identity, spent, usual).await;
        if let Err(error) = &result {
            let detail = Detail { reason: error.reason().to_owned(), ..detail };
            session.record(Draft { action: Action::Login, outcome: Outcome::Failed, detail }).await?;
        }
        result
    }

    async fn issue(
        mut self,
        identity: &VerifiedIdentity,
        mut spent: Vec<Op>,
        usual: TokenKind,
    ) -> Result<IssuedToken, OpError> {
        let limits = TtlLimits::of_mount(self.mount.default_ttl_secs, self.mount.max_ttl_secs);
        let now = self.session.now().unix_secs();
        let issued = identity
            .issue(TenantId::SYSTEM, &self.mount.path, usual, limits, now)
            .map_err(|_| OpError::invalid("the role's lifetimes leave no time for a token"))?;
        let (kind, claims) = match issued.token {
            IssuedKind::Machine(machine) => (TokenKind::Batch, machine.claims().clone()),
            IssuedKind::Service(claims) => (TokenKind::Service, claims),
        };
        let mut made: NewToken = token::make(self.session, kind, claims).await?;
        spent.append(&mut made.changes);
        self.detail.caller.clone_from(&made.caller.display_name);
        self.detail.accessor = made.caller.accessor.clone().unwrap_or_default();
        let draft = Draft { action: Action::Login, outcome: Outcome::Allowed, detail: self.detail };
        let receipt = self.session.commit(spent, draft).await?;
        Ok(made.issued(receipt, issued.capped.map(|capped| capped.to_string()).into_iter().collect()))
    }
}
