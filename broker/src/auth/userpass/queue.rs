//! Whose password is hashed next. A hash takes 19 MiB and some ten milliseconds of a processor, and anybody
//! may ask for one: so two run at once, the others wait, and those who wait are asked in turn, source by
//! source.
//!
//! Whoever sends a thousand guesses from one address waits behind himself. Somebody else is at most as many
//! hashes away as there are sources that wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_proto::source::Source;
use tokio::sync::oneshot;

use crate::error::{Busy, OpError, Text};

/// Hashes at once. Times the memory of one this is what passwords may take of the broker: 38 MiB, and 92 if
/// every hash had the highest cost that is accepted.
pub const AT_ONCE: usize = 2;
/// Requests of one source that wait; further ones are refused.
pub const WAITING_EACH_MAX: usize = 8;
/// Requests that wait in all. Beyond it the source with the most gives one up to a source with fewer.
pub const WAITING_MAX: usize = 64;

/// A source that has its share of the queue already.
const TOO_MANY: OpError = OpError::Busy(Busy::Source(Text::fixed(
    "too many passwords from this address wait to be checked; wait for an answer before the next attempt",
)));

/// Who waits, and how many hash.
#[derive(Default)]
pub struct Queue(Mutex<Line>);

#[derive(Default)]
struct Line {
    running: usize,
    /// The source whose turn is next stands first. None is without a request that waits.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    source: Source,
    requests: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to compute one hash. Dropping it gives it to whoever is next.
pub struct Turn(Arc<Queue>);

impl Queue {
    /// Waits for a turn.
    pub async fn turn(self: &Arc<Self>, source: Source) -> Result<Turn, OpError> {
        let waiting = {
            let mut line = self.line();
            line.forget_gone();
            if line.running < AT_ONCE {
                line.running += 1;
                return Ok(Turn(Arc::clone(self)));
            }
            line.join(source)?
        };
        waiting.await.map_err(|_| TOO_MANY) // it gave its place up
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.0.line().next();
        if let Some(next) = next {
            // Whoever has gone meanwhile drops the turn at once, and so passes it on.
            drop(next.send(Self(Arc::clone(&self.0))));
        }
    }
}

impl Line {
    fn join(&mut self, source: Source) -> Result<oneshot::Receiver<Turn>, OpError> {
        let own = self.waiting.iter().position(|other| other.source == source);
        let held = own.map_or(0, |own| self.waiting[own].requests.len());
        if held >= WAITING_EACH_MAX {
            return Err(TOO_MANY);
        }
        if self.waiting.iter().map(|other| other.requests.len()).sum::<usize>() >= WAITING_MAX {
            self.make_room(held)?;
        }
        let (turn, waits) = oneshot::channel();
        match own {
            Some(own) => self.waiting[own].requests.push_back(turn),
            None => self.waiting.push_back(Waiting { source, requests: VecDeque::from([turn]) }),
        }
        Ok(waits)
    }

    /// Takes the newest request away from the source that has the most, if that leaves it no fewer than the
    /// newcomer has then.
    fn make_room(&mut self, held: usize) -> Result<(), OpError> {
        let most = self.waiting.iter_mut().max_by_key(|other| other.requests.len());
        let richer = most.filter(|other| other.requests.len() > held + 1).ok_or(OpError::BUSY)?;
        drop(richer.requests.pop_back());
        Ok(())
    }

