//! The client against the real service, and against nodes that lie, stay silent or are somebody else.

#![allow(clippy::unwrap_used)]

mod anchor;
pub mod fake;
mod follow;
mod liars;
mod real;
mod ring;
mod threshold;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::clock::{Clock, Now};
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::{self, Capsule, Kek};
use symbolon_proto::context::{CapsuleContext, Scope};
use symbolon_proto::hierarchy::{Fragment, PurposeKeys};
use symbolon_proto::id::{CapsuleId, DeploymentId, MountId, TenantId};

use super::{EvaluateError, Evaluator, Remote};
use crate::config;
use crate::random::os_rng;

/// A clock that tests move; it starts at the real time, because the real service has the real one.
pub struct TestClock(AtomicU64);

impl TestClock {
    pub fn start() -> Arc<Self> {
        let now = symbolon_kms_fragment::clock::Clock::now(&symbolon_kms_fragment::clock::SystemClock);
        Arc::new(Self(AtomicU64::new(now.unix_secs * 1000)))
    }

    pub fn forward_ms(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let ms = self.0.load(Ordering::SeqCst);
        Now { unix_ms: ms, boot_ms: ms }
    }
}

pub fn settings(url: String, fingerprint: String) -> config::Remote {
    config::Remote {
        nodes: vec![config::RemoteNode { url, fingerprint }],
        threshold: 1,
        deadline_ms: 20_000,
        heartbeat_secs: 60,
        dead_man_hours: 72,
        terms: config::GroupTerms::default(),
    }
}

/// The broker's own half, and capsules made with it.
pub struct Half {
    deployment: DeploymentId,
    keys: PurposeKeys,
}

impl Half {
    pub fn new(deployment: DeploymentId) -> Self {
        let keys = Fragment::random(&mut os_rng()).root(&deployment).purposes(0);
        Self { deployment, keys }
    }

    fn context(&self, remote: &Remote, capsule: CapsuleId) -> CapsuleContext {
        CapsuleContext {
            deployment: self.deployment,
            tenant: TenantId::SYSTEM,
            mount: MountId::from_bytes([1; 16]),
            bucket: 0,
            kek_epoch: 1,
            capsule,
            key: remote.key_id(),
            fragment_epoch: 0,
            scope: Scope::Bucket,
        }
    }

    pub fn close(&self, remote: &Remote) -> Result<(Capsule, Kek), EvaluateError> {
        let kek = Kek::random(&mut os_rng());
        let context = self.context(remote, CapsuleId::random(&mut os_rng()));
        let key = remote.encapsulation_key()?;
        Ok((capsule::encapsulate(&context, &key, &self.keys, &kek, &mut os_rng()).unwrap(), kek))
    }

    /// Opens capsules through the remote.
    pub async fn open(&self, remote: &Remote, capsules: &[&Capsule]) -> Result<Vec<Kek>, EvaluateError> {
        let blinded =
            Blinded::blind(capsules, remote.target(capsules[0].key_epoch())?, &mut os_rng()).unwrap();
        let secrets = remote.evaluate(blinded).await?;
        assert_eq!(secrets.len(), capsules.len());
        let opened = capsules.iter().zip(secrets).map(|(capsule, secret)| {
            let context = self.context(remote, capsule.id());
            capsule.open(&context, &self.keys.capsule, secret).unwrap()
        });
        Ok(opened.collect())
    }

    /// Closes `count` capsules and opens them again: the whole way of a KEK.
    pub async fn round_trip(&self, remote: &Remote, count: usize) -> Result<(), EvaluateError> {
        let made: Vec<_> = (0..count).map(|_| self.close(remote)).collect::<Result<_, _>>()?;
        let capsules: Vec<_> = made.iter().map(|(capsule, _)| capsule).collect();
        let opened = self.open(remote, &capsules).await?;
        assert!(opened.iter().zip(&made).all(|(opened, (_, kek))| opened.same_as(kek)));
        Ok(())
    }
}
