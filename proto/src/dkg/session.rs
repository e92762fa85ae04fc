//! What all participants of a run must agree on before it begins.

use sha2::{Digest, Sha512};

use super::run::{Dealers, Run, RunKind};
use super::{DkgError, GroupKey, SetupError};
use crate::group::Point;
use crate::label;
use crate::proposal::Proposal;

/// The name of the ciphersuite, part of every context and transcript.
pub(super) const CIPHERSUITE: &[u8] = b"COCKTAIL(Ristretto255, SHA-512)";

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

/// One run with its participants: who deals, who receives, under which context. Public; the same at every participant
/// and at the broker.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) kind: RunKind,
    pub(super) context: [u8; 64],
    pub(super) threshold: u16,
    pub(super) dealers: Vec<Dealer>,
    pub(super) receivers: Vec<Point>,
    pub(super) base: Option<GroupKey>,
    /// What the transcript says besides the messages.
    pub(super) extension: Vec<u8>,
}

impl Session {
    /// The session of `run`, in which `group` gets shares; `before` exactly for a refresh or a resharing.
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
        let session_id = [label::RUN, &run.to_bytes()].concat();
        Ok(Self {
            kind: run.kind,
            context: context(&session_id, &receivers),
            threshold: group.terms().threshold,
            dealers,
            receivers,
            base: before.map(|before| before.key.clone()),
            extension: extension(run, before.map(|before| before.key)),
        })
    }

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
        (1..).zip(&self.receivers).find_map(|(index, receiver)| (receiver == key).then_some(index))
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

/// SHA-512("COCKTAIL-DKG-CONTEXT" ‖ len(id) ‖ id ‖ len(suite) ‖ suite ‖ n ‖ P_1 … P_n): lengths in eight big-endian
/// bytes, n in four little-endian ones.
pub(super) fn context(session_id: &[u8], receivers: &[Point]) -> [u8; 64] {
    let mut hash = Sha512::new_with_prefix(label::COCKTAIL_CONTEXT);
    for field in [session_id, CIPHERSUITE] {
        hash.update(len64(field).to_be_bytes());
        hash.update(field);
    }
    hash.update(len32(receivers).to_le_bytes());
    for receiver in receivers {
        hash.update(receiver.as_bytes());
    }
    hash.finalize().into()
}

/// The run, and the commitments of the sharing before.
fn extension(run: &Run, base: Option<&GroupKey>) -> Vec<u8> {
    let mut extension = run.to_bytes().to_vec();
    for commitment in base.map_or(&[][..], GroupKey::commitments) {
        extension.extend(commitment.as_bytes());
    }
    extension
}

pub(super) fn len64(field: &[u8]) -> u64 {
    u64::try_from(field.len()).expect("fields of a run are bounded")
}

pub(super) fn len32<T>(items: &[T]) -> u32 {
    u32::try_from(items.len()).expect("at most 16 participants")
}
