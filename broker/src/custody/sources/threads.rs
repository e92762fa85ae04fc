//! Calls of a vendor's library or a device, which may hang for as long as that or a network likes: on a
//! thread of their own, one at a time for each library or device, and waited for to a bound. A thread that
//! hangs ends with the process and keeps no shutdown waiting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use symbolon_proto::secret::wiping;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::SourceError;

/// Who calls which library or device. A call that hangs keeps its turn: no second one hangs beside it, so
/// there are no more threads than libraries and devices in the configuration.
static TURNS: Mutex<BTreeMap<PathBuf, Arc<Semaphore>>> = Mutex::new(BTreeMap::new());

fn turn(module: &Path) -> Arc<Semaphore> {
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| Arc::strong_count(turn) > 1);
    Arc::clone(turns.entry(module.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(1))))
}

/// Does `work` when its library or device is free. Whoever waits longer than `after`, for a turn and the
/// work, is told that it is silent.
pub(super) async fn on_thread<T: Send + 'static>(
    module: &Path,
    after: Duration,
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let all = turn(module);
    let done = async {
        let turn = Arc::clone(&all).acquire_owned().await.map_err(|_| ended())?;
        let (answer, wait) = oneshot::channel();
        let job = move || {
            let done = wiping(work);
            drop(turn);
            let _ = answer.send(done); // the caller may have gone away
        };
        Builder::new().name("source".to_owned()).spawn(job).map_err(|_| ended())?;
        wait.await.map_err(|_| ended())?
    };
    timeout(after, done).await.unwrap_or(Err(SourceError::Silent { after }))
}

fn ended() -> SourceError {
    SourceError::Unreachable("no thread could be had for it, or that ended early".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// On one worker, which goes on.
    #[tokio::test]
    async fn a_library_that_hangs_holds_one_thread_and_keeps_no_other_library_waiting() {
        static BEGUN: AtomicUsize = AtomicUsize::new(0);
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let (module, bound) = (Path::new("/test/hangs.so"), Duration::from_millis(50));
        let hung = on_thread(module, bound, move || {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            let _ = hangs.recv();
            Ok(())
        });
        assert!(matches!(hung.await, Err(SourceError::Silent { .. })));
        for _ in 0..3 {
            let next = on_thread(module, bound, || Ok(BEGUN.fetch_add(1, Ordering::SeqCst)));
            assert!(matches!(next.await, Err(SourceError::Silent { .. })));
        }
        assert_eq!(BEGUN.load(Ordering::SeqCst), 1);
        let long = Duration::from_secs(60);
        on_thread(Path::new("/test/other.so"), long, || Ok(())).await.unwrap();
        drop(release);
        on_thread(module, long, || Ok(())).await.unwrap();
    }

    /// What `spawn_blocking` would not do: a runtime waits for such threads.
    #[test]
    fn a_library_that_hangs_keeps_no_shutdown_waiting() {
        let (release, hangs) = std::sync::mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let hung = on_thread(Path::new("/test/shutdown.so"), Duration::from_millis(20), move || {
            let _ = hangs.recv();
            Ok(())
        });
        assert!(runtime.block_on(hung).is_err());
        drop(runtime);
        drop(release);
    }
}
