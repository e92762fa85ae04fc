//! Orders that were carried out: remembered until they have expired, so that none is carried out twice.

use std::collections::BTreeMap;

use super::{Officers, Order, OrderError, OrderNonce, SIGNATURES_NEEDED, SignedOrder};
use crate::id::NodeId;

/// Most orders that are remembered at once.
pub const ORDERS_REMEMBERED_MAX: usize = 1024;

/// An order that two different officers of this node signed, that is for this node, valid now, and new.
/// Whether its subject is held here, and in the right state, is the service's to check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApprovedOrder {
    order: Order,
    officers: Vec<String>,
    bytes: Vec<u8>,
}

impl ApprovedOrder {
    /// What is ordered.
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// Names of the officers that signed, as the configuration has them.
    pub fn officers(&self) -> &[String] {
        &self.officers
    }

    /// The signed order as it was handed in, for certificates and files.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The memory of a node for orders. It is to be stored with what the orders change, in one write.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsedOrders {
    /// Nonces with the end of their orders.
    nonces: BTreeMap<OrderNonce, u64>,
    /// Orders that ended before or then may have been forgotten, so none of them counts, whatever the clock
    /// says.
    forgotten_until_secs: u64,
}

impl UsedOrders {
    /// What was stored.
    pub fn from_parts(nonces: BTreeMap<OrderNonce, u64>, forgotten_until_secs: u64) -> Self {
        Self { nonces, forgotten_until_secs }
    }

    /// Nonces with the ends of their orders, for storing.
    pub const fn nonces(&self) -> &BTreeMap<OrderNonce, u64> {
        &self.nonces
    }

    /// Orders that ended before or then are refused even if the clock is set back, Unix seconds. For storing.
    pub const fn forgotten_until_secs(&self) -> u64 {
        self.forgotten_until_secs
    }

    /// Believes an order, or says why not. Changes nothing.
    pub fn approve(
        &self,
        signed: &SignedOrder,
        officers: &Officers,
        node: &NodeId,
        now_secs: u64,
    ) -> Result<ApprovedOrder, OrderError> {
        let order = *signed.order();
        if order.node != *node {
            return Err(OrderError::OtherNode { found: order.node });
        }
        // A `SignedOrder` has no signature twice, and `Officers` no key twice: so many names are so many
        // people.
        let names: Vec<String> = signed
            .signers()
            .filter_map(|key| officers.by_key(key))
            .map(|officer| officer.name.clone())
            .collect();
        if names.len() < SIGNATURES_NEEDED {
            return Err(OrderError::Officers { found: names.len() });
        }
        if self.nonces.contains_key(&order.nonce) {
            return Err(OrderError::Used);
        }
        if now_secs < order.not_before_secs {
            return Err(OrderError::NotYet);
        }
        if now_secs >= order.not_after_secs || order.not_after_secs <= self.forgotten_until_secs {
            return Err(OrderError::Expired);
        }
        Ok(ApprovedOrder { order, officers: names, bytes: signed.to_bytes() })
    }

    /// Remembers an order as carried out, and forgets those that have expired.
    pub fn remember(&mut self, approved: &ApprovedOrder, now_secs: u64) -> Result<(), OrderError> {
        let expired = |end: u64| end <= now_secs;
        if let Some(latest) = self.nonces.values().copied().filter(|end| expired(*end)).max() {
            self.forgotten_until_secs = self.forgotten_until_secs.max(latest);
        }
        self.nonces.retain(|_, end| !expired(*end));
        if self.nonces.len() >= ORDERS_REMEMBERED_MAX {
            return Err(OrderError::Full);
        }
        self.nonces.insert(approved.order.nonce, approved.order.not_after_secs);
        Ok(())
    }
}
