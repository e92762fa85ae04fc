//! A place of its own for each service token, at `cubbyhole/` in every deployment.
//!
//! It is KV version 1 in one mount, in which each token has a folder under the hash that also names its row;
//! nobody sees another's, root included. So what is in it is sealed, rolled and recovered like any secret,
//! and opens with both halves only. Machine tokens are stored nowhere and have no cubbyhole.
//!
//! A cubbyhole goes when its token does. What a kill, a request under way or the last use of a counted token
//! leaves behind is found by a sweep that goes through the folders and looks for their tokens.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use symbolon_core::audit::{Action, Draft};
use symbolon_core::path::FolderPath;
use symbolon_core::token::{Caller, TokenHash};

use super::kv::{self, v1};
use super::{Doing, Engine};
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::access::{Session, tokens};
use crate::dialect::vault::{Answering, Call};
use crate::error::OpError;

const KIND: &str = "cubbyhole";
/// Folders looked at in one step of a sweep.
const PAGE_FOLDERS: usize = 512;
/// Cubbyholes without a token that one sweep notes for the next; more are noted then.
const LOST_MAX: usize = 4096;

/// The descriptor.
pub static ENGINE: Engine = Engine {
    facts: Facts {
        kind: KIND,
        builtin: Some("cubbyhole"),
        tables: kv::TABLES,
        sudo: &[],
        folds: &[],
        open: &[],
        first_rows: None,
    },
    serves: |_| true,
    enable: |_| Ok(None),
    tune,
    keeps_secrets: true,
    token_removed: Some(|session, token| Box::pin(remove(session, token))),
    sweep: Some(sweep),
    route: answer,
};

static OWN: v1::Shelf = v1::Shelf { kind: KIND, home, has_leases: false };

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(v1::route(call, &OWN, mount, rest))
}

fn tune(_: &Mount, _: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, OpError> {
    Err(OpError::invalid("a cubbyhole has no options"))
}

fn home(caller: &Caller) -> Result<FolderPath, OpError> {
    let token =
        caller.token.ok_or(OpError::invalid("only service tokens have a cubbyhole, and this is none"))?;
    folder(token)
}

fn folder(token: TokenHash) -> Result<FolderPath, OpError> {
    FolderPath::parse(&token.to_string()).map_err(|_| OpError::bug("the hash of a token is a good name"))
}

fn mount_in(session: &Session) -> Option<Mount> {
    session.mounts().secrets.0.iter().find(|mount| mount.kind == KIND).cloned()
}

/// Removes the cubbyhole of a token that is gone.
async fn remove(session: &Session, token: TokenHash) -> Result<(), OpError> {
    let Some(mount) = mount_in(session) else { return Ok(()) };
    let entry = || Draft::by_broker(Action::SecretDestroy, "the cubbyhole of a token that is gone");
    kv::remove_folder(session, &mount, folder(token)?, entry).await
}

/// Cubbyholes whose tokens the last sweep did not find.
#[derive(Default)]
struct Lost(Mutex<HashSet<TokenHash>>);

/// Removes cubbyholes without a token at the second sight of them: a request that has spent the last use of
/// its token may still be reading at the first.
fn sweep(session: &Session) -> Doing<'_> {
    Box::pin(async move {
        let lost = lost(session).await?;
        let noted = session.of::<Lost>();
        let before = {
            let mut noted = noted.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *noted, lost.clone())
        };
        let mut swept = Ok(());
        for token in before.intersection(&lost) {
            let removed = remove(session, *token).await;
            swept = swept.and(removed); // one that fails does not hold the others up
        }
        swept
    })
}

async fn lost(session: &Session) -> Result<HashSet<TokenHash>, OpError> {
    let (mut lost, mut after) = (HashSet::new(), Vec::new());
    let Some(mount) = mount_in(session) else { return Ok(lost) };
    while lost.len() < LOST_MAX {
        let page = kv::names_page(session, &mount, &FolderPath::root(), &after, PAGE_FOLDERS).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.key);
        for name in page.iter().map(|named| named.name.trim_end_matches('/')) {
            let token = name.parse().map_err(|_| OpError::INTEGRITY)?;
            if tokens::find(session, &token).await?.is_none() {
                lost.insert(token);
            }
        }
    }
    Ok(lost)
}
