//! Power cuts: everything that was not synced is lost in part, sector by sector, in any order, in both files.
//!
//! A medium keeps what a sync has made durable apart from what was only written. After a number of calls the
//! power goes; the next start finds the durable bytes and a random half of the sectors written since, as a
//! disk with a cache leaves them. Every answered commit must be there, and none may be there by half. Half of
//! the cuts come after a kill and another start, for which the kernel's cache was still there.
//!
//! `SYMBOLON_POWER_CUTS` sets the number of cuts, `SYMBOLON_POWER_SEED` the seed, which is printed.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::env;
use std::io;
use std::sync::Mutex;

use super::rig::{CACHE, Random, TINY};
use super::*;
use crate::store::Expect;

const SECTOR: usize = 512;
const CUTS: u64 = 300;
/// Calls of both files between two cuts, at most: amid a first commit, records, checkpoints.
const CALLS: u64 = 90;

#[tokio::test]
async fn no_power_cut_loses_or_halves_a_commit() {
    let cuts = number_from("SYMBOLON_POWER_CUTS").unwrap_or(CUTS);
    let seed = number_from("SYMBOLON_POWER_SEED").unwrap_or(0x5eed_cafe);
    println!("SYMBOLON_POWER_SEED={seed} SYMBOLON_POWER_CUTS={cuts}");
    let mut random = Random(seed);
    let mut machine = Machine::default();
    let store = machine.start(Start::Create);
    store.commit(vec![put(0, 0), put(1, 0)]).await.unwrap();
    drop(store);
    let (mut acknowledged, mut cut_short) = (0, 0);
    for cut in 0..cuts {
        let store = machine.start(Start::Open);
        let found = check(&store, acknowledged, cut).await;
        *machine.power.lock().unwrap() = Some(random.below(CALLS));
        let mut next = found + 1;
        while store.commit(vec![put(0, next), put(1, next), filler(next)]).await.is_ok() {
            acknowledged = next;
            next += 1;
        }
        cut_short += u64::from(next > found + 1);
        if random.below(2) == 0 {
            acknowledged = machine.killed(store, acknowledged, cut).await;
            machine = machine.after_power_cut(&mut random);
        } else {
            let image = machine.after_power_cut(&mut random);
            drop(store);
            machine = image;
        }
    }
    assert!(acknowledged > cuts, "only {acknowledged} commits were answered");
    assert!(cut_short > cuts / 2, "most cuts come between commits that were answered");
}

/// The number of the last commit, which must be whole, and no older than the last that was answered.
async fn check(store: &EmbeddedStore, acknowledged: u64, cut: u64) -> u64 {
    let (first, second) = (read(store, 0).await, read(store, 1).await);
    assert_eq!(first, second, "half a commit after cut {cut}");
    assert!(first >= acknowledged, "cut {cut}: {acknowledged} was answered, {first} is there");
    assert!(first <= acknowledged + 1, "cut {cut}: a commit that nobody asked for");
    for number in first.saturating_sub(30)..=first {
        let found = store.get(&filler_key(number)).await.unwrap().map(|row| row.value);
        assert!(number == 0 || found == Some(filler_value(number)), "cut {cut}: {number} of {first}");
    }
    first
}

/// Both files and the power that they share.
#[derive(Debug)]
struct Machine {
    table: Arc<Platter>,
    wal: Arc<Platter>,
    power: Arc<Mutex<Option<u64>>>,
}

impl Default for Machine {
    fn default() -> Self {
        let power = Arc::default();
        let file = || Arc::new(Platter::powered_by(&power));
        Self { table: file(), wal: file(), power }
    }
}

impl Machine {
    fn start(&self, start: Start) -> EmbeddedStore {
        let files = Files { table: Arc::clone(&self.table) as _, wal: Arc::clone(&self.wal) as _ };
        EmbeddedStore::start(files, TINY, CACHE, start).unwrap()
    }

    /// The process dies first, and the next one shows what it finds in the kernel's cache. What was shown
    /// counts as answered.
    async fn killed(&self, store: EmbeddedStore, acknowledged: u64, cut: u64) -> u64 {
        drop(store);
        *self.power.lock().unwrap() = None;
        let store = self.start(Start::Open);
        let shown = check(&store, acknowledged, cut).await;
        *self.power.lock().unwrap() = Some(0);
        shown
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        let power = Arc::default();
        let mut file = |platter: &Platter| Arc::new(platter.after_power_cut(random, &power));
        Self { table: file(&self.table), wal: file(&self.wal), power }
    }
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

fn put(row: u8, number: u64) -> Write {
    Write::Put { key: vec![row; 20], value: number.to_be_bytes().to_vec(), expect: Expect::Any }
}

/// Rows that come and go, so that pages are used again: some fill several blocks of the ring, some are too
/// large for it.
fn filler(number: u64) -> Write {
    Write::Put { key: filler_key(number), value: filler_value(number), expect: Expect::Any }
}

fn filler_key(number: u64) -> Vec<u8> {
    [&[7; 17][..], &(number % 40).to_be_bytes()].concat()
}

fn filler_value(number: u64) -> Vec<u8> {
    let length = usize::try_from(number % 7).unwrap() * 3000;
    let byte = u8::try_from(number % 251).unwrap();
    vec![byte; length]
}

async fn read(store: &EmbeddedStore, row: u8) -> u64 {
    u64::from_be_bytes(store.get(&[row; 20]).await.unwrap().unwrap().value.try_into().unwrap())
}

/// A file on a disk with a write cache.
#[derive(Debug, Default)]
struct Platter {
    state: Mutex<PlatterState>,
    /// The power of the machine: calls until it goes, of all files together.
    power: Arc<Mutex<Option<u64>>>,
}

#[derive(Debug, Default)]
struct PlatterState {
    /// What reads see.
    current: Vec<u8>,
    /// What the last sync made durable.
    durable: Vec<u8>,
    /// Sectors written since.
    dirty: Vec<usize>,
}

impl Platter {
    fn powered_by(power: &Arc<Mutex<Option<u64>>>) -> Self {
        Self { state: Mutex::default(), power: Arc::clone(power) }
    }

    fn step(&self) -> io::Result<()> {
        match self.power.lock().unwrap().as_mut() {
            Some(0) => Err(io::Error::other("no power")),
            Some(calls) => {
                *calls -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What a start after the cut finds.
    fn after_power_cut(&self, random: &mut Random, power: &Arc<Mutex<Option<u64>>>) -> Self {
        let state = self.state.lock().unwrap();
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
        let state = Mutex::new(PlatterState { current: bytes, durable, dirty: Vec::new() });
        Self { state, power: Arc::clone(power) }
    }
}

impl Medium for Platter {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.current.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        self.step()?;
        let length = usize::try_from(len).unwrap();
        assert!(length >= state.current.len() || state.dirty.is_empty(), "cut only what is synced");
        state.current.resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        self.step()?;
        state.durable = state.current.clone();
        state.dirty.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        self.step()?;
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
