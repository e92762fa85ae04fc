//! Memory that requests of known peers share: bodies under way and answers that are not sent yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use symbolon_proto::source::Source;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What one source may have of it: this part. Further requests of it wait for its own ones.
const PART_OF_SOURCE: usize = 4;

/// Memory of all, and what each source may have of it. In bytes.
#[derive(Debug)]
pub struct Memory {
    all: Arc<Semaphore>,
    each_bytes_max: usize,
    wait: Duration,
    /// Sources that have some. Those that have none are forgotten when another one comes.
    sources: Mutex<HashMap<Source, Arc<Semaphore>>>,
}

/// Memory that somebody has. Dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    _of_source: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Memory {
    /// So many bytes. Whoever finds none waits so long for some.
    #[must_use]
    pub fn new(bytes_max: usize, wait: Duration) -> Self {
        let each_bytes_max = (bytes_max / PART_OF_SOURCE).max(1);
        Self { all: Arc::new(Semaphore::new(bytes_max)), each_bytes_max, wait, sources: Mutex::default() }
    }

    /// Waits for so many bytes, or for the part of a source if that is less: larger ones come alone.
    pub async fn take(&self, source: Source, bytes: usize) -> Option<Share> {
        let bytes = u32::try_from(bytes.min(self.each_bytes_max)).ok()?;
        let (own, all) = (self.of(source), Arc::clone(&self.all));
        // The own part first: whoever waits for it holds nothing that others need.
        let both = async move {
            let of_source = own.acquire_many_owned(bytes).await.ok()?;
            Some(Share { _of_source: of_source, _of_all: all.acquire_many_owned(bytes).await.ok()? })
        };
        timeout(self.wait, both).await.ok().flatten()
    }

    /// The same without waiting, for what is in memory already.
    pub fn take_now(&self, source: Source, bytes: usize) -> Option<Share> {
        let bytes = u32::try_from(bytes.min(self.each_bytes_max)).ok()?;
        let of_source = self.of(source).try_acquire_many_owned(bytes).ok()?;
        Some(Share {
            _of_source: of_source,
            _of_all: Arc::clone(&self.all).try_acquire_many_owned(bytes).ok()?,
        })
    }

    fn of(&self, source: Source) -> Arc<Semaphore> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if !sources.contains_key(&source) {
            sources.retain(|_, own| Arc::strong_count(own) > 1);
        }
        Arc::clone(sources.entry(source).or_insert_with(|| Arc::new(Semaphore::new(self.each_bytes_max))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn source(last: u8) -> Source {
        Source::of(Some([192, 0, 2, last].into()))
    }

    #[tokio::test]
    async fn a_source_waits_for_itself_and_all_for_all() {
        let memory = Memory::new(400, Duration::from_millis(20));
        let first = memory.take(source(1), 60).await.unwrap();
        assert!(memory.take(source(1), 60).await.is_none(), "its part is 100");
        let others = [memory.take(source(2), 100).await, memory.take(source(3), 100).await];
        assert!(others.iter().all(Option::is_some));
        let large = memory.take(source(4), 5000).await.unwrap();
        assert!(memory.take(source(5), 80).await.is_none(), "40 are left");
        drop(first);
        assert!(memory.take(source(5), 80).await.is_some());
        let rest = memory.take_now(source(1), 100);
        assert!(rest.is_some() && memory.take_now(source(5), 1).is_none());
        drop((others, large));
    }

    #[tokio::test]
    async fn sources_without_any_are_forgotten() {
        let memory = Memory::new(400, Duration::from_millis(20));
        for last in 0..=255 {
            drop(memory.take(source(last), 1).await.unwrap());
        }
        assert!(memory.sources.lock().unwrap().len() <= 2);
    }
}
