#![allow(clippy::unwrap_used)]

use std::fs;

use symbolon_proto::id::BrokerId;
use symbolon_proto::log::tile::{encode_bundle, encode_hashes};
use symbolon_proto::log::{Action, NoteSigner, Outcome};
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use super::*;

struct Log {
    directory: tempfile::TempDir,
    signer: NoteSigner,
    entries: Vec<Vec<u8>>,
}

fn signer(seed: u8) -> NoteSigner {
    NoteSigner::new(
        "log.test",
        SigningSeed::from_secret(Secret::filled_by(|out: &mut [u8; 32]| out.fill(seed))),
    )
    .unwrap()
}

fn log(size: u64) -> Log {
    let entry = |index| Entry {
        index,
        time_ms: 1_000 + index,
        action: Action::SecretRead,
        outcome: Outcome::Allowed,
        broker: BrokerId::from_bytes([1; 16]),
        detail: vec![5; 20],
    };
    let entries = (0..size).map(|index| entry(index).encode().unwrap()).collect();
    let log = Log { directory: tempfile::tempdir().unwrap(), signer: signer(7), entries };
    log.write(size);
    log
}

impl Log {
    /// Writes what a broker would serve for the first `size` entries.
    fn write(&self, size: u64) {
        let entries = &self.entries[..usize::try_from(size).unwrap()];
        let mut tree = Frontier::new();
        for entry in entries {
            tree.append(Entry::leaf_hash(entry));
        }
        for (index, bundle) in entries.chunks(256).enumerate() {
            let index = index as u64;
            let hashes: Vec<_> = bundle.iter().map(|entry| Entry::leaf_hash(entry)).collect();
            let name = Tile::in_tree(TileKind::Entries, index, size).unwrap();
            self.put(&name.to_string(), &encode_bundle(bundle.iter().map(Vec::as_slice)).unwrap());
            let name = Tile::in_tree(TileKind::Hashes(0), index, size).unwrap();
            self.put(&name.to_string(), &encode_hashes(&hashes));
        }
        let full: Vec<_> = entries.chunks_exact(256).map(root).collect();
        if let Some(name) = Tile::in_tree(TileKind::Hashes(1), 0, size) {
            self.put(&name.to_string(), &encode_hashes(&full));
        }
        self.put("checkpoint", Checkpoint::sign(size, tree.root(), &self.signer).as_bytes());
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn change(&self, name: &str, at: usize) {
        let path = self.directory.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    fn source(&self) -> LogSource {
        LogSource::Directory(self.directory.path().to_owned())
    }

    async fn verify(&self) -> Result<Report, LogError> {
        verify(&self.source(), self.signer.verifier(), None, &mut |_, _| {}).await
    }
}

#[tokio::test]
async fn an_honest_log_passes() {
    for size in [0, 1, 255, 256, 257, 600] {
        let report = log(size).verify().await.unwrap();
        assert_eq!(report.verified.size, size);
        assert_eq!(report.origin, "log.test");
    }
    let report = log(600).verify().await.unwrap();
    assert_eq!((report.first_ms, report.last_ms), (1_000, 1_599));
}

#[tokio::test]
async fn every_byte_of_a_bundle_counts_and_its_entry_is_named() {
    let log = log(260);
    let entry_bytes = log.entries[0].len() + 2; // with the length before it
    for at in (0..entry_bytes * 4).chain([entry_bytes * 4 - 1]) {
        let name = "tile/entries/001.p/4";
        log.change(name, at);
        let index = 256 + (at / entry_bytes) as u64;
        let error = log.verify().await.unwrap_err();
        assert!(
            matches!(error, LogError::Finding(Finding::Changed { index: found }) if found == index),
            "{at}: {error}"
        );
        log.change(name, at);
    }
    log.verify().await.unwrap();
}

#[tokio::test]
async fn changed_hashes_hide_the_place_but_not_the_change() {
    let log = log(300);
    log.change("tile/entries/000", 100);
    log.change("tile/0/000", 0);
    assert!(matches!(log.verify().await, Err(LogError::Finding(Finding::ChangedSomewhere))));
}

#[tokio::test]
async fn a_missing_bundle_is_named() {
    let log = log(300);
    fs::remove_file(log.directory.path().join("tile/entries/001.p/44")).unwrap();
    assert!(matches!(log.verify().await, Err(LogError::Missing { index: 256, .. })));
}

#[tokio::test]
async fn another_key_is_refused() {
    let log = log(3);
    let verified = verify(&log.source(), signer(8).verifier(), None, &mut |_, _| {}).await;
    assert!(matches!(verified, Err(LogError::Checkpoint(_))));
}

#[tokio::test]
async fn a_log_must_continue_the_earlier_one() {
    let log = log(300);
    let key = log.signer.verifier();
    let earlier = Checkpoint::open(&log.source().checkpoint().await.unwrap(), key).unwrap();
    let mut other = self::log(400);
    verify(&other.source(), key, Some(&earlier), &mut |_, _| {}).await.unwrap();

    other.entries[10] = other.entries[11].clone(); // signed anew by whoever holds the key
    other.write(400);
    let verified = verify(&other.source(), key, Some(&earlier), &mut |_, _| {}).await;
    assert!(matches!(verified, Err(LogError::NotGrown { .. } | LogError::Finding(Finding::Index { .. }))));

    let shorter = self::log(299);
    let verified = verify(&shorter.source(), key, Some(&earlier), &mut |_, _| {}).await;
    assert!(matches!(verified, Err(LogError::NotGrown { old: 300 })));
}

#[tokio::test]
async fn a_copy_verifies_like_the_original() {
    let log = log(300);
    let copied = tempfile::tempdir().unwrap();
    assert_eq!(copy(&log.source(), copied.path(), &mut |_, _| {}).await.unwrap(), 300);
    let source = LogSource::Directory(copied.path().to_owned());
    let report = verify(&source, log.signer.verifier(), None, &mut |_, _| {}).await.unwrap();
    assert_eq!(report.verified.size, 300);
}

#[tokio::test]
async fn a_partial_tile_that_has_filled_up_since_is_cut() {
    let log = log(256);
    let note = Checkpoint::sign(200, root(&log.entries[..200]), &log.signer);
    log.put("checkpoint", note.as_bytes());
    assert_eq!(log.verify().await.unwrap().verified.size, 200);
}

fn root(entries: &[Vec<u8>]) -> Hash {
    let mut tree = Frontier::new();
    entries.iter().for_each(|entry| tree.append(Entry::leaf_hash(entry)));
    tree.root()
}
