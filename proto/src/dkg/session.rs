//! A run in which every receiver has shown the key that its shares are sealed to.

use super::context::{context, session_id};
use super::offer::OFFER_BYTES;
use super::roster::{Dealer, Roster, index_of};
use super::run::{Run, RunKind};
use super::{DkgError, GroupKey};
use crate::group::Point;

/// One run with its participants: who deals, who receives with which key, under which context. Public; the
/// same at every participant and at the broker. Made by [`Roster::session`].
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) kind: RunKind,
    pub(super) context: [u8; 64],
    pub(super) threshold: u16,
    pub(super) dealers: Vec<Dealer>,
    /// P of each receiver: who it is.
    pub(super) receivers: Vec<Point>,
    /// R of each receiver: what its shares are sealed to.
    pub(super) receive_keys: Vec<Point>,
    pub(super) base: Option<GroupKey>,
    /// What the transcript says besides the messages.
    pub(super) extension: Vec<u8>,
}

impl Roster {
    /// The session in which shares are sealed to the keys of these offers, which stand in the order of the
    /// receivers. The keys are part of its context and of its transcript, so all who certify it have been
    /// shown the same.
    ///
    /// # Errors
    /// [`DkgError::Participant`] names the first receiver whose offer is missing, or is not one that it made
    /// for this run.
    pub fn session(&self, offers: &[[u8; OFFER_BYTES]]) -> Result<Session, DkgError> {
        let receive_keys = self.receive_keys(offers)?;
        Ok(Session {
            kind: self.run.kind,
            context: context(&session_id(&self.run, &receive_keys), &self.receivers),
            threshold: self.threshold,
            dealers: self.dealers.clone(),
            receivers: self.receivers.clone(),
            extension: extension(&self.run, &receive_keys, self.base.as_ref()),
            receive_keys,
            base: self.base.clone(),
        })
    }
}

impl Session {
    /// How many nodes deal.
    pub const fn dealers(&self) -> usize {
        self.dealers.len()
    }

    /// How many nodes get a share.
    pub const fn receivers(&self) -> usize {
        self.receivers.len()
    }

    /// The index under which the node with this static key receives a share, from 1.
    pub fn receiver_index(&self, key: &Point) -> Option<u16> {
        index_of(&self.receivers, key)
    }

    pub(super) fn dealer(&self, key: &Point) -> Option<&Dealer> {
        self.dealers.iter().find(|dealer| dealer.key == *key)
    }

    /// Whether dealt polynomials have no constant term.
    pub(super) const fn without_constant(&self) -> bool {
        matches!(self.kind, RunKind::Refresh)
    }

    /// How many commitments a dealing has: exactly as many, or a dealer could raise the threshold.
    pub(super) fn commitments(&self) -> usize {
        usize::from(self.threshold) - usize::from(self.without_constant())
    }
}

/// The run, the keys that shares are sealed to, and the commitments of the sharing before.
fn extension(run: &Run, receive_keys: &[Point], base: Option<&GroupKey>) -> Vec<u8> {
    let mut extension = run.to_bytes().to_vec();
    for point in receive_keys.iter().chain(base.map_or(&[][..], GroupKey::commitments)) {
        extension.extend(point.as_bytes());
    }
    extension
}
