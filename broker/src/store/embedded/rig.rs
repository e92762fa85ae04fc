//! Two files in memory for tests: with limits, with calls that fail, and with what a kill would leave.

use std::io;
use std::sync::{Arc, Mutex};

use super::{EmbeddedStore, Files, Sizes, Start};
use crate::store::StoreError;
use crate::store::medium::Medium;

pub(super) const CACHE: usize = 1 << 20;

/// So small that a few commits fill everything.
pub(super) const TINY: Sizes =
    Sizes { ring_bytes: 64 << 10, record_bytes: 16 << 10, overlay_bytes: 24 << 10 };

/// A table and a write-ahead file.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub table: Arc<Frail>,
    pub wal: Arc<Frail>,
}

impl Pair {
    pub(super) fn store(&self, start: Start) -> Result<EmbeddedStore, StoreError> {
        self.sized(super::SIZES, start)
    }

    pub(super) fn tiny(&self, start: Start) -> EmbeddedStore {
        self.sized(TINY, start).unwrap()
    }

    pub(super) fn sized(&self, sizes: Sizes, start: Start) -> Result<EmbeddedStore, StoreError> {
        let files = Files { table: Arc::clone(&self.table) as _, wal: Arc::clone(&self.wal) as _ };
        EmbeddedStore::start(files, sizes, CACHE, start)
    }

    pub(super) fn both(&self, change: impl Fn(&mut FrailState)) {
        self.table.set(&change);
        self.wal.set(&change);
    }

    /// Both files as a kill at this moment leaves them.
    pub(super) fn killed(&self) -> Self {
        let (table, wal) = (self.table.0.lock().unwrap(), self.wal.0.lock().unwrap());
        Self { table: Frail::of(table.bytes.clone()), wal: Frail::of(wal.bytes.clone()) }
    }
}

/// A medium in memory with a limit to its size, and calls that can be made to fail.
#[derive(Debug, Default)]
pub(super) struct Frail(Mutex<FrailState>);

#[derive(Debug, Default)]
pub(super) struct FrailState {
    pub bytes: Vec<u8>,
    /// Reports plenty of free space even so, as a file system with quotas does.
    pub capacity: Option<usize>,
    pub reports_free: Option<u64>,
    pub calls_until_failure: Option<(u32, io::ErrorKind)>,
    /// What a call does when it fails.
    pub failing: Failing,
    pub sync_fails: bool,
    pub writes: u64,
    pub syncs: u64,
    pub bytes_written: u64,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Failing {
    /// Without having done anything, and so does every call after it.
    #[default]
    Dead,
    /// After having done its work, and so does every call after it.
    Deaf,
    /// After having done its work. The calls after it succeed.
    Once,
}

impl Frail {
    pub(super) fn of(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(FrailState { bytes, ..FrailState::default() })))
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut FrailState)) {
        change(&mut self.0.lock().unwrap());
    }

    pub(super) fn get<T>(&self, read: impl FnOnce(&FrailState) -> T) -> T {
        read(&self.0.lock().unwrap())
    }
}

impl FrailState {
    /// What the call that has come ends with, and whether it does its work.
    fn step(&mut self) -> (io::Result<()>, bool) {
        match &mut self.calls_until_failure {
            Some((0, kind)) => {
                let failed = Err((*kind).into());
                if self.failing == Failing::Once {
                    self.calls_until_failure = None;
                }
                (failed, self.failing != Failing::Dead)
            }
            Some((calls, _)) => {
                *calls -= 1;
                (Ok(()), true)
            }
            None => (Ok(()), true),
        }
    }
}

impl Medium for Frail {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let (result, works) = state.step();
        if works {
            state.bytes.resize(usize::try_from(len).unwrap(), 0);
        }
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step().0?;
        state.syncs += 1;
        if state.sync_fails { Err(io::Error::other("injected")) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let (result, works) = state.step();
        if !works {
            return result;
        }
        let offset = usize::try_from(offset).unwrap();
        if state.capacity.is_some_and(|capacity| offset + data.len() > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = state.bytes.len().max(offset + data.len());
        state.bytes.resize(length, 0);
        state.bytes[offset..offset + data.len()].copy_from_slice(data);
        state.writes += 1;
        state.bytes_written += data.len() as u64;
        result
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().reports_free.unwrap_or(1 << 40))
    }
}

/// xorshift64: repeatable.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
