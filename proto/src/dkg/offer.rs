//! Before round 1: each receiver makes a key for this run and shows it to the dealers, through the broker.
//!
//! ```text
//! offer      = R(32) ‖ possession(64) ‖ signature(64)
//! possession = by r over "SKB1/receive-key" ‖ context ‖ P
//! signature  = by d over "SKB1/receive-key" ‖ context ‖ R ‖ possession
//! ```
//!
//! The context is that of the run with all receivers, so an offer counts in one run only. The signature keeps
//! the broker from putting a key of its own into the place of a node's. The possession keeps a node from
//! showing a key that another has: two shares would be encrypted under one key, with one nonce.

use super::roster::Roster;
use super::schnorr::{self, SCHNORR_BYTES};
use super::{DkgError, DkgFault, ReceiveKey, StaticKey};
use crate::codec::Reader;
use crate::group::{POINT_BYTES, Point};
use crate::label;
use crate::secret;

/// Bytes of an offer.
pub const OFFER_BYTES: usize = POINT_BYTES + 2 * SCHNORR_BYTES;

impl Roster {
    /// What the node with this static key shows the others of its receive key. Deterministic: asked again,
    /// the same.
    ///
    /// # Errors
    /// [`DkgError::NoPart`] if the node gets no share in this run.
    pub fn offer(&self, key: &StaticKey, receive: &ReceiveKey) -> Result<[u8; OFFER_BYTES], DkgError> {
        self.receiver_index(key.public()).ok_or(DkgError::NoPart)?;
        Ok(secret::wiping(|| self.offer_unwiped(key, receive)))
    }

    fn offer_unwiped(&self, key: &StaticKey, receive: &ReceiveKey) -> [u8; OFFER_BYTES] {
        let public = receive.public().as_bytes();
        let possession = receive.sign(&[label::RECEIVE_KEY, &self.context, key.public().as_bytes()]);
        let signature = key.sign(&[label::RECEIVE_KEY, &self.context, public, &possession]);
        let offer = [public.as_slice(), &possession, &signature].concat();
        offer.try_into().expect("every field of an offer has a fixed length")
    }

    /// The receive keys of all receivers, whose offers stand in their order.
    pub(super) fn receive_keys(&self, offers: &[[u8; OFFER_BYTES]]) -> Result<Vec<Point>, DkgError> {
        if offers.len() > self.receivers.len() {
            return Err(DkgError::Count { found: offers.len(), expected: self.receivers.len() });
        }
        let mut keys = Vec::with_capacity(offers.len());
        for (index, receiver) in (1..).zip(&self.receivers) {
            let offer = offers.get(keys.len());
            let shown = offer.and_then(|offer| self.check(receiver, offer));
            // Nobody can prove to possess another's key; those who share one conspire.
            let is_own = |key: &Point| !keys.contains(key) && !self.knows(key);
            keys.push(shown.filter(is_own).ok_or(DkgFault::ReceiveKey.by(index))?);
        }
        Ok(keys)
    }

    fn check(&self, receiver: &Point, offer: &[u8; OFFER_BYTES]) -> Option<Point> {
        let mut reader = Reader::new(offer);
        let public = Point::decode(&reader.array().ok()?).ok()?;
        let (possession, signature) = (reader.array().ok()?, reader.array().ok()?);
        let possessed: [&[u8]; 3] = [label::RECEIVE_KEY, &self.context, receiver.as_bytes()];
        let signed: [&[u8]; 4] = [label::RECEIVE_KEY, &self.context, public.as_bytes(), &possession];
        let holds = schnorr::verifies(&public, &possessed, &possession)
            && schnorr::verifies(receiver, &signed, &signature);
        holds.then_some(public)
    }
}
