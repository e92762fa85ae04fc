//! Tokens: who a token stands for, new ones, looking up, renewing, revoking.
//!
//! A service token is a row under the hash of its text, an accessor row that leads to it, and a row below its parent. Revoking
//! deletes the token's own row at once; its descendants die with it, because a token is good only while every ancestor is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use symbolon_core::audit::{Action, Receipt};
use symbolon_core::path::ApiPath;
use symbolon_core::policy::{Capabilities, Operation};
use symbolon_core::token::ttl::TtlLimits;
use symbolon_core::token::{
    self, BadToken, Caller, CreateError, CreateRequest, MachineToken, RenewError, ServiceToken, Spent,
    TokenClaims, TokenHash, TokenKind, TokenShape, create_child,
};
use symbolon_proto::Zeroizing;
use symbolon_proto::id::TenantId;

use crate::access::Requester;
use crate::access::session::{Attempt, Authorised, Session};
use crate::error::{OpError, Text};
use crate::keys::KeyError;
use crate::ops::App;
use crate::random::os_rng;
use crate::rows::{NO_SCOPE, Place, Table};
use crate::store::{Expect, Op};

/// An issued token.
pub struct IssuedToken {
    /// The token itself, shown once.
    pub token: Zeroizing<String>,
    /// What it stands for.
    pub caller: Caller,
    /// Lifetime in seconds; 0 never ends.
    pub ttl_secs: u64,
    /// Things the caller should know, such as a capped lifetime.
    pub warnings: Vec<String>,
}

/// Capabilities of a token on some paths, in the order asked.
pub type CapabilitiesAnswer = Vec<(String, Capabilities)>;

/// Longest line of ancestors. Creating a longer one gives tokens that are never good.
const ANCESTORS_MAX: usize = 32;
/// Descendants that one commit of a revocation removes; they are dead already.
const SWEEP_BATCH: usize = 512;

/// A row that leads to a token. Wire type.
#[derive(Serialize, Deserialize)]
struct Pointer(TokenHash);

/// A token's row or pointer, with its name spelled out for as long as the place is used.
struct Address {
    table: Table,
    group: String,
    name: String,
}

impl Address {
    fn token(hash: &TokenHash) -> Self {
        Self { table: Table::Token, group: String::new(), name: hash.to_string() }
    }

    fn accessor(accessor: &str) -> Self {
        Self { table: Table::Accessor, group: String::new(), name: accessor.to_owned() }
    }

    fn child(parent: &TokenHash, child: &TokenHash) -> Self {
        Self { table: Table::Accessor, group: parent.to_string(), name: child.to_string() }
    }

    fn place(&self) -> Place<'_> {
        Place {
            tenant: TenantId::SYSTEM,
            table: self.table,
            scope: NO_SCOPE,
            group: &self.group,
            name: &self.name,
        }
    }
}

