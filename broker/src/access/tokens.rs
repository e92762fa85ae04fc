//! Tokens: their rows, whom one stands for, and new ones.
//!
//! A service token is a row under the hash of its text, an accessor row that leads to it, and a row below its
//! parent. A machine token is sealed under a split key and has no rows.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use symbolon_core::audit::{Action, Draft, Receipt, Withheld};
use symbolon_core::token::{
    self, BadToken, Caller, MachineToken, ServiceToken, Spent, TokenClaims, TokenHash, TokenKind, TokenShape,
};
use symbolon_proto::Zeroizing;
use symbolon_proto::id::TenantId;
use symbolon_proto::secret::Secret;

use super::object::Object;
use super::session::Session;
use crate::error::OpError;
use crate::keys::KeyError;
use crate::random::os_rng;
use crate::rows::{Layout, Life, NO_SCOPE, Place, Table};
use crate::store::{Expect, Write};

/// Service tokens.
pub const TOKENS: Table = Table::new(0x09, "service tokens", Layout::Row, Life::Ends);
/// Accessors of service tokens, and who their children are.
pub const ACCESSORS: Table = Table::new(0x0a, "token accessors", Layout::Row, Life::Ends);

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

/// Longest line of ancestors. Creating a longer one gives tokens that are never good.
pub(super) const ANCESTORS_MAX: usize = 32;
/// A row that leads to a token. Wire type.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pointer(pub(crate) TokenHash);

/// A token's row or pointer, with its name spelled out for as long as the place is used.
pub(crate) struct Address {
    pub(crate) table: Table,
    pub(crate) group: String,
    pub(crate) name: String,
}

impl Address {
    pub(crate) fn token(hash: &TokenHash) -> Self {
        Self { table: TOKENS, group: String::new(), name: hash.to_string() }
    }

    pub(crate) fn accessor(accessor: &str) -> Self {
        Self { table: ACCESSORS, group: String::new(), name: accessor.to_owned() }
    }

    pub(crate) fn child(parent: &TokenHash, child: &TokenHash) -> Self {
        Self { table: ACCESSORS, group: parent.to_string(), name: child.to_string() }
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place {
            tenant: TenantId::SYSTEM,
            table: self.table,
            scope: NO_SCOPE,
            group: &self.group,
            name: &self.name,
        }
    }
}

/// Turns a presented token into a caller, and takes one use away from a token that has only so many.
pub async fn authenticate(
    session: &Session,
    token: Option<&str>,
    remote: Option<IpAddr>,
) -> Result<Caller, OpError> {
    let (caller, row) = recognise(session, token, remote).await?;
    if let Some((row, revision)) = row {
        Box::pin(spend(session, &row, revision)).await?; // few tokens are counted
    }
    Ok(caller)
}

/// Whether a token lives and may be used from there. Allows nothing by itself, and takes no use away.
pub async fn lives(session: &Session, token: Option<&str>, remote: Option<IpAddr>) -> bool {
    recognise(session, token, remote).await.is_ok()
}

/// Turns a presented token into a caller, with the row of a service token. Takes no use away: whoever asks
/// ends the token by itself.
pub(super) async fn recognise(
    session: &Session,
    token: Option<&str>,
    remote: Option<IpAddr>,
) -> Result<(Caller, Option<(ServiceToken, u64)>), OpError> {
    let token = token.ok_or(OpError::BAD_TOKEN)?;
    let now = session.now().unix_secs();
    match TokenShape::of(token)? {
        TokenShape::Batch => {
            let open = |key: &Secret<32>| MachineToken::open(key, token, remote, now);
            Ok((open_machine(session, now, open).await?, None))
        }
        TokenShape::Service => {
            let (row, revision) = find(session, &hash(session, token)).await?.ok_or(OpError::BAD_TOKEN)?;
            let caller = row.caller(TenantId::SYSTEM, remote, now)?;
            require_ancestors(session, row.claims.parent, now).await?;
            Ok((caller, Some((row, revision))))
        }
    }
}

/// Whom a machine token of somebody stands for, wherever that one may use it.
pub(crate) async fn describe_machine(session: &Session, token: &str) -> Result<Caller, OpError> {
    let now = session.now().unix_secs();
    open_machine(session, now, |key| MachineToken::describe(key, token, now)).await
}

