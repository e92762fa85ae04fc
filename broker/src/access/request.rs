//! A request on its way: token → caller → grant → entry → receipt. The one place that turns a token into a
//! caller and a caller into a grant.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use symbolon_core::audit::{Action, Detail, Draft, Outcome, Receipt};
use symbolon_core::json::Map;
use symbolon_core::path::ApiPath;
use symbolon_core::policy::{Acl, Grant, Operation};
use symbolon_core::token::Caller;

use super::object::Object;
use super::route::Route;
use super::session::{Session, Turn};
use super::{Asker, Requester, tokens};
use crate::audit::retention::Changes;
use crate::error::{Absent, OpError};
use crate::store::Write;

/// A request whose caller is known, and nothing else: it cannot do or answer anything before a policy allows
/// it.
pub struct Request<'a> {
    asked: Asked,
    parameters: &'a Map,
    wrap_ttl_secs: u64,
}

/// A request that a policy allows. Whatever it comes to ends in an entry: allowed ([`Authorised::commit`],
/// [`Authorised::commit_for_disclosure`]) or failed ([`Authorised::record_failure`]).
pub struct Authorised {
    asked: Asked,
    grant: Option<Grant>,
}

struct Asked {
    session: Arc<Session>,
    caller: Caller,
    acl: Arc<Acl>,
    action: Action,
    path: ApiPath,
    detail: Detail,
}

impl<'a> Request<'a> {
    /// Turns the token into a caller. A refused token leaves an entry too. The route is what policies will
    /// judge: derived from what will be done, and the same that the face was asked for, or nothing is done at
    /// all.
    pub async fn begin(who: &Asker<'a>, action: Action, route: &Route) -> Result<Self, OpError> {
        let path = route.path_for(who)?;
        who.session.require_room(action)?; // before a counted token loses a use for nothing
        let caller = tokens::authenticate(who.session, who.requester.token, who.requester.remote).await;
        Self::by(caller, who, action, path).await
    }

    /// The same without taking a use away from a counted token: the changes of this request end it.
    pub async fn begin_unspent(who: &Asker<'a>, action: Action, route: &Route) -> Result<Self, OpError> {
        let path = route.path_for(who)?;
        let found = tokens::recognise(who.session, who.requester.token, who.requester.remote).await;
        Self::by(found.map(|(caller, _)| caller), who, action, path).await
    }

    async fn by(
        caller: Result<Caller, OpError>,
        who: &Asker<'a>,
        action: Action,
        path: ApiPath,
    ) -> Result<Self, OpError> {
        let session = Arc::clone(who.session);
        let mut detail = describe(who.session, &who.requester, &path);
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => return Err(Box::pin(refuse_token(who, action, detail, error)).await?),
        };
        detail.caller.clone_from(&caller.display_name);
        detail.accessor = caller.accessor.clone().unwrap_or_default();
        detail.actor = Some(caller.actor());
        let acl = session.acl(&caller.policies);
        let asked = Asked { session, caller, acl, action, path, detail };
        let Requester { parameters, wrap_ttl_secs, .. } = who.requester;
        Ok(Self { asked, parameters, wrap_ttl_secs })
    }

    /// The open session, for the one question that decides between `create` and `update`: does it exist?
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.asked.session
    }

    /// Who asks, for paths that mean something else for each caller. It may nothing yet.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.asked.caller
    }

    /// Asks the policies. This is the one place that authorises.
    pub async fn authorise(mut self, operation: Operation) -> Result<Authorised, OpError> {
        let Some(grant) = self.grant(operation) else {
            self.asked.detail.policies = self.asked.acl.deciding(operation, &self.asked.path);
            self.asked.record(Outcome::Denied, "no policy allows it").await?;
            return Err(OpError::DENIED);
        };
        self.asked.detail.policies = Arc::clone(grant.policies());
        Ok(Authorised { asked: self.asked, grant: Some(grant) })
    }

    /// Whether the policies would also allow another operation at the path. Allows nothing by itself.
    #[must_use]
    pub fn would_allow(&self, operation: Operation) -> bool {
        self.grant(operation).is_some()
    }

    fn grant(&self, operation: Operation) -> Option<Grant> {
        let Asked { session, acl, path, .. } = &self.asked;
        acl.authorise(operation, path, self.parameters, session.needs_sudo(path), self.wrap_ttl_secs).ok()
    }

    /// Ends a request that no route takes in this form. Why, may be told to callers whose policies give them
    /// something at this path; to others it is denied like any path, so that strangers cannot find out what
    /// is mounted where.
    pub async fn refuse(mut self) -> Result<(), OpError> {
        let has = self.asked.acl.capabilities(&self.asked.path);
        self.asked.detail.policies = self.asked.acl.behind_capabilities(&self.asked.path);
        if has.is_empty() || has.denies() {
            self.asked.record(Outcome::Denied, "no policy allows it").await?;
            return Err(OpError::DENIED);
        }
        self.asked.record(Outcome::Failed, "malformed request").await
    }

    /// Lets any caller look at what its own policies already show it, such as the mounts it may use.
    #[must_use]
    pub fn about_itself(self) -> Authorised {
        Authorised { asked: self.asked, grant: None }
    }
}

