//! Tokens: who a token stands for, new ones, looking up, renewing, revoking.
//!
//! A service token is a row under the hash of its text, an accessor row that leads to it, and a row below its
//! parent. Revoking deletes the token's own row at once; its descendants die with it, because a token is good
//! only while every ancestor is.

use symbolon_core::audit::Action;
use symbolon_core::path::ApiPath;
use symbolon_core::policy::{Capabilities, Operation};
use symbolon_core::token::{
    self, Caller, CreateError, CreateRequest, RenewError, TokenClaims, TokenHash, TokenKind, TokenShape,
    create_child,
};
use symbolon_proto::id::TenantId;

use super::Method;
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::access::tokens::{
    Address, IssuedToken, Pointer, describe_machine, find, hash, make, removal, require_ancestors,
};
use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::dialect::vault::{Answering, Call};
use crate::engines;
use crate::error::{OpError, Text};
use crate::rows::{Cursor, Found};
use crate::store::{Expect, Write};

mod dead;
mod route;

pub(super) use route::issued_answer;

/// The descriptor.
pub static METHOD: Method = Method {
    facts: Facts {
        kind: "token",
        builtin: Some("token"),
        tables: &[],
        sudo: &["accessors", "create-orphan", "revoke-orphan"],
        folds: &[],
        open: &[],
        first_rows: Some(super::workload::first_keys),
    },
    usual: TokenKind::Service,
    enable: |_| Ok(()),
    route: answer,
    recognise: None,
    endings: dead::ENDINGS,
};

fn answer<'a>(call: Call<'a>, _: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route::route(call, rest))
}

/// Capabilities of a token on some paths, in the order asked.
pub type CapabilitiesAnswer = Vec<(String, Capabilities)>;

/// Descendants that one commit of a revocation removes; they are dead already.
const SWEEP_BATCH: usize = 512;

/// What an entry calls them.
const SWEPT: &str = "descendants of the revoked token";
/// What an entry calls a token that was to be revoked and is not there.
const GONE: &str = "a token that is gone";

/// Which token a request means.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// The caller's own.
    Own,
    /// The caller's own, because a route that takes the text of any token was given none.
    Unnamed,
    /// By its text.
    Token(&'a str),
    /// By its accessor.
    Accessor(&'a str),
}

impl Which<'_> {
    /// A verb as the dialects spell it for a token that is named like this.
    fn named(self, verb: &str) -> String {
        match self {
            Self::Own => format!("{verb}-self"),
            Self::Unnamed | Self::Token(_) => verb.to_owned(),
            Self::Accessor(_) => format!("{verb}-accessor"),
        }
    }

    fn route(self, verb: &str) -> Route {
        Route::tokens(self.named(verb))
    }
}

/// Which of the two routes makes a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// `create`: a child of the caller's, unless it wants none and has `sudo`.
    Child,
    /// `create-orphan`, which is a right of its own.
    Orphan,
}

impl Making {
    fn route(self) -> Route {
        Route::tokens(match self {
            Self::Child => "create",
            Self::Orphan => "create-orphan",
        })
    }
}

/// Makes a token.
pub async fn create(
    who: &Asker<'_>,
    making: Making,
    mut wanted: CreateRequest,
) -> Result<IssuedToken, OpError> {
    wanted.orphan |= making == Making::Orphan;
    let request =
        Request::begin(who, Action::TokenCreate, &making.route()).await?.authorise(Operation::Update).await?;
    let session = request.session();
    let now = session.now().unix_secs();
    let limits = session.mounts().ttl_limits_at(request.path().as_str());
    let decided =
        create_child(request.caller(), &wanted, request.has_sudo(), request.path().as_str(), limits, now);
    let (claims, capped) = request.record_failure(decided.map_err(OpError::from)).await?;
    let unknown = unknown_policies(session, &claims);
    let made = make(session, wanted.kind.unwrap_or(TokenKind::Service), claims).await;
    let mut made = request.record_failure(made).await?;
    let changes = std::mem::take(&mut made.changes);
    let receipt = request.commit_for_disclosure(Object::token(&made.caller), changes).await?;
    Ok(made.issued(receipt, capped.map(|capped| capped.to_string()).into_iter().chain(unknown).collect()))
}

fn unknown_policies(session: &Session, claims: &TokenClaims) -> Option<String> {
    let known = session.policy_names();
    let is_known = |name: &str| name == "root" || known.iter().any(|known| known == name);
    let unknown = claims.policies.iter().filter(|name| !is_known(name.as_str())).count();
    (unknown > 0).then(|| format!("{unknown} of the token's policies do not exist yet"))
}

