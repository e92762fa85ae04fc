//! Everything a request may use while the broker is open: keys, rows, the writer, mounts and policies.
//!
//! A session begins with an unseal and ends with a seal. It is the only place that turns a token into a caller and a
//! caller into a grant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use symbolon_core::audit::{Action, Detail, Draft, Outcome, Receipt};
use symbolon_core::clock::{Clock, Now};
use symbolon_core::dead_man::DeadMan;
use symbolon_core::json::Map;
use symbolon_core::path::{ApiPath, PolicyName};
use symbolon_core::policy::{Acl, Grant, Operation, Policy};
use symbolon_core::seal::Unsealed;
use symbolon_core::token::Caller;
use symbolon_proto::hierarchy::AuditKey;

use super::Requester;
use super::mounts::Mounts;
use crate::audit::writer::{CommitError, Writer};
use crate::auth::jwks::LoginKeys;
use crate::auth::token;
use crate::error::OpError;
use crate::keys::Keys;
use crate::keys::buckets::Buckets;
use crate::rows::Rows;
use crate::store::Op;
use crate::upkeep::rotation::Rotation;

pub use crate::custody::unseal::Opener;

/// Merged policies kept at once; one per distinct set of policy names.
const ACLS_MAX: usize = 1024;
/// How often a closing session looks whether its keys are gone.
const REMAINS_POLL: Duration = Duration::from_millis(2);

/// One unsealed period of the broker.
pub struct Session {
    /// Encrypted rows.
    pub rows: Rows,
    /// KEKs, split with the remote.
    pub keys: Keys,
    /// Where new secrets go.
    pub buckets: Buckets,
    /// Keys that verify other people's tokens.
    pub login_keys: LoginKeys,
    /// Mounts and login mounts.
    pub mounts: RwLock<Arc<Mounts>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New keys for what is stored.
    pub rotation: Rotation,
    pub(crate) unsealed: Arc<Unsealed>,
    pub(crate) writer: Writer,
    pub(crate) generation: u64,
    /// Seals the broker if no lease comes for too long.
    pub(crate) dead_man: DeadMan,
    pub(crate) policies: RwLock<HashMap<PolicyName, Arc<Policy>>>,
    pub(crate) acls: Mutex<HashMap<Vec<PolicyName>, Arc<Acl>>>,
    /// Held from the commit of policies or mounts until they are in use.
    pub(crate) taking: Arc<tokio::sync::Mutex<()>>,
}

/// What may be left of the keys of a closed session: requests under way, background tasks and the log's writer let go of theirs
/// one after the other.
pub struct Remains {
    unsealed: Weak<Unsealed>,
    audit: Weak<AuditKey>,
}

impl Remains {
    /// Waits until every key has been wiped.
    pub async fn gone(&self) {
        while self.unsealed.strong_count() + self.audit.strong_count() > 0 {
            tokio::time::sleep(REMAINS_POLL).await;
        }
    }
}

impl Session {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// How often this deployment has been unsealed; the remote fences older generations.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The keys of this unsealed period.
    #[must_use]
    pub fn unsealed(&self) -> &Unsealed {
        &self.unsealed
    }

    /// The mounts as they are now.
    #[must_use]
    pub fn mounts(&self) -> Arc<Mounts> {
        Arc::clone(&self.mounts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops background work and wipes cached keys. What it gives back tells when nobody holds any other key either.
    #[must_use]
    pub fn close(&self) -> Remains {
        self.keys.close();
        Remains { unsealed: Arc::downgrade(&self.unsealed), audit: Arc::downgrade(&self.unsealed.audit()) }
    }

    /// Merged policies of a caller.
    #[must_use]
    pub fn acl(&self, names: &[PolicyName]) -> Arc<Acl> {
        let mut acls = self.acls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acl) = acls.get(names) {
            return Arc::clone(acl);
        }
        if acls.len() >= ACLS_MAX {
            acls.clear();
        }
        let acl = Arc::new(self.merge(names));
        acls.insert(names.to_vec(), Arc::clone(&acl));
        acl
    }

    /// Names of the policies that exist, without `root`.
    #[must_use]
    pub fn policy_names(&self) -> Vec<String> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        policies.keys().map(|name| name.as_str().to_owned()).collect()
    }

