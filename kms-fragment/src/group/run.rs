//! The three rounds that make, refresh or pass on shares, and the acknowledgement that ends them. The keys
//! that shares are sealed to in round 1 are made in `receive_key.rs`.
//!
//! Nothing is kept in memory between rounds: what counts is on disk before anybody is told of it, so a crash
//! anywhere leaves a node that can be asked the same again. A share is in use from round 3 on; the one before
//! it stays beside it until the broker acknowledges that the new ones work.

use std::sync::Arc;

use symbolon_proto::dkg::{
    Before, CertifiedShare, DkgError, GroupKey, OFFER_BYTES, Roster, Run, RunKind, SCHNORR_BYTES,
};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{Base, GroupRefusal, GroupReply, Status};
use symbolon_proto::manifest::Manifest;
use symbolon_proto::proposal::Proposal;

use super::manifest::announced;
use super::state::{Received, RunState, check_same, hash_dealings, share_of};
use super::{Step, busy, group_row, status_of};
use crate::epochs::{Next, check_new_epoch};
use crate::peer::Peer;
use crate::state::{Live, Service};
use crate::tables::{Epoch, Group, Key, KeyState, ShareId, Sharing};

/// A run that goes with what is held here.
pub(super) struct Prepared {
    pub(super) roster: Roster,
    /// Our share until now, if we have one in this run.
    share: Option<Arc<RemoteKey>>,
}

impl Service {
    pub(super) fn deal(
        &self,
        peer: &Peer,
        run: &Run,
        base: Option<&Base>,
        offers: &[[u8; OFFER_BYTES]],
    ) -> Step {
        let mut live = self.live();
        self.allow(&live, peer, run.key)?;
        if let Some(state) = self.state_of(run)? {
            check_same(&state.offers, offers)?;
            return match state.dealing.is_empty() {
                true => Err(Status::Disagrees.into()),
                false => Ok(GroupReply::Dealing(state.dealing)),
            };
        }
        let Prepared { roster, share } = self.prepare(&live, run, base)?;
        let session = roster.session(offers)?;
        self.offered_key(&roster, run, offers)?;
        let dealing = session.deal(&self.identity.dkg, share.as_deref(), &mut crate::rng::os_rng())?;
        self.spend_other(&mut live, run)?;
        let state = RunState { run: *run, offers: offers.to_vec(), dealing, received: None };
        self.write_run(&state)?;
        Ok(GroupReply::Dealing(state.dealing))
    }

    pub(super) fn verify(
        &self,
        peer: &Peer,
        run: &Run,
        base: Option<&Base>,
        (offers, dealings): (&[[u8; OFFER_BYTES]], &[Vec<u8>]),
    ) -> Step {
        let mut live = self.live();
        self.allow(&live, peer, run.key)?;
        let state = self.state_of(run)?;
        state.as_ref().map_or(Ok(()), |state| check_same(&state.offers, offers))?;
        let hash = hash_dealings(dealings);
        if let Some(received) = state.as_ref().and_then(|state| state.received.as_ref()) {
            if received.dealings != hash {
                return Err(Status::Disagrees.into());
            }
            // A crash may have come between.
            self.forget_receive_key(run)?;
            return Ok(GroupReply::Certified(*received.pending.signature()));
        }
        let Prepared { roster, share } = self.prepare(&live, run, base)?;
        let session = roster.session(offers)?;
        let key = self.offered_key(&roster, run, offers)?.ok_or(Status::Disagrees)?;
        let dealing = state.map(|state| state.dealing).unwrap_or_default();
        if !dealing.is_empty() && !dealings.contains(&dealing) {
            return Err(Status::Disagrees.into());
        }
        let pending = session.receive(&self.identity.dkg, &key, share.as_deref(), dealings)?;
        let signature = *pending.signature();
        self.spend_other(&mut live, run)?;
        let received = Some(Received { dealings: hash, pending });
        self.write_run(&RunState { run: *run, offers: offers.to_vec(), dealing, received })?;
        // From here on nobody can open the dealings.
        self.forget_receive_key(run)?;
        Ok(GroupReply::Certified(signature))
    }

