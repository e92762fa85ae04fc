//! Power cuts: everything that was not synced is lost in part, sector by sector, in any order.
//!
//! The medium keeps what a sync has made durable apart from what was only written. After a number of calls
//! the power goes; the next start finds the durable bytes and a random half of the sectors written since, as
//! a disk with a cache leaves them. Every answered commit must be there, and none may be there by half.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::Mutex;

use super::*;
use crate::store::Expect;

const CACHE: usize = 1 << 20;
const SECTOR: usize = 512;
const CUTS: u64 = 300;

#[tokio::test]
async fn no_power_cut_loses_or_halves_a_commit() {
    let seed = 0x5eed_cafe;
    let mut random = Random(seed);
    let mut medium = Arc::new(Platter::default());
    let store = start(&medium, Start::Create);
    store.commit(vec![put(0, 0), put(1, 0)]).await.unwrap();
    drop(store);
    let (mut acknowledged, mut cut_short) = (0, 0);
    for cut in 0..CUTS {
        let store = start(&medium, Start::Open);
        let found = check(&store, acknowledged, cut).await;
        medium.set(|state| state.calls_left = Some(random.below(60)));
        let mut next = found + 1;
        while store.commit(vec![put(0, next), put(1, next), filler(next)]).await.is_ok() {
            acknowledged = next;
            next += 1;
        }
        cut_short += u64::from(next > found + 1);
        let image = medium.after_power_cut(&mut random);
        drop(store);
        medium = Arc::new(image);
    }
    assert!(acknowledged > CUTS, "only {acknowledged} commits were answered");
    assert!(cut_short > CUTS / 2, "most cuts come between commits that were answered");
}

/// The number of the last commit, which must be whole, and no older than the last that was answered.
async fn check(store: &EmbeddedStore, acknowledged: u64, cut: u64) -> u64 {
    let (first, second) = (read(store, 0).await, read(store, 1).await);
    assert_eq!(first, second, "half a commit after cut {cut}");
    assert!(first >= acknowledged, "cut {cut}: {acknowledged} was answered, {first} is there");
    assert!(first <= acknowledged + 1, "cut {cut}: a commit that nobody asked for");
    first
}

fn start(medium: &Arc<Platter>, start: Start) -> EmbeddedStore {
    EmbeddedStore::start(Arc::clone(medium) as Arc<dyn Medium>, CACHE, start).unwrap()
}

fn put(row: u8, number: u64) -> Write {
    Write::Put { key: vec![row; 20], value: number.to_be_bytes().to_vec(), expect: Expect::Any }
}

/// Pages that come and go, so that free ones are used again.
fn filler(number: u64) -> Write {
    let length = usize::try_from(number % 7).unwrap() * 3000;
    let key = [&[7; 17][..], &(number % 40).to_be_bytes()].concat();
    Write::Put { key, value: vec![7; length], expect: Expect::Any }
}

async fn read(store: &EmbeddedStore, row: u8) -> u64 {
    u64::from_be_bytes(store.get(&[row; 20]).await.unwrap().unwrap().value.try_into().unwrap())
}

/// A disk with a write cache.
#[derive(Debug, Default)]
struct Platter(Mutex<PlatterState>);

#[derive(Debug, Default)]
struct PlatterState {
    /// What reads see.
    current: Vec<u8>,
    /// What the last sync made durable.
    durable: Vec<u8>,
    /// Sectors written since.
    dirty: Vec<usize>,
    /// Calls until the power goes.
    calls_left: Option<u64>,
}

impl Platter {
    fn set(&self, change: impl FnOnce(&mut PlatterState)) {
        change(&mut self.0.lock().unwrap());
    }

    /// What a start after the cut finds.
    fn after_power_cut(&self, random: &mut Random) -> Self {
        let state = self.0.lock().unwrap();
        let mut bytes = state.durable.clone();
        if state.current.len() > bytes.len() && random.below(2) == 0 {
            bytes.resize(state.current.len(), 0);
        }
        for sector in &state.dirty {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            if random.below(2) == 0 && range.end <= bytes.len() {
                bytes[range.clone()].copy_from_slice(&state.current[range]);
            }
        }
        let durable = bytes.clone();
        Self(Mutex::new(PlatterState { current: bytes, durable, ..PlatterState::default() }))
    }
}

impl PlatterState {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.calls_left {
            Some(0) => Err(io::Error::other("no power")),
            Some(calls) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Medium for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.current.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let length = usize::try_from(len).unwrap();
        assert!(length >= state.current.len() || state.dirty.is_empty(), "cut only what is synced");
        state.current.resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.durable = state.current.clone();
        state.dirty.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let offset = usize::try_from(offset).unwrap();
        let end = offset + data.len();
        let length = state.current.len().max(end);
        state.current.resize(length, 0);
        state.current[offset..end].copy_from_slice(data);
        state.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

/// xorshift64: repeatable.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
