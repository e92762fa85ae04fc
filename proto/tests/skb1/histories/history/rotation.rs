//! Moving secrets to a new key, and retiring the old one.

use std::collections::BTreeSet;

use super::super::Bug;
use super::super::node::{Ask, Reply};
use super::{Broken, History};

impl History {
    /// Moves one secret from the oldest key to the newest: the same KEK in a new capsule.
    pub(super) fn rewrap(&mut self) -> Result<(), Broken> {
        let newest = self.broker.newest().0;
        let old = self.broker.stored.iter().position(|stored| stored.capsule.key_epoch() != newest);
        let Some(which) = old else { return Ok(()) };
        let key_epoch = self.broker.stored[which].capsule.key_epoch();
        let share_epoch = self.broker.epochs[&key_epoch].share_epoch;
        let Some(kek) = self.open(which, key_epoch, share_epoch)? else { return Ok(()) };
        let context = self.broker.stored[which].context;
        self.broker.stored[which].capsule = self.broker.close(&context, &kek, &mut self.rng);
        self.tell(format!("secret {which} moved to key epoch {newest}"));
        Ok(())
    }

    pub(super) fn retire(&mut self) -> Result<(), Broken> {
        if self.broker.retiring.is_none() {
            let oldest = *self.broker.epochs.first_key_value().unwrap().0;
            let in_use = self.broker.stored.iter().any(|stored| stored.capsule.key_epoch() == oldest);
            let early = self.bug == Some(Bug::RetiredWhileInUse);
            let settled = self.broker.ceremony.is_none();
            if self.broker.epochs.len() < 2 || !settled || (in_use && !early) {
                return Ok(());
            }
            self.tell(format!("key epoch {oldest} retires"));
            self.broker.retiring = Some((oldest, BTreeSet::new()));
        }
        let (oldest, mut done) = self.broker.retiring.take().unwrap();
        for at in 0..self.nodes.len() {
            let node = self.nodes[at].card.card().node;
            if !done.contains(&node)
                && let Some(Reply::Done) = self.ask(at, Ask::Retire(oldest))?
            {
                done.insert(node);
            }
        }
        match done.len() == self.nodes.len() {
            true => drop(self.broker.epochs.remove(&oldest)),
            false => self.broker.retiring = Some((oldest, done)),
        }
        Ok(())
    }
}