/// The facts of a token.
pub async fn lookup(who: &Asker<'_>, which: Which<'_>) -> Result<Caller, OpError> {
    let operation =
        if matches!(which, Which::Own | Which::Unnamed) { Operation::Read } else { Operation::Update };
    let request = Request::begin(who, Action::TokenLookup, &which.route("lookup")).await?;
    let request = request.authorise(operation).await?;
    let found = request.record_failure(resolve(&request, which, OpError::BAD_TOKEN_NAMED).await).await?;
    request.commit(Object::token(&found), Vec::new()).await?;
    Ok(found)
}

/// The token that is meant; `gone` if there is none that lives, whatever became of it. One that is named by
/// its accessor has an answer of its own.
async fn resolve(request: &Authorised, which: Which<'_>, gone: OpError) -> Result<Caller, OpError> {
    let gone = if matches!(which, Which::Accessor(_)) { NO_ACCESSOR } else { gone };
    living(request, which).await?.ok_or(gone)
}

/// That a named token is not good is no reason to doubt the caller's own; that nobody can tell is neither.
async fn living(request: &Authorised, which: Which<'_>) -> Result<Option<Caller>, OpError> {
    let session = request.session();
    let found = match which {
        Which::Own | Which::Unnamed => return Ok(Some(request.caller().clone())),
        Which::Token(token) => match TokenShape::of(token) {
            Ok(TokenShape::Batch) => describe_machine(session, token).await,
            Ok(TokenShape::Service) => described(session, &hash(session, token)).await,
            Err(bad) => Err(bad.into()),
        },
        Which::Accessor(accessor) => {
            match session.rows.read::<Pointer>(Address::accessor(accessor).place()).await? {
                Some((Pointer(hash), _)) => described(session, &hash).await,
                None => return Ok(None),
            }
        }
    };
    match found {
        Err(OpError::Unauthenticated(_)) => Ok(None),
        found => found.map(Some),
    }
}

async fn described(session: &Session, hash: &TokenHash) -> Result<Caller, OpError> {
    let now = session.now().unix_secs();
    let (row, _) =
        find(session, hash).await?.filter(|(row, _)| !row.is_expired(now)).ok_or(OpError::BAD_TOKEN)?;
    require_ancestors(session, row.claims.parent, now).await?;
    Ok(row.describe(TenantId::SYSTEM))
}

const NO_ACCESSOR: OpError = OpError::invalid("invalid accessor");
/// What looking up says, and nobody else: to everybody else a token that is gone is a mistake in the request.
const NO_TOKEN: OpError = OpError::invalid("token not found");

/// A token with a new end.
pub struct Renewal {
    /// Whom it stands for, with the new end.
    pub caller: Caller,
    /// Seconds from now.
    pub ttl_secs: u64,
    /// Set if more was wanted.
    pub warnings: Vec<String>,
}

/// Renews a service token; 0 asks for its own lifetime again.
pub async fn renew(who: &Asker<'_>, which: Which<'_>, increment_secs: u64) -> Result<Renewal, OpError> {
    let request = Request::begin(who, Action::TokenRenew, &which.route("renew"))
        .await?
        .authorise(Operation::Update)
        .await?;
    let caller = request.record_failure(resolve(&request, which, NO_TOKEN).await).await?;
    let renewed = request.record_failure(renewed(request.session(), &caller, increment_secs).await).await;
    let (renewed, change) = renewed?;
    request.commit(Object::token(&caller), vec![change]).await?;
    Ok(Renewal {
        ttl_secs: renewed.ttl_secs,
        warnings: renewed.capped.map(|capped| capped.to_string()).into_iter().collect(),
        caller: renewed.token.describe(TenantId::SYSTEM),
    })
}

async fn renewed(
    session: &Session,
    caller: &Caller,
    increment_secs: u64,
) -> Result<(token::Renewed, Write), OpError> {
    let hash = caller.token.ok_or(OpError::invalid("batch tokens cannot be renewed"))?;
    let (row, revision) = find(session, &hash).await?.ok_or(OpError::invalid("token not found"))?;
    let limits = session.mounts().ttl_limits_at(&row.claims.path);
    let renewed = row.renew(increment_secs, limits, session.now().unix_secs())?;
    let change =
        session.rows.put(Address::token(&hash).place(), &renewed.token, Expect::Revision(revision))?;
    Ok((renewed, change))
}

/// What a revocation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The token is gone now.
    Now,
    /// It was before: whoever wanted that has it.
    Before,
}

/// Revokes a token and its descendants.
pub async fn revoke(who: &Asker<'_>, which: Which<'_>) -> Result<Revoked, OpError> {
    let route = which.route("revoke");
    let request =
        Request::begin(who, Action::TokenRevoke, &route).await?.authorise(Operation::Update).await?;
    let Some(caller) = request.record_failure(living(&request, which).await).await? else {
        request.commit(Object::Named(GONE.to_owned()), Vec::new()).await?;
        return Ok(Revoked::Before);
    };
    let hash = remove_token(&request, &caller).await?;
    sweep(&request, hash).await?;
    Ok(Revoked::Now)
}

