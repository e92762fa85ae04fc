//! The store of a stopped broker, as a thief or a failing disk sees it: keys and bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use symbolon_broker::rows::Table;
use symbolon_broker::store::embedded::{EmbeddedStore, write_ahead_path};
use symbolon_broker::store::{Expect, Scan, Store, StoreError, Write};
use symbolon_cli::demo::world::World;

/// Everything in a store, in order of its keys.
pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The rows of the world's broker, which must have stopped.
pub async fn read(world: &World) -> Rows {
    rows_of(&open(&world.path("store.redb")).await).await
}

pub async fn rows_of(store: &dyn Store) -> Rows {
    let scan = Scan { from: &[], until: &[u8::MAX; 64], descending: false, limit: usize::MAX };
    store.scan(scan).await.unwrap().into_iter().map(|(key, row)| (key, row.value)).collect()
}

/// Puts rows as they are, behind the broker's back.
pub async fn write(world: &World, rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) {
    let ops = rows.into_iter().map(|(key, value)| Write::Put { key, value, expect: Expect::Any }).collect();
    open(&world.path("store.redb")).await.commit(ops).await.unwrap();
}

/// The store of a broker, running or not, as a kill at this moment leaves it: the table, and the write-ahead
/// file if it is there.
pub fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    let (from, to) = (write_ahead_path(from), write_ahead_path(to));
    if from.exists() {
        std::fs::copy(from, to).unwrap();
    }
}

/// Tasks of a broker may hold its store for a moment after it has stopped serving.
async fn open(path: &Path) -> EmbeddedStore {
    for _ in 0..500 {
        match EmbeddedStore::open(path, 1 << 20) {
            Err(StoreError::Locked) => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the broker that was stopped still holds its store");
}

/// The table that a row belongs to.
pub fn table(key: &[u8]) -> u8 {
    key[16]
}

/// The rows of one table.
pub fn of(rows: &Rows, wanted: Table) -> Vec<(&Vec<u8>, &Vec<u8>)> {
    rows.iter().filter(|(key, _)| table(key) == wanted.number()).collect()
}
