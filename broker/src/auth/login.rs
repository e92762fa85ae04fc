//! From a verified identity to a token.
//!
//! A machine token is sealed and stored nowhere, so such a login leaves an entry in the log and nothing else.

use std::net::IpAddr;

use symbolon_core::audit::{Action, Actor, Detail, Draft, Outcome};
use symbolon_core::identity::{IssueError, IssuedKind, VerifiedIdentity};
use symbolon_core::path::RoleName;
use symbolon_core::token::TokenKind;
use symbolon_proto::id::TenantId;

use super::method_of;
use crate::access::mounts::{Mount, Side};
use crate::access::tokens::{self, IssuedToken, NewToken};
use crate::access::{Asker, Object, Route, Session, describe};
use crate::error::OpError;
use crate::store::Write;

/// As whom somebody wants to log in.
#[derive(Clone, Copy)]
pub(super) enum Claim<'a> {
    /// By a role.
    Role(&'a str),
    /// As a user of that name.
    User(&'a str),
}

impl<'a> Claim<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Role(name) | Self::User(name) => name,
        }
    }
}

/// A login on its way: there is no caller yet, so the entry names what was claimed.
pub(super) struct Login<'a> {
    session: &'a Session,
    mount: &'a Mount,
    remote: Option<IpAddr>,
    detail: Detail,
    /// What was presented and has a name of its own.
    evidence: Option<Object>,
}

impl<'a> Login<'a> {
    /// Begins one at a path below the mount.
    pub(super) fn begin(
        session: &'a Session,
        who: &Asker<'_>,
        mount: &'a Mount,
        below: &str,
        claim: Claim<'_>,
    ) -> Result<Self, OpError> {
        let path = Route::below(Side::Logins, mount, below).path_for(who)?;
        let mut detail = describe(session, &who.requester, &path);
        // A name that does not parse is the caller's text and stays out of the log.
        let name = RoleName::parse(claim.name());
        let actor = match (claim, name) {
            (_, Err(_)) => Actor::of(&mount.kind),
            (Claim::Role(_), Ok(name)) => Actor::of(&mount.kind).by_role(&name),
            (Claim::User(_), Ok(name)) => Actor::named(&mount.kind, name.as_str()),
        };
        // Not the mount: the path and `mount_bytes` say it, and the length of a refused entry must not.
        detail.actor = Some(actor.into());
        let remote = who.requester.remote;
        Ok(Self { session, mount, remote, detail, evidence: None })
    }

    /// Says what was presented, if that has a name of its own: a secret id has.
    pub(super) fn with(mut self, evidence: Option<Object>) -> Self {
        self.detail.object = evidence.clone().map(Object::text).unwrap_or_default();
        self.evidence = evidence;
        self
    }

    /// Records why the login was refused; the caller learns only `answer`.
    pub(super) async fn refuse<T>(mut self, reason: String, answer: OpError) -> Result<T, OpError> {
        self.detail.reason = reason;
        let draft = Draft { action: Action::Login, outcome: Outcome::Denied, detail: self.detail };
        self.session.record_stranger(self.remote, draft).await?;
        Err(answer)
    }

    /// Turns a verified identity into a token. The entry is durable, and counted evidence is spent, before it
    /// leaves.
    pub(super) async fn admit(
        mut self,
        identity: &VerifiedIdentity,
        spent: Vec<Write>,
    ) -> Result<IssuedToken, OpError> {
        self.detail.actor = Some(identity.actor(&self.mount.path));
        let (session, detail) = (self.session, self.detail.clone());
        let result = self.issue(identity, spent).await;
        if let Err(error) = &result {
            let detail = Detail { reason: error.reason().to_owned(), ..detail };
            session.record(Draft { action: Action::Login, outcome: Outcome::Failed, detail }).await?;
        }
        result
    }

    async fn issue(
        mut self,
        identity: &VerifiedIdentity,
        mut spent: Vec<Write>,
    ) -> Result<IssuedToken, OpError> {
        let (path, limits) = (&self.mount.path, self.mount.ttl_limits());
        let usual = method_of(self.mount).map_or(TokenKind::Service, |method| method.usual);
        let (kinds, now) = (self.mount.token_type(usual), self.session.now().unix_secs());
        let issued = identity.issue(TenantId::SYSTEM, path, kinds, limits, now).map_err(no_token)?;
        let (kind, claims) = match issued.token {
            IssuedKind::Machine(machine) => (TokenKind::Batch, machine.claims().clone()),
            IssuedKind::Service(claims) => (TokenKind::Service, claims),
        };
        let mut made: NewToken = tokens::make(self.session, kind, claims).await?;
        spent.append(&mut made.changes);
        self.detail.caller.clone_from(&made.caller.display_name);
        self.detail.accessor = made.caller.accessor.clone().unwrap_or_default();
        self.detail.object = Object::token(&made.caller).text();
        if let Some(evidence) = self.evidence {
            self.detail.object.push_str(&format!(" by {}", evidence.text()));
        }
        let draft = Draft { action: Action::Login, outcome: Outcome::Allowed, detail: self.detail };
        let receipt = self.session.commit(spent, draft).await?;
        Ok(made.issued(receipt, issued.capped.map(|capped| capped.to_string()).into_iter().collect()))
    }
}

/// Whoever configures the login must act; who logs in is told, because nobody else is there.
fn no_token(error: IssueError) -> OpError {
    match error {
        IssueError::NoTime => OpError::invalid("the role's lifetimes leave no time for a token"),
        IssueError::BatchOnly(_) => OpError::invalid(
            "the login mount gives batch tokens only, and its role wants a period or a number of uses: set \"token_type\" of the mount to default-batch, or leave them out of the role",
        ),
    }
}
