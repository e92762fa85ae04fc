//! The reference store: a sorted map in memory that fails when a test says so.
//!
//! It is the contract of [`Store`] in its shortest form. Nothing survives it; production code never builds
//! one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Answer, Cause, Pair, Row, Scan, Snapshot, Store, StoreError, Write, check_bounds};

/// A store that keeps its rows in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    paused: watch::Sender<bool>,
}

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No space: nothing happened.
    Full,
    /// No answer, and nothing happened.
    LostRequest,
    /// No answer, but all of it happened.
    LostAnswer,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Row>,
    sequence: u64,
    commits_begun: u64,
    failures: BTreeMap<u64, Failure>,
    closed: bool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::default(), paused: watch::Sender::new(false) }
    }

    /// Makes the commit that begins `after` further commits from now fail; 0 is the next one.
    pub fn fail_commit(&self, after: u64, failure: Failure) {
        let mut state = self.state();
        let at = state.commits_begun + after;
        state.failures.insert(at, failure);
    }

    /// Commits begun so far, failed ones included.
    #[must_use]
    pub fn commits_begun(&self) -> u64 {
        self.state().commits_begun
    }

    /// Every row, for tests that look at the disk as a thief would.
    #[must_use]
    pub fn rows(&self) -> BTreeMap<Vec<u8>, Row> {
        self.state().rows.clone()
    }

    /// Overwrites a row behind everybody's back, or removes it, as damage or an attacker would.
    pub fn tamper(&self, key: &[u8], value: Option<Vec<u8>>) {
        let mut state = self.state();
        match value {
            Some(value) => {
                let revision = state.rows.get(key).map_or(0, |row| row.revision);
                state.rows.insert(key.to_vec(), Row { revision, value });
            }
            None => drop(state.rows.remove(key)),
        }
    }

    /// Makes commits wait until [`MemoryStore::resume`].
    pub fn pause(&self) {
        self.paused.send_replace(true);
    }

    /// Lets waiting commits go on.
    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> Answer<'a, Option<Row>> {
        Box::pin(async { Ok(self.state().open()?.rows.get(key).cloned()) })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<(Vec<u8>, Row)>> {
        Box::pin(async move { Ok(self.state().open()?.scan(scan)) })
    }

    fn keys<'a>(&'a self, scan: Scan<'a>) -> Answer<'a, Vec<Vec<u8>>> {
        Box::pin(async move { Ok(self.state().open()?.scan(scan).into_iter().map(|(key, _)| key).collect()) })
    }

    fn snapshot(&self) -> Answer<'_, Box<dyn Snapshot>> {
        Box::pin(async { Ok(Box::new(Moment(self.state().open()?.rows.clone())) as Box<dyn Snapshot>) })
    }

    fn commit(&self, ops: Vec<Write>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut paused = self.paused.subscribe();
            paused
                .wait_for(|paused| !paused)
                .await
                .map_err(|error| StoreError::Unavailable(Cause::new(error)))?;
            drop(paused);
            self.state().open()?.commit(&ops)
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.state().closed = true;
            Ok(())
        })
    }
}

/// What is left of a copy.
struct Moment(BTreeMap<Vec<u8>, Row>);

impl Snapshot for Moment {
    fn next(&mut self, bytes: usize) -> Answer<'_, Vec<Pair>> {
        Box::pin(async move {
            let mut taken = Vec::new();
            let mut left = bytes;
            while left > 0
                && let Some((key, row)) = self.0.pop_first()
            {
                left = left.saturating_sub(key.len() + row.value.len());
                taken.push((key, row.value));
            }
            Ok(taken)
        })
    }
}

impl State {
    fn open(&mut self) -> Result<&mut Self, StoreError> {
        if self.closed { Err(StoreError::Unavailable(Cause::new("the store is closed"))) } else { Ok(self) }
    }

    fn scan(&self, scan: Scan<'_>) -> Vec<(Vec<u8>, Row)> {
        if scan.from >= scan.until {
            return Vec::new();
        }
        let range = (Bound::Included(scan.from), Bound::Excluded(scan.until));
        let rows = self.rows.range::<[u8], _>(range).map(|(key, row)| (key.clone(), row.clone()));
        if scan.descending { rows.rev().take(scan.limit).collect() } else { rows.take(scan.limit).collect() }
    }

    fn commit(&mut self, ops: &[Write]) -> Result<(), StoreError> {
        check_bounds(ops)?;
        let failure = self.failures.remove(&self.commits_begun);
        self.commits_begun += 1;
        match failure {
            Some(Failure::Full) => return Err(StoreError::Full),
            Some(Failure::LostRequest) => return Err(no_answer()),
            Some(Failure::LostAnswer) | None => {}
        }
        self.apply(ops)?;
        self.sequence += 1;
        if failure.is_some() { Err(no_answer()) } else { Ok(()) }
    }

    /// Applies in order; the first expectation that fails takes everything back.
    fn apply(&mut self, ops: &[Write]) -> Result<(), StoreError> {
        let mut replaced: Vec<(&[u8], Option<Row>)> = Vec::with_capacity(ops.len());
        for (position, op) in ops.iter().enumerate() {
            let before = self.rows.get(op.key());
            if !op.expect().holds(before.map(|row| row.revision)) {
                self.take_back(replaced);
                return Err(StoreError::Conflict { op: position });
            }
            replaced.push((op.key(), before.cloned()));
            match op {
                Write::Put { key, value, .. } => {
                    let row = Row { revision: self.sequence + 1, value: value.clone() };
                    self.rows.insert(key.clone(), row);
                }
                Write::Delete { key, .. } => drop(self.rows.remove(key)),
            }
        }
        Ok(())
    }

    fn take_back(&mut self, replaced: Vec<(&[u8], Option<Row>)>) {
        for (key, before) in replaced.into_iter().rev() {
            match before {
                Some(row) => drop(self.rows.insert(key.to_vec(), row)),
                None => drop(self.rows.remove(key)),
            }
        }
    }
}

fn no_answer() -> StoreError {
    StoreError::Unavailable(Cause::new("failure asked for by a test"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expect, conformance};

    fn one_put() -> Vec<Write> {
        vec![Write::Put { key: vec![1; 17], value: vec![1], expect: Expect::Any }]
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        conformance::check_all(MemoryStore::new).await;
    }

    #[tokio::test]
    async fn fails_as_asked_and_only_then() {
        for (failure, happened) in
            [(Failure::Full, false), (Failure::LostRequest, false), (Failure::LostAnswer, true)]
        {
            let store = MemoryStore::new();
            store.fail_commit(1, failure);
            assert!(store.commit(Vec::new()).await.is_ok());
            assert!(store.commit(one_put()).await.is_err());
            assert_eq!(store.rows().len(), usize::from(happened), "{failure:?}");
            assert!(store.commit(one_put()).await.is_ok());
        }
    }
}