/// A machine token does not say which KEK sealed it: after a roll the older ones are tried too, as long as
/// such tokens live.
async fn open_machine(
    session: &Session,
    now_secs: u64,
    open: impl Fn(&Secret<32>) -> Result<Caller, BadToken>,
) -> Result<Caller, OpError> {
    let own = session.keys.system_keks();
    for slot in own.tokens() {
        let key = match session.keys.kek(slot).await {
            Err(KeyError::Moved) if slot != own.token() => continue, // removed meanwhile: no such token lives
            key => key?,
        };
        if let Ok(caller) = open(key.kek.secret()) {
            require_ancestors(session, caller.parent, now_secs).await?;
            return Ok(caller);
        }
    }
    Err(OpError::BAD_TOKEN)
}

pub(crate) fn hash(session: &Session, token: &str) -> TokenHash {
    token::hash_of(session.unsealed().names().secret(), token)
}

pub(crate) async fn find(
    session: &Session,
    hash: &TokenHash,
) -> Result<Option<(ServiceToken, u64)>, OpError> {
    Ok(session.rows.read::<ServiceToken>(Address::token(hash).place()).await?)
}

/// A token lives only while all its ancestors do.
pub(crate) async fn require_ancestors(
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
            // What else belongs to the token stays for the request that spends it: engines sweep it up later.
            let mut changes = removal(session, &row.hash, Some(&row.accessor), row.claims.parent);
            changes[0] = session.rows.delete(Address::token(&row.hash).place(), Expect::Revision(revision));
            changes
        }
    };
    let mut draft = Draft::by_broker(Action::TokenRevoke, "one use of a counted token");
    draft.detail.object = Object::token(&row.describe(TenantId::SYSTEM)).text();
    match session.commit(changes, draft).await {
        Ok(_receipt) => Ok(()),
        Err(OpError::Conflict(_)) => Err(OpError::BUSY),
        Err(error) => Err(error),
    }
}

/// A token ready to be committed and shown.
pub struct NewToken {
    /// The text, shown once, after its entry.
    pub token: Withheld<Zeroizing<String>>,
    /// Whom it stands for.
    pub caller: Caller,
    /// Rows to commit; none for a machine token.
    pub changes: Vec<Write>,
}

impl NewToken {
    /// The answer, after the changes are durable.
    #[must_use]
    pub fn issued(self, receipt: Receipt, warnings: Vec<String>) -> IssuedToken {
        IssuedToken {
            ttl_secs: self.caller.creation_ttl_secs,
            token: self.token.disclose(receipt),
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
    let key = session.keys.kek(session.keys.system_keks().token()).await?;
    let token = machine.seal(key.kek.secret(), &mut os_rng()).map_err(|_| {
        OpError::invalid("the token would be too long; give it fewer policies or less metadata")
    })?;
    Ok(NewToken { token: Withheld::new(token), caller: machine.caller(), changes: Vec::new() })
}

fn make_service(session: &Session, claims: TokenClaims) -> Result<NewToken, OpError> {
    let text = token::new_service_token(&mut os_rng());
    let (row, changes) = service_rows(&session.rows, session.unsealed().names().secret(), &text, claims)?;
    Ok(NewToken { token: Withheld::new(text), caller: row.describe(TenantId::SYSTEM), changes })
}

/// The rows of a service token, also for the root token that `init` makes before there is a session.
pub fn service_rows(
    rows: &crate::rows::Rows,
    index: &Secret<32>,
    text: &str,
    claims: TokenClaims,
) -> Result<(ServiceToken, Vec<Write>), OpError> {
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

pub(crate) fn removal(
    session: &Session,
    hash: &TokenHash,
    accessor: Option<&str>,
    parent: Option<TokenHash>,
) -> Vec<Write> {
    let rows = &session.rows;
    let mut changes = vec![rows.delete(Address::token(hash).place(), Expect::Any)];
    changes.extend(accessor.map(|accessor| rows.delete(Address::accessor(accessor).place(), Expect::Any)));
    changes.extend(parent.map(|parent| rows.delete(Address::child(&parent, hash).place(), Expect::Any)));
    changes
}

impl From<BadToken> for OpError {
    fn from(_: BadToken) -> Self {
        Self::BAD_TOKEN
    }
}
