//! Making, refreshing and passing on shares, one message at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use symbolon_proto::dkg::{Dealers, Run, RunKind};
use symbolon_proto::id::{NodeId, SessionId};
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use symbolon_proto::signing::SigningSeed;

use super::super::Bug;
use super::super::broker::{Ceremony, Epoch};
use super::super::node::{Ask, Offers, Reply, Setup};
use super::{Broken, History};
use crate::world::TestRng;

impl History {
    pub(super) fn group(
        &mut self,
        number: u32,
        previous: [u8; 32],
        threshold: u16,
        count: usize,
    ) -> Arc<Proposal> {
        let first = self.pick(self.nodes.len());
        let cards = (0..count).map(|turn| self.nodes[(first + turn) % self.nodes.len()].card).collect();
        let terms = ProposalTerms {
            deployment: self.broker.deployment,
            key: self.broker.key,
            broker: self.broker.id,
            broker_spki_sha256: [9; 32],
            broker_signing: SigningSeed::random(&mut TestRng::new(0)).public_key(),
            number,
            previous,
            threshold,
        };
        Arc::new(Proposal::new(terms, cards).unwrap())
    }

    pub(super) fn start(
        &mut self,
        kind: RunKind,
        key_epoch: u32,
        share_epoch: u32,
        group: Arc<Proposal>,
        before: Option<(Arc<Proposal>, symbolon_proto::dkg::GroupKey)>,
    ) {
        let dealers = match (&kind, &before) {
            (RunKind::Reshare, Some((old, key))) => self.some_dealers(old, key.threshold()),
            _ => Dealers::all(group.nodes()).unwrap(),
        };
        let run = Run {
            kind,
            session: SessionId::random(&mut self.rng),
            key: self.broker.key,
            key_epoch,
            share_epoch,
            group: group.id(),
            previous: before.as_ref().map_or([0; 32], |(group, _)| group.id()),
            base: before.as_ref().map_or([0; 32], |(_, key)| key.hash()),
            dealers,
        };
        self.tell(format!(
            "{kind:?} of key epoch {key_epoch}, share epoch {share_epoch}, {} of {}",
            group.terms().threshold,
            group.nodes()
        ));
        self.broker.ceremony = Some(Ceremony::new(Setup { run, group, before }));
    }

    /// Any t of the old nodes.
    pub(super) fn some_dealers(&mut self, old: &Proposal, threshold: u16) -> Dealers {
        let first = self.below(u32::from(old.nodes()));
        let index =
            |turn: u16| u16::try_from((first + u32::from(turn)) % u32::from(old.nodes())).unwrap() + 1;
        Dealers::new((0..threshold).map(index)).unwrap()
    }

    /// A refresh, a resharing or a new key, if nothing else is under way.
    pub(super) fn start_something(&mut self) -> Result<(), Broken> {
        // Now and then a ceremony that has not come to its commits is given up for another.
        let given_up = self.below(4) == 0;
        let busy = self.broker.ceremony.as_ref().is_some_and(|ceremony| ceremony.committing || !given_up);
        let acknowledged = self.broker.epochs.values().all(|epoch| epoch.unacknowledged.is_empty());
        if busy || !acknowledged || self.broker.retiring.is_some() {
            return Ok(());
        }
        let (key_epoch, epoch) = self.broker.newest();
        let (group, key, share_epoch) = (Arc::clone(&epoch.group), epoch.key.clone(), epoch.share_epoch + 1);
        match self.below(4) {
            0 if self.broker.epochs.len() == 1 => {
                self.start(RunKind::Generate, key_epoch + 1, 1, group, None)
            }
            1 if self.broker.epochs.len() == 1 => {
                let (threshold, count) = [(1, 2), (2, 2), (2, 3), (3, 3), (2, 4)][self.pick(5)];
                let number = group.terms().number + 1;
                let next = self.group(number, group.id(), threshold, count);
                self.start(RunKind::Reshare, key_epoch, share_epoch, next, Some((group, key)));
            }
            _ if key.threshold() >= 2 => {
                self.start(RunKind::Refresh, key_epoch, share_epoch, Arc::clone(&group), Some((group, key)));
            }
            _ => {}
        }
        Ok(())
    }

    /// One round over everything that is missing.
    pub(super) fn go_on(&mut self) -> Result<(), Broken> {
        self.acknowledge()?;
        let Some(mut ceremony) = self.broker.ceremony.take() else { return Ok(()) };
        let outcome = self.go_on_with(&mut ceremony);
        match outcome? {
            true => self.take_into_use(&ceremony),
            false => self.broker.ceremony = Some(ceremony),
        }
        Ok(())
    }

