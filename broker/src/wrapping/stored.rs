//! What is kept of a wrapped answer.
//!
//! ```text
//! 0x09, 0x0a   the wrapping token and its accessor            (access::tokens)
//! 0x30         facts: where the answer came from, when, for how long; under the token's hash
//! 0x31         scope ‖ id(16): the answer, an SKB1 record
//! 0x14         scope ‖ id(16) ‖ 1 ‖ 1: the capsule of its key (keys)
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use symbolon_core::audit::{SecretValue, Withheld};
use symbolon_core::path::PolicyName;
use symbolon_core::token::{CidrList, TokenClaims, TokenHash, TokenKind, TokenShape};
use symbolon_proto::context::{RecordContext, RecordKind};
use symbolon_proto::id::{SecretId, TenantId};

use super::NewToken;
use crate::access::Session;
use crate::access::tokens::{self, Address};
use crate::error::OpError;
use crate::keys::{Account, CapsulePlace, FIRST_KEK_EPOCH, KeyError, Payer, VersionSlot, seal_with};
use crate::random::os_rng;
use crate::rows::{Layout, Life, NO_SCOPE, Place, Table, prefix};
use crate::store::{Expect, Write};

/// Facts about wrapped answers.
pub const WRAPPED: Table = Table::new(0x30, "wrapped answers", Layout::Row, Life::Ends);
/// Wrapped answers: SKB1 records.
pub const ANSWERS: Table = Table::new(0x31, "contents of wrapped answers", Layout::Record, Life::Kept);

/// Longest answer that can be wrapped: what one record holds.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Each answer has one version, as the records of a mount have many.
const VERSION: u64 = 1;

/// A wrapping token that is none, or none any more. Deliberately one answer for unknown, spent, expired and
/// revoked ones.
pub(super) const GONE: OpError = OpError::invalid("wrapping token is not valid or does not exist");
const TOO_LONG: OpError = OpError::invalid("the answer is longer than 1 MiB and cannot be wrapped");

/// Facts about a wrapped answer. Wire type; fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wrapping {
    /// Names the record and its key.
    pub(super) id: [u8; 16],
    /// Row of the wrapping token.
    pub(super) token: TokenHash,
    /// Its accessor.
    pub(super) accessor: String,
    /// Path of the request whose answer it is.
    pub(super) creation_path: String,
    /// Unix milliseconds.
    pub(super) created_ms: u64,
    /// How long it is kept.
    pub(super) ttl_secs: u64,
    /// Accessor of the token in the answer; empty if there is none.
    pub(super) wrapped_accessor: String,
    /// Length of the answer.
    pub(super) bytes: u64,
}

impl Wrapping {
    /// What entries of the log call it.
    pub(super) fn name(&self) -> String {
        format!("answer of {} wrapped under accessor {}", self.creation_path, self.accessor)
    }

    const fn secret(&self) -> SecretId {
        SecretId::from_bytes(self.id)
    }
}

/// Where an answer comes from and how long it is kept.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) creation_path: &'a str,
    pub(super) ttl_secs: u64,
    pub(super) wrapped_accessor: &'a str,
}

/// A wrapped answer ready to be committed.
pub(super) struct Made {
    pub(super) token: NewToken,
    pub(super) facts: Wrapping,
    pub(super) changes: Vec<Write>,
}

/// A wrapped answer whose token is good.
pub(super) struct Found {
    pub(super) facts: Wrapping,
    token_revision: u64,
}

/// The rows of the table; a name is a token's hash.
pub(super) fn place(name: &str) -> Place<'_> {
    Place { tenant: TenantId::SYSTEM, table: WRAPPED, scope: NO_SCOPE, group: "", name }
}

fn row_key(id: SecretId) -> Vec<u8> {
    let mut key = prefix(TenantId::SYSTEM, ANSWERS, NO_SCOPE);
    key.extend_from_slice(id.as_bytes());
    key
}

fn key_place(secret: SecretId) -> CapsulePlace {
    let tenant = TenantId::SYSTEM;
    VersionSlot { tenant, mount: NO_SCOPE, secret, version: VERSION, epoch: FIRST_KEK_EPOCH }.into()
}

fn context(session: &Session, secret: SecretId) -> RecordContext {
    RecordContext {
        kind: RecordKind::Value,
        deployment: session.unsealed().deployment(),
        tenant: TenantId::SYSTEM,
        mount: NO_SCOPE,
        secret,
        version: VERSION,
    }
}

