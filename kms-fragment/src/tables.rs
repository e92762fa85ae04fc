//! What the service remembers: enrolled brokers, brokers waiting, keys. No secrets stand here.
//!
//! The in-memory types are plain; [`Tables::to_json`] and [`Tables::from_json`] go through a versioned wire form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::AnchorValue;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId};
use symbolon_proto::signing::SigningPublicKey;

use crate::hex::Hex;
use crate::quota::Quota;
use crate::tls::SpkiHash;

/// Brokers that may wait for approval at once; the oldest makes room.
pub const PENDING_MAX: usize = 64;

/// Seconds after which an unapproved enrolment is forgotten.
pub const PENDING_TTL_SECS: u64 = 86_400;

/// Manifests kept per key. A broker that missed more asks to be enrolled again and gets the newest.
pub const MANIFESTS_KEPT: usize = 16;

/// Keys that one service holds.
pub const KEYS_MAX: usize = 512;

/// Brokers that one service serves.
pub const BROKERS_MAX: usize = 1024;

/// An enrolled broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its deployment; it may use this deployment's keys and no others.
    pub deployment: DeploymentId,
    /// Hash of its TLS key: who it is on a connection.
    pub spki: SpkiHash,
    /// Its Ed25519 key.
    pub sign_key: SigningPublicKey,
    /// Highest generation that it registered. Lower ones are snapshots or clones.
    pub generation: u64,
    /// When an operator approved it, Unix seconds.
    pub approved_at: u64,
    /// What it had us remember of its state, opaque to us (`docs/skb1.md` 6.9).
    pub anchor: Option<AnchorValue>,
}

/// A broker that waits for an operator to compare its fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The deployment that it says it belongs to.
    pub deployment: DeploymentId,
    /// The id that it chose.
    pub broker: BrokerId,
    /// Hash of its TLS key.
    pub spki: SpkiHash,
    /// Its Ed25519 key.
    pub sign_key: SigningPublicKey,
    /// What the operators compare.
    pub fingerprint: Fingerprint,
    /// When it last asked, Unix seconds.
    pub asked_at: u64,
}

/// Whether a key is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Answered, within its quota.
    Active,
    /// Not answered until an operator resumes it; brokers drop cached keys.
    Suspended,
}

/// A key of which this service holds one half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The deployment that may use it.
    pub deployment: DeploymentId,
    /// Epoch of k, from 1.
    pub key_epoch: u32,
    /// Epoch of its shares, from 1; one remote never refreshes.
    pub share_epoch: u32,
    /// Whether it is answered for.
    pub state: KeyState,
    /// How much of it may be used.
    pub quota: Quota,
    /// Signed manifests, oldest first, each with its sequence number.
    pub manifests: Vec<(u64, Vec<u8>)>,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// How often this state was opened. The upper half of lease sequence numbers, so that they rise across restarts.
    pub starts: u32,
    /// Enrolled brokers.
    pub brokers: BTreeMap<BrokerId, Broker>,
    /// Brokers that wait, oldest first. In memory only: a stranger must not cost disk writes.
    pub pending: Vec<Pending>,
    /// Keys.
    pub keys: BTreeMap<KeyId, Key>,
}

/// Tables that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tables in the state directory were written by another version")]
pub struct TablesError;

