//! What many callers use and one of them fetches now and then: a token, or keys.
//!
//! While the old one is good enough, nobody but the caller who fetches waits for the new one. Without one,
//! all wait for one fetch. A failure is remembered for a while and shared, so that a server in trouble is not
//! asked once with each call.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// What is kept, if anything is.
pub(crate) struct Kept<T> {
    state: Mutex<State<T>>,
    /// Held by the one caller who fetches.
    gate: tokio::sync::Mutex<()>,
    /// After a failure: how long until the next attempt.
    pause: Duration,
}

struct State<T> {
    value: Option<T>,
    /// When the last attempt failed, and how.
    failed: Option<(Instant, Error)>,
}

/// How good a value is at a moment.
pub(crate) enum Age {
    /// Good: nothing would be gained by another.
    Good,
    /// Good enough, and should be replaced.
    Due,
    /// Of no use.
    Ended,
}

/// What is there at a moment.
enum Look<T> {
    Good(T),
    Due(T),
    Nothing,
}

impl<T: Clone> Kept<T> {
    /// Nothing yet.
    pub(crate) fn new(pause: Duration) -> Self {
        let state = State { value: None, failed: None };
        Self { state: Mutex::new(state), gate: tokio::sync::Mutex::default(), pause }
    }

    /// What was fetched last, whatever its age.
    pub(crate) fn last(&self) -> Option<T> {
        self.state().value.clone()
    }

    /// A value that is good; one that is due, while no other can be had; or why there is none. `fetch` runs
    /// only if it is needed.
    pub(crate) async fn get(
        &self,
        age: impl Fn(&T) -> Age,
        fetch: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let old = match self.look(&age) {
            Look::Good(value) => return Ok(value),
            Look::Due(value) => Some(value),
            Look::Nothing => None,
        };
        let _gate = match (self.gate.try_lock(), old) {
            (Ok(gate), _) => gate,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.gate.lock().await,
        };
        if let Look::Good(value) = self.look(&age) {
            return Ok(value); // somebody else was quicker
        }
        let error = match self.fetch(fetch).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match self.look(&age) {
            Look::Good(value) | Look::Due(value) => Ok(value),
            Look::Nothing => Err(error),
        }
    }

    /// Fetches and keeps it, unless that has just failed. Only with the gate held.
    async fn fetch(&self, fetch: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if let Some((when, error)) = &self.state().failed
            && when.elapsed() < self.pause
        {
            return Err(error.clone());
        }
        let got = fetch.await;
        let mut state = self.state();
        match &got {
            Ok(value) => *state = State { value: Some(value.clone()), failed: None },
            // A file that is not there yet has asked no server, and may come at any moment.
            Err(Error::Configuration(_)) => {}
            Err(error) => state.failed = Some((Instant::now(), error.clone())),
        }
        got
    }

    fn look(&self, age: impl Fn(&T) -> Age) -> Look<T> {
        let Some(value) = self.last() else { return Look::Nothing };
        match age(&value) {
            Age::Good => Look::Good(value),
            Age::Due => Look::Due(value),
            Age::Ended => Look::Nothing,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