/// What a wrapping token says: one use, no renewal, nobody's child.
fn claims(origin: Origin<'_>, now_secs: u64) -> TokenClaims {
    TokenClaims {
        display_name: "wrapping".to_owned(),
        policies: vec![PolicyName::response_wrapping()],
        meta: BTreeMap::new(),
        path: origin.creation_path.to_owned(),
        issued_at: now_secs,
        ttl_secs: origin.ttl_secs,
        max_ttl_secs: 0,
        explicit_max_ttl_secs: origin.ttl_secs,
        period_secs: 0,
        renewable: false,
        orphan: true,
        num_uses: 1,
        bound_cidrs: CidrList::default(),
        parent: None,
        who: None,
    }
}

/// Token, facts, answer and key. The caller holds a pass.
pub(super) async fn make(session: &Session, answer: &[u8], origin: Origin<'_>) -> Result<Made, OpError> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let bytes = answer.len() as u64;
    let now = session.now();
    let made = tokens::make(session, TokenKind::Service, claims(origin, now.unix_secs())).await?;
    let (Some(token), Some(accessor)) = (made.caller.token, made.caller.accessor) else {
        return Err(OpError::bug("a service token was made without a row"));
    };
    let facts = Wrapping {
        id: *SecretId::random(&mut os_rng()).as_bytes(),
        token,
        accessor,
        creation_path: origin.creation_path.to_owned(),
        created_ms: now.unix_ms,
        ttl_secs: origin.ttl_secs,
        wrapped_accessor: origin.wrapped_accessor.to_owned(),
        bytes,
    };
    let mut changes = made.changes;
    changes.extend(contents(session, &facts, answer).await?);
    Ok(Made { token: made.token, facts, changes })
}

async fn contents(session: &Session, facts: &Wrapping, answer: &[u8]) -> Result<[Write; 3], OpError> {
    let id = facts.secret();
    let (capsule, key) = session.keys.create_proven(key_place(id)).await?;
    let value = seal_with(&key, &context(session, id), answer)?;
    let row = session.rows.put(place(&facts.token.to_string()), facts, Expect::Absent)?;
    Ok([capsule, Write::Put { key: row_key(id), value, expect: Expect::Absent }, row])
}

/// The answer that a good token wraps.
pub(super) async fn find(session: &Session, token: &str, remote: Option<IpAddr>) -> Result<Found, OpError> {
    if TokenShape::of(token) != Ok(TokenShape::Service) {
        return Err(GONE);
    }
    let hash = tokens::hash(session, token);
    let (row, token_revision) = tokens::find(session, &hash).await?.ok_or(GONE)?;
    row.caller(TenantId::SYSTEM, remote, session.now().unix_secs()).map_err(|_| GONE)?;
    let (facts, _) = session.rows.read::<Wrapping>(place(&hash.to_string())).await?.ok_or(GONE)?;
    Ok(Found { facts, token_revision })
}

/// Opens an answer. Spends nothing: see [`Found::removal`].
pub(super) async fn open(session: &Session, found: &Found, payer: Payer) -> Result<SecretValue, OpError> {
    let id = found.facts.secret();
    if let Some(row) = session.rows.store().get(&row_key(id)).await? {
        match session
            .keys
            .open_record(key_place(id), Account::Reader(payer), &context(session, id), &row.value)
            .await
        {
            Ok(answer) => return Ok(Withheld::new(answer)),
            Err(KeyError::Moved) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // Record or key is gone: somebody was faster, or this is damage.
    match tokens::find(session, &found.facts.token).await? {
        None => Err(GONE),
        Some(_) => Err(OpError::INTEGRITY),
    }
}

impl Found {
    /// The end of token, facts, answer and key: a conflict if somebody was faster.
    pub(super) fn removal(&self, session: &Session) -> Vec<Write> {
        let token = Address::token(&self.facts.token);
        let mut changes = vec![session.rows.delete(token.place(), Expect::Revision(self.token_revision))];
        changes.extend(removal(session, &self.facts).into_iter().skip(1));
        changes
    }
}

/// The same whatever is left of it; the token comes first.
pub(super) fn removal(session: &Session, facts: &Wrapping) -> Vec<Write> {
    let mut changes = tokens::removal(session, &facts.token, Some(&facts.accessor), None);
    changes.push(session.rows.delete(place(&facts.token.to_string()), Expect::Any));
    let keys = [row_key(facts.secret()), key_place(facts.secret()).key()];
    changes.extend(keys.map(|key| Write::Delete { key, expect: Expect::Any }));
    changes
}