    pub(super) fn commit(&self, peer: &Peer, run: &Run, signatures: &[[u8; SCHNORR_BYTES]]) -> Step {
        let mut live = self.live();
        self.allow(&live, peer, run.key)?;
        let share = share_of(run);
        if is_committed(&live, run) {
            self.erase_receive_key(&share)?;
            return self.prove(&live, &share).map(GroupReply::Committed);
        }
        let state = self.state_of(run)?.ok_or(Status::UnknownRun)?;
        let received = state.received.ok_or(Status::UnknownRun)?;
        // What is held may have changed since round 2, for example by an order to destroy.
        let row = live.tables.keys.get(&run.key).ok_or(Status::UnknownKey)?;
        check_state(row)?;
        check_past(&live, row.group.as_ref().ok_or(Status::Disagrees)?, run)?;
        let certified = received.pending.finish(signatures)?;
        let mut tables = live.tables.clone();
        admit_share(group_row(&mut tables, run.key)?, run, &certified)?;
        self.write_key(&share, &certified.share).map_err(|error| busy(&error))?;
        self.keep(&mut live, tables)?;
        live.keys.insert(share, Arc::new(certified.share));
        self.erase_receive_key(&share)?;
        tracing::info!(key = %run.key, run.key_epoch, run.share_epoch, "a share is in use");
        self.prove(&live, &share).map(GroupReply::Committed)
    }

    /// The new shares work everywhere: erases those of earlier share epochs, and what is left of the run.
    pub(super) fn acknowledge(&self, peer: &Peer, share: &ShareId) -> Step {
        let mut live = self.live();
        self.allow(&live, peer, share.key)?;
        let mut tables = live.tables.clone();
        let row = group_row(&mut tables, share.key)?;
        // An order to destroy decides what is erased, and when.
        check_state(row)?;
        if !may_forget(row, share) {
            return Err(Status::Disagrees.into());
        }
        forget_before(row, share);
        if tables != live.tables {
            self.keep(&mut live, tables)?;
        }
        let is_old =
            |held: &ShareId| held.key_epoch == share.key_epoch && held.share_epoch < share.share_epoch;
        live.keys.retain(|held, _| held.key != share.key || !is_old(held));
        self.erase_before(share).map_err(|error| busy(&error))?;
        Ok(GroupReply::Done)
    }

    /// Erases every file of earlier share epochs, those that a crash left behind included, and the run of
    /// this one.
    fn erase_before(&self, share: &ShareId) -> Result<(), crate::disk::DiskError> {
        let is_old = |share_epoch: u32| share_epoch < share.share_epoch;
        let first = ShareId { share_epoch: 1, ..*share };
        if is_old(1) {
            self.dir.erase(&first.file())?;
        }
        let prefix = format!("{}-{}-", share.key, share.key_epoch);
        for name in self.dir.list("keys")? {
            let Some(rest) = name.strip_prefix(&prefix) else { continue };
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            if number.parse().is_ok_and(is_old) {
                self.dir.erase(&format!("keys/{name}"))?;
            }
        }
        self.dir.erase(&share.receive_file())?;
        self.dir.erase(&share.run_file())
    }

    /// What is on disk of exactly this run. Another session for the same share may be replaced until it is
    /// committed.
    pub(super) fn state_of(&self, run: &Run) -> Result<Option<RunState>, Status> {
        Ok(self.read_run(&share_of(run))?.filter(|state| state.run == *run))
    }