impl Tables {
    /// The wire form, version 1.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&Wire::from(self))
            .expect("maps with string keys and plain values always serialise")
    }

    /// Reads what [`Self::to_json`] wrote.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, TablesError> {
        let wire: Wire = serde_json::from_slice(json).map_err(|_| TablesError)?;
        wire.try_into()
    }

    /// The enrolled broker behind a connection.
    pub(crate) fn broker_by_spki(&self, spki: &SpkiHash) -> Option<(BrokerId, &Broker)> {
        self.brokers.iter().find(|(_, broker)| broker.spki == *spki).map(|(id, broker)| (*id, broker))
    }

    /// The keys of a deployment.
    pub(crate) fn keys_of(&self, deployment: DeploymentId) -> impl Iterator<Item = (KeyId, &Key)> {
        self.keys.iter().filter(move |(_, key)| key.deployment == deployment).map(|(id, key)| (*id, key))
    }

    /// Takes an enrolment up, once per TLS key; makes room among the forgotten and then the oldest.
    pub(crate) fn enqueue(&mut self, pending: Pending) {
        let now = pending.asked_at;
        self.pending.retain(|other| {
            other.spki != pending.spki && now.saturating_sub(other.asked_at) < PENDING_TTL_SECS
        });
        if self.pending.len() >= PENDING_MAX {
            self.pending.remove(0);
        }
        self.pending.push(pending);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    starts: u32,
    brokers: Vec<WireBroker>,
    keys: Vec<WireKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBroker {
    id: Hex<16>,
    deployment: Hex<16>,
    spki: Hex<32>,
    sign_key: Hex<32>,
    generation: u64,
    approved_at: u64,
    anchor: Option<(u64, Hex<32>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    id: Hex<16>,
    deployment: Hex<16>,
    key_epoch: u32,
    share_epoch: u32,
    state: KeyState,
    quota: Quota,
    manifests: Vec<(u64, String)>,
}

impl From<&Tables> for Wire {
    fn from(tables: &Tables) -> Self {
        let broker = |(id, broker): (&BrokerId, &Broker)| WireBroker {
            id: Hex(*id.as_bytes()),
            deployment: Hex(*broker.deployment.as_bytes()),
            spki: Hex(broker.spki),
            sign_key: Hex(*broker.sign_key.as_bytes()),
            generation: broker.generation,
            approved_at: broker.approved_at,
            anchor: broker.anchor.map(|anchor| (anchor.counter, Hex(anchor.value))),
        };
        let key = |(id, key): (&KeyId, &Key)| WireKey {
            id: Hex(*id.as_bytes()),
            deployment: Hex(*key.deployment.as_bytes()),
            key_epoch: key.key_epoch,
            share_epoch: key.share_epoch,
            state: key.state,
            quota: key.quota,
            manifests: key.manifests.iter().map(|(seq, bytes)| (*seq, crate::hex::encode(bytes))).collect(),
        };
        Self {
            format: 1,
            starts: tables.starts,
            brokers: tables.brokers.iter().map(broker).collect(),
            keys: tables.keys.iter().map(key).collect(),
        }
    }
}

impl TryFrom<Wire> for Tables {
    type Error = TablesError;

    fn try_from(wire: Wire) -> Result<Self, TablesError> {
        let sign_key = |bytes: Hex<32>| SigningPublicKey::from_bytes(&bytes.0).map_err(|_| TablesError);
        if wire.format != 1 {
            return Err(TablesError);
        }
        let mut tables = Self { starts: wire.starts, ..Self::default() };
        for broker in wire.brokers {
            let row = Broker {
                deployment: DeploymentId::from_bytes(broker.deployment.0),
                spki: broker.spki.0,
                sign_key: sign_key(broker.sign_key)?,
                generation: broker.generation,
                approved_at: broker.approved_at,
                anchor: broker.anchor.map(|(counter, value)| AnchorValue { counter, value: value.0 }),
            };
            tables.brokers.insert(BrokerId::from_bytes(broker.id.0), row);
        }
        for key in wire.keys {
            let manifests = key.manifests.iter().map(|(seq, text)| Some((*seq, crate::hex::decode(text)?)));
            let row = Key {
                deployment: DeploymentId::from_bytes(key.deployment.0),
                key_epoch: key.key_epoch,
                share_epoch: key.share_epoch,
                state: key.state,
                quota: key.quota,
                manifests: manifests.collect::<Option<_>>().ok_or(TablesError)?,
            };
            tables.keys.insert(KeyId::from_bytes(key.id.0), row);
        }
        Ok(tables)
    }
}