/// Which token a request means.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// The caller's own.
    Own,
    /// By its text.
    Token(&'a str),
    /// By its accessor.
    Accessor(&'a str),
}

/// Turns a presented token into a caller, and takes one use away from a token that has only so many.
pub async fn authenticate(
    session: &Session,
    token: Option<&str>,
    remote: Option<IpAddr>,
) -> Result<Caller, OpError> {
    let token = token.ok_or(OpError::BAD_TOKEN)?;
    let now = session.now().unix_secs();
    match TokenShape::of(token)? {
        TokenShape::Batch => {
            let caller = open_machine(session, token, remote, now).await?;
            require_ancestors(session, caller.parent, now).await?;
            Ok(caller)
        }
        TokenShape::Service => {
            let (row, revision) = find(session, &hash(session, token)).await?.ok_or(OpError::BAD_TOKEN)?;
            let caller = row.caller(TenantId::SYSTEM, remote, now)?;
            require_ancestors(session, row.claims.parent, now).await?;
            spend(session, &row, revision).await?;
            Ok(caller)
        }
    }
}

/// A machine token does not say which KEK sealed it: after a roll the older ones are tried too, as long as such tokens live.
async fn open_machine(
    session: &Session,
    token: &str,
    remote: Option<IpAddr>,
    now_secs: u64,
) -> Result<Caller, OpError> {
    let own = session.keys.own();
    for slot in own.tokens() {
        let key = match session.keys.kek(slot).await {
            Err(KeyError::Moved) if slot != own.token() => continue, // removed meanwhile: no such token lives
            key => key?,
        };
        if let Ok(caller) = MachineToken::open(key.kek.secret(), token, remote, now_secs) {
            return Ok(caller);
        }
    }
    Err(OpError::BAD_TOKEN)
}

fn hash(session: &Session, token: &str) -> TokenHash {
    token::hash_of(session.unsealed().names().secret(), token)
}

async fn find(session: &Session, hash: &TokenHash) -> Result<Option<(ServiceToken, u64)>, OpError> {
    Ok(session.rows.read::<ServiceToken>(Address::token(hash).place()).await?)
}

/// A token lives only while all its ancestors do.
async fn require_ancestors(
    session: &Session,
    parent: Option<TokenHash>,
    now_secs: u64,
) -> Result<(), OpError> {
    let mut next = parent;
    for _ in 0..ANCESTORS_MAX {
        let Some(parent) = next else { return Ok(()) };
        let (row, _) = find(session, &parent).await?.ok_or(OpError::BAD_TOKEN)?;
        if row.is_expired(now_secs) {
            return Err(OpError::BAD_TOKEN);
        }
        next = row.claims.parent;
    }
    Err(OpError::BAD_TOKEN)
}

/// The use is gone before the action begins; two requests cannot share the last one.
async fn spend(session: &Session, row: &ServiceToken, revision: u64) -> Result<(), OpError> {
    let changes = match row.spend()? {
        Spent::Unlimited => return Ok(()),
        Spent::Left(next) => {
            vec![session.rows.put(Address::token(&row.hash).place(), &*next, Expect::Revision(revision))?]
        }
        Spent::Last => {
            let mut changes = removal(session, &row.hash, Some(&row.accessor), row.claims.parent);
            changes[0] = session.rows.delete(Address::token(&row.hash).place(), Expect::Revision(revision));
            changes
        }
    };
    match session.commit(changes, Session::internal(Action::TokenRevoke, "one use of a counted token")).await
    {
        Ok(_receipt) => Ok(()),
        Err(OpError::Conflict(_)) => Err(OpError::BUSY),
        Err(error) => Err(error),
    }
}

/// A token ready to be committed and shown.
pub struct NewToken {
    /// The text, shown once.
    pub token: Zeroizing<String>,
    /// Whom it stands for.
    pub caller: Caller,
    /// Rows to commit; none for a machine token.
    pub changes: Vec<Op>,
}

impl NewToken {
    /// The answer, after the changes are durable.
    #[must_use]
    pub fn issued(self, receipt: Receipt, warnings: Vec<String>) -> IssuedToken {
        drop(receipt);
        IssuedToken {
            ttl_secs: self.caller.creation_ttl_secs,
            token: self.token,
            caller: self.caller,
            warnings,
        }
    }
}

/// Makes a token from claims that somebody with the right to do so has decided.
pub async fn make(session: &Session, kind: TokenKind, claims: TokenClaims) -> Result<NewToken, OpError> {
    match kind {
        TokenKind::Batch => make_machine(session, claims).await,
        TokenKind::Service => make_service(session, claims),
    }
}

async fn make_machine(session: &Session, claims: TokenClaims) -> Result<NewToken, OpError> {
    let machine = MachineToken::new(TenantId::SYSTEM, claims);
    let key = session.keys.kek(session.keys.own().token()).await?;
    let token = machine.seal(key.kek.secret(), &mut os_rng()).map_err(|_| {
        OpError::invalid("the token would be too long; give it fewer policies or less metadata")
    })?;
    Ok(NewToken { token, caller: machine.caller(), changes: Vec::new() })
}

fn make_service(session: &Session, claims: TokenClaims) -> Result<NewToken, OpError> {
    let text = token::new_service_token(&mut os_rng());
    let (row, changes) = service_rows(&session.rows, session.unsealed().names().secret(), &text, claims)?;
    Ok(NewToken { token: text, caller: row.describe(TenantId::SYSTEM), changes })
}

/// The rows of a service token, also for the root token that `init` makes before there is a session.
pub fn service_rows(
    rows: &crate::rows::Rows,
    index: &symbolon_proto::secret::Secret<32>,
    text: &str,
    claims: TokenClaims,
) -> Result<(ServiceToken, Vec<Op>), OpError> {
    let hash = token::hash_of(index, text);
    let row = ServiceToken::new(claims, hash, token::new_accessor(&mut os_rng()));
    let pointer = Pointer(hash);
    let mut changes = vec![
        rows.put(Address::token(&hash).place(), &row, Expect::Absent)?,
        rows.put(Address::accessor(&row.accessor).place(), &pointer, Expect::Absent)?,
    ];
    if let Some(parent) = row.claims.parent {
        changes.push(rows.put(Address::child(&parent, &hash).place(), &pointer, Expect::Absent)?);
    }
    Ok((row, changes))
}

/// `auth/token/create` and its orphan form.
pub async fn create(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    request: &CreateRequest,
) -> Result<IssuedToken, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::TokenCreate, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let session = attempt.session();
    let now = session.now().unix_secs();
    let limits = TtlLimits::of_mount(0, 0);
    let decided = create_child(attempt.caller(), request, attempt.has_sudo(), api.as_str(), limits, now);
    let (claims, capped) = attempt.audited(decided.map_err(OpError::from)).await?;
    let unknown = unknown_policies(session, &claims);
    let made = make(session, request.kind.unwrap_or(TokenKind::Service), claims).await;
    let mut made = attempt.audited(made).await?;
    let receipt = attempt.receipt(std::mem::take(&mut made.changes)).await?;
    Ok(made.issued(receipt, capped.map(|capped| capped.to_string()).into_iter().chain(unknown).collect()))
}

