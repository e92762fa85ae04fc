//! The tables on disk: JSON, format 2. Format 1, of the first release, is read and written again as 2.

mod group;

use serde::{Deserialize, Serialize};
use symbolon_proto::frame::AnchorValue;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId};
use symbolon_proto::order::{OrderNonce, UsedOrders};
use symbolon_proto::signing::SigningPublicKey;

use super::{
    Admission, Broker, EPOCHS_MAX, Epoch, EpochState, Key, KeyState, Ordered, Removed, Tables, TablesError,
};
use crate::hex::Hex;
use crate::quota::Quota;

const FORMAT: u32 = 2;

/// What every format begins with.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    starts: u32,
    brokers: Vec<WireBroker>,
    #[serde(default)]
    removed: Vec<WireBroker>,
    keys: Vec<WireKey>,
    /// Nonces with the ends of their orders.
    orders: Vec<(Hex<16>, u64)>,
    orders_forgotten_until: u64,
    tombstones: u32,
}

/// Format 1: one epoch per key, no orders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire1 {
    #[serde(rename = "format")]
    _format: u32,
    starts: u32,
    brokers: Vec<Broker1>,
    keys: Vec<Key1>,
}

/// A broker of format 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Broker1 {
    id: Hex<16>,
    deployment: Hex<16>,
    spki: Hex<32>,
    sign_key: Hex<32>,
    generation: u64,
    approved_at: u64,
    anchor: Option<(u64, Hex<32>)>,
}

