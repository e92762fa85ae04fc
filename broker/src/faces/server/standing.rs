//! What a peer is taken for, and what it has of what is scarce.
//!
//! ```text
//! accepted ─ handshake ─┬─ strangers ─┬─ something was allowed ─ known
//!                       └─ operators ─┘
//! ```
//!
//! Nothing that a stranger holds is missing where known peers need it, and whoever operates the broker on its
//! own machine gets in when strangers fill their hall.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use symbolon_net::{Place, Places};
use symbolon_proto::source::Source;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Peer;
use super::limits::{HallLimits, ServerLimits};
use super::memory::{Memory, Share};

/// A body is there as bytes, as JSON, as a value, encrypted, and in a commit, not all at once.
const COPIES: usize = 4;
/// Between two looks for a place.
const LOOK: Duration = Duration::from_millis(20);

/// All that a server has to give.
pub(super) struct House {
    handshakes: Arc<Places<Source>>,
    strangers: Hall,
    operators: Hall,
    known: Hall,
    memory: Memory,
}

struct Hall {
    connections: Arc<Places<Source>>,
    requests: Arc<Places<Source>>,
    /// What waits has a head in memory.
    waiting: Arc<Places<Source>>,
}

impl Hall {
    fn new(limits: HallLimits, patience: Duration) -> Self {
        let places = |max| Places::new(max, patience);
        Self {
            connections: places(limits.connections_max),
            requests: places(limits.requests_max),
            waiting: places(limits.waiting_max),
        }
    }

    /// A place for a request, if there is one within a little while.
    async fn request(&self, source: Source, wait: Duration) -> Option<Place<Source>> {
        if let Some(place) = self.requests.take(source) {
            return Some(place);
        }
        let waiting = self.waiting.take(source)?;
        tokio::select! {
            place = take_within(wait, &self.requests, source) => place,
            () = waiting.lost() => None,
        }
    }
}

impl House {
    pub(super) fn new(limits: &ServerLimits) -> Arc<Self> {
        let hall = |of: HallLimits| Hall::new(of, limits.patience);
        Arc::new(Self {
            handshakes: Places::new(limits.handshakes_max, limits.patience),
            strangers: hall(limits.strangers),
            operators: hall(limits.operators),
            known: hall(limits.known),
            memory: Memory::new(limits.memory_bytes_max, limits.wait),
        })
    }

    fn hall(&self, kind: Kind) -> &Hall {
        match kind {
            Kind::Stranger => &self.strangers,
            Kind::Operator => &self.operators,
            Kind::Known => &self.known,
        }
    }

    /// A place for the handshake of a peer.
    pub(super) fn handshake(&self, peer: Peer) -> Option<Place<Source>> {
        self.handshakes.take(source(peer))
    }

    /// A place among those of whom nothing is known. Waits a little for one: many of one source may come at
    /// once, each of them for a moment.
    pub(super) async fn enter(self: &Arc<Self>, peer: Peer, wait: Duration) -> Option<Arc<Standing>> {
        let source = source(peer);
        let kind = if peer.ip().is_loopback() { Kind::Operator } else { Kind::Stranger };
        let place = Mutex::new((kind, take_within(wait, &self.hall(kind).connections, source).await?));
        Some(Arc::new(Standing { house: Arc::clone(self), source, place, moved: Notify::new() }))
    }
}

async fn take_within(wait: Duration, places: &Arc<Places<Source>>, source: Source) -> Option<Place<Source>> {
    let taken = async {
        loop {
            match places.take(source) {
                Some(place) => return place,
                None => sleep(LOOK).await,
            }
        }
    };
    timeout(wait, taken).await.ok()
}

fn source(peer: Peer) -> Source {
    Source::of(Some(peer.ip()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stranger,
    Operator,
    Known,
}

/// What the peer of one connection is taken for.
pub struct Standing {
    house: Arc<House>,
    source: Source,
    place: Mutex<(Kind, Place<Source>)>,
    moved: Notify,
}

impl Standing {
    /// Something was allowed on this connection, or will be: its token is a living one. From now on it is
    /// apart from strangers, if those who are known leave it a place.
    pub fn make_known(&self) {
        let mut place = self.place();
        if place.0 == Kind::Known {
            return;
        }
        if let Some(known) = self.house.known.connections.take(self.source) {
            *place = (Kind::Known, known);
            self.moved.notify_one();
        }
    }

    /// Waits until the connection has lost its place.
    pub(super) async fn lost(&self) {
        loop {
            let lost = self.place().1.lost();
            tokio::select! {
                () = lost => return,
                () = self.moved.notified() => {}
            }
        }
    }

    /// Begins a request, if there is a place for it within a little while.
    pub(super) async fn begin(self: &Arc<Self>, wait: Duration) -> Option<Arc<Ticket>> {
        let kind = self.place().0;
        let place = self.house.hall(kind).request(self.source, wait).await?;
        Some(Arc::new(Ticket { standing: Arc::clone(self), place, share: Mutex::default() }))
    }

    fn place(&self) -> MutexGuard<'_, (Kind, Place<Source>)> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way, until its answer is sent. Every request of a listener carries it as an extension.
pub struct Ticket {
    standing: Arc<Standing>,
    place: Place<Source>,
    share: Mutex<Option<Share>>,
}

impl Ticket {
    /// Something was allowed on its connection, or will be: it is apart from strangers from now on.
    pub fn make_known(&self) {
        self.standing.make_known();
    }

    /// Waits for memory for a body of so many bytes, and for what becomes of it. `false` if there is none.
    pub async fn reserve(&self, bytes: usize) -> bool {
        let Standing { house, source, .. } = &*self.standing;
        self.keep(house.memory.take(*source, bytes.saturating_mul(COPIES)).await)
    }

    /// Memory for an answer of so many bytes, in place of what the body had. `false` if there is none.
    pub(super) fn exchange(&self, bytes: usize) -> bool {
        let Standing { house, source, .. } = &*self.standing;
        drop(self.share().take());
        self.keep(house.memory.take_now(*source, bytes))
    }

    fn keep(&self, share: Option<Share>) -> bool {
        let is_there = share.is_some();
        *self.share() = share;
        is_there
    }

    /// Waits until the request has lost its place.
    pub(super) async fn lost(&self) {
        self.place.lost().await;
    }

    fn share(&self) -> MutexGuard<'_, Option<Share>> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
