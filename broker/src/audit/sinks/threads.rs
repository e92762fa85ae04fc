//! Work on files of this machine, which may hang for as long as a disk, a mount or a reader of a pipe likes:
//! on a thread, one at a time for each place, and waited for to a bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::SinkError;

/// Who works where. A thread that hangs keeps its turn, whatever becomes of the sink: no second one hangs
/// beside it, and none writes below it after a change of the configuration.
static TURNS: Mutex<BTreeMap<PathBuf, Arc<Semaphore>>> = Mutex::new(BTreeMap::new());

fn turn(place: &Path) -> Arc<Semaphore> {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    Arc::clone(turns.entry(place.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))))
}

/// Does `work` when its place is free. `what` says what did not happen `after` so long.
pub(super) async fn on_thread<T: Send + 'static>(
    place: &Path,
    (what, after): (&'static str, Duration),
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let broken = |error: &dyn std::fmt::Display| SinkError::Broken(error.to_string());
    let all = turn(place);
    let done = async {
        let turn = Arc::clone(&all).acquire_owned().await.map_err(|error| broken(&error))?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| broken(&error))?
    };
    timeout(after, done).await.unwrap_or(Err(SinkError::Silent { what, after }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// On one worker, which goes on.
    #[tokio::test]
    async fn work_that_hangs_is_given_up_and_no_second_thread_hangs_beside_it() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let place = Path::new("/test/hangs");
        let bound = ("end", Duration::from_millis(50));
        let hung = on_thread(place, bound, move || {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let _ = hangs.recv();
            Ok(())
        });
        assert!(matches!(hung.await, Err(SinkError::Silent { .. })));
        for _ in 0..3 {
            let next = on_thread(place, bound, || Ok(BEGUN.fetch_add(1, Ordering::SeqCst)));
            assert!(matches!(next.await, Err(SinkError::Silent { .. })));
        }
        assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
        on_thread(Path::new("/test/other"), bound, || Ok(())).await.unwrap();
        drop(release);
        on_thread(place, ("end", Duration::from_secs(60)), || Ok(())).await.unwrap();
    }
}
