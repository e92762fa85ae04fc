//! One history: a few nodes, a broker, a bad network, and a list of things that happen to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::Rng;
use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::Kek;
use symbolon_proto::dkg::{Dealers, Run, RunKind};
use symbolon_proto::evaluate::{self, Answer, RemoteKey, VerifiedEvaluation};
use symbolon_proto::id::{NodeId, SessionId};
use symbolon_proto::lease::Standing;
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use symbolon_proto::signing::SigningSeed;

use super::Bug;
use super::algebra::{Noted, are_worth, as_key, interpolate, subsets};
use super::broker::{Broker, Ceremony, Epoch};
use super::node::{Ask, Node, Offers, Reply, Setup};
use crate::world::TestRng;

const NODES: u8 = 4;
const STEPS: usize = 24;
/// Steps that a lease lasts.
const LEASE: u64 = 6;
/// Questions that may wait in the network.
const DELAYED_MAX: usize = 8;

/// What went wrong; the text begins with the rule that was broken.
pub type Broken = String;

pub struct History {
    rng: TestRng,
    bug: Option<Bug>,
    nodes: Vec<Node>,
    broker: Broker,
    now: u64,
    /// One message in so many is lost, doubled or delayed; `None` is a perfect network.
    noise: Option<u32>,
    /// Questions that arrive later than others that were asked after them.
    delayed: Vec<(usize, Ask)>,
    /// An answer to an earlier question, per node.
    stale: BTreeMap<usize, Vec<u8>>,
    /// Every share that there ever was, by key epoch and share epoch.
    noted: BTreeMap<(u32, u32), BTreeMap<u16, Noted>>,
    /// What happened, for whoever reads a failure.
    pub told: Vec<String>,
}

impl History {
    /// Everything that a seed makes happen.
    pub fn run(seed: u64, bug: Option<Bug>) -> Result<Self, (Broken, Vec<String>)> {
        let mut history = Self::new(seed, bug);
        match history.live() {
            Ok(()) => Ok(history),
            Err(broken) => Err((broken, history.told)),
        }
    }

    fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = TestRng::new(seed);
        let nodes = (1..=NODES).map(|number| Node::new(number, &mut rng)).collect();
        let broker = Broker::new(&mut rng);
        Self {
            rng,
            bug,
            nodes,
            broker,
            now: 0,
            noise: None,
            delayed: Vec::new(),
            stale: BTreeMap::new(),
            noted: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    fn live(&mut self) -> Result<(), Broken> {
        self.begin()?;
        self.noise = Some(3 + self.below(6));
        for _ in 0..STEPS {
            self.now += 1;
            self.step()?;
            self.check()?;
        }
        self.heal()
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.rng.next_u32() % bound
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(u32::try_from(count).unwrap())).unwrap()
    }

    /// Whether something happens that the network does to one message in [`Self::noise`].
    fn mishap(&mut self) -> bool {
        match self.noise {
            Some(noise) => self.below(noise) == 0,
            None => false,
        }
    }

    // ---- what happens

    /// A key, and a first secret.
    fn begin(&mut self) -> Result<(), Broken> {
        let (threshold, count) = [(1, 1), (1, 2), (2, 2), (2, 3), (2, 3), (3, 3), (2, 4)][self.pick(7)];
        let group = self.group(1, [0; 32], threshold, count);
        self.start(RunKind::Generate, 1, 1, group, None);
        self.drive();
        if self.broker.epochs.is_empty() {
            return Err("liveness: a perfect network, and no key".to_owned());
        }
        self.heartbeat()?;
        self.broker.write(&mut self.rng);
        Ok(())
    }

    fn step(&mut self) -> Result<(), Broken> {
        // Two keys at once are rare enough; what is to be done then is done eagerly.
        if self.broker.epochs.len() == 2 && self.below(2) == 0 {
            self.rewrap()?;
            return self.retire();
        }
        match self.below(24) {
            0 | 1 => self.write(),
            2..=4 => self.read_any().map(drop),
            5 | 6 => self.heartbeat(),
            7..=11 => self.go_on(),
            12..=14 => self.start_something(),
            15 | 16 => self.rewrap(),
            17 | 18 => self.retire(),
            19 => self.crash_or_restart(),
            20 => self.suspend_or_resume(),
            21 | 22 => self.late_arrivals(),
            _ => self.crash_broker(),
        }
    }

