//! Secrets engines: one folder and one line each.

use std::collections::BTreeMap;
use std::pin::Pin;

use symbolon_core::token::TokenHash;
use tracing::warn;

use crate::access::Session;
use crate::access::endings::Ending;
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::dialect::vault::{Answering, Call};
use crate::error::OpError;

pub mod cubbyhole;
pub mod kv;

/// Every secrets engine. Several may serve one kind, as KV's versions do; the first that serves a mount has
/// it.
pub static ENGINES: &[&Engine] = &[&kv::v1::V1, &kv::V2, &cubbyhole::ENGINE];

/// Options of a mount, by name.
pub type Options = BTreeMap<String, String>;

/// Something an engine does on its own account, with commits and entries of its own.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), OpError>> + Send + 'a>>;
/// What comes after the end of a token.
pub type TokenRemoved = for<'a> fn(&'a Session, TokenHash) -> Doing<'a>;

/// A secrets engine: facts, and what it does.
pub struct Engine {
    /// What everything general needs to know.
    pub facts: Facts,
    /// Names of its options. Others are kept as they were sent, and whoever sends them is told.
    pub options: &'static [&'static str],
    /// Whether it is this engine that serves a mount of its kind.
    pub serves: fn(&Mount) -> bool,
    /// The options of a new mount, checked and completed; `None` leaves the mount to another engine of the
    /// kind.
    pub enable: fn(&Options) -> Result<Option<Options>, OpError>,
    /// What `POST sys/mounts/:path/tune` with options comes to: the options afterwards.
    pub tune: fn(&Mount, &Options) -> Result<Options, OpError>,
    /// Whether its mounts keep secrets as KV does: sealed under KEKs of their buckets, which are rolled, and
    /// read by recovery.
    pub keeps_secrets: bool,
    /// Removes what belongs to a token that is gone for good.
    pub token_removed: Option<TokenRemoved>,
    /// How rows of its tables end that do so by themselves.
    pub endings: &'static [Ending],
    /// From a request below its mount to an answer.
    pub route: for<'a> fn(Call<'a>, &'a Mount, &'a str) -> Answering<'a>,
}

/// The engine of a mount.
#[must_use]
pub fn engine_of(mount: &Mount) -> Option<&'static Engine> {
    ENGINES.iter().copied().find(|engine| engine.facts.kind == mount.kind && (engine.serves)(mount))
}

/// Whether a mount keeps secrets as KV does.
#[must_use]
pub fn keeps_secrets(mount: &Mount) -> bool {
    engine_of(mount).is_some_and(|engine| engine.keeps_secrets)
}

/// Has every engine remove what belongs to a token whose rows are gone. What fails is collected later:
/// the token opens nothing any more.
pub async fn token_removed(session: &Session, token: TokenHash) {
    for removed in ENGINES.iter().filter_map(|engine| engine.token_removed) {
        if let Err(error) = removed(session, token).await {
            warn!(%error, "what belongs to a token that was removed is still there; the next round of collection tries again");
        }
    }
}