    /// Whether all have committed and the new shares were seen to work.
    pub(super) fn go_on_with(&mut self, ceremony: &mut Ceremony) -> Result<bool, Broken> {
        let setup = ceremony.setup.clone();
        let Some(offers) = self.gather_offers(ceremony)? else { return Ok(false) };
        for index in setup.run.dealers.iter() {
            if !ceremony.dealings.contains_key(&index) {
                let at = self.member(ceremony.dealing_group(), index);
                if let Some(Reply::Dealing(dealing)) =
                    self.ask(at, Ask::Deal(setup.clone(), offers.clone()))?
                {
                    ceremony.dealings.insert(index, dealing);
                }
            }
        }
        if ceremony.dealings.len() < usize::from(setup.run.dealers.count()) {
            return Ok(false);
        }
        let dealings: Vec<_> = ceremony.dealings.values().cloned().collect();
        for index in 1..=setup.group.nodes() {
            if ceremony.signatures.contains_key(&index) {
                continue;
            }
            let at = self.member(&setup.group, index);
            let ask = Ask::Receive(setup.clone(), offers.clone(), dealings.clone());
            if let Some(Reply::Signature(signature)) = self.ask(at, ask)? {
                ceremony.signatures.insert(index, signature);
            }
        }
        if ceremony.signatures.len() < usize::from(setup.group.nodes()) {
            return Ok(false);
        }
        let signatures: Vec<_> = ceremony.signatures.values().copied().collect();
        ceremony.committing = true;
        for index in 1..=setup.group.nodes() {
            if !ceremony.committed.contains(&index) {
                let at = self.member(&setup.group, index);
                // What is pending cannot be lost to messages of another run: nobody can receive that one any
                // more.
                if let Some(Reply::Done) = self.ask(at, Ask::Commit(setup.run, signatures.clone()))? {
                    ceremony.committed.insert(index);
                }
            }
        }
        let needed = match self.bug {
            Some(Bug::UsedBeforeAllCommitted) => setup.group.terms().threshold,
            _ => setup.group.nodes(),
        };
        Ok(ceremony.committed.len() >= usize::from(needed))
    }

    /// The receive keys, when all have shown theirs.
    pub(super) fn gather_offers(&mut self, ceremony: &mut Ceremony) -> Result<Option<Offers>, Broken> {
        let setup = ceremony.setup.clone();
        for index in 1..=setup.group.nodes() {
            if ceremony.offers.contains_key(&index) {
                continue;
            }
            let at = self.member(&setup.group, index);
            if let Some(Reply::Offer(offer)) = self.ask(at, Ask::Offer(setup.clone()))? {
                ceremony.offers.insert(index, offer);
            }
        }
        let all = ceremony.offers.len() == usize::from(setup.group.nodes());
        Ok(all.then(|| ceremony.offers.values().copied().collect()))
    }

    /// The new manifest. From here on the old shares are to be forgotten.
    pub(super) fn take_into_use(&mut self, ceremony: &Ceremony) {
        let setup = &ceremony.setup;
        let dealings: Vec<_> = ceremony.dealings.values().cloned().collect();
        let offers: Vec<_> = ceremony.offers.values().copied().collect();
        let key = setup.session(&offers).outcome(&dealings).unwrap().key;
        let old = setup.before.as_ref().map(|(group, _)| Arc::clone(group));
        let members =
            |group: &Proposal| group.cards().iter().map(|card| card.card().node).collect::<Vec<_>>();
        let mut unacknowledged: BTreeSet<NodeId> = members(&setup.group).into_iter().collect();
        unacknowledged.extend(old.iter().flat_map(|group| members(group)));
        let first =
            self.broker.epochs.get(&setup.run.key_epoch).map_or_else(|| key.public(), |epoch| epoch.first);
        let group = Arc::clone(&setup.group);
        let epoch = Epoch { group, key, share_epoch: setup.run.share_epoch, first, unacknowledged };
        self.broker.epochs.insert(setup.run.key_epoch, epoch);
        self.tell(format!("key epoch {} now at share epoch {}", setup.run.key_epoch, setup.run.share_epoch));
    }

    pub(super) fn acknowledge(&mut self) -> Result<(), Broken> {
        let waiting: Vec<_> = self
            .broker
            .epochs
            .iter()
            .flat_map(|(key_epoch, epoch)| {
                let ask = Ask::Acknowledge(*key_epoch, epoch.share_epoch, Arc::clone(&epoch.group));
                epoch.unacknowledged.iter().map(move |node| (*key_epoch, *node, ask.clone()))
            })
            .collect();
        for (key_epoch, node, ask) in waiting {
            if let Some(Reply::Done) = self.ask(self.find(node), ask)? {
                self.broker.epochs.get_mut(&key_epoch).unwrap().unacknowledged.remove(&node);
            }
        }
        Ok(())
    }

    /// On a perfect network, until nothing is left to do or it does not get better.
    pub(super) fn drive(&mut self) {
        for _ in 0..6 {
            drop(self.go_on());
        }
    }
}