/// The entry of a token that was refused, and the answer. Nobody is known, whatever the reason.
async fn refuse_token(
    who: &Asker<'_>,
    action: Action,
    mut detail: Detail,
    error: OpError,
) -> Result<OpError, OpError> {
    let (outcome, why) = match &error {
        OpError::Unauthenticated(_) => (Outcome::Denied, "token missing, unknown or expired"),
        other => (Outcome::Failed, other.reason()),
    };
    why.clone_into(&mut detail.reason);
    who.session.record_stranger(who.requester.remote, Draft { action, outcome, detail }).await?;
    Ok(error)
}

impl Authorised {
    /// The open session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.asked.session
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.asked.caller
    }

    /// The path that was judged.
    #[must_use]
    pub fn path(&self) -> &ApiPath {
        self.grant.as_ref().map_or(&self.asked.path, Grant::path)
    }

    /// The caller's merged policies, for answers about capabilities.
    #[must_use]
    pub fn acl(&self) -> &Acl {
        &self.asked.acl
    }

    /// Whether the policy gives `sudo` on this path, asked for or not.
    #[must_use]
    pub fn has_sudo(&self) -> bool {
        self.grant.as_ref().is_some_and(Grant::has_sudo)
    }

    /// Commits the changes with an allowed entry, before an answer that holds no secret.
    pub async fn commit(&self, object: Object, changes: Vec<Write>) -> Result<(), OpError> {
        self.commit_for_disclosure(object, changes).await.map(drop)
    }

    /// The turn to change what requests see in memory: whoever has it reads, judges and commits before the
    /// next one reads, so that two askers at once are no conflict.
    pub async fn turn(&self) -> Turn {
        self.session().taking_turn().await
    }

    /// Commits changes of what requests see in memory, then takes them into use. One such step follows the
    /// other, and none stops half-way because the asker has gone: memory and store must not come apart. Other
    /// brokers are told in the same commit.
    pub async fn commit_and_take(
        self,
        turn: Turn,
        object: Object,
        mut changes: Vec<Write>,
        take: impl FnOnce(&Session) + Send + 'static,
    ) -> Result<Self, OpError> {
        changes.push(self.session().configuration_changed()?);
        let step = async move {
            self.commit(object, changes).await?;
            take(self.session());
            drop(turn);
            Ok(self)
        };
        tokio::spawn(step).await.unwrap_or(Err(OpError::BUSY))
    }

    /// Like [`Self::commit`], before an answer that holds a secret: the receipt lets it leave.
    pub async fn commit_for_disclosure(
        &self,
        object: Object,
        changes: Vec<Write>,
    ) -> Result<Receipt, OpError> {
        let mut draft = self.asked.draft(Outcome::Allowed, "");
        object.describe(&mut draft.detail);
        self.session().commit(changes, draft).await
    }

    /// Like [`Self::commit`], for changes of the log's own rows that retention makes.
    pub async fn commit_retention(&self, object: Object, changes: Changes) -> Result<(), OpError> {
        let mut draft = self.asked.draft(Outcome::Allowed, "");
        object.describe(&mut draft.detail);
        self.session().retain(changes, draft).await.map(drop)
    }

    /// Passes a result on, after a failure has left its entry.
    pub async fn record_failure<T>(&self, result: Result<T, OpError>) -> Result<T, OpError> {
        if let Err(error) = &result {
            self.asked.record(Outcome::Failed, error.reason()).await?;
        }
        result
    }

    /// What was looked for; if there is none, that it is absent, after that has left its entry.
    pub async fn found<T>(&self, looked: Result<Option<T>, OpError>) -> Result<T, OpError> {
        match self.record_failure(looked).await? {
            Some(found) => Ok(found),
            None => Err(self.absent().await?.into()),
        }
    }

    /// The proof that something is not there, for whoever has looked, after that has left its entry.
    pub async fn absent(&self) -> Result<Absent, OpError> {
        let absent = self.absence().await?;
        self.asked.record(Outcome::Failed, OpError::Absent(absent).reason()).await?;
        Ok(absent)
    }

    /// The same for whoever leaves an entry of its own. A 404 makes clients delete their copies, so nothing
    /// is called absent while the remote half is withdrawn.
    pub async fn absence(&self) -> Result<Absent, OpError> {
        self.require_keys().await?;
        #[expect(clippy::disallowed_methods, reason = "unsealed, authorised, and the keys open")]
        Ok(Absent::witnessed())
    }

    /// That nothing here answers this request, after that has left its entry. Keys that are missing are told
    /// first, as for everything that is not there.
    async fn misrouted(&self, why: OpError) -> Result<Infallible, OpError> {
        self.require_keys().await?;
        self.record_failure(Err(why)).await
    }

    async fn require_keys(&self) -> Result<(), OpError> {
        let keys = self.session().keys.system_kek().await;
        self.record_failure(keys.map(drop).map_err(OpError::from)).await
    }
}