    fn crash_or_restart(&mut self) -> Result<(), Broken> {
        let at = self.pick(self.nodes.len());
        match self.nodes[at].up {
            true => self.nodes[at].crash(),
            false => self.nodes[at].up = true,
        }
        self.tell(format!("node {} up: {}", at + 1, self.nodes[at].up));
        Ok(())
    }

    fn suspend_or_resume(&mut self) -> Result<(), Broken> {
        let at = self.pick(self.nodes.len());
        self.nodes[at].disk.suspended = !self.nodes[at].disk.suspended;
        self.tell(format!("node {} suspended: {}", at + 1, self.nodes[at].disk.suspended));
        Ok(())
    }

    fn crash_broker(&mut self) -> Result<(), Broken> {
        self.broker.crash();
        self.tell("broker restarted".to_owned());
        Ok(())
    }

    fn late_arrivals(&mut self) -> Result<(), Broken> {
        for (at, ask) in std::mem::take(&mut self.delayed) {
            drop(self.deliver(at, ask)?);
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Broken> {
        let now = self.now;
        if self.broker.usable(now) {
            self.broker.write(&mut self.rng);
            self.tell(format!("secret {} written", self.broker.stored.len()));
        }
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<(), Broken> {
        for at in 0..self.nodes.len() {
            let holder = self.broker.holder();
            let Some(Reply::Lease(lease)) = self.ask(at, Ask::Hello(holder))? else { continue };
            let node = self.nodes[at].card.card();
            let entry = symbolon_proto::manifest::ManifestNode {
                index: 0,
                node: node.node,
                public: self.broker.newest().1.key.public(),
                signing: node.signing,
                spki_sha256: node.spki_sha256,
            };
            let verified =
                lease.verify(&holder, &entry).map_err(|error| format!("lease refused: {error}"))?;
            self.note_lease(at, verified.standing());
        }
        self.broker.usable(self.now);
        Ok(())
    }

    fn note_lease(&mut self, at: usize, standing: Standing) {
        let node = self.nodes[at].card.card().node;
        match standing {
            Standing::Active => self.broker.leases.insert(node, self.now + LEASE),
            _ => self.broker.leases.remove(&node),
        };
    }

    // ---- the network

    /// Asks and waits. `None` if the question, the answer or the node is lost, or if the node refuses.
    fn ask(&mut self, at: usize, ask: Ask) -> Result<Option<Reply>, Broken> {
        if self.mishap() {
            if self.delayed.len() < DELAYED_MAX {
                self.delayed.push((at, ask));
            }
            return Ok(None);
        }
        if self.mishap() {
            drop(self.deliver(at, ask.clone())?);
        }
        let reply = self.deliver(at, ask)?;
        if self.mishap() {
            return Ok(None);
        }
        match reply {
            // The network may hand over an answer to an earlier question instead.
            Some(Reply::Evaluated(frame)) => {
                let stale = self.stale.insert(at, frame.clone());
                Ok(Some(Reply::Evaluated(if self.mishap() { stale.unwrap_or(frame) } else { frame })))
            }
            other => Ok(other),
        }
    }

    /// A question reaches a node. Rule: refusal changes nothing.
    fn deliver(&mut self, at: usize, ask: Ask) -> Result<Option<Reply>, Broken> {
        let node = &mut self.nodes[at];
        if !node.up {
            return Ok(None);
        }
        let before = node.disk.digest();
        match node.handle(ask, self.bug, &mut self.rng) {
            Ok(reply) => Ok(Some(reply)),
            Err(_) if node.disk.digest() == before => Ok(None),
            Err(why) => Err(format!("no state change on refusal: node {} refused ({why})", at + 1)),
        }
    }

    fn find(&self, node: NodeId) -> usize {
        self.nodes.iter().position(|other| other.card.card().node == node).unwrap()
    }

    fn member(&self, group: &Proposal, index: u16) -> usize {
        self.find(group.member(index).unwrap().node)
    }

    // ---- reading

    /// Reads one secret. Rule: what comes back is what was written, and below t willing nodes nothing does.
    fn read_any(&mut self) -> Result<bool, Broken> {
        let which = self.pick(self.broker.stored.len());
        self.read(which)
    }

    fn read(&mut self, which: usize) -> Result<bool, Broken> {
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
    fn open(&mut self, which: usize, key_epoch: u32, share_epoch: u32) -> Result<Option<Kek>, Broken> {
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

    fn evaluation(
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

    fn willing(&self, group: &Proposal) -> usize {
        let members = group.cards().iter().map(|card| &self.nodes[self.find(card.card().node)]);
        members.filter(|node| !node.disk.suspended).count()
    }

    // ---- ceremonies

    fn group(&mut self, number: u32, previous: [u8; 32], threshold: u16, count: usize) -> Arc<Proposal> {
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

    fn start(
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
    fn some_dealers(&mut self, old: &Proposal, threshold: u16) -> Dealers {
        let first = self.below(u32::from(old.nodes()));
        let index =
            |turn: u16| u16::try_from((first + u32::from(turn)) % u32::from(old.nodes())).unwrap() + 1;
        Dealers::new((0..threshold).map(index)).unwrap()
    }

    /// A refresh, a resharing or a new key, if nothing else is under way.
    fn start_something(&mut self) -> Result<(), Broken> {
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
    fn go_on(&mut self) -> Result<(), Broken> {
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
    fn go_on_with(&mut self, ceremony: &mut Ceremony) -> Result<bool, Broken> {
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
    fn gather_offers(&mut self, ceremony: &mut Ceremony) -> Result<Option<Offers>, Broken> {
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
    fn take_into_use(&mut self, ceremony: &Ceremony) {
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

    fn acknowledge(&mut self) -> Result<(), Broken> {
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
    fn drive(&mut self) {
        for _ in 0..6 {
            drop(self.go_on());
        }
    }

    // ---- rotation

    /// Moves one secret from the oldest key to the newest: the same KEK in a new capsule.
    fn rewrap(&mut self) -> Result<(), Broken> {
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

    fn retire(&mut self) -> Result<(), Broken> {
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

    // ---- rules

    fn check(&mut self) -> Result<(), Broken> {
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
    fn check_sharing(&self, key_epoch: u32, epoch: &Epoch) -> Result<(), Broken> {
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
    fn check_mixed(&self, key_epoch: u32, epoch: &Epoch, held: &[Noted]) -> Result<(), Broken> {
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
    fn check_capsules(&mut self) -> Result<(), Broken> {
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

    fn note_shares(&mut self) {
        for node in &self.nodes {
            for (epochs, share) in &node.disk.shares {
                let noted = Noted::of(share.index, &share.scalar);
                self.noted.entry(*epochs).or_default().insert(share.index, noted);
            }
        }
    }

    /// Everything is repaired; then everything must be readable, by the real way.
    fn heal(&mut self) -> Result<(), Broken> {
        self.noise = None;
        self.delayed.clear();
        self.stale.clear();
        for node in &mut self.nodes {
            node.up = true;
            node.disk.suspended = false;
        }
        self.heartbeat()?;
        for _ in 0..4 {
            self.go_on()?;
        }
        self.check()?;
        self.broker.cached.clear();
        for which in 0..self.broker.stored.len() {
            if !self.read(which)? {
                return Err(format!("liveness: all is repaired, and secret {which} cannot be read"));
            }
        }
        match self.broker.epochs.values().all(|epoch| epoch.unacknowledged.is_empty()) {
            true => Ok(()),
            false => Err("liveness: all is repaired, and an acknowledgement is missing".to_owned()),
        }
    }

    fn tell(&mut self, what: String) {
        self.told.push(format!("{:>3}  {what}", self.now));
    }
}

/// Whether the key opens a stored capsule to what was written.
fn opens(broker: &Broker, which: usize, key: &RemoteKey, rng: &mut TestRng) -> bool {
    let stored = &broker.stored[which];
    let target = broker.target(stored.capsule.key_epoch(), 1);
    let blinded = Blinded::blind(&[&stored.capsule], target, rng).unwrap();
    let seed = SigningSeed::random(rng);
    let (node, answer) = super::own_answer(blinded.request(), &broker.holder(), key, &seed, rng);
    let Ok(Answer::Evaluated(evaluation, _)) =
        evaluate::verify(blinded.request(), &answer, &broker.holder(), &node)
    else {
        return false;
    };
    let shared = blinded.finalize(evaluation).unwrap().pop().unwrap();
    let opened = stored.capsule.open(&stored.context, &broker.keys.capsule, shared);
    opened.is_ok_and(|kek| kek.same_as(&stored.kek))
}
