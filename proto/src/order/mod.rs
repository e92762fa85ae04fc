//! Orders: what needs two people at a fragment service (`docs/skb1.md` sections 5, 6.9 and 8).
//!
//! Destroying a key, cancelling that, retiring and destroying an epoch, answering a restore, admitting an
//! older generation of a broker: each is an [`Order`], a short byte string that names one node and one
//! subject and ends within 30 days. Two different officers sign it, each on their own machine; the service
//! knows their keys from its configuration. [`UsedOrders::approve`] is the only way to an [`ApprovedOrder`];
//! whoever carries one out calls [`UsedOrders::remember`] in the same write, so that no order is carried out
//! twice.
//!
//! ```text
//! order  = "SKB1/order" format=1 action(1) node(16) deployment(16) subject(16) number(8)
//!          not_before(8) not_after(8) nonce(16)
//! signed = order count(1) count × { officer(32) signature(64) }             signatures cover the order
//! ```
//!
//! `subject` is a key, and `number` its epoch or 0; for [`Action::Admit`] a broker and its generation.

mod officers;
mod used;

use std::fmt;

use rand_core::CryptoRng;
use thiserror::Error;

pub use self::officers::{OFFICERS_MAX, Officer, OfficerKey, OfficerKeyError, Officers, OfficersError};
pub use self::used::{ApprovedOrder, ORDERS_REMEMBERED_MAX, UsedOrders};
use crate::armour::{self, ArmourError, Kind};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{BrokerId, DeploymentId, KeyId, NodeId};
use crate::label;
use crate::signing::{PublicKeyError, SIGNATURE_BYTES, SigningSeed};

/// Most signatures on one order.
pub const SIGNATURES_MAX: usize = 8;
/// Signatures of different officers that an order needs.
pub const SIGNATURES_NEEDED: usize = 2;
/// The longest time between an order's beginning and its end: 30 days.
pub const VALIDITY_SECS_MAX: u64 = 30 * 24 * 60 * 60;

const FORMAT: u8 = 1;

/// What is ordered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// 1: destroy the key with all its epochs, after the cooling-off time.
    Destroy {
        /// The key.
        key: KeyId,
    },
    /// 2: cancel a destruction that is still cooling off. The key is SUSPENDED then.
    Cancel {
        /// The key.
        key: KeyId,
    },
    /// 3: stop answering for an epoch that is not the newest.
    Retire {
        /// The key.
        key: KeyId,
        /// Its epoch.
        key_epoch: u32,
    },
    /// 4: answer restores for a retired epoch while the order is valid.
    Restore {
        /// The key.
        key: KeyId,
        /// Its epoch.
        key_epoch: u32,
    },
    /// 5: destroy a retired epoch, after the cooling-off time.
    DestroyEpoch {
        /// The key.
        key: KeyId,
        /// Its epoch.
        key_epoch: u32,
    },
    /// 6: let a broker that was restored from a backup register below the generation that is registered now,
    /// and forget its anchor.
    Admit {
        /// The broker.
        broker: BrokerId,
        /// The generation that is registered now; it is fenced off by this.
        generation: u64,
    },
}

impl Action {
    /// Action, subject and number as they stand on the wire.
    fn to_wire(self) -> (u8, [u8; 16], u64) {
        match self {
            Self::Destroy { key } => (1, *key.as_bytes(), 0),
            Self::Cancel { key } => (2, *key.as_bytes(), 0),
            Self::Retire { key, key_epoch } => (3, *key.as_bytes(), key_epoch.into()),
            Self::Restore { key, key_epoch } => (4, *key.as_bytes(), key_epoch.into()),
            Self::DestroyEpoch { key, key_epoch } => (5, *key.as_bytes(), key_epoch.into()),
            Self::Admit { broker, generation } => (6, *broker.as_bytes(), generation),
        }
    }

