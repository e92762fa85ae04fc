//! The one thread that works with long-lived keys (`docs/skb1.md` 12.2).
//!
//! Recombining a fragment, deriving keys, opening and re-wrapping capsules leave key schedules and half-made
//! values on the stack of whoever does it. Here that is always the same stack: small, locked, left out of
//! core dumps, and overwritten after every job. Callers hand over a closure that owns handles to secret
//! memory and wait for its result; no key byte crosses an await.
//!
//! Opening one record under a KEK and closing one new capsule take microseconds and are done where they are
//! needed; `proto` wipes the stack after both.

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use symbolon_proto::secret::{protect_stack, wiping_deep};
use tokio::sync::{Semaphore, oneshot};
use tracing::warn;

/// Jobs under way or waiting; more wait in their own task.
const JOBS_MAX: usize = 64;
/// Enough for a batch of 64 points and a share set of 16, with room; small enough to lock.
const STACK_BYTES: usize = 512 * 1024;

/// The thread is gone, which only a panic in a job can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread that works with keys has failed; restart the broker and report what its log says")]
pub struct CryptoGone;

type Job = Box<dyn FnOnce() + Send>;

struct Crypto {
    jobs: Option<SyncSender<Job>>,
    places: Semaphore,
}

/// One for the process, like the arena of secret pages: started with the first job, ends with the process.
static CRYPTO: LazyLock<Crypto> = LazyLock::new(start);

/// Runs `work` on the crypto thread and waits for what it gives. If the caller goes away the job is done all
/// the same.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CryptoGone> {
    let _place = CRYPTO.places.acquire().await.map_err(|_| CryptoGone)?;
    let (answer, wait) = oneshot::channel();
    let job: Job = Box::new(move || {
        let _ = answer.send(work()); // the caller may have gone away
    });
    hand_over(job)?;
    wait.await.map_err(|_| CryptoGone)
}

/// A place was taken first, so the queue cannot be full for longer than an abandoned job runs.
fn hand_over(job: Job) -> Result<(), CryptoGone> {
    let jobs = CRYPTO.jobs.as_ref().ok_or(CryptoGone)?;
    match jobs.try_send(job) {
        Ok(()) => Ok(()),
        Err(TrySendError::Full(job)) => jobs.send(job).map_err(|_| CryptoGone),
        Err(TrySendError::Disconnected(_)) => Err(CryptoGone),
    }
}

fn start() -> Crypto {
    let (jobs, queue) = sync_channel(JOBS_MAX);
    let builder = thread::Builder::new().name("symbolon-crypto".to_owned()).stack_size(STACK_BYTES);
    let started = builder.spawn(move || work_through(&queue));
    Crypto { jobs: started.is_ok().then_some(jobs), places: Semaphore::new(JOBS_MAX) }
}

fn work_through(queue: &Receiver<Job>) {
    if !protect_stack() {
        warn!(
            "the stack of the crypto thread could not be locked; raise RLIMIT_MEMLOCK. It is wiped after every job"
        );
    }
    while let Ok(job) = queue.recv() {
        wiping_deep(job);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::FileExt;

    use super::*;

    #[tokio::test]
    async fn jobs_run_on_one_named_thread_and_answer() {
        let name = || thread::current().name().map(str::to_owned);
        let (first, second) = tokio::join!(run(name), run(name));
        assert_eq!(first.unwrap().as_deref(), Some("symbolon-crypto"));
        assert_eq!(second.unwrap().as_deref(), Some("symbolon-crypto"));
    }

    #[tokio::test]
    async fn more_jobs_than_places_all_get_their_turn() {
        let jobs = (0..4 * JOBS_MAX).map(|number| tokio::spawn(run(move || number)));
        for (expected, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(job.await.unwrap().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn nothing_of_a_job_stays_on_the_stack() {
        let (address, during) = run(|| {
            let mut trace = [0x5a_u8; 4096];
            std::hint::black_box(&mut trace);
            let address = trace.as_ptr().addr();
            (address, traces(address))
        })
        .await
        .unwrap();
        run(|| ()).await.unwrap(); // begins when the wipe after the first job is done
        assert_eq!(during, 4096 / 16, "the trace is found while it is there");
        assert_eq!(traces(address), 0);
    }

    /// Pieces of the trace that lie at `address` in this process.
    fn traces(address: usize) -> usize {
        let mut found = [0; 4096];
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut found, address as u64).unwrap();
        found.chunks(16).filter(|piece| *piece == [0x5a; 16]).count()
    }
}