    /// Another run takes the place of one whose share was certified here: that one must never be finished.
    /// Otherwise a broker could bring different runs to their ends at different nodes.
    fn spend_other(&self, live: &mut Live, run: &Run) -> Result<(), Status> {
        let other = self.read_run(&share_of(run))?.filter(|state| state.run != *run);
        let Some(other) = other.filter(|state| state.received.is_some()) else { return Ok(()) };
        if other.run.session == run.session {
            return Err(Status::OtherRun);
        }
        let mut tables = live.tables.clone();
        let row = group_row(&mut tables, run.key)?;
        row.group.iter_mut().for_each(|group| group.spend(other.run.session));
        self.keep(live, tables)
    }

    pub(super) fn prepare(
        &self,
        live: &Live,
        run: &Run,
        base: Option<&Base>,
    ) -> Result<Prepared, GroupRefusal> {
        let row = live.tables.keys.get(&run.key).ok_or(Status::UnknownKey)?;
        check_state(row)?;
        let group = row.group.as_ref().ok_or(Status::Disagrees)?;
        check_past(live, group, run)?;
        let proposal = group.proposal(&run.group).ok_or(Status::NotApproved)?;
        if run.kind == RunKind::Generate {
            check_generate(row, run, proposal)?;
            return Ok(Prepared { roster: Roster::new(run, proposal, None)?, share: None });
        }
        let held = check_renewal(row, run)?;
        let told = match base {
            Some(base) if run.kind == RunKind::Reshare => {
                Some((Proposal::parse(&base.group).map_err(|_| Status::Malformed)?, base.key.clone()))
            }
            _ => None,
        };
        let own = held
            .and_then(|(_, sharing)| Some((group.proposal(&sharing.group)?.clone(), sharing.key.clone())));
        let before = pick_base(own, told)?;
        let roster = Roster::new(run, proposal, Some(Before { group: &before.0, key: &before.1 }))?;
        let share = held.and_then(|(id, _)| live.keys.get(&id).map(Arc::clone));
        Ok(Prepared { roster, share })
    }
}

/// What is known here goes before what is told; both must be the same.
fn pick_base(
    own: Option<(Proposal, GroupKey)>,
    told: Option<(Proposal, GroupKey)>,
) -> Result<(Proposal, GroupKey), Status> {
    match (own, told) {
        (Some(own), Some(told)) if own != told => Err(Status::Disagrees),
        (Some(own), _) => Ok(own),
        (None, Some(told)) => Ok(told),
        (None, None) => Err(Status::Disagrees),
    }
}

/// Whether the run may make its share here: not one that was erased, destroyed or passed on, and not in a
/// session that was given up.
fn check_past(live: &Live, group: &Group, run: &Run) -> Result<(), Status> {
    if group.is_past(run.key_epoch, run.share_epoch) || live.tombstones.cover(&share_of(run)) {
        return Err(Status::WrongShareEpoch);
    }
    if group.spent.contains(&run.session) { Err(Status::OtherRun) } else { Ok(()) }
}

fn check_state(row: &Key) -> Result<(), Status> {
    match row.state {
        KeyState::Active => Ok(()),
        KeyState::Suspended | KeyState::PendingDestroy => Err(Status::Suspended),
        KeyState::Destroyed => Err(Status::Destroyed),
    }
}

/// A new key epoch: the next one, by the newest group.
fn check_generate(row: &Key, run: &Run, proposal: &Proposal) -> Result<(), Status> {
    let is_newest = row.group.as_ref().and_then(|group| group.proposals.last()) == Some(proposal);
    // Only the first group begins a key; a later one is given it.
    if run.key_epoch == 1 && proposal.terms().number > 1 {
        return Err(Status::Disagrees);
    }
    match check_new_epoch(row, run.key_epoch) {
        Ok(Next::Make) if is_newest => Ok(()),
        Ok(_) => Err(Status::Disagrees),
        Err(error) => Err(status_of(&error)),
    }
}

