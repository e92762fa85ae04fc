//! A place of its own for each service token, at `cubbyhole/` in every deployment.
//!
//! It is KV version 1 in one mount, in which each token has a folder under the hash that also names its row;
//! nobody sees another's, root included. So what is in it is sealed, rolled and recovered like any secret,
//! and opens with both halves only. Machine tokens are stored nowhere and have no cubbyhole.
//!
//! A cubbyhole goes when its token does. What a kill, a request under way or the last use of a counted token
//! leaves behind is collected: somebody goes through the folders and looks for their tokens (`lost.rs`).

use std::collections::BTreeMap;

use symbolon_core::audit::{Action, Draft};
use symbolon_core::path::FolderPath;
use symbolon_core::token::{Caller, TokenHash};

use super::Engine;
use super::kv::{self, v1};
use crate::access::Session;
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::dialect::vault::{Answering, Call};
use crate::error::OpError;

mod lost;

const KIND: &str = "cubbyhole";
/// What entries call it.
const ENTRY: &str = "the cubbyhole of a token that is gone";

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
    options: &[],
    serves: |_| true,
    enable: |_| Ok(None),
    tune,
    keeps_secrets: true,
    token_removed: Some(|session, token| Box::pin(remove(session, token))),
    endings: &[lost::ENDING],
    route: answer,
};

static OWN: v1::Shelf = v1::Shelf { kind: KIND, home, has_leases: false, has_versions: false };

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
    let entry = || Draft::by_broker(Action::SecretDestroy, ENTRY);
    kv::remove_folder(session, &mount, folder(token)?, entry).await
}
