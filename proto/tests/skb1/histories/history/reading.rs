//! Reading a secret the real way.

use std::sync::Arc;

use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::Kek;
use symbolon_proto::evaluate::{self, Answer, VerifiedEvaluation};
use symbolon_proto::proposal::Proposal;

use super::super::node::{Ask, Reply};
use super::{Broken, History};

impl History {
    /// Reads one secret. Rule: what comes back is what was written, and below t willing nodes nothing does.
    pub(super) fn read_any(&mut self) -> Result<bool, Broken> {
        let which = self.pick(self.broker.stored.len());
        self.read(which)
    }

    pub(super) fn read(&mut self, which: usize) -> Result<bool, Broken> {
        let now = self.now;
        if self.broker.usable(now) && self.broker.cached.contains(&which) {
            return Ok(true);
        }
        let (key_epoch, share_epoch) = {
            let capsule = &self.broker.stored[which].capsule;
            (capsule.key_epoch(), self.broker.epochs[&capsule.key_epoch()].share_epoch)
        };
        let Some(kek) = self.open(which, key_epoch, share_epoch)? else { return Ok(false) };
        if !kek.same_as(&self.broker.stored[which].kek) {
            return Err(format!("secret {which} opened to something else"));
        }
        if self.broker.usable(now) {
            self.broker.cached.insert(which);
        }
        Ok(true)
    }

    /// The real way: blind, ask the members in some order, verify each, combine the first t, open.
    pub(super) fn open(
        &mut self,
        which: usize,
        key_epoch: u32,
        share_epoch: u32,
    ) -> Result<Option<Kek>, Broken> {
        let group = Arc::clone(&self.broker.epochs[&key_epoch].group);
        let threshold = self.broker.epochs[&key_epoch].key.threshold();
        let target = self.broker.target(key_epoch, share_epoch);
        let capsule = self.broker.stored[which].capsule.clone();
        let blinded = Blinded::blind(&[&capsule], target, &mut self.rng).unwrap();
        let frame = blinded.request().to_bytes();
        let mut answers: Vec<VerifiedEvaluation> = Vec::new();
        let first = self.below(u32::from(group.nodes()));
        for turn in 0..u32::from(group.nodes()) {
            let index = u16::try_from((first + turn) % u32::from(group.nodes())).unwrap() + 1;
            if answers.len() < usize::from(threshold) {
                answers.extend(self.evaluation(&group, index, key_epoch, &blinded, &frame)?);
            }
        }
        let willing = self.willing(&group);
        let Ok(mut shared) = blinded.finalize_threshold(&answers, threshold) else { return Ok(None) };
        if willing < usize::from(threshold) {
            return Err(format!("suspension: {willing} of {threshold} nodes willing, and a secret opened"));
        }
        let context = self.broker.stored[which].context;
        let opened = capsule.open(&context, &self.broker.keys.capsule, shared.pop().unwrap());
        opened.map(Some).map_err(|error| format!("secret {which} with {threshold} proven answers: {error}"))
    }

    pub(super) fn evaluation(
        &mut self,
        group: &Proposal,
        index: u16,
        key_epoch: u32,
        blinded: &Blinded,
        frame: &[u8],
    ) -> Result<Option<VerifiedEvaluation>, Broken> {
        let (at, holder) = (self.member(group, index), self.broker.holder());
        let ask = Ask::Evaluate(holder, frame.to_vec());
        let Some(Reply::Evaluated(answer)) = self.ask(at, ask)? else { return Ok(None) };
        let node = self.broker.epochs[&key_epoch].node(index);
        match evaluate::verify(blinded.request(), &answer, &holder, &node) {
            Ok(Answer::Evaluated(evaluation, lease)) => {
                self.note_lease(at, lease.standing());
                Ok(Some(evaluation))
            }
            // A refusal, or a stale answer: it names the node, and another is asked.
            Ok(Answer::Refused(_)) | Err(_) => Ok(None),
        }
    }

    pub(super) fn willing(&self, group: &Proposal) -> usize {
        let members = group.cards().iter().map(|card| &self.nodes[self.find(card.card().node)]);
        members.filter(|node| !node.disk.suspended).count()
    }
}