/// A key of format 1.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key1 {
    id: Hex<16>,
    deployment: Hex<16>,
    key_epoch: u32,
    share_epoch: u32,
    state: KeyState,
    quota: Quota,
    manifests: Vec<(u64, String)>,
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
    /// When, and which generation was barred last.
    admitted: Option<(u64, u64)>,
    /// Those that were barred before it.
    #[serde(default)]
    barred: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireKey {
    id: Hex<16>,
    deployment: Hex<16>,
    state: KeyState,
    destruction: Option<WireOrdered>,
    quota: Quota,
    epochs: Vec<WireEpoch>,
    manifests: Vec<(u64, String)>,
    group: Option<group::WireGroup>,
    escrow: Option<String>,
    /// Keys of before it was written count as used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unopened: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEpoch {
    key_epoch: u32,
    state: WireEpochState,
    share_epochs: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum WireEpochState {
    Living { retire_asked: Option<u64> },
    Retired { restore_until: u64 },
    PendingDestroy(WireOrdered),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireOrdered {
    ordered: u64,
    due: u64,
    order: Hex<32>,
    officers: Vec<String>,
}

pub(super) fn write(tables: &Tables) -> Vec<u8> {
    let orders = tables.orders.nonces().iter().map(|(nonce, end)| (Hex(*nonce.as_bytes()), *end));
    let wire = Wire {
        format: FORMAT,
        starts: tables.starts,
        brokers: tables.brokers.iter().map(WireBroker::from).collect(),
        removed: tables.removed.iter().map(|left| WireBroker::from((&left.id, &left.broker))).collect(),
        keys: tables.keys.iter().map(WireKey::from).collect(),
        orders: orders.collect(),
        orders_forgotten_until: tables.orders.forgotten_until_secs(),
        tombstones: tables.tombstones,
    };
    serde_json::to_vec(&wire).expect("maps with string keys and plain values always serialise")
}

pub(super) fn read(json: &[u8]) -> Result<Tables, TablesError> {
    let versioned: Versioned = serde_json::from_slice(json).map_err(|_| TablesError)?;
    match versioned.format {
        1 => read_1(json),
        FORMAT => read_2(json),
        _ => Err(TablesError),
    }
}

fn read_1(json: &[u8]) -> Result<Tables, TablesError> {
    let wire: Wire1 = serde_json::from_slice(json).map_err(|_| TablesError)?;
    let brokers = wire.brokers.into_iter().map(|broker| WireBroker::from(broker).parse());
    let keys = wire.keys.into_iter().map(|key| WireKey::from(key).parse());
    Ok(Tables {
        starts: wire.starts,
        brokers: brokers.collect::<Result<_, _>>()?,
        keys: keys.collect::<Result<_, _>>()?,
        ..Tables::default()
    })
}

fn read_2(json: &[u8]) -> Result<Tables, TablesError> {
    let wire: Wire = serde_json::from_slice(json).map_err(|_| TablesError)?;
    let nonces = wire.orders.into_iter().map(|(nonce, end)| (OrderNonce::from_bytes(nonce.0), end));
    let orders = UsedOrders::from_parts(nonces.collect(), wire.orders_forgotten_until);
    let brokers = wire.brokers.into_iter().map(WireBroker::parse);
    let removed = wire.removed.into_iter().map(|left| {
        let (id, broker) = left.parse()?;
        Ok(Removed { id, broker })
    });
    let keys = wire.keys.into_iter().map(WireKey::parse);
    Ok(Tables {
        starts: wire.starts,
        brokers: brokers.collect::<Result<_, _>>()?,
        removed: removed.collect::<Result<_, _>>()?,
        pending: Vec::new(),
        keys: keys.collect::<Result<_, _>>()?,
        orders,
        tombstones: wire.tombstones,
    })
}

impl From<Broker1> for WireBroker {
    fn from(broker: Broker1) -> Self {
        let Broker1 { id, deployment, spki, sign_key, generation, approved_at, anchor } = broker;
        Self {
            id,
            deployment,
            spki,
            sign_key,
            generation,
            approved_at,
            anchor,
            admitted: None,
            barred: Vec::new(),
        }
    }
}

impl From<Key1> for WireKey {
    fn from(key: Key1) -> Self {
        let Key1 { id, deployment, key_epoch, share_epoch, state, quota, manifests } = key;
        let living = WireEpochState::Living { retire_asked: None };
        let epochs = vec![WireEpoch { key_epoch, state: living, share_epochs: vec![share_epoch] }];
        Self {
            id,
            deployment,
            state,
            destruction: None,
            quota,
            epochs,
            manifests,
            group: None,
            escrow: None,
            unopened: false,
        }
    }
}

impl From<(&BrokerId, &Broker)> for WireBroker {
    fn from((id, broker): (&BrokerId, &Broker)) -> Self {
        let admitted = broker.admitted.as_ref();
        let last = admitted.and_then(|admitted| {
            let (last, before) = admitted.barred.split_last()?;
            Some(((admitted.at_secs, *last), before))
        });
        Self {
            id: Hex(*id.as_bytes()),
            deployment: Hex(*broker.deployment.as_bytes()),
            spki: Hex(broker.spki),
            sign_key: Hex(*broker.sign_key.as_bytes()),
            generation: broker.generation,
            approved_at: broker.approved_at,
            anchor: broker.anchor.map(|anchor| (anchor.counter, Hex(anchor.value))),
            admitted: last.map(|(last, _)| last),
            barred: last.map(|(_, before)| before.to_vec()).unwrap_or_default(),
        }
    }
}

impl WireBroker {
    fn parse(self) -> Result<(BrokerId, Broker), TablesError> {
        let mut barred = self.barred;
        let admitted = self.admitted.map(|(at_secs, last)| {
            barred.push(last);
            Admission { at_secs, barred }
        });
        let row = Broker {
            deployment: DeploymentId::from_bytes(self.deployment.0),
            spki: self.spki.0,
            sign_key: SigningPublicKey::from_bytes(&self.sign_key.0).map_err(|_| TablesError)?,
            generation: self.generation,
            approved_at: self.approved_at,
            anchor: self.anchor.map(|(counter, value)| AnchorValue { counter, value: value.0 }),
            admitted,
        };
        Ok((BrokerId::from_bytes(self.id.0), row))
    }
}

impl From<(&KeyId, &Key)> for WireKey {
    fn from((id, key): (&KeyId, &Key)) -> Self {
        Self {
            id: Hex(*id.as_bytes()),
            deployment: Hex(*key.deployment.as_bytes()),
            state: key.state,
            destruction: key.destruction.as_ref().map(WireOrdered::from),
            quota: key.quota,
            epochs: key.epochs.iter().map(WireEpoch::from).collect(),
            manifests: key.manifests.iter().map(|(seq, bytes)| (*seq, crate::hex::encode(bytes))).collect(),
            group: key.group.as_ref().map(group::WireGroup::from),
            escrow: key.escrow.as_ref().map(|escrow| crate::hex::encode(escrow)),
            unopened: key.is_unopened,
        }
    }
}

impl WireKey {
    fn parse(self) -> Result<(KeyId, Key), TablesError> {
        let manifests = self.manifests.iter().map(|(seq, text)| Some((*seq, crate::hex::decode(text)?)));
        let row = Key {
            deployment: DeploymentId::from_bytes(self.deployment.0),
            state: self.state,
            destruction: self.destruction.map(WireOrdered::parse),
            quota: self.quota,
            epochs: self.epochs.into_iter().map(WireEpoch::parse).collect(),
            manifests: manifests.collect::<Option<_>>().ok_or(TablesError)?,
            group: self.group.map(group::WireGroup::parse).transpose()?,
            escrow: self.escrow.map(|text| crate::hex::decode(&text).ok_or(TablesError)).transpose()?,
            is_unopened: self.unopened,
        };
        let is_pending = row.state == KeyState::PendingDestroy;
        let is_destroyed = row.state == KeyState::Destroyed;
        let numbers = row.epochs.windows(2).all(|pair| pair[0].key_epoch < pair[1].key_epoch);
        let shares = row.epochs.iter().all(|epoch| matches!(epoch.share_epochs.len(), 1 | 2));
        let consistent = is_pending == row.destruction.is_some()
            && (is_destroyed == row.epochs.is_empty() || row.group.is_some())
            && row.epochs.len() <= EPOCHS_MAX;
        match consistent && numbers && shares {
            true => Ok((KeyId::from_bytes(self.id.0), row)),
            false => Err(TablesError),
        }
    }
}

impl From<&Epoch> for WireEpoch {
    fn from(epoch: &Epoch) -> Self {
        let state = match &epoch.state {
            EpochState::Living { retire_asked_secs } => {
                WireEpochState::Living { retire_asked: *retire_asked_secs }
            }
            EpochState::Retired { restore_until_secs } => {
                WireEpochState::Retired { restore_until: *restore_until_secs }
            }
            EpochState::PendingDestroy(ordered) => WireEpochState::PendingDestroy(ordered.into()),
        };
        Self { key_epoch: epoch.key_epoch, state, share_epochs: epoch.share_epochs.clone() }
    }
}

impl WireEpoch {
    fn parse(self) -> Epoch {
        let state = match self.state {
            WireEpochState::Living { retire_asked } => EpochState::Living { retire_asked_secs: retire_asked },
            WireEpochState::Retired { restore_until } => {
                EpochState::Retired { restore_until_secs: restore_until }
            }
            WireEpochState::PendingDestroy(ordered) => EpochState::PendingDestroy(ordered.parse()),
        };
        Epoch { key_epoch: self.key_epoch, state, share_epochs: self.share_epochs }
    }
}

impl From<&Ordered> for WireOrdered {
    fn from(ordered: &Ordered) -> Self {
        Self {
            ordered: ordered.ordered_secs,
            due: ordered.due_secs,
            order: Hex(ordered.order_sha256),
            officers: ordered.officers.clone(),
        }
    }
}

impl WireOrdered {
    fn parse(self) -> Ordered {
        Ordered {
            ordered_secs: self.ordered,
            due_secs: self.due,
            order_sha256: self.order.0,
            officers: self.officers,
        }
    }
}