/// Revokes a token and lets its descendants live on without a parent.
pub async fn revoke_orphan(who: &Asker<'_>, token: &str) -> Result<(), OpError> {
    let request = Request::begin(who, Action::TokenRevoke, &Route::tokens("revoke-orphan"))
        .await?
        .authorise(Operation::Update)
        .await?;
    let found = resolve(&request, Which::Token(token), NO_TOKEN).await;
    let caller = request.record_failure(found).await?;
    if let Some(hash) = caller.token {
        adopt_out(&request, &hash, &caller).await?;
    }
    remove_token(&request, &caller).await.map(drop)
}

/// The end of one token, not yet of its descendants.
async fn remove_token(request: &Authorised, caller: &Caller) -> Result<TokenHash, OpError> {
    let hash = caller.token.ok_or(OpError::invalid("batch tokens cannot be revoked"));
    let hash = request.record_failure(hash).await?;
    let changes = removal(request.session(), &hash, caller.accessor.as_deref(), caller.parent);
    request.commit(Object::token(caller), changes).await?;
    engines::token_removed(request.session(), hash).await;
    Ok(hash)
}

/// Children of a token on their way, a page at a time.
struct Children {
    cursor: Cursor,
}

impl Children {
    fn of(session: &Session, parent: &TokenHash) -> Self {
        Self { cursor: Cursor::of_group(&session.rows, &Address::child(parent, parent).place()) }
    }

    async fn next(&mut self, session: &Session) -> Result<Option<Vec<TokenHash>>, OpError> {
        let Some(page) = self.cursor.next(&session.rows, SWEEP_BATCH).await? else { return Ok(None) };
        let hash = |found: &Found| Ok(session.rows.open_found::<Pointer>(found)?.0);
        page.iter().map(hash).collect::<Result<_, OpError>>().map(Some)
    }
}

/// Makes orphans of the direct children, a page in a commit.
async fn adopt_out(request: &Authorised, parent: &TokenHash, object: &Caller) -> Result<(), OpError> {
    let session = request.session();
    let mut children = Children::of(session, parent);
    while let Some(page) = children.next(session).await? {
        let mut changes = Vec::new();
        for child in page {
            changes.extend(adoption(session, parent, &child).await?);
        }
        request.commit(Object::token(object), changes).await?;
    }
    Ok(())
}

async fn adoption(session: &Session, parent: &TokenHash, child: &TokenHash) -> Result<Vec<Write>, OpError> {
    let mut changes = vec![session.rows.delete(Address::child(parent, child).place(), Expect::Any)];
    if let Some((mut row, revision)) = find(session, child).await? {
        row.claims.parent = None;
        row.claims.orphan = true;
        changes.push(session.rows.put(Address::token(child).place(), &row, Expect::Revision(revision))?);
    }
    Ok(changes)
}

/// Removes the rows of descendants, which are dead since their ancestor's row went.
async fn sweep(request: &Authorised, root: TokenHash) -> Result<(), OpError> {
    let session = request.session();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let mut children = Children::of(session, &parent);
        while let Some(page) = children.next(session).await? {
            let mut changes = Vec::new();
            for child in &page {
                let row = find(session, child).await?;
                let accessor = row.as_ref().map(|(row, _)| row.accessor.as_str());
                changes.extend(removal(session, child, accessor, Some(parent)));
            }
            remove(request, changes, &page).await?;
            parents.extend(page);
        }
    }
    Ok(())
}

/// A page may be empty: all its rows were of another format.
async fn remove(request: &Authorised, changes: Vec<Write>, gone: &[TokenHash]) -> Result<(), OpError> {
    if changes.is_empty() {
        return Ok(());
    }
    request.commit(Object::Named(SWEPT.to_owned()), changes).await?;
    for hash in gone {
        engines::token_removed(request.session(), *hash).await;
    }
    Ok(())
}

/// What a token may do on some paths: the caller's own, or another's.
pub async fn capabilities(
    who: &Asker<'_>,
    which: Which<'_>,
    paths: &[ApiPath],
) -> Result<CapabilitiesAnswer, OpError> {
    let request = Request::begin(who, Action::Capabilities, &Route::system(which.named("capabilities")))
        .await?
        .authorise(Operation::Update)
        .await?;
    let gone = OpError::invalid("invalid token");
    let subject = request.record_failure(resolve(&request, which, gone).await).await?;
    let acl = request.session().acl(&subject.policies);
    request.commit(Object::token(&subject), Vec::new()).await?;
    Ok(paths.iter().map(|path| (path.as_str().to_owned(), acl.capabilities(path))).collect())
}

impl From<CreateError> for OpError {
    fn from(error: CreateError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<RenewError> for OpError {
    fn from(error: RenewError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
