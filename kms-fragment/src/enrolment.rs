//! Who is let in.
//!
//! A stranger's enrol frame only puts it on a list. It becomes a broker when the service's operator has
//! compared its fingerprint with what the broker's operator read out; only then is a key made. The broker in
//! turn compares the fingerprint of the service root before it believes the manifest. Nobody is trusted on
//! first use.

use std::sync::Arc;

use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{EnrolAnswer, EnrolRequest, Enrolment, request_hash};
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId};
use symbolon_proto::possession::PossessionClaim;

use crate::clock::Now;
use crate::error::AdminError;
use crate::quota::Bucket;
use crate::report::Approved;
use crate::rng::os_rng;
use crate::state::{Live, Service};
use crate::tables::{BROKERS_MAX, Broker, Epoch, KEYS_MAX, Key, KeyState, Pending, ShareId, Tables};
use crate::tls::SpkiHash;

impl Service {
    /// Lets the broker with this fingerprint in. It gets a key of its own, or with `join` its deployment's.
    pub fn approve(&self, fingerprint: &Fingerprint, join: bool) -> Result<Approved, AdminError> {
        let now = self.now();
        let mut live = self.live();
        if let Some(approved) = self.approve_waiting(&mut live, fingerprint, join)? {
            return Ok(approved);
        }
        let mut tables = live.tables.clone();
        let position = tables.pending.iter().position(|pending| pending.fingerprint == *fingerprint);
        let pending = tables.pending.remove(position.ok_or(AdminError::NotPending)?);
        check_admission(&tables, &pending, join)?;
        let (key_id, fresh) = self.key_for(&mut tables, &pending, now)?;
        if !tables.enrol(pending.broker, enrolled_now(&pending, now)) {
            return Err(AdminError::Full);
        }
        self.write_tables(&tables)?;
        live.tables = tables;
        let created = fresh.is_some();
        if let Some(key) = fresh {
            self.take_into_use(&mut live, key_id, pending.deployment, key);
        }
        tracing::info!(broker = %pending.broker, key = %key_id, created, "the operator approved a broker");
        Ok(Approved {
            broker: pending.broker.to_string(),
            deployment: pending.deployment.to_string(),
            key: key_id.to_string(),
            created,
        })
    }

    /// The key of the broker's deployment, or a fresh one if it has none.
    fn key_for(
        &self,
        tables: &mut Tables,
        pending: &Pending,
        now: Now,
    ) -> Result<(KeyId, Option<RemoteKey>), AdminError> {
        let shared = tables.keys_of(pending.deployment).map(|(id, row)| (id, row.state)).next();
        match shared {
            // A deployment whose key is gone has nothing left to open; a new key would hide that.
            Some((_, KeyState::Destroyed)) => Err(AdminError::Destroyed),
            Some((id, _)) => {
                tables.opened(pending.deployment); // whoever joins knows of something to open
                Ok((id, None))
            }
            None => {
                let (id, row, key) = self.create_key(pending, now)?;
                tables.keys.insert(id, row);
                Ok((id, Some(key)))
            }
        }
    }

    fn take_into_use(&self, live: &mut Live, id: KeyId, deployment: DeploymentId, key: RemoteKey) {
        let quota = self.options.grants_of(deployment).quota;
        live.buckets.insert(id, Bucket::holding(quota, quota.burst, self.now().boot_ms));
        live.keys.insert(ShareId { key: id, key_epoch: 1, share_epoch: 1 }, Arc::new(key));
    }

    fn create_key(&self, pending: &Pending, now: Now) -> Result<(KeyId, Key, RemoteKey), AdminError> {
        let mut rng = os_rng();
        let id = KeyId::random(&mut rng);
        let key = RemoteKey::generate(&mut rng);
        self.write_key(&ShareId { key: id, key_epoch: 1, share_epoch: 1 }, &key)?;
        let quota = self.options.grants_of(pending.deployment).quota;
        let epochs = vec![Epoch::new(1)];
        let mut row = Key { epochs, is_unopened: true, ..Key::new(pending.deployment, quota) };
        self.append_manifest(id, &mut row, *key.public_key(), now);
        Ok((id, row, key))
    }

    /// Answers an enrol frame: of a stranger, who goes on the list, or of a broker, who gets its manifest.
    pub(crate) fn answer_enrol(&self, peer: SpkiHash, request: &EnrolRequest, frame: &[u8]) -> EnrolAnswer {
        let mut live = self.live();
        let enrolment = match live.tables.broker_by_spki(&peer) {
            Some((id, broker)) if is_same(id, broker, request) => self.enrolled(&live, broker),
            Some(_) => Enrolment::Refused,
            None => {
                let pending = Pending {
                    deployment: request.deployment,
                    broker: request.broker,
                    spki: peer,
                    sign_key: request.signing_key,
                    fingerprint: Fingerprint::of_broker(&peer, &request.signing_key),
                    asked_at: self.now().unix_secs,
                };
                // Memory only: a stranger must not cost disk writes. Whoever waits asks again after a
                // restart.
                live.tables.enqueue(pending);
                Enrolment::Pending
            }
        };
        EnrolAnswer { request_hash: request_hash(frame), enrolment }
    }

    fn enrolled(&self, live: &Live, broker: &Broker) -> Enrolment {
        let alone = |(_, row): &(KeyId, &Key)| row.group.is_none();
        let Some((id, row)) = live.tables.keys_of(broker.deployment).find(alone) else {
            return Enrolment::Refused;
        };
        let (Some((_, manifest)), Some(newest)) = (row.manifests.last(), row.newest()) else {
            return Enrolment::Refused;
        };
        let share = ShareId { key: id, key_epoch: newest.key_epoch, share_epoch: newest.share_epoch() };
        let Some(key) = live.keys.get(&share) else { return Enrolment::Refused };
        let claim = PossessionClaim { deployment: row.deployment, key: id, key_epoch: newest.key_epoch };
        Enrolment::Enrolled {
            root_key: self.identity.root.public_key(),
            possession: key.prove_possession(&claim, &mut os_rng()),
            manifest: manifest.clone(),
        }
    }
}

fn enrolled_now(pending: &Pending, now: Now) -> Broker {
    Broker {
        deployment: pending.deployment,
        spki: pending.spki,
        sign_key: pending.sign_key,
        generation: 0,
        approved_at: now.unix_secs,
        anchor: None,
        admitted: None,
    }
}

fn is_same(id: BrokerId, broker: &Broker, request: &EnrolRequest) -> bool {
    (id, broker.deployment, broker.sign_key) == (request.broker, request.deployment, request.signing_key)
}

fn check_admission(tables: &Tables, pending: &Pending, join: bool) -> Result<(), AdminError> {
    if tables.brokers.contains_key(&pending.broker) {
        return Err(AdminError::BrokerIdTaken);
    }
    if tables.keys_of(pending.deployment).next().is_some() && !join {
        return Err(AdminError::WouldJoin);
    }
    if tables.brokers.len() >= BROKERS_MAX || tables.keys.len() >= KEYS_MAX {
        return Err(AdminError::Full);
    }
    Ok(())
}
