//! Places that a server has for a moment: connections, handshakes, requests under way.
//!
//! Whoever comes when all are taken gets the place of somebody who holds more than his share: the oldest of
//! the holder with the most. If nobody has more, that one keeps it for a while and gives way afterwards. So
//! one peer, or a few, cannot keep the others out, whatever they do with what they hold.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Places that are shared among holders, for instance the sources of connections.
#[derive(Debug)]
pub struct Places<H> {
    max: usize,
    patience: Duration,
    taken: Mutex<Taken<H>>,
}

#[derive(Debug)]
struct Taken<H> {
    next: u64,
    count: usize,
    /// By holder; oldest first. No holder is without one.
    held: HashMap<H, BTreeMap<u64, Held>>,
}

#[derive(Debug)]
struct Held {
    since: Instant,
    leave: Arc<Notify>,
}

/// One place. Dropping it gives it back.
#[derive(Debug)]
pub struct Place<H: Clone + Eq + Hash> {
    of: Arc<Places<H>>,
    holder: H,
    number: u64,
    leave: Arc<Notify>,
}

impl<H: Clone + Eq + Hash> Places<H> {
    /// So many places. After `patience` a place can be taken away by a holder with as many.
    #[must_use]
    pub fn new(max: usize, patience: Duration) -> Arc<Self> {
        let taken = Taken { next: 0, count: 0, held: HashMap::new() };
        Arc::new(Self { max, patience, taken: Mutex::new(taken) })
    }

    /// A place, or `None` if all are taken by those who may keep them.
    pub fn take(self: &Arc<Self>, holder: H) -> Option<Place<H>> {
        let mut taken = self.taken();
        if taken.count >= self.max {
            let (other, number) = taken.who_gives_way(&holder, self.patience)?;
            taken.remove(&other, number)?.leave.notify_one();
        }
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        taken.count += 1;
        let held = Held { since: Instant::now(), leave: Arc::clone(&leave) };
        taken.held.entry(holder.clone()).or_default().insert(number, held);
        drop(taken);
        Some(Place { of: Arc::clone(self), holder, number, leave })
    }

    fn taken(&self) -> MutexGuard<'_, Taken<H>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Clone + Eq + Hash> Taken<H> {
    fn who_gives_way(&self, newcomer: &H, patience: Duration) -> Option<(H, u64)> {
        let first =
            |held: &BTreeMap<u64, Held>| held.first_key_value().map(|(number, held)| (*number, held.since));
        let richest = |(_, held): &(&H, &BTreeMap<u64, Held>)| {
            (held.len(), std::cmp::Reverse(first(held).map(|(number, _)| number)))
        };
        let (other, held) = self.held.iter().max_by_key(richest)?;
        let (number, since) = first(held)?;
        let own = self.held.get(newcomer).map_or(0, BTreeMap::len);
        let gives_way = held.len() > own + 1 || since.elapsed() >= patience;
        gives_way.then(|| (other.clone(), number))
    }

    fn remove(&mut self, holder: &H, number: u64) -> Option<Held> {
        let places = self.held.get_mut(holder)?;
        let held = places.remove(&number)?;
        if places.is_empty() {
            self.held.remove(holder);
        }
        self.count -= 1;
        Some(held)
    }
}

impl<H: Clone + Eq + Hash> Place<H> {
    /// Waits until somebody else has been given the place. Whoever holds it must then stop.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<H> {
        let leave = Arc::clone(&self.leave);
        async move { leave.notified().await }
    }
}

impl<H: Clone + Eq + Hash> Drop for Place<H> {
    fn drop(&mut self) {
        // A place that was lost is no longer there.
        drop(self.of.taken().remove(&self.holder, self.number));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn is_lost(place: &Place<char>) -> bool {
        tokio::time::timeout(Duration::from_millis(1), place.lost()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_the_most_gives_way_with_the_oldest() {
        let places = Places::new(4, PATIENCE);
        let greedy: Vec<_> = (0..4).map(|_| places.take('a').unwrap()).collect();
        assert!(places.take('a').is_none(), "one's own are no reason to take another's away");
        let other = places.take('b').unwrap();
        assert!(is_lost(&greedy[0]).await && !is_lost(&greedy[1]).await);
        let second = places.take('b').unwrap();
        assert!(is_lost(&greedy[1]).await);
        assert!(places.take('b').is_none(), "two and two is even");
        let third = places.take('c').unwrap();
        let left = [&greedy[2], &greedy[3], &other, &second];
        let mut lost = 0;
        for place in left {
            lost += usize::from(is_lost(place).await);
        }
        assert_eq!(lost, 1);
        drop((greedy, other, second, third));
        assert!((0..4).all(|_| places.take('a').map(std::mem::forget).is_some()), "all are given back");
    }

    #[tokio::test(start_paused = true)]
    async fn among_equals_those_give_way_who_have_been_there_long() {
        let places = Places::new(2, PATIENCE);
        let (first, second) = (places.take('a').unwrap(), places.take('b').unwrap());
        assert!(places.take('c').is_none());
        tokio::time::advance(PATIENCE).await;
        let third = places.take('c').unwrap();
        assert!(is_lost(&first).await && !is_lost(&second).await && !is_lost(&third).await);
    }

    #[tokio::test]
    async fn a_lost_place_that_is_given_back_frees_nothing() {
        let places = Places::new(2, PATIENCE);
        let lost = places.take('a').unwrap();
        let kept = places.take('a').unwrap();
        let other = places.take('b').unwrap();
        drop(lost);
        assert!(places.take('b').is_none());
        drop((kept, other));
    }
}