    fn from_wire(action: u8, subject: [u8; 16], number: u64) -> Result<Self, OrderError> {
        let key = KeyId::from_bytes(subject);
        let epoch = || match u32::try_from(number) {
            Ok(epoch) if epoch > 0 => Ok(epoch),
            _ => Err(OrderError::Number),
        };
        let none = || if number == 0 { Ok(()) } else { Err(OrderError::Number) };
        Ok(match action {
            1 => none().map(|()| Self::Destroy { key })?,
            2 => none().map(|()| Self::Cancel { key })?,
            3 => Self::Retire { key, key_epoch: epoch()? },
            4 => Self::Restore { key, key_epoch: epoch()? },
            5 => Self::DestroyEpoch { key, key_epoch: epoch()? },
            6 if number == 0 => return Err(OrderError::Number),
            6 => Self::Admit { broker: BrokerId::from_bytes(subject), generation: number },
            found => return Err(OrderError::Action { found }),
        })
    }
}

/// The sentence that an officer reads before signing.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Destroy { key } => write!(f, "destroy key {key} with all its epochs"),
            Self::Cancel { key } => write!(f, "cancel the destruction of key {key}"),
            Self::Retire { key, key_epoch } => write!(f, "retire epoch {key_epoch} of key {key}"),
            Self::Restore { key, key_epoch } => {
                write!(f, "answer restores for epoch {key_epoch} of key {key}")
            }
            Self::DestroyEpoch { key, key_epoch } => write!(f, "destroy epoch {key_epoch} of key {key}"),
            Self::Admit { broker, generation } => write!(
                f,
                "admit an older state of broker {broker} in place of generation {generation}, and forget its anchor"
            ),
        }
    }
}

/// An order that nobody has signed yet. Nothing is implied about its fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Order {
    /// What is ordered.
    pub action: Action,
    /// The node that it is for.
    pub node: NodeId,
    /// The deployment whose key or broker it is.
    pub deployment: DeploymentId,
    /// It counts from then, Unix seconds.
    pub not_before_secs: u64,
    /// It counts until before then, Unix seconds.
    pub not_after_secs: u64,
    /// Makes it one of a kind.
    pub nonce: OrderNonce,
}

/// 16 random bytes that make an order one of a kind.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct OrderNonce([u8; 16]);

impl OrderNonce {
    /// The nonce with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A fresh nonce.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

/// Why an order is none, or is not carried out. Nothing was changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum OrderError {
    /// Not a text form.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// Fields missing or too many.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// It does not begin with its label.
    #[error("not an order")]
    Label,
    /// A format of the future.
    #[error("order format {found}, this version reads 1")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// An action that this version does not know.
    #[error("unknown action {found}; use the same version everywhere")]
    Action {
        /// The action byte.
        found: u8,
    },
    /// An epoch or generation that does not go with the action.
    #[error("the order's epoch or generation does not go with its action")]
    Number,
    /// Ends before it begins, or too late.
    #[error("an order ends after it begins and within 30 days")]
    Validity,
    /// More signatures than any order has, or none where some are said to be.
    #[error("{found} signatures, where at most 8 are allowed")]
    Count {
        /// The number found.
        found: usize,
    },
    /// A signature of a key that is no key.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
    /// The same key twice.
    #[error("this officer has signed the order already; it needs another officer")]
    SignedTwice,
    /// A signature that does not verify.
    #[error("signature {number} on the order does not verify; the file was changed after signing")]
    Signature {
        /// Which one, from 1.
        number: usize,
    },
    /// Not enough officers.
    #[error("{found} of 2 configured officers have signed; have {} more sign it with `symbolon officer sign`", 2 - found)]
    Officers {
        /// Different configured officers that signed.
        found: usize,
    },
    /// For another node.
    #[error("the order is for node {found}, this is another; take it to the service it names")]
    OtherNode {
        /// The node it names.
        found: NodeId,
    },
    /// Too early.
    #[error("the order is not valid yet; wait, or check this machine's clock")]
    NotYet,
    /// Too late.
    #[error("the order has expired; have the officers sign a new one")]
    Expired,
    /// Carried out before.
    #[error("this order was carried out already; have the officers sign a new one if it is meant again")]
    Used,
    /// Too many are remembered.
    #[error("too many orders are remembered; wait until one of them has expired")]
    Full,
}

