//! Sources: what gives a share without a person (`docs/unattended.md`).
//!
//! A source is a custodian whose key file is opened by a device instead of a passphrase. It has a name, a
//! card and an envelope like everybody in the share set; a device (a Tang server, an HSM) keeps what opens
//! its key file, and keeps it elsewhere than the store.
//!
//! ```text
//! tang/ pkcs11/ tpm/   the kinds; a line each in `KINDS`
//! threads.rs      calls that may hang, on threads of their own
//! enrolling.rs    a source's keys, bound to its device; and whether it would give its share
//! registry.rs     where sources are kept: readable while the broker is sealed
//! initial.rs      sources of a new deployment
//! terms.rs        whether a share set is as strong as the configuration demands
//! hold.rs         an operator's order to ask no source
//! error.rs        why a source gives nothing; why an order about one is refused
//! ```

use std::future::Future;
use std::pin::Pin;

use symbolon_proto::secret::Secret;

use crate::config::{CustodyConfig, Raw, SourceConfig};

pub mod enrolling;
pub mod error;
pub mod hold;
pub mod initial;
mod pkcs11;
pub mod registry;
pub mod tang;
pub mod terms;
mod threads;
pub mod tpm;

pub use error::{SourceError, SourceRefusal};
pub use symbolon_proto::custody::BINDING_BYTES_MAX;

/// Every kind of source there is.
pub static KINDS: &[&Kind] = &[&tang::KIND, &pkcs11::KIND, &tpm::KIND];

/// A source as its settings say it, or what is wrong with them.
pub type Parsed = Result<Box<dyn Device>, String>;

/// A kind of source.
pub struct Kind {
    /// What it is called in a configuration.
    pub name: &'static str,
    /// Reads its settings. Touches neither files nor the network.
    pub parse: fn(&Raw) -> Parsed,
}

/// What a device is asked for. Dropping it gives up.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// What keeps a key, and gives it back to whoever runs where the device believes them.
pub trait Device: Send + Sync {
    /// Makes a binding: what it takes to ask the device for `key` again. It is kept in the store, where a
    /// thief reads it, and is worth nothing without the device. `purpose` names deployment and source; a
    /// device that can binds to it.
    fn bind<'a>(&'a self, key: &'a Secret<32>, purpose: &'a [u8]) -> Answer<'a, Vec<u8>>;

    /// The key of a binding. Credentials are read from their files now.
    fn recover<'a>(&'a self, binding: &'a [u8], purpose: &'a [u8]) -> Answer<'a, Secret<32>>;

    /// Whether the device has turned to other keys than those of a binding, which it may soon forget: it is
    /// then made anew, with the key that it gives now.
    fn is_stale<'a>(&'a self, binding: &'a [u8]) -> Answer<'a, bool> {
        let _ = binding;
        Box::pin(async { Ok(false) })
    }
}

/// The source of a configuration.
pub fn parse(config: &SourceConfig) -> Parsed {
    let kind = KINDS.iter().find(|kind| kind.name == config.kind);
    let kind = kind.ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        format!("there is no such kind; there are {}", names.join(", "))
    })?;
    (kind.parse)(&config.rest)
}

/// A source in the configuration that there cannot be.
#[derive(Debug, thiserror::Error)]
#[error("the source {name} of kind {kind} in [[custody.sources]] is not valid: {why}")]
pub struct UnsoundSource {
    name: String,
    kind: String,
    why: String,
}

/// That every source of a configuration is one. Nothing is connected to.
pub fn check(config: &CustodyConfig) -> Result<(), UnsoundSource> {
    config.sources.iter().try_for_each(|source| match parse(source) {
        Ok(_) => Ok(()),
        Err(why) => Err(UnsoundSource { name: source.name.clone(), kind: source.kind.clone(), why }),
    })
}