/// A new share epoch of a living key epoch: the next one, and only if none is unacknowledged. Gives our share
/// until now; a node that is new has none.
fn check_renewal<'a>(row: &'a Key, run: &Run) -> Result<Option<(ShareId, &'a Sharing)>, Status> {
    let Some(epoch) = row.epoch(run.key_epoch) else {
        return match run.kind {
            RunKind::Reshare => Ok(None),
            RunKind::Generate | RunKind::Refresh => Err(Status::WrongKeyEpoch),
        };
    };
    if !epoch.is_living() || epoch.share_epochs.len() != 1 {
        return Err(Status::OtherRun);
    }
    if epoch.share_epoch().checked_add(1) != Some(run.share_epoch) {
        return Err(Status::WrongShareEpoch);
    }
    let id = ShareId { share_epoch: epoch.share_epoch(), ..share_of(run) };
    let sharing = row.sharing(id.key_epoch, id.share_epoch).ok_or(Status::Disagrees)?;
    Ok(Some((id, sharing)))
}

fn is_committed(live: &Live, run: &Run) -> bool {
    let row = live.tables.keys.get(&run.key);
    let sharing = row.and_then(|row| row.sharing(run.key_epoch, run.share_epoch));
    sharing.is_some_and(|sharing| sharing.run == run.id())
}

/// Puts a certified share into its row.
fn admit_share(row: &mut Key, run: &Run, certified: &CertifiedShare) -> Result<(), GroupRefusal> {
    if row.sharing(run.key_epoch, run.share_epoch).is_some() {
        return Err(Status::OtherRun.into());
    }
    if let Some(epoch) = row.epoch_mut(run.key_epoch) {
        let follows =
            epoch.share_epochs.len() == 1 && epoch.share_epoch().checked_add(1) == Some(run.share_epoch);
        if !follows || !epoch.is_living() {
            return Err(Status::OtherRun.into());
        }
        epoch.share_epochs.push(run.share_epoch);
    } else {
        // Older epochs may reach a node that has just joined after newer ones.
        row.epochs.push(Epoch { share_epochs: vec![run.share_epoch], ..Epoch::new(run.key_epoch) });
        row.epochs.sort_by_key(|epoch| epoch.key_epoch);
    }
    let group = row.group.as_mut().ok_or(DkgError::NoPart)?;
    let (index, key) = (certified.index, certified.key.clone());
    let sharing = Sharing { run: run.id(), group: run.group, index, key };
    group.sharings.insert((run.key_epoch, run.share_epoch), sharing);
    Ok(())
}

/// Takes share epochs before this one out of a row, for good.
fn forget_before(row: &mut Key, share: &ShareId) {
    let is_held = row.sharing(share.key_epoch, share.share_epoch).is_some();
    let floor = if is_held { share.share_epoch.saturating_sub(1) } else { share.share_epoch };
    // A node that has left has no epoch any more when it is asked again.
    if let Some(epoch) = row.epoch_mut(share.key_epoch) {
        epoch.share_epochs.retain(|held| *held >= share.share_epoch);
    }
    row.epochs.retain(|epoch| !epoch.share_epochs.is_empty());
    if let Some(group) = &mut row.group {
        group.raise_floor(share.key_epoch, floor);
        group
            .sharings
            .retain(|(key_epoch, held), _| *key_epoch != share.key_epoch || *held >= share.share_epoch);
    }
}

/// Whether shares before this one may be erased: the stored manifest, signed by all of a group that the
/// operator approved, names this one, and it is of the key that we have a share of. A node that has erased
/// its share is told so again.
fn may_forget(row: &Key, share: &ShareId) -> bool {
    let names = |manifest: &Manifest| {
        (manifest.key_epoch, manifest.share_epoch) == (share.key_epoch, share.share_epoch)
    };
    let is_known = row.group.as_ref().is_some_and(|group| {
        group.is_past(share.key_epoch, share.share_epoch)
            || group.sharings.keys().any(|(key_epoch, _)| *key_epoch == share.key_epoch)
    });
    is_known && announced(row).as_ref().is_some_and(names)
}
