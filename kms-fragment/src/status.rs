//! What the operator sees.

use crate::clock::Now;
use crate::identity::NODE_INDEX;
use crate::quota::Bucket;
use crate::report::{BrokerReport, EpochReport, EpochStanding, KeyReport, LogReport, Status};
use crate::state::{Live, Service};
use crate::tables::{Broker, Epoch, EpochState, Key};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::{BrokerId, KeyId};

impl Service {
    /// How the service is.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = self.now();
        let mut live = self.live();
        let Live { tables, buckets, tombstones, .. } = &mut *live;
        let keys = tables.keys.iter().map(|(id, key)| key_report(*id, key, buckets.get_mut(id), now));
        let head = self.log.head();
        Status {
            root_fingerprint: self.root_fingerprint().to_string(),
            node: self.identity.node_id.to_string(),
            memory: symbolon_proto::secret::memory_mode().to_string(),
            pending: tables.pending.len(),
            brokers: tables.brokers.iter().map(|(id, broker)| broker_report(*id, broker)).collect(),
            keys: keys.collect(),
            officers: self.officers(),
            destroyed: tombstones.0.len(),
            log: LogReport { records: head.records, hash: crate::hex::encode(&head.hash) },
        }
    }
}

fn key_report(id: KeyId, key: &Key, bucket: Option<&mut Bucket>, now: Now) -> KeyReport {
    let group = key.group.as_ref().and_then(|group| group.proposals.last());
    KeyReport {
        key: id.to_string(),
        deployment: key.deployment.to_string(),
        state: key.state,
        key_epoch: key.newest().map_or(0, |epoch| epoch.key_epoch),
        epochs: key.epochs.iter().map(|epoch| epoch_report(epoch, now.unix_secs)).collect(),
        destroy_at: key.destruction.as_ref().map(|ordered| ordered.due_secs),
        ordered_by: key.destruction.as_ref().map(|ordered| ordered.officers.clone()).unwrap_or_default(),
        manifest_seq: key.manifests.last().map_or(0, |(seq, _)| *seq),
        threshold: group.map_or(1, |group| group.terms().threshold),
        nodes: group.map_or(1, symbolon_proto::proposal::Proposal::nodes),
        index: key.newest_sharing().map_or(NODE_INDEX, |sharing| sharing.index),
        escrow: key.escrow.is_some(),
        quota_left: bucket.map_or(0, |bucket| bucket.left(now.boot_ms)),
    }
}

fn epoch_report(epoch: &Epoch, now_secs: u64) -> EpochReport {
    let state = match &epoch.state {
        EpochState::Living { retire_asked_secs: None } => EpochStanding::Living,
        EpochState::Living { retire_asked_secs: Some(at) } => EpochStanding::RetireAsked { at: *at },
        EpochState::Retired { restore_until_secs: until } if *until > now_secs => {
            EpochStanding::Restoring { until: *until }
        }
        EpochState::Retired { .. } => EpochStanding::Retired,
        EpochState::PendingDestroy(ordered) => EpochStanding::PendingDestroy { at: ordered.due_secs },
    };
    EpochReport { key_epoch: epoch.key_epoch, share_epochs: epoch.share_epochs.clone(), state }
}

fn broker_report(id: BrokerId, broker: &Broker) -> BrokerReport {
    BrokerReport {
        broker: id.to_string(),
        deployment: broker.deployment.to_string(),
        fingerprint: Fingerprint::of_broker(&broker.spki, &broker.sign_key).to_string(),
        generation: broker.generation,
        approved_at: broker.approved_at,
        admitted_at: broker.admitted.as_ref().map(|admitted| admitted.at_secs),
        barred_generation: broker.admitted.as_ref().and_then(|admitted| admitted.barred.last().copied()),
    }
}