impl Order {
    /// What the officers sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (action, subject, number) = self.action.to_wire();
        let mut writer = Writer::with_capacity(128);
        writer.bytes(label::ORDER).u8(FORMAT).u8(action);
        writer.bytes(self.node.as_bytes()).bytes(self.deployment.as_bytes()).bytes(&subject).u64(number);
        writer.u64(self.not_before_secs).u64(self.not_after_secs).bytes(self.nonce.as_bytes());
        writer.finish()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, OrderError> {
        if reader.take(label::ORDER.len())? != label::ORDER {
            return Err(OrderError::Label);
        }
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(OrderError::Format { found: format });
        }
        let action = reader.u8()?;
        let node = NodeId::from_bytes(reader.array()?);
        let deployment = DeploymentId::from_bytes(reader.array()?);
        let action = Action::from_wire(action, reader.array()?, reader.u64()?)?;
        let (not_before_secs, not_after_secs) = (reader.u64()?, reader.u64()?);
        let nonce = OrderNonce(reader.array()?);
        let order = Self { action, node, deployment, not_before_secs, not_after_secs, nonce };
        order.check_validity().map(|()| order)
    }

    fn check_validity(&self) -> Result<(), OrderError> {
        match self.not_after_secs.checked_sub(self.not_before_secs) {
            Some(1..=VALIDITY_SECS_MAX) => Ok(()),
            _ => Err(OrderError::Validity),
        }
    }
}

/// Everything in an order, for an officer to read before signing; times as Unix seconds.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "order       {}", self.action)?;
        writeln!(f, "node        {}", self.node)?;
        writeln!(f, "deployment  {}", self.deployment)?;
        write!(f, "valid       {} to {} (Unix seconds)", self.not_before_secs, self.not_after_secs)
    }
}

/// An order with the signatures gathered so far: well formed, none of them checked against anybody's
/// officers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedOrder {
    order: Order,
    signatures: Vec<(OfficerKey, [u8; SIGNATURE_BYTES])>,
}

impl SignedOrder {
    /// An order that waits for its first signature.
    pub fn new(order: Order) -> Result<Self, OrderError> {
        order.check_validity()?;
        Ok(Self { order, signatures: Vec::new() })
    }

    /// What is ordered.
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// The keys that are said to have signed.
    pub fn signers(&self) -> impl Iterator<Item = &OfficerKey> {
        self.signatures.iter().map(|(key, _)| key)
    }

    /// Adds an officer's signature.
    pub fn sign(&mut self, seed: &SigningSeed) -> Result<(), OrderError> {
        let key = OfficerKey::new(seed.public_key());
        if self.signers().any(|signer| *signer == key) {
            return Err(OrderError::SignedTwice);
        }
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(OrderError::Count { found: self.signatures.len() + 1 });
        }
        self.signatures.push((key, seed.sign(&self.order.to_bytes())));
        Ok(())
    }

    /// The whole, for transport.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(512);
        writer.bytes(&self.order.to_bytes());
        writer.u8(u8::try_from(self.signatures.len()).expect("at most eight"));
        for (key, signature) in &self.signatures {
            writer.bytes(key.public().as_bytes()).bytes(signature);
        }
        writer.finish()
    }

    /// Reads what [`Self::to_bytes`] wrote. Every signature must verify under the key beside it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OrderError> {
        let mut reader = Reader::new(bytes);
        let order = Order::read(&mut reader)?;
        let count = usize::from(reader.u8()?);
        if count > SIGNATURES_MAX {
            return Err(OrderError::Count { found: count });
        }
        let mut signed = Self { order, signatures: Vec::with_capacity(count) };
        let message = order.to_bytes();
        for number in 1..=count {
            let key = OfficerKey::from_bytes(&reader.array()?)?;
            let signature = reader.array()?;
            if signed.signers().any(|signer| *signer == key) {
                return Err(OrderError::SignedTwice);
            }
            if !key.public().verifies(&message, &signature) {
                return Err(OrderError::Signature { number });
            }
            signed.signatures.push((key, signature));
        }
        reader.finish()?;
        Ok(signed)
    }

    /// The text form for files and mail.
    pub fn to_text(&self) -> String {
        armour::encode(Kind::Order, &self.to_bytes())
    }

    /// Reads a text form.
    pub fn from_text(text: &str) -> Result<Self, OrderError> {
        Self::from_bytes(&armour::decode(Kind::Order, text)?)
    }
}

#[cfg(test)]
mod tests;