impl Asked {
    fn draft(&self, outcome: Outcome, reason: &'static str) -> Draft {
        let detail = Detail { reason: reason.to_owned(), ..self.detail.clone() };
        Draft { action: self.action, outcome, detail }
    }

    /// Rare beside requests that are allowed, so it has memory of its own and makes no other future larger.
    async fn record(&self, outcome: Outcome, reason: &'static str) -> Result<(), OpError> {
        Box::pin(self.session.record(self.draft(outcome, reason))).await
    }
}

/// The part of an entry that is known before anybody is authenticated.
pub(crate) fn describe(session: &Session, who: &Requester<'_>, path: &ApiPath) -> Detail {
    Detail {
        request_id: who.request_id.to_owned(),
        path: path.as_str().to_owned(),
        mount_bytes: session.mounts().prefix_bytes(path) as u64,
        remote: who.remote.map(|remote| remote.to_string()).unwrap_or_default(),
        ..Detail::default()
    }
}

/// Whether a token still lives and its policies still allow what an answer that goes on was begun with; an
/// error if that cannot be told now. Takes no use away, leaves no entry, and allows nothing that was not
/// authorised before.
pub async fn is_still_allowed(
    session: &Session,
    (token, remote): (&str, Option<IpAddr>),
    (path, operation, parameters): (&ApiPath, Operation, &Map),
) -> Result<bool, OpError> {
    session.refresh().await?;
    let caller = match tokens::recognise(session, Some(token), remote).await {
        Ok((caller, _)) => caller,
        Err(OpError::Unauthenticated(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let acl = session.acl(&caller.policies);
    Ok(acl.authorise(operation, path, parameters, session.needs_sudo(path), 0).is_ok())
}

/// Ends a request for which there is no route. Always an error: the caller is unknown, may not ask, or
/// nothing answers there, of which `why` tells more. Never an absence.
pub async fn unrouted(
    who: &Asker<'_>,
    path: &ApiPath,
    operation: Operation,
    why: OpError,
) -> Result<Infallible, OpError> {
    let request = Request::begin(who, Action::Other, &Route::whole(path)).await?.authorise(operation).await?;
    request.misrouted(why).await
}

/// Whether a caller may be told that its request is malformed, or not for this method. Leaves the request's
/// entry, and takes no use of the token: nothing was done for it, or the operation has taken it.
pub async fn malformed(who: &Asker<'_>, path: &ApiPath) -> Result<(), OpError> {
    Request::begin_unspent(who, Action::Other, &Route::whole(path)).await?.refuse().await
}
