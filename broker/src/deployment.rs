//! What a deployment keeps sealed under K_netkey: who it is to the fragment service, and the key that signs its log.
//!
//! Written once by `init`, read at each unseal. K_netkey comes from the custodians alone, so the broker can sign its log and ask
//! the remote before the remote has answered anything.

use std::sync::Arc;

use rand_core::CryptoRng;
use symbolon_core::clock::Clock;
use symbolon_core::seal::Unsealed;
use symbolon_proto::context::{ContextBytes, RecordContext, RecordKind};
use symbolon_proto::id::{BrokerId, DeploymentId, SecretId, TenantId};
use symbolon_proto::log::{NoteSigner, VerifierKey};
use symbolon_proto::sealedbox;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use crate::config;
use crate::fragment::{BrokerIdentity, Enrolled, Leases, Remote};
use crate::ops::OpError;
use crate::random::os_rng;
use crate::records::{NO_SCOPE, Table, prefix};
use crate::store::{Expect, Op, Store};

const IDENTITY: SecretId = SecretId::from_bytes(*b"network-identity");
const LOG_SEED: SecretId = SecretId::from_bytes(*b"log-signing-seed");

/// The Ed25519 seed of the audit log.
pub struct LogSeed(Secret<32>);

impl LogSeed {
    /// A fresh one.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// What signs the checkpoints of a deployment. Their origin line is also the name of the key.
    pub fn signer(&self, deployment: DeploymentId) -> Result<NoteSigner, OpError> {
        NoteSigner::new(&origin(deployment), self.seed()).map_err(|_| OpError::Integrity)
    }

    /// What verifies them, in the form that verifiers are given.
    pub fn verifier_key(&self, deployment: DeploymentId) -> Result<String, OpError> {
        let key = VerifierKey::new(&origin(deployment), self.seed().public_key());
        key.map(|key| key.to_string()).map_err(|_| OpError::Integrity)
    }

    fn seed(&self) -> SigningSeed {
        SigningSeed::from_secret(Secret::filled_by(|out| out.copy_from_slice(self.0.expose())))
    }
}

fn origin(deployment: DeploymentId) -> String {
    format!("symbolon/{deployment}")
}

/// Both secrets, opened.
pub struct Deployment {
    /// Who the broker is to the fragment service.
    pub identity: BrokerIdentity,
    /// What signs the log.
    pub log: LogSeed,
}

impl Deployment {
    /// Fresh ones, for `init`.
    pub fn generate() -> Result<Self, OpError> {
        let identity = BrokerIdentity::generate().map_err(|_| OpError::Integrity)?;
        Ok(Self { identity, log: LogSeed::random(&mut os_rng()) })
    }

    /// Opens what `init` stored.
    pub async fn read(store: &dyn Store, unsealed: &Unsealed) -> Result<Self, OpError> {
        let identity = open(store, unsealed, IDENTITY).await?;
        let seed = open(store, unsealed, LOG_SEED).await?;
        let seed = <&[u8; 32]>::try_from(seed.as_slice()).map_err(|_| OpError::Integrity)?;
        Ok(Self {
            identity: BrokerIdentity::from_bytes(&identity).map_err(|_| OpError::Integrity)?,
            log: LogSeed(Secret::filled_by(|out| out.copy_from_slice(seed))),
        })
    }

    /// The remote of an enrolment, not yet asked for anything.
    pub fn connect(
        &self,
        remote: &config::Remote,
        broker: BrokerId,
        enrolled: Enrolled,
        leases: &Leases,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<Remote>, OpError> {
        Remote::new(remote, &self.identity, broker, enrolled, leases.clone(), Arc::clone(clock))
            .map_err(|error| OpError::Enrol(error.into()))
    }

    /// The rows to store.
    pub fn rows(&self, unsealed: &Unsealed) -> Result<Vec<Op>, OpError> {
        Ok(vec![
            seal(unsealed, IDENTITY, &self.identity.to_bytes())?,
            seal(unsealed, LOG_SEED, self.log.0.expose())?,
        ])
    }
}

fn key(name: SecretId) -> Vec<u8> {
    let mut key = prefix(TenantId::SYSTEM, Table::System, NO_SCOPE);
    key.extend_from_slice(name.as_bytes());
    key
}

fn context(unsealed: &Unsealed, name: SecretId) -> ContextBytes {
    RecordContext {
        kind: RecordKind::Metadata,
        deployment: unsealed.deployment(),
        tenant: TenantId::SYSTEM,
        mount: NO_SCOPE,
        secret: name,
        version: Table::System as u64,
    }
    .encode()
}

fn seal(unsealed: &Unsealed, name: SecretId, plaintext: &[u8]) -> Result<Op, OpError> {
    let key_net = unsealed.keys().net.secret();
    let value = sealedbox::seal(key_net, &context(unsealed, name), plaintext, &mut os_rng())
        .map_err(|_| OpError::Integrity)?;
    Ok(Op::Put { key: key(name), value, expect: Expect::Absent })
}

async fn open(
    store: &dyn Store,
    unsealed: &Unsealed,
    name: SecretId,
) -> Result<symbolon_proto::Zeroizing<Vec<u8>>, OpError> {
    let row = store.get(&key(name)).await?.ok_or(OpError::Integrity)?;
    let key_net = unsealed.keys().net.secret();
    sealedbox::open(key_net, &context(unsealed, name), &row.value).map_err(|_| OpError::Integrity)
}