    fn merge(&self, names: &[PolicyName]) -> Acl {
        if names.iter().any(PolicyName::is_root) {
            return Acl::new(&[Policy::root()]);
        }
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<&Policy> =
            names.iter().filter_map(|name| policies.get(name)).map(Arc::as_ref).collect();
        Acl::new(&known)
    }

    /// Takes a changed set of policies into use.
    pub(crate) fn replace_policy(&self, name: &PolicyName, policy: Option<Policy>) {
        let mut policies = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        match policy {
            Some(policy) => policies.insert(name.clone(), Arc::new(policy)),
            None => policies.remove(name),
        };
        drop(policies);
        self.acls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The entry of something the broker does by itself.
    #[must_use]
    pub fn internal(action: Action, what: &'static str) -> Draft {
        let detail = Detail { caller: "broker".to_owned(), role: what.to_owned(), ..Detail::default() };
        Draft { action, outcome: Outcome::Allowed, detail }
    }

    /// Commits an entry that belongs to no change and lets nothing leave.
    pub async fn record(&self, draft: Draft) -> Result<(), OpError> {
        self.commit(Vec::new(), draft).await.map(drop)
    }

    /// Commits changes together with their entry.
    pub async fn commit(&self, changes: Vec<Op>, draft: Draft) -> Result<Receipt, OpError> {
        self.writer.commit(changes, draft).await.map_err(|error| match error {
            CommitError::Conflict { .. } => OpError::CONFLICT,
            CommitError::Busy => OpError::BUSY,
            _ => OpError::UNLOGGED,
        })
    }
}

/// A request whose caller is known, and nothing else: it cannot do or answer anything before a policy allows it.
pub struct Attempt<'a> {
    request: Request,
    parameters: &'a Map,
}

/// A request that a policy allows. Whatever it comes to ends in an entry: allowed ([`Authorised::conclude`],
/// [`Authorised::receipt`]) or failed ([`Authorised::audited`]).
pub struct Authorised {
    request: Request,
    grant: Option<Grant>,
}

struct Request {
    session: Arc<Session>,
    caller: Caller,
    acl: Arc<Acl>,
    action: Action,
    detail: Detail,
}

impl<'a> Attempt<'a> {
    /// Turns the token into a caller. A refused token leaves an entry too.
    pub async fn begin(
        session: Arc<Session>,
        who: &Requester<'a>,
        action: Action,
        path: &ApiPath,
    ) -> Result<Self, OpError> {
        let mut detail = describe(who, path);
        let caller = match token::authenticate(&session, who.token, who.remote).await {
            Ok(caller) => caller,
            Err(error) => {
                let (outcome, why) = match &error {
                    OpError::Unauthenticated(_) => (Outcome::Denied, "token missing, unknown or expired"),
                    other => (Outcome::Failed, other.reason()),
                };
                detail.reason = why.to_owned();
                session.record(Draft { action, outcome, detail }).await?;
                return Err(error);
            }
        };
        detail.caller.clone_from(&caller.display_name);
        detail.accessor = caller.accessor.clone().unwrap_or_default();
        let acl = session.acl(&caller.policies);
        Ok(Self { request: Request { session, caller, acl, action, detail }, parameters: who.parameters })
    }

    /// The open session, for the one question that decides between `create` and `update`: does it exist?
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.request.session
    }

    /// Asks the policies. This is the one place that authorises.
    pub async fn authorise(self, operation: Operation, path: &ApiPath) -> Result<Authorised, OpError> {
        match self.request.acl.authorise(operation, path, self.parameters, needs_sudo(path)) {
            Ok(grant) => Ok(Authorised { request: self.request, grant: Some(grant) }),
            Err(_) => {
                self.request
                    .session
                    .record(self.request.draft(Outcome::Denied, "no policy allows it"))
                    .await?;
                Err(OpError::DENIED)
            }
        }
    }

    /// Whether the policies would also allow another operation at the path. Allows nothing by itself.
    #[must_use]
    pub fn would_allow(&self, operation: Operation, path: &ApiPath) -> bool {
        self.request.acl.authorise(operation, path, self.parameters, needs_sudo(path)).is_ok()
    }

    /// Ends a request that no route takes in this form. Why, may be told to callers whose policies give them something at
    /// this path; to others it is denied like any path, so that strangers cannot find out what is mounted where.
    pub async fn refuse(self, path: &ApiPath) -> Result<(), OpError> {
        let has = self.request.acl.capabilities(path);
        if has.is_empty() || has.denies() {
            self.request.session.record(self.request.draft(Outcome::Denied, "no policy allows it")).await?;
            return Err(OpError::DENIED);
        }
        self.request.session.record(self.request.draft(Outcome::Failed, "malformed request")).await
    }

    /// Lets any caller look at what its own policies already show it, such as the mounts it may use.
    #[must_use]
    pub fn about_itself(self) -> Authorised {
        Authorised { request: self.request, grant: None }
    }
}

