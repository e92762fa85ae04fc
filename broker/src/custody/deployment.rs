//! What a deployment keeps encrypted under K_netkey: who it is to the fragment service, the key that signs
//! its log, and what later fragment epochs took over from earlier ones.
//!
//! Written by `init`, read at each unseal, re-encrypted when the fragment epoch changes. K_netkey comes from
//! the custodians alone, so the broker can sign its log and ask the remote before the remote has answered
//! anything.

use std::sync::Arc;

use rand_core::CryptoRng;
use symbolon_core::clock::Clock;
use symbolon_core::inherited_keys::InheritedKeys;
use symbolon_core::seal::{EpochKeys, Unsealed};
use symbolon_proto::Zeroizing;
use symbolon_proto::context::{ContextBytes, RecordContext, RecordKind};
use symbolon_proto::hierarchy::NetKey;
use symbolon_proto::id::{BrokerId, DeploymentId, SecretId, TenantId};
use symbolon_proto::log::{NoteSigner, VerifierKey};
use symbolon_proto::sealedbox;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use crate::access::Session;
use crate::backup::making::Signing;
use crate::config;
use crate::error::OpError;
use crate::random::os_rng;
use crate::remote::{BrokerIdentity, EnrolError, Enrolled, Leases, Remote};
use crate::rows::{NO_SCOPE, SYSTEM, prefix};
use crate::store::{Expect, Store, Write};

const IDENTITY: SecretId = SecretId::from_bytes(*b"network-identity");
const LOG_SEED: SecretId = SecretId::from_bytes(*b"log-signing-seed");
const INHERITED: SecretId = SecretId::from_bytes(*b"carried-over-key");

/// The Ed25519 seed of the audit log.
pub struct LogSeed(Secret<32>);

impl LogSeed {
    /// A fresh one.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// What signs the checkpoints of a deployment. Their origin line is also the name of the key.
    pub fn signer(&self, deployment: DeploymentId) -> Result<NoteSigner, OpError> {
        NoteSigner::new(&origin(deployment), self.signing_seed())
            .map_err(|_| OpError::bug("the key that signs the audit log could not be named"))
    }

    /// What verifies them, in the form that verifiers are given.
    pub fn verifier_key(&self, deployment: DeploymentId) -> Result<String, OpError> {
        let key = VerifierKey::new(&origin(deployment), self.signing_seed().public_key());
        key.map(|key| key.to_string())
            .map_err(|_| OpError::bug("the key that verifies the audit log could not be named"))
    }

    /// The seed itself, for the broker's signature under transcripts and share sets. Their labels keep them
    /// apart from checkpoints.
    #[must_use]
    pub fn signing_seed(&self) -> SigningSeed {
        SigningSeed::from_secret(Secret::filled_by(|out| out.copy_from_slice(self.0.expose())))
    }
}

fn origin(deployment: DeploymentId) -> String {
    format!("symbolon/{deployment}")
}

/// What a backup of an open broker is signed with.
pub async fn backup_signing(session: &Session) -> Result<Signing, OpError> {
    let log = Deployment::read(session.rows.store(), session.unsealed()).await?.log;
    let key = log.signer(session.unsealed().deployment())?.verifier().clone();
    Ok(Signing { key, seed: log.signing_seed() })
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
        let identity = BrokerIdentity::generate()?;
        Ok(Self { identity, log: LogSeed::random(&mut os_rng()) })
    }

    /// Opens what `init` stored.
    pub async fn read(store: &dyn Store, unsealed: &Unsealed) -> Result<Self, OpError> {
        let (net, deployment) = (&unsealed.keys().net, unsealed.deployment());
        let identity = open(store, net, deployment, IDENTITY).await?.ok_or(OpError::INTEGRITY)?;
        let seed = open(store, net, deployment, LOG_SEED).await?.ok_or(OpError::INTEGRITY)?;
        let seed = <&[u8; 32]>::try_from(seed.as_slice()).map_err(|_| OpError::INTEGRITY)?;
        Ok(Self {
            identity: BrokerIdentity::from_bytes(&identity)?,
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
            .map_err(|error| EnrolError::from(error).into())
    }

    /// The rows to store.
    pub fn rows(&self, unsealed: &Unsealed) -> Result<Vec<Write>, OpError> {
        self.rows_over(unsealed, Expect::Absent)
    }

    /// Everything under K_netkey re-encrypted for the keys that follow, and what is carried over to them.
    pub fn succession(&self, after: &Unsealed) -> Result<Vec<Write>, OpError> {
        let mut rows = self.rows_over(after, Expect::Any)?;
        rows.push(seal(after, INHERITED, &after.inherited(), Expect::Any)?);
        Ok(rows)
    }

    fn rows_over(&self, unsealed: &Unsealed, expect: Expect) -> Result<Vec<Write>, OpError> {
        Ok(vec![
            seal(unsealed, IDENTITY, &self.identity.to_bytes(), expect)?,
            seal(unsealed, LOG_SEED, self.log.0.expose(), expect)?,
        ])
    }
}

/// Joins the keys of a finished ceremony with what the store carried over from earlier fragment epochs.
pub async fn complete(store: &dyn Store, keys: EpochKeys) -> Result<Unsealed, OpError> {
    let carried = open(store, keys.net(), keys.deployment(), INHERITED).await?;
    let carried =
        carried.map(|bytes| InheritedKeys::decode(&bytes)).transpose().map_err(|_| OpError::INTEGRITY)?;
    keys.complete(carried).map_err(|_| OpError::INTEGRITY)
}

/// The end of a change of keys: what is carried over without the keys of the epoch before.
pub fn settled(unsealed: &Unsealed) -> Result<Write, OpError> {
    seal(unsealed, INHERITED, &unsealed.inherited_for_good(), Expect::Any)
}

fn key(name: SecretId) -> Vec<u8> {
    let mut key = prefix(TenantId::SYSTEM, SYSTEM, NO_SCOPE);
    key.extend_from_slice(name.as_bytes());
    key
}

fn context(deployment: DeploymentId, name: SecretId) -> ContextBytes {
    RecordContext {
        kind: RecordKind::Metadata,
        deployment,
        tenant: TenantId::SYSTEM,
        mount: NO_SCOPE,
        secret: name,
        version: SYSTEM.number().into(),
    }
    .encode()
}

fn seal(unsealed: &Unsealed, name: SecretId, plaintext: &[u8], expect: Expect) -> Result<Write, OpError> {
    let (net, context) = (unsealed.keys().net.secret(), context(unsealed.deployment(), name));
    let value = sealedbox::seal(net, &context, plaintext, &mut os_rng())
        .map_err(|_| OpError::bug("a row of the deployment could not be encrypted"))?;
    Ok(Write::Put { key: key(name), value, expect })
}

/// `None` if there is no such row.
async fn open(
    store: &dyn Store,
    net: &NetKey,
    deployment: DeploymentId,
    name: SecretId,
) -> Result<Option<Zeroizing<Vec<u8>>>, OpError> {
    let Some(row) = store.get(&key(name)).await? else { return Ok(None) };
    let opened = sealedbox::open(net.secret(), &context(deployment, name), &row.value);
    opened.map(Some).map_err(|_| OpError::INTEGRITY)
}
