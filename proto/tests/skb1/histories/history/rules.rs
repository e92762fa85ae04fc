//! What must hold after every step.

use symbolon_proto::blind::Blinded;
use symbolon_proto::evaluate::{self, Answer, RemoteKey};
use symbolon_proto::signing::SigningSeed;

use super::super::algebra::{Noted, are_worth, as_key, interpolate, subsets};
use super::super::broker::{Broker, Epoch};
use super::super::node::Node;
use super::super::own_answer;
use super::{Broken, History};
use crate::world::TestRng;

impl History {
    pub(super) fn check(&mut self) -> Result<(), Broken> {
        self.note_shares();
        let retiring = self.broker.retiring.as_ref().map(|(epoch, _)| *epoch);
        for (key_epoch, epoch) in &self.broker.epochs {
            if epoch.key.public() != epoch.first {
                return Err(format!("y of key epoch {key_epoch} has changed"));
            }
            if retiring != Some(*key_epoch) {
                self.check_sharing(*key_epoch, epoch)?;
            }
        }
        self.check_capsules()
    }

    /// Rules: any t healthy nodes are enough, fewer never are; shares of different epochs are worth nothing
    /// together; after all have acknowledged, older shares are gone.
    pub(super) fn check_sharing(&self, key_epoch: u32, epoch: &Epoch) -> Result<(), Broken> {
        let threshold = usize::from(epoch.key.threshold());
        let at = (key_epoch, epoch.share_epoch);
        let mut held = Vec::new();
        for (index, card) in (1..).zip(epoch.group.cards()) {
            let node = &self.nodes[self.find(card.card().node)];
            let Some(share) = node.disk.shares.get(&at) else {
                return Err(format!("any t healthy nodes: node {} lacks its share {at:?}", card.card().node));
            };
            held.push(Noted::of(index, &share.scalar));
        }
        let y = &epoch.first;
        if !subsets(&held, threshold).iter().all(|subset| are_worth(subset, y)) {
            return Err(format!("any t healthy nodes: some {threshold} shares of {at:?} are not the key"));
        }
        if threshold > 1 && subsets(&held, threshold - 1).iter().any(|subset| are_worth(subset, y)) {
            return Err(format!("fewer than t: {} shares of {at:?} are the key", threshold - 1));
        }
        self.check_mixed(key_epoch, epoch, &held)?;
        let old = |node: &Node| node.disk.shares.keys().any(|(of, share)| *of == key_epoch && *share < at.1);
        match epoch.unacknowledged.is_empty() && self.nodes.iter().any(old) {
            true => Err(format!("old shares: one of before {at:?} is still there after the acknowledgement")),
            false => Ok(()),
        }
    }

    /// A thief who got t−1 old shares before a refresh and one new one after it.
    pub(super) fn check_mixed(&self, key_epoch: u32, epoch: &Epoch, held: &[Noted]) -> Result<(), Broken> {
        let threshold = usize::from(epoch.key.threshold());
        for ((of, share_epoch), old) in &self.noted {
            if *of != key_epoch || *share_epoch == epoch.share_epoch || threshold < 2 {
                continue;
            }
            let old: Vec<_> = old.values().copied().collect();
            for mut mixed in subsets(&old, threshold - 1) {
                let other = held.iter().find(|share| mixed.iter().all(|old| old.index != share.index));
                mixed.extend(other);
                if mixed.len() == threshold && are_worth(&mixed, &epoch.first) {
                    return Err(format!(
                        "mixed epochs: {share_epoch} with {} are the key",
                        epoch.share_epoch
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every acknowledged secret can be opened: its key lives, and now and then one of them is opened.
    pub(super) fn check_capsules(&mut self) -> Result<(), Broken> {
        let orphan = self.broker.stored.iter().find(|stored| {
            let epoch = stored.capsule.key_epoch();
            let retiring = self.broker.retiring.as_ref().is_some_and(|(retiring, _)| *retiring == epoch);
            retiring || !self.broker.epochs.contains_key(&epoch)
        });
        if let Some(stored) = orphan {
            return Err(format!("a secret's key epoch {} is gone", stored.capsule.key_epoch()));
        }
        if !self.now.is_multiple_of(4) {
            return Ok(());
        }
        let which = self.pick(self.broker.stored.len());
        let stored = &self.broker.stored[which];
        let epoch = &self.broker.epochs[&stored.capsule.key_epoch()];
        let noted = &self.noted[&(stored.capsule.key_epoch(), epoch.share_epoch)];
        let enough: Vec<_> = noted.values().copied().take(usize::from(epoch.key.threshold())).collect();
        let key = as_key(interpolate(&enough)).unwrap();
        match opens(&self.broker, which, &key, &mut self.rng) {
            true => Ok(()),
            false => Err(format!("secret {which} does not open with the key itself")),
        }
    }

    pub(super) fn note_shares(&mut self) {
        for node in &self.nodes {
            for (epochs, share) in &node.disk.shares {
                let noted = Noted::of(share.index, &share.scalar);
                self.noted.entry(*epochs).or_default().insert(share.index, noted);
            }
        }
    }
}

/// Whether the key opens a stored capsule to what was written.
fn opens(broker: &Broker, which: usize, key: &RemoteKey, rng: &mut TestRng) -> bool {
    let stored = &broker.stored[which];
    let target = broker.target(stored.capsule.key_epoch(), 1);
    let blinded = Blinded::blind(&[&stored.capsule], target, rng).unwrap();
    let seed = SigningSeed::random(rng);
    let (node, answer) = own_answer(blinded.request(), &broker.holder(), key, &seed, rng);
    let Ok(Answer::Evaluated(evaluation, _)) =
        evaluate::verify(blinded.request(), &answer, &broker.holder(), &node)
    else {
        return false;
    };
    let shared = blinded.finalize(evaluation).unwrap().pop().unwrap();
    let opened = stored.capsule.open(&stored.context, &broker.keys.capsule, shared);
    opened.is_ok_and(|kek| kek.same_as(&stored.kek))
}
