//! Until when cached keys may be used: the signed words of the nodes, counted on this machine's boot clock.
//!
//! ```text
//! node 1 ──▶ ACTIVE until 12:40 ┐
//! node 2 ──▶ ACTIVE until 12:41 ├─▶ at least t of them hold until 12:40 ──▶ usable_until; fewer ──▶ flush
//! node 3 ──▶ SUSPENDED          ┘
//! ```
//!
//! A key is usable while at least t nodes have unexpired ACTIVE leases, so n − t + 1 nodes must refuse to cut
//! it off: one hostile node can neither cut off nor keep alive (`docs/skb1.md` 5). Whatever a node says
//! counts for that node only; this includes that a newer generation of this broker has registered.
//!
//! The end of a lease is the moment the question was sent plus the lease's ttl, on CLOCK_BOOTTIME: it counts
//! suspension and no operator can set it back. The wall clock can only shorten a lease, never lengthen it: if
//! it moves back, passes the end of the lease (a paused or restored machine, whose boot clock stood still),
//! or disagrees with the time in a signed lease by more than five minutes, that node's lease ends. Grace from
//! the manifest prolongs the use of cached keys beyond a lease that ran out, never beyond a word that is not
//! ACTIVE. Only a [`VerifiedLease`] gets in here, so an unsigned error can neither flush nor extend (6.6).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_core::clock::Now;
use symbolon_proto::id::NodeId;
use symbolon_proto::lease::VerifiedLease;
use symbolon_proto::manifest::Manifest;
use tokio::sync::watch;

mod node_lease;

pub use node_lease::CLOCK_DIFFERENCE_SECS_MAX;
use node_lease::Held;

/// What a lease, or the leases of t nodes, allow: one word for status pages. From best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseState {
    /// Cached keys may be used.
    Active,
    /// The lease ended and was not renewed; the manifest's grace lets cached keys live on for a while.
    Grace,
    /// No lease yet.
    Unknown,
    /// The lease ended and was not renewed.
    Expired,
    /// Our clock moved back, or disagrees with the remote's.
    Clock,
    /// The remote has suspended the key.
    Suspended,
    /// A newer generation of this broker has registered.
    Fenced,
    /// The remote has destroyed the key.
    Destroyed,
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Grace => "grace",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Clock => "clock",
            Self::Suspended => "suspended",
            Self::Fenced => "fenced",
            Self::Destroyed => "destroyed",
        })
    }
}

/// What one node's lease allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLease {
    /// The node's index in the manifest.
    pub index: u16,
    /// In one word.
    pub state: LeaseState,
    /// Milliseconds until it ends, without grace; 0 unless it is active.
    pub left_ms: u64,
}

/// The leases in force. Cheap to clone; all clones see the same.
#[derive(Clone, Debug)]
pub struct Leases {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    flush: watch::Sender<u64>,
}

#[derive(Debug)]
struct Table {
    threshold: usize,
    grace_ms: u64,
    seats: BTreeMap<u16, (NodeId, Held)>,
    /// Whether cached keys could be used when last asked. Losing that is what a flush follows.
    usable: bool,
    /// When at least t leases were last seen active, on the boot clock.
    last_active_ms: Option<u64>,
}

impl Default for Leases {
    /// Nobody's leases; a manifest says whose count.
    fn default() -> Self {
        let table =
            Table { threshold: 1, grace_ms: 0, seats: BTreeMap::new(), usable: false, last_active_ms: None };
        Self { shared: Arc::new(Shared { table: Mutex::new(table), flush: watch::Sender::new(0) }) }
    }
}

impl Leases {
    /// Counts the nodes of this manifest from now on, with its threshold and grace. Words of nodes that stay
    /// are kept.
    pub fn govern(&self, manifest: &Manifest) {
        let mut table = self.table();
        let mut before = std::mem::take(&mut table.seats);
        for node in &manifest.nodes {
            let kept = before.remove(&node.index).filter(|(id, _)| *id == node.node);
            table.seats.insert(node.index, kept.unwrap_or((node.node, Held::default())));
        }
        table.threshold = usize::from(manifest.threshold());
        table.grace_ms = u64::from(manifest.grace_secs) * 1000;
    }

    /// Takes over a lease that came with the answer to a question sent at `asked`. Older ones are ignored,
    /// and those of nodes that the manifest does not name.
    pub fn accept(&self, lease: &VerifiedLease, asked: Now, received: Now) {
        let mut table = self.table();
        if let Some((_, held)) = table.seats.get_mut(&lease.terms().node) {
            held.accept(lease, asked, received);
        }
        self.notice(&mut table, received);
    }