impl Authorised {
    /// The open session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.request.session
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.request.caller
    }

    /// The caller's merged policies, for answers about capabilities.
    #[must_use]
    pub fn acl(&self) -> &Acl {
        &self.request.acl
    }

    /// Whether the policy gives `sudo` on this path, asked for or not.
    #[must_use]
    pub fn has_sudo(&self) -> bool {
        self.grant.as_ref().is_some_and(Grant::has_sudo)
    }

    /// Remembers what was wished, for the entry: one of our own texts, or names that were checked.
    pub fn note(&mut self, what: String) {
        self.request.detail.role = what;
    }

    /// Remembers the version that this request touches.
    pub fn note_version(&mut self, version: u64) {
        self.request.detail.version = version;
    }

    /// Commits the changes with an allowed entry, before an answer that holds no secret.
    pub async fn conclude(&self, changes: Vec<Op>) -> Result<(), OpError> {
        self.receipt(changes).await.map(drop)
    }

    /// Commits changes of what requests see in memory, then takes them into use. One such step follows the other, and none
    /// stops half-way because the asker has gone: memory and store must not come apart.
    pub async fn conclude_and_take(
        self,
        changes: Vec<Op>,
        take: impl FnOnce(&Session) + Send + 'static,
    ) -> Result<Self, OpError> {
        let turn = Arc::clone(&self.session().taking).lock_owned().await;
        let step = async move {
            self.conclude(changes).await?;
            take(self.session());
            drop(turn);
            Ok(self)
        };
        tokio::spawn(step).await.unwrap_or(Err(OpError::BUSY))
    }

    /// Like [`Self::conclude`], before an answer that holds a secret: the receipt lets it leave.
    pub async fn receipt(&self, changes: Vec<Op>) -> Result<Receipt, OpError> {
        self.session().commit(changes, self.request.draft(Outcome::Allowed, "")).await
    }

    /// Passes a result on, after a failure has left its entry.
    pub async fn audited<T>(&self, result: Result<T, OpError>) -> Result<T, OpError> {
        let Err(mut error) = result else { return result };
        if matches!(error, OpError::Absent(_))
            && let Err(missing) = self.session().keys.system_kek().await
        {
            // A 404 makes clients delete their copies, so nothing is called absent while the remote half is withdrawn.
            error = missing.into();
        }
        self.session().record(self.request.draft(Outcome::Failed, error.reason())).await?;
        Err(error)
    }
}

impl Request {
    fn draft(&self, outcome: Outcome, reason: &'static str) -> Draft {
        let detail = Detail { reason: reason.to_owned(), ..self.detail.clone() };
        Draft { action: self.action, outcome, detail }
    }
}

/// The part of an entry that is known before anybody is authenticated.
pub(crate) fn describe(who: &Requester<'_>, path: &ApiPath) -> Detail {
    Detail {
        request_id: who.request_id.to_owned(),
        path: path.as_str().to_owned(),
        remote: who.remote.map(|remote| remote.to_string()).unwrap_or_default(),
        ..Detail::default()
    }
}

/// Routes that need `sudo` beside the operation's capability (Vault's list, `docs/vault-api.md`).
fn needs_sudo(path: &ApiPath) -> bool {
    const EXACT: [&str; 7] = [
        "sys/seal",
        "sys/step-down",
        "sys/rotate",
        "sys/remount",
        "auth/token/accessors",
        "auth/token/create-orphan",
        "auth/token/revoke-orphan",
    ];
    const BELOW: [&str; 6] = [
        "sys/auth/",
        "sys/audit/",
        "sys/raw/",
        "sys/leases/lookup/",
        "sys/symbolon/rotate/",
        "sys/symbolon/ceremony/",
    ];
    let path = path.as_str();
    EXACT.contains(&path) || path == "sys/audit" || BELOW.iter().any(|prefix| path.starts_with(prefix))
}
