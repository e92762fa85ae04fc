//! One history: a few nodes, a broker, a bad network, and a list of things that happen to them.

mod ceremonies;
mod network;
mod reading;
mod rotation;
mod rules;

use std::collections::BTreeMap;

use rand_core::Rng;
use symbolon_proto::dkg::RunKind;
use symbolon_proto::lease::Standing;

use super::Bug;
use super::algebra::Noted;
use super::broker::Broker;
use super::node::{Ask, Node, Reply};
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