    /// Until when cached keys may be used, in milliseconds on the boot clock; 0 if not at all. Notices what
    /// time has done meanwhile, and signals a flush if too few leases are left.
    #[must_use]
    pub fn usable_until(&self, now: Now) -> u64 {
        self.at(now).usable_until()
    }

    /// What the leases allow together: the word of the t-th best node, since the t − 1 better ones do not
    /// suffice.
    #[must_use]
    pub fn state(&self, now: Now) -> LeaseState {
        self.at(now).state()
    }

    /// The same with the count, such as `active 3/3`; without it where there is one node.
    #[must_use]
    pub fn summary(&self, now: Now) -> String {
        let table = self.at(now);
        match table.seats.len() {
            0 | 1 => table.state().to_string(),
            nodes => format!("{} {}/{nodes}", table.state(), table.active()),
        }
    }

    /// Why keys may not be used, node by node; `None` while they may.
    #[must_use]
    pub fn missing(&self, now: Now) -> Option<String> {
        if matches!(self.at(now).state(), LeaseState::Active | LeaseState::Grace) {
            return None;
        }
        let nodes = self.nodes(now);
        let silent = nodes.iter().filter(|node| node.state != LeaseState::Active);
        let words: Vec<String> = match nodes.len() {
            0 | 1 => silent.map(|node| node.state.to_string()).collect(),
            _ => silent.map(|node| format!("node {} {}", node.index, node.state)).collect(),
        };
        Some(if words.is_empty() { LeaseState::Unknown.to_string() } else { words.join(", ") })
    }

    /// Each node's own lease, by index.
    #[must_use]
    pub fn nodes(&self, now: Now) -> Vec<NodeLease> {
        let table = self.at(now);
        let node = |(index, (_, held)): (&u16, &(NodeId, Held))| NodeLease {
            index: *index,
            state: held.state(),
            left_ms: held.left_ms(now),
        };
        table.seats.iter().map(node).collect()
    }

    /// The word of one node; unknown if the manifest does not name it.
    #[must_use]
    pub fn state_of(&self, index: u16, now: Now) -> LeaseState {
        self.at(now).seats.get(&index).map_or(LeaseState::Unknown, |(_, held)| held.state())
    }

    /// For how many milliseconds fewer than t leases have been active, counted from the first question about
    /// them.
    #[must_use]
    pub fn inactive_ms(&self, now: Now) -> u64 {
        let mut table = self.at(now);
        now.boot_ms.saturating_sub(*table.last_active_ms.get_or_insert(now.boot_ms))
    }

    /// Changes each time cached keys must be wiped, because fewer than t nodes allow their use any longer:
    /// suspension, destruction, fencing, expiry, a clock that lies.
    #[must_use]
    pub fn flushes(&self) -> watch::Receiver<u64> {
        self.shared.flush.subscribe()
    }

    /// The table as it is now.
    fn at(&self, now: Now) -> MutexGuard<'_, Table> {
        let mut table = self.table();
        self.notice(&mut table, now);
        table
    }

    fn notice(&self, table: &mut Table, now: Now) {
        let grace_ms = table.grace_ms;
        table.seats.values_mut().for_each(|(_, held)| held.notice(now, grace_ms));
        if table.active() >= table.threshold {
            table.last_active_ms = Some(now.boot_ms);
        }
        let usable = table.usable_until() > now.boot_ms;
        if std::mem::replace(&mut table.usable, usable) && !usable {
            self.shared.flush.send_modify(|count| *count += 1);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Nodes whose leases are active now.
    fn active(&self) -> usize {
        self.seats.values().filter(|(_, held)| held.state() == LeaseState::Active).count()
    }

    /// The t-th longest of all.
    fn usable_until(&self) -> u64 {
        let mut ends: Vec<u64> =
            self.seats.values().map(|(_, held)| held.usable_until(self.grace_ms)).collect();
        ends.sort_unstable_by(|a, b| b.cmp(a));
        ends.get(self.threshold.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The t-th best of all.
    fn state(&self) -> LeaseState {
        let mut states: Vec<LeaseState> = self.seats.values().map(|(_, held)| held.state()).collect();
        states.sort_unstable();
        states.get(self.threshold.saturating_sub(1)).copied().unwrap_or(LeaseState::Unknown)
    }
}

#[cfg(test)]
mod tests;