fn unknown_policies(session: &Session, claims: &TokenClaims) -> Option<String> {
    let known = session.policy_names();
    let is_known = |name: &str| name == "root" || known.iter().any(|known| known == name);
    let unknown = claims.policies.iter().filter(|name| !is_known(name.as_str())).count();
    (unknown > 0).then(|| format!("{unknown} of the token's policies do not exist yet"))
}

/// The facts of a token.
pub async fn lookup(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    which: Which<'_>,
) -> Result<Caller, OpError> {
    let operation = if matches!(which, Which::Own) { Operation::Read } else { Operation::Update };
    let attempt = Attempt::begin(app.session()?, who, Action::TokenLookup, api).await?;
    let attempt = attempt.authorise(operation, api).await?;
    let found = attempt.audited(resolve(&attempt, which).await).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(found)
}

async fn resolve(attempt: &Authorised, which: Which<'_>) -> Result<Caller, OpError> {
    let session = attempt.session();
    match which {
        Which::Own => Ok(attempt.caller().clone()),
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
pub async fn renew(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    which: Which<'_>,
    increment_secs: u64,
) -> Result<Renewal, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::TokenRenew, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let caller = attempt.audited(resolve(&attempt, which).await).await?;
    let renewed = attempt.audited(renewed(attempt.session(), &caller, increment_secs).await).await;
    let (renewed, change) = renewed?;
    attempt.conclude(vec![change]).await?;
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
) -> Result<(token::Renewed, Op), OpError> {
    let hash = caller.token.ok_or(OpError::invalid("batch tokens cannot be renewed"))?;
    let (row, revision) = find(session, &hash).await?.ok_or(OpError::invalid("token not found"))?;
    let renewed = row.renew(increment_secs, TtlLimits::of_mount(0, 0), session.now().unix_secs())?;
    let change =
        session.rows.put(Address::token(&hash).place(), &renewed.token, Expect::Revision(revision))?;
    Ok((renewed, change))
}

/// Revokes a token and its descendants; `orphans` lets the descendants live on without a parent.
pub async fn revoke(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    which: Which<'_>,
    orphans: bool,
) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::TokenRevoke, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let caller = attempt.audited(resolve(&attempt, which).await).await?;
    let hash = caller.token.ok_or(OpError::invalid("batch tokens cannot be revoked"));
    let hash = attempt.audited(hash).await?;
    let mut adopted = if orphans { adopt_out(attempt.session(), &hash).await? } else { Vec::new() };
    while adopted.len() > SWEEP_BATCH {
        attempt.conclude(adopted.split_off(adopted.len() - SWEEP_BATCH)).await?; // two changes per child stay together
    }
    let mut changes = removal(attempt.session(), &hash, caller.accessor.as_deref(), caller.parent);
    changes.extend(adopted);
    attempt.conclude(changes).await?;
    if orphans { Ok(()) } else { sweep(&attempt, hash).await }
}

