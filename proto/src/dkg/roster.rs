//! What all participants of a run must agree on before it begins.

use super::context::{context, session_id};
use super::run::{Dealers, Run, RunKind};
use super::{DkgError, GroupKey, SetupError};
use crate::group::Point;
use crate::proposal::Proposal;

/// What there was before a refresh or a resharing.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// The group that has the shares; in a refresh the group itself.
    pub group: &'a Proposal,
    /// Its sharing of the key.
    pub key: &'a GroupKey,
}

/// A node that deals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dealer {
    /// Its index, in a resharing in the old group.
    pub(super) index: u16,
    /// Its P.
    pub(super) key: Point,
    /// Its y_i, in a resharing.
    pub(super) share: Option<Point>,
}

/// A run with its participants, before the receivers have shown their keys for it: who deals and who
/// receives. Public; the same at every participant and at the broker.
#[derive(Clone, Debug)]
pub struct Roster {
    pub(super) run: Run,
    /// Of what receivers sign before round 1.
    pub(super) context: [u8; 64],
    pub(super) threshold: u16,
    pub(super) dealers: Vec<Dealer>,
    /// P of each receiver.
    pub(super) receivers: Vec<Point>,
    pub(super) base: Option<GroupKey>,
}

impl Roster {
    /// The participants of `run`, in which `group` gets shares; `before` exactly for a refresh or a
    /// resharing.
    ///
    /// # Errors
    /// [`DkgError::Setup`] if any of them does not go with the run.
    pub fn new(run: &Run, group: &Proposal, before: Option<Before<'_>>) -> Result<Self, DkgError> {
        if group.id() != run.group || group.terms().key != run.key {
            return Err(DkgError::Setup(SetupError::Group));
        }
        check_before(run, group, before.as_ref()).map_err(DkgError::Setup)?;
        let dealers = match (run.kind, before) {
            (RunKind::Reshare, Some(before)) => resharing_dealers(run.dealers, before)?,
            _ => all_dealers(run.dealers, group)?,
        };
        let receivers: Vec<_> = group.cards().iter().map(|card| card.card().dkg).collect();
        Ok(Self {
            run: *run,
            context: context(&session_id(run, &[]), &receivers),
            threshold: group.terms().threshold,
            dealers,
            receivers,
            base: before.map(|before| before.key.clone()),
        })
    }

    /// The index under which the node with this static key receives a share, from 1.
    pub fn receiver_index(&self, key: &Point) -> Option<u16> {
        index_of(&self.receivers, key)
    }

    /// Whether this is the static key of a participant.
    pub(super) fn knows(&self, key: &Point) -> bool {
        self.receivers.contains(key) || self.dealers.iter().any(|dealer| dealer.key == *key)
    }
}

/// The place of a key among those of receivers, from 1.
pub(super) fn index_of(receivers: &[Point], key: &Point) -> Option<u16> {
    (1..).zip(receivers).find_map(|(index, receiver)| (receiver == key).then_some(index))
}

fn check_before(run: &Run, group: &Proposal, before: Option<&Before<'_>>) -> Result<(), SetupError> {
    let before = match (run.kind, before) {
        (RunKind::Generate, None) => return Ok(()),
        (RunKind::Generate, Some(_)) | (_, None) => return Err(SetupError::Previous),
        (_, Some(before)) => before,
    };
    if before.group.id() != run.previous {
        return Err(SetupError::Previous);
    }
    if !run.follows(before.key) || before.key.threshold() != before.group.terms().threshold {
        return Err(SetupError::Base);
    }
    match run.kind {
        RunKind::Reshare if !succeeds(group, before.group) => Err(SetupError::Previous),
        RunKind::Refresh if group.terms().threshold < 2 => Err(SetupError::Threshold),
        _ => Ok(()),
    }
}

/// Whether `group` is the one that follows `old`.
fn succeeds(group: &Proposal, old: &Proposal) -> bool {
    let (new, old_terms) = (group.terms(), old.terms());
    new.previous == old.id()
        && Some(new.number) == old_terms.number.checked_add(1)
        && (new.deployment, new.key) == (old_terms.deployment, old_terms.key)
}

fn all_dealers(dealers: Dealers, group: &Proposal) -> Result<Vec<Dealer>, DkgError> {
    if Dealers::all(group.nodes()) != Some(dealers) {
        return Err(DkgError::Setup(SetupError::Dealers));
    }
    let dealer = |(index, card): (u16, &crate::card::VerifiedCard)| Dealer {
        index,
        key: card.card().dkg,
        share: None,
    };
    Ok((1..).zip(group.cards()).map(dealer).collect())
}

/// Exactly t of the old nodes: any t determine the key, and everybody must take the same.
fn resharing_dealers(dealers: Dealers, before: Before<'_>) -> Result<Vec<Dealer>, DkgError> {
    if dealers.count() != before.key.threshold() {
        return Err(DkgError::Setup(SetupError::Dealers));
    }
    let dealer = |index| {
        let card = before.group.member(index).ok_or(DkgError::Setup(SetupError::Dealers))?;
        let share = before.key.share(index).ok_or(DkgError::Setup(SetupError::Base))?;
        Ok(Dealer { index, key: card.dkg, share: Some(*share.point()) })
    };
    dealers.iter().map(dealer).collect()
}
