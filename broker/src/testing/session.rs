//! An open session without an unseal: for tests of what happens in one.

use std::sync::Arc;

use symbolon_core::clock::Clock;
use symbolon_core::dead_man::DeadMan;
use symbolon_core::seal::Unsealed;
use symbolon_proto::log::NoteSigner;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use crate::access::mounts::Mounts;
use crate::access::session::Parts;
use crate::access::shape::Shape;
use crate::access::{Configuration, Session};
use crate::audit::writer::{LogKeys, Writer};
use crate::config::HighTier;
use crate::keys::Keys;
use crate::remote::{Evaluator, Leases};
use crate::rows::Rows;
use crate::store::Store;

/// What a session stands on.
pub(crate) struct Ground {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub unsealed: Arc<Unsealed>,
    pub shape: Arc<Shape>,
}

impl Ground {
    /// Rows under its keys.
    pub fn rows(&self) -> Rows {
        Rows::new(Arc::clone(&self.store), Arc::clone(&self.unsealed))
    }

    /// Its KEKs, split with a remote.
    pub fn keys(&self, remote: Arc<dyn Evaluator>, leases: Leases) -> Keys {
        let (unsealed, store) = (Arc::clone(&self.unsealed), Arc::clone(&self.store));
        Keys::start(unsealed, store, remote, leases, Arc::clone(&self.clock), HighTier::default())
    }

    /// Its log; the same key at each start.
    async fn writer(&self) -> Writer {
        let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
        let log = LogKeys {
            audit: self.unsealed.audit(),
            signer: NoteSigner::new("symbolon/test", seed).unwrap(),
            deployment: self.unsealed.deployment(),
            broker: self.unsealed.broker(),
        };
        Writer::start(Arc::clone(&self.store), Arc::clone(&self.clock), log).await.unwrap()
    }

    /// The session.
    pub async fn session(self, keys: Keys, mounts: Mounts) -> Arc<Session> {
        let (rows, writer) = (self.rows(), self.writer().await);
        let dead_man = DeadMan::new(72, self.clock.now());
        let Self { clock, unsealed, shape, .. } = self;
        let configuration = Configuration::without_policies(mounts);
        Session::assemble(Parts {
            rows,
            keys,
            configuration,
            clock,
            unsealed,
            writer,
            generation: 1,
            dead_man,
            shape,
        })
    }
}