fn removal(
    session: &Session,
    hash: &TokenHash,
    accessor: Option<&str>,
    parent: Option<TokenHash>,
) -> Vec<Op> {
    let rows = &session.rows;
    let mut changes = vec![rows.delete(Address::token(hash).place(), Expect::Any)];
    changes.extend(accessor.map(|accessor| rows.delete(Address::accessor(accessor).place(), Expect::Any)));
    changes.extend(parent.map(|parent| rows.delete(Address::child(&parent, hash).place(), Expect::Any)));
    changes
}

async fn children(session: &Session, parent: &TokenHash) -> Result<Vec<TokenHash>, OpError> {
    let group = Address::child(parent, parent);
    let pointers = session.rows.list::<Pointer>(group.place()).await?;
    Ok(pointers.into_iter().map(|(Pointer(hash), _)| hash).collect())
}

/// Makes orphans of the direct children.
async fn adopt_out(session: &Session, parent: &TokenHash) -> Result<Vec<Op>, OpError> {
    let mut changes = Vec::new();
    for child in children(session, parent).await? {
        changes.push(session.rows.delete(Address::child(parent, &child).place(), Expect::Any));
        if let Some((mut row, revision)) = find(session, &child).await? {
            row.claims.parent = None;
            row.claims.orphan = true;
            changes.push(session.rows.put(
                Address::token(&child).place(),
                &row,
                Expect::Revision(revision),
            )?);
        }
    }
    Ok(changes)
}

/// Removes the rows of descendants, which are dead since their ancestor's row went.
async fn sweep(attempt: &Authorised, root: TokenHash) -> Result<(), OpError> {
    let session = attempt.session();
    let mut parents = vec![root];
    let mut changes = Vec::new();
    while let Some(parent) = parents.pop() {
        for child in children(session, &parent).await? {
            let row = find(session, &child).await?;
            let accessor = row.as_ref().map(|(row, _)| row.accessor.as_str());
            changes.extend(removal(session, &child, accessor, Some(parent)));
            parents.push(child);
            if changes.len() >= SWEEP_BATCH {
                attempt.conclude(std::mem::take(&mut changes)).await?;
            }
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    attempt.conclude(changes).await
}

/// Removes the rows of tokens that have expired.
pub async fn sweep_expired(session: &Session) -> Result<(), OpError> {
    let now = session.now().unix_secs();
    let group = Address { table: Table::Token, group: String::new(), name: String::new() };
    let rows = session.rows.list::<ServiceToken>(group.place()).await?;
    let expired: Vec<_> = rows.iter().map(|(row, _)| row).filter(|row| row.is_expired(now)).collect();
    for batch in expired.chunks(SWEEP_BATCH) {
        let changes = batch
            .iter()
            .flat_map(|row| removal(session, &row.hash, Some(&row.accessor), row.claims.parent))
            .collect();
        let _receipt =
            session.commit(changes, Session::internal(Action::TokenRevoke, "expired tokens removed")).await?;
    }
    Ok(())
}

/// What a token may do on some paths: the caller's own, or another's.
pub async fn capabilities(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    which: Which<'_>,
    paths: &[ApiPath],
) -> Result<CapabilitiesAnswer, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::Capabilities, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let subject = attempt.audited(resolve(&attempt, which).await).await?;
    let acl = attempt.session().acl(&subject.policies);
    attempt.conclude(Vec::new()).await?;
    Ok(paths.iter().map(|path| (path.as_str().to_owned(), acl.capabilities(path))).collect())
}

impl From<BadToken> for OpError {
    fn from(_: BadToken) -> Self {
        Self::BAD_TOKEN
    }
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
