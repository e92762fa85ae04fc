//! What a broker holds once enough shares were given, before and after the store is read.

use std::sync::{Arc, PoisonError, RwLock};

use symbolon_proto::Zeroizing;
use symbolon_proto::hierarchy::{AuditKey, Fragment, NameKey, NetKey, PurposeKeys, StateKey};
use symbolon_proto::id::{BrokerId, DeploymentId};

use super::{FIRST_EPOCH, Sealed};
use crate::inherited_keys::{ForeignKeys, InheritedKeys, Lasting, Previous};

/// The purpose keys of the fragment epoch in use, fresh from a ceremony. They open no row before
/// [`Self::complete`].
pub struct EpochKeys {
    deployment: DeploymentId,
    broker: BrokerId,
    keys: PurposeKeys,
    /// Whether names are hashed with K_index itself.
    index_names: bool,
}

impl EpochKeys {
    /// The keys that a fragment gives in the epoch of `sealed`.
    #[must_use]
    pub fn derive(fragment: &Fragment, sealed: &Sealed) -> Self {
        let keys = fragment.root(&sealed.deployment).purposes(sealed.frag_epoch);
        Self {
            deployment: sealed.deployment,
            broker: sealed.broker,
            keys,
            index_names: sealed.record.frag_epoch == 0,
        }
    }

    /// Deployment id.
    #[must_use]
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// K_netkey, under which what was carried over is encrypted.
    #[must_use]
    pub fn net(&self) -> &NetKey {
        &self.keys.net
    }

    /// Joins what the store carried over from earlier epochs. Only a first epoch has nothing.
    pub fn complete(self, inherited: Option<InheritedKeys>) -> Result<Unsealed, ForeignKeys> {
        let InheritedKeys { lasting, previous } = match inherited {
            Some(inherited) => inherited,
            None if self.keys.epoch == FIRST_EPOCH => InheritedKeys { lasting: self.first(), previous: None },
            None => return Err(ForeignKeys),
        };
        Ok(self.with(lasting, previous))
    }

    /// Takes over from the keys in use. What those encrypted stays readable until it has been re-encrypted.
    #[must_use]
    pub fn succeed(self, before: &Unsealed) -> Unsealed {
        let previous = match self.keys.epoch == before.keys.epoch {
            true => before.previous().map(|previous| previous.duplicate()),
            false => Some(Previous::of(&before.keys)),
        };
        self.with(before.lasting.duplicate(), previous)
    }

    /// What will be carried over from these keys, if they are the first.
    fn first(&self) -> Lasting {
        let index = &self.keys.index;
        let names = match self.index_names {
            true => NameKey::from_secret(index.secret().duplicate()),
            false => NameKey::of(index),
        };
        Lasting::of_first(&self.keys, names)
    }

    fn with(self, lasting: Lasting, previous: Option<Previous>) -> Unsealed {
        let Self { deployment, broker, keys, index_names: _ } = self;
        Unsealed { deployment, broker, keys, lasting, previous: RwLock::new(previous.map(Arc::new)) }
    }
}

/// A broker that holds its half of every key.
pub struct Unsealed {
    deployment: DeploymentId,
    broker: BrokerId,
    keys: PurposeKeys,
    lasting: Lasting,
    previous: RwLock<Option<Arc<Previous>>>,
}

impl Unsealed {
    /// Keys of a new fragment in its first epoch, at `init`.
    #[must_use]
    pub fn first(fragment: &Fragment, sealed: &Sealed) -> Self {
        let keys = EpochKeys::derive(fragment, sealed);
        let lasting = keys.first();
        keys.with(lasting, None)
    }

    /// Deployment id.
    #[must_use]
    pub fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// Id of this broker.
    #[must_use]
    pub fn broker(&self) -> BrokerId {
        self.broker
    }

    /// What encrypts details of entries, shared with the log's writer. Never changes: entries cannot be
    /// re-encrypted.
    #[must_use]
    pub fn audit(&self) -> Arc<AuditKey> {
        Arc::clone(&self.lasting.audit)
    }

    /// What hashes names. Never changes: names of tokens are stored nowhere and could not be hashed again.
    #[must_use]
    pub fn names(&self) -> &NameKey {
        &self.lasting.names
    }

    /// What authenticates anchors. Never changes: a node may remember an anchor of any age.
    #[must_use]
    pub fn state(&self) -> &StateKey {
        &self.lasting.state
    }

    /// Purpose keys of the current fragment epoch.
    #[must_use]
    pub fn keys(&self) -> &PurposeKeys {
        &self.keys
    }

    /// Keys of the epoch before, while something is left that they encrypted.
    #[must_use]
    pub fn previous(&self) -> Option<Arc<Previous>> {
        self.previous.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the keys of the epoch before, after the store has.
    pub fn forget_previous(&self) {
        *self.previous.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What the next unseal needs beside the shares, for a row that is encrypted under K_netkey.
    #[must_use]
    pub fn inherited(&self) -> Zeroizing<Vec<u8>> {
        InheritedKeys::encode(&self.lasting, self.previous().as_deref())
    }

    /// The same without the keys of the epoch before, once everything that they encrypted has been
    /// re-encrypted.
    #[must_use]
    pub fn inherited_for_good(&self) -> Zeroizing<Vec<u8>> {
        InheritedKeys::encode(&self.lasting, None)
    }
}