    /// Whose turn it is, or nobody's: then one hash fewer runs.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let Some(mut first) = self.waiting.pop_front() else {
            self.running -= 1;
            return None;
        };
        let next = first.requests.pop_front();
        if !first.requests.is_empty() {
            self.waiting.push_back(first);
        }
        next
    }

    /// Requests whose clients have gone keep no place.
    fn forget_gone(&mut self) {
        for other in &mut self.waiting {
            other.requests.retain(|request| !request.is_closed());
        }
        self.waiting.retain(|other| !other.requests.is_empty());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Waits = Pin<Box<dyn Future<Output = Result<Turn, OpError>>>>;

    fn source(text: &str) -> Source {
        Source::of(Some(text.parse().unwrap()))
    }

    fn poll(waits: &mut Waits) -> Poll<Result<Turn, OpError>> {
        waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A request that has been polled once.
    fn ask(queue: &Arc<Queue>, from: &str) -> (Waits, Poll<Result<Turn, OpError>>) {
        let (queue, source) = (Arc::clone(queue), source(from));
        let mut waits: Waits = Box::pin(async move { queue.turn(source).await });
        let first = poll(&mut waits);
        (waits, first)
    }

    fn take(queue: &Arc<Queue>, from: &str) -> Turn {
        match ask(queue, from).1 {
            Poll::Ready(turn) => turn.unwrap(),
            Poll::Pending => panic!("expected a turn at once"),
        }
    }

    fn wait(queue: &Arc<Queue>, from: &str) -> Waits {
        let (waits, first) = ask(queue, from);
        assert!(first.is_pending());
        waits
    }

    fn refusal(queue: &Arc<Queue>, from: &str) -> OpError {
        match ask(queue, from).1 {
            Poll::Ready(Err(error)) => error,
            Poll::Ready(Ok(_)) | Poll::Pending => panic!("expected a refusal"),
        }
    }

    fn full() -> (Arc<Queue>, Vec<Turn>) {
        let queue = Arc::new(Queue::default());
        let turns = (0..AT_ONCE).map(|_| take(&queue, "10.0.0.1")).collect();
        (queue, turns)
    }

    #[test]
    fn two_hash_at_once_and_the_others_wait() {
        let (queue, mut turns) = full();
        let mut third = wait(&queue, "10.0.0.2");
        turns.pop();
        let Poll::Ready(Ok(turn)) = poll(&mut third) else { panic!("expected the turn") };
        let mut fourth = wait(&queue, "10.0.0.3");
        drop(turn);
        assert!(poll(&mut fourth).is_ready());
    }

    #[test]
    fn a_source_with_many_requests_waits_behind_itself() {
        let (queue, mut turns) = full();
        let mut flood: Vec<Waits> = (0..WAITING_EACH_MAX).map(|_| wait(&queue, "10.0.0.1")).collect();
        let mut other = wait(&queue, "10.0.0.2");
        // One of the flood was first; the newcomer comes next, before the rest of it.
        turns.pop();
        let Poll::Ready(Ok(turn)) = poll(&mut flood[0]) else { panic!("expected the first to be first") };
        drop(turn);
        let Poll::Ready(Ok(turn)) = poll(&mut other) else { panic!("expected the other source") };
        drop(turn);
        assert!(poll(&mut flood[1]).is_ready());
    }

    #[test]
    fn one_source_has_so_many_places() {
        let (queue, turns) = full();
        let flood: Vec<Waits> = (0..WAITING_EACH_MAX).map(|_| wait(&queue, "2001:db8::1")).collect();
        assert_eq!(refusal(&queue, "2001:db8::2"), TOO_MANY); // of the same network
        drop(wait(&queue, "2001:db8:0:1::1"));
        drop((flood, turns));
        assert_eq!(queue.line().running, 0);
    }

    #[test]
    fn all_sources_together_have_so_many_places_and_share_them() {
        let (queue, turns) = full();
        let few = WAITING_MAX / WAITING_EACH_MAX;
        let mut waits: Vec<Waits> =
            (0..WAITING_MAX).map(|number| wait(&queue, &format!("10.0.1.{}", number % few))).collect();
        // Newcomers get places from those who have several, until everybody has one.
        for number in 0..WAITING_MAX - few {
            waits.push(wait(&queue, &format!("10.0.2.{number}")));
        }
        assert_eq!(queue.line().waiting.len(), WAITING_MAX);
        assert_eq!(refusal(&queue, "10.0.3.1"), OpError::BUSY);
        let given_up = waits[..WAITING_MAX].iter_mut().map(poll).filter(Poll::is_ready).count();
        assert_eq!(given_up, WAITING_MAX - few);
        drop((turns, waits));
        assert_eq!(queue.line().running, 0);
    }

    #[test]
    fn whoever_has_gone_keeps_neither_place_nor_turn() {
        let (queue, turns) = full();
        let gone: Vec<Waits> = (0..WAITING_EACH_MAX).map(|_| wait(&queue, "10.0.0.2")).collect();
        drop(gone);
        let mut one = wait(&queue, "10.0.0.2");
        let two = wait(&queue, "10.0.0.2");
        drop(turns);
        drop(two); // it had its turn, and never learnt of it
        assert!(poll(&mut one).is_ready());
        drop(one);
        assert_eq!(queue.line().running, 0);
    }
}
