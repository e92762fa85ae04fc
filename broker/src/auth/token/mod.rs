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
    Address, IssuedToken, Pointer, authenticate, find, hash, make, removal, require_ancestors,
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
    let found = request.record_failure(resolve(&request, which).await).await?;
    request.commit(Object::token(&found), Vec::new()).await?;
    Ok(found)
}

async fn resolve(request: &Authorised, which: Which<'_>) -> Result<Caller, OpError> {
    let session = request.session();
    match which {
        Which::Own | Which::Unnamed => Ok(request.caller().clone()),
        Which::Token(token) if TokenShape::of(token)? == TokenShape::Batch => {
            authenticate(session, Some(token), None).await.map_err(named)
        }
        Which::Token(token) => described(session, &hash(session, token)).await,
        Which::Accessor(accessor) => {
            let pointer = session.rows.read::<Pointer>(Address::accessor(accessor).place()).await?;
            let (Pointer(hash), _) = pointer.ok_or(OpError::invalid("invalid accessor"))?;
            described(session, &hash).await
        }
    }
}

/// A named token that is not good is no reason to doubt the caller's own; that nobody can tell is neither.
fn named(error: OpError) -> OpError {
    if matches!(error, OpError::Unauthenticated(_)) { OpError::BAD_TOKEN_NAMED } else { error }
}

async fn described(session: &Session, hash: &TokenHash) -> Result<Caller, OpError> {
    let now = session.now().unix_secs();
    let (row, _) =
        find(session, hash).await?.filter(|(row, _)| !row.is_expired(now)).ok_or(OpError::BAD_TOKEN_NAMED)?;
    require_ancestors(session, row.claims.parent, now).await.map_err(named)?;
    Ok(row.describe(TenantId::SYSTEM))
}

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
    let caller = request.record_failure(resolve(&request, which).await).await?;
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

/// Revokes a token and its descendants; `orphans` lets the descendants live on without a parent.
pub async fn revoke(who: &Asker<'_>, which: Which<'_>, orphans: bool) -> Result<(), OpError> {
    let route = if orphans { Route::tokens("revoke-orphan") } else { which.route("revoke") };
    let request =
        Request::begin(who, Action::TokenRevoke, &route).await?.authorise(Operation::Update).await?;
    let caller = request.record_failure(resolve(&request, which).await).await?;
    let hash = caller.token.ok_or(OpError::invalid("batch tokens cannot be revoked"));
    let hash = request.record_failure(hash).await?;
    if orphans {
        adopt_out(&request, &hash, &caller).await?;
    }
    let changes = removal(request.session(), &hash, caller.accessor.as_deref(), caller.parent);
    request.commit(Object::token(&caller), changes).await?;
    engines::token_removed(request.session(), hash).await;
    if orphans { Ok(()) } else { sweep(&request, hash).await }
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
    let subject = request.record_failure(resolve(&request, which).await).await?;
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
