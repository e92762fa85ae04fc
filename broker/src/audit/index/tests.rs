//! Indices of logs of some segments: what a search with them finds, what happens to rows that somebody else
//! wrote, and what rows say to whoever has the disk.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use symbolon_core::audit::{Action, Counts, Detail, Outcome};
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::tile::encode_hashes;
use symbolon_proto::log::tree::leaf_hash;
use symbolon_proto::log::{Checkpoint, Entry, Frontier, Segment};
use symbolon_proto::sealedbox::OVERHEAD_BYTES;

use super::block::CLASSES;
use super::known::Known;
use super::making::{MakeError, make, missing, without_foreign};
use super::searching::Searcher;
use super::tallying::Tally;
use super::trust::Trust;
use crate::audit::log::detail::{DetailPlace, encode, encode_refused, seal};
use crate::audit::log::rows::{StoredEntry, bundle_key, checkpoint_key, encode_bundle, index_key, tile_key};
use crate::audit::log::tail::{CompleteTile, Tail};
use crate::audit::log::{Filter, LogError, LogReader, Page, Range};
use crate::audit::writer::LogKeys;
use crate::audit::writer::tests::Bench;
use crate::random::os_rng;
use crate::store::memory::MemoryStore;
use crate::store::{Store, Write};

mod measured;

/// Entries of a bundle: neither of a tile nor of a segment.
const BUNDLE: u64 = 201;

/// A log written without the writer.
struct Written {
    store: Arc<dyn Store>,
    tail: Tail,
    keys: LogKeys,
}

/// Where an entry stands that `say` makes, and with what detail.
type Said = (Action, Outcome, Detail);

impl Written {
    fn new(store: Arc<dyn Store>) -> Self {
        Self { store, tail: Tail::default(), keys: Bench::keys() }
    }

    /// A log of `size` entries, one each second, in the memory.
    async fn of(size: u64, say: impl Fn(u64) -> Said) -> Self {
        let mut log = Self::new(Arc::new(MemoryStore::new()));
        log.grow_to(size, say).await;
        log
    }

    async fn grow_to(&mut self, size: u64, say: impl Fn(u64) -> Said) {
        while self.tail.size() < size {
            let (first, mut tiles) = (self.tail.size(), Vec::new());
            let mut entries = Vec::new();
            for index in first..size.min(first + BUNDLE) {
                let entry = self.entry(index, say(index));
                self.tail.advance_time(entry_time(index));
                self.tail.append(entry.leaf, &mut tiles);
                entries.push(entry);
            }
            let mut rows = vec![put(bundle_key(first), encode_bundle(&entries))];
            for CompleteTile { level, number, hashes } in tiles {
                rows.push(put(tile_key(level, number), encode_hashes(&hashes)));
            }
            self.store.commit(rows).await.unwrap();
        }
        let note = Checkpoint::sign(self.tail.size(), self.tail.root(), &self.keys.signer);
        self.store.commit(vec![put(checkpoint_key(), note.into_bytes())]).await.unwrap();
    }

    fn entry(&self, index: u64, (action, outcome, detail): Said) -> StoredEntry {
        let broker = self.keys.broker;
        let place = DetailPlace { deployment: self.keys.deployment, broker, action, outcome };
        let plain = if action == Action::Refused { encode_refused(detail) } else { encode(&detail) };
        let detail = seal(&self.keys.audit, &place, &plain, &mut os_rng()).unwrap();
        let entry = Entry { index, time_ms: entry_time(index), action, outcome, broker, detail };
        let bytes = entry.encode().unwrap();
        StoredEntry { leaf: leaf_hash(&bytes), bytes }
    }

    fn log(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.store))
    }

    async fn make(&self, number: u64) -> Result<(), MakeError> {
        let keys = (self.keys.audit.as_ref(), self.keys.deployment);
        let segment = Segment::new(number).unwrap();
        let changes = make(&self.log(), self.tail.frontier().clone(), keys, segment).await?;
        self.store.commit(changes.into_writes()).await.unwrap();
        Ok(())
    }

    async fn make_all(&self) {
        for number in 0..self.tail.size() / SEGMENT_ENTRIES {
            self.make(number).await.unwrap();
        }
    }

    /// All that a search with indices finds, in as many calls as it takes; which rows it did not believe.
    async fn search(&self, filter: &Filter, range: Range) -> (Page, Vec<u64>) {
        let (known, keys) = (Known::default(), (self.keys.audit.as_ref(), self.keys.deployment));
        let mut searcher = Searcher::new(self.log(), self.tail.frontier().clone(), keys, &known);
        let mut all = Page { found: Vec::new(), fitting: 0, rest: Some(range) };
        while let Some(rest) = all.rest {
            let page = searcher.search(filter, rest).await.unwrap();
            all.found.extend(page.found);
            all = Page { fitting: all.fitting + page.fitting, rest: page.rest, ..all };
        }
        (all, known.take_suspects().into_iter().collect())
    }

    /// All that looking at every entry finds.
    async fn scan(&self, filter: &Filter, range: Range) -> Page {
        let mut all = Page { found: Vec::new(), fitting: 0, rest: Some(range) };
        while let Some(rest) = all.rest {
            let search = self.log();
            let page = search.search(&self.keys.audit, self.keys.deployment, filter, rest).await.unwrap();
            all.found.extend(page.found);
            all = Page { fitting: all.fitting + page.fitting, rest: page.rest, ..all };
        }
        all
    }

    async fn index(&self, number: u64) -> Vec<u8> {
        self.store.get(&index_key(number)).await.unwrap().unwrap().value
    }
}

fn put(key: Vec<u8>, value: Vec<u8>) -> Write {
    Write::Put { key, value, expect: crate::store::Expect::Any }
}

fn entry_time(index: u64) -> u64 {
    1_700_000_000_000 + index * 1000
}

const ALL: Range = Range { from: 0, until: u64::MAX, newest_first: true, limit: 1000, counts_only: false };

/// Some callers read many paths; some requests are refused, some are counted, and some say what does not fit
/// into an index.
fn varied(index: u64) -> Said {
    let detail = Detail {
        request_id: format!("request-{index}"),
        caller: format!("caller-{}", index % 7),
        accessor: format!("accessor-{}", index % 11),
        path: format!("secret/data/team-{}/app-{}", index % 5, index * 31 % 1009),
        mount_bytes: 6,
        ..Detail::default()
    };
    match index % 97 {
        3 => (Action::Login, Outcome::Denied, Detail { path: "auth/approle/login".into(), ..detail }),
        5 => refused(Detail { asked: Some(Action::SecretRead), ..detail }),
        6 => refused(Detail { asked: Some(Action::SecretWrite), ..detail }),
        7 => refused(counted(index)),
        8 => (
            Action::SecretRead,
            Outcome::Allowed,
            Detail { path: "secret/data/".to_owned() + &"x".repeat(500), ..detail },
        ),
        9 => (Action::SecretRead, Outcome::Failed, Detail { caller: "c".repeat(300), ..detail }),
        10 => (Action::SecretWrite, Outcome::Allowed, Detail { mount_bytes: 0, ..detail }),
        11 => (Action::Seal, Outcome::Allowed, Detail::default()),
        _ => (Action::SecretRead, Outcome::Allowed, detail),
    }
}

fn refused(detail: Detail) -> Said {
    (Action::Refused, Outcome::Denied, detail)
}

fn counted(index: u64) -> Detail {
    let mut counts = Counts::default();
    let detail = Detail {
        path: format!("secret/data/team-1/app-{index}"),
        request_id: format!("stranger-{index}"),
        ..Detail::default()
    };
    let draft = symbolon_core::audit::Draft { action: Action::SecretRead, outcome: Outcome::Denied, detail };
    counts.add(&draft, symbolon_core::clock::Now { unix_ms: entry_time(index), boot_ms: 0 });
    Detail { counts: Some(Box::new(counts)), ..Detail::default() }
}

fn filters() -> Vec<Filter> {
    let base = Filter::default();
    let text = |text: &str| Some(text.to_owned());
    vec![
        Filter { path: text("secret/team-3/app-31"), ..base.clone() },
        Filter { path: text("secret/data/team-3/app-31"), actions: vec![Action::SecretRead], ..base.clone() },
        Filter { path_prefix: text("secret/team-1/app-10"), ..base.clone() },
        Filter { path_prefix: text("secret/data/x"), ..base.clone() },
        Filter { path: text("secret/team-9/none"), ..base.clone() },
        Filter { path: text("secret/data/team-1/app-7766"), ..base.clone() },
        Filter { caller: text("caller-2"), outcome: Some(Outcome::Denied), ..base.clone() },
        Filter { caller: Some("c".repeat(300)), ..base.clone() },
        Filter { accessor: text("accessor-4"), actions: vec![Action::Login], ..base.clone() },
        Filter { request_id: text("request-5000"), ..base.clone() },
        Filter { request_id: text("stranger-7"), ..base.clone() },
        Filter { actions: vec![Action::SecretRead], outcome: Some(Outcome::Denied), ..base.clone() },
        Filter { actions: vec![Action::Refused, Action::Seal], ..base.clone() },
        Filter { actions: vec![Action::SecretWrite], ..base.clone() },
        Filter {
            since_ms: Some(entry_time(3500)),
            until_ms: Some(entry_time(6000)),
            caller: text("caller-0"),
            ..base.clone()
        },
        Filter { until_ms: Some(entry_time(100)), actions: vec![Action::SecretRead], ..base.clone() },
        Filter { since_ms: Some(entry_time(8000)), actions: vec![Action::SecretRead], ..base },
    ]
}

/// Two whole segments and some more.
const SIZE: u64 = 2 * SEGMENT_ENTRIES + 300;

#[tokio::test]
async fn a_search_with_an_index_finds_what_looking_at_all_entries_finds() {
    let log = Written::of(SIZE, varied).await;
    log.make_all().await;
    for filter in filters() {
        let all = log.scan(&filter, ALL).await.found; // each other range is a part of it
        let oldest_first = || all.iter().rev().cloned().collect::<Vec<_>>();
        let within = |from: u64, until: u64| {
            move |found: &crate::audit::log::Found| (from..until).contains(&found.entry.index)
        };
        for (range, expected) in [
            (ALL, all.clone()),
            (Range { newest_first: false, ..ALL }, oldest_first()),
            (Range { counts_only: true, ..ALL }, Vec::new()),
            (
                Range { from: 1000, until: 7000, limit: 7, ..ALL },
                all.iter().filter(|found| within(1000, 7000)(found)).cloned().collect(),
            ),
            (
                Range { from: 4097, until: 8191, newest_first: false, ..ALL },
                oldest_first().into_iter().filter(within(4097, 8191)).collect(),
            ),
        ] {
            let (found, suspects) = log.search(&filter, range).await;
            assert_eq!(found.found, expected, "{filter:?} {range:?}");
            let fitting = if range.counts_only { all.len() } else { expected.len() } as u64;
            assert_eq!((found.fitting, suspects), (fitting, Vec::new()), "{filter:?} {range:?}");
        }
    }
}

/// What is counted is what its caller pays for: a search that looks at every entry makes many calls.
#[tokio::test]
async fn a_search_reads_no_segment_in_which_nothing_fits() {
    let log = Written::of(SIZE, |index| match index {
        5000 => (Action::Seal, Outcome::Allowed, Detail { path: "sys/seal".into(), ..Detail::default() }),
        _ => varied(index.saturating_mul(97)), // reads only
    })
    .await;
    log.make_all().await;
    // without their bundles, segments can be passed over and not be looked at
    let filter = Filter { path: Some("sys/seal".to_owned()), ..Filter::default() };
    for first in (0..SIZE).step_by(usize::try_from(BUNDLE).unwrap()) {
        if !(first..first + BUNDLE).contains(&5000) && first + BUNDLE < 2 * SEGMENT_ENTRIES {
            let gone = Write::Delete { key: bundle_key(first), expect: crate::store::Expect::Any };
            log.store.commit(vec![gone]).await.unwrap();
        }
    }
    let (page, _) = log.search(&filter, Range { until: 2 * SEGMENT_ENTRIES, ..ALL }).await;
    assert_eq!(page.found.iter().map(|found| found.entry.index).collect::<Vec<_>>(), [5000]);
}

#[tokio::test]
async fn an_index_of_other_entries_or_another_place_hides_nothing_and_is_made_again() {
    let log = Written::of(SIZE, varied).await;
    log.make_all().await;
    // another history of the same deployment, as after a backup was restored: its rows are authentic
    let other = Written::of(SIZE, |index| varied(index + 1)).await;
    other.make_all().await;
    let (filter, range) = (filters().remove(0), ALL);
    let expected = log.scan(&filter, range).await.found;
    assert!(!expected.is_empty());
    let (good, damaged) = (log.index(0).await, {
        let mut row = log.index(0).await;
        row[5000] ^= 1;
        row
    });
    for (what, row) in [
        ("of another history", other.index(0).await),
        ("of another segment", log.index(1).await),
        ("damaged", damaged),
        ("cut off", good[..good.len() - 1].to_vec()),
        ("empty", Vec::new()),
    ] {
        log.store.commit(vec![put(index_key(0), row)]).await.unwrap();
        let (page, suspects) = log.search(&filter, range).await;
        assert_eq!((page.found, suspects), (expected.clone(), vec![0]), "{what}");
    }
    // with all rows and hashes of the other history at once: they do not lead to the tree in memory
    for number in 0..SIZE / 256 {
        let tile = other.store.get(&tile_key(0, number)).await.unwrap().unwrap().value;
        log.store.commit(vec![put(tile_key(0, number), tile)]).await.unwrap();
    }
    for number in 0..2 {
        log.store.commit(vec![put(index_key(number), other.index(number).await)]).await.unwrap();
    }
    assert_eq!(log.search(&filter, range).await.0.found, expected);
}

#[tokio::test]
async fn what_is_missing_is_made_newest_first_and_rows_of_other_formats_go() {
    let log = Written::of(SIZE, varied).await;
    log.make(1).await.unwrap();
    let numbers = |all: Vec<Segment>| all.into_iter().map(Segment::number).collect::<Vec<_>>();
    let store = log.store.as_ref();
    assert_eq!(numbers(missing(store, 0, 2, 10).await.unwrap()), [0]);
    assert_eq!(numbers(missing(store, 0, 5, 2).await.unwrap()), [4, 3]);
    assert_eq!(numbers(missing(store, 1, 2, 10).await.unwrap()), Vec::<u64>::new());
    // keys that are of no segment, more than one look reads
    let planted = |number: u16| put([index_key(1).as_slice(), &number.to_be_bytes()].concat(), vec![1]);
    log.store.commit((0..300).map(planted).collect()).await.unwrap();
    assert_eq!(numbers(missing(store, 0, 3, 10).await.unwrap()), [2, 0], "they stop nothing");
    log.make_all().await;
    assert!(missing(store, 0, 2, 10).await.unwrap().is_empty());
    let mut foreign = index_key(0);
    let format = foreign.len() - 9;
    foreign[format] = 9;
    log.store.commit(vec![put(foreign.clone(), vec![1])]).await.unwrap();
    let changes = without_foreign(store).await.unwrap();
    assert_eq!(changes.len(), 1);
    log.store.commit(changes.into_writes()).await.unwrap();
    assert!(
        without_foreign(store).await.unwrap().is_empty() && log.store.get(&foreign).await.unwrap().is_none()
    );
}

#[tokio::test]
async fn no_index_is_made_of_altered_entries() {
    let log = Written::of(SIZE, varied).await;
    let other = Written::of(SIZE, |index| varied(index + 1)).await;
    let bundle = other.store.get(&bundle_key(BUNDLE)).await.unwrap().unwrap().value;
    log.store.commit(vec![put(bundle_key(BUNDLE), bundle)]).await.unwrap();
    assert!(matches!(log.make(0).await, Err(MakeError::Altered { first: 0, .. })));
    assert!(log.make(1).await.is_ok());
}

/// Whoever has the disk sees rows of a few lengths, and the same entries twice are nothing of the same.
#[tokio::test]
async fn rows_have_one_of_four_lengths_and_share_nothing() {
    let log = Written::of(2 * SEGMENT_ENTRIES, |index| varied(index % SEGMENT_ENTRIES)).await;
    log.make_all().await;
    let (one, other) = (log.index(0).await, log.index(1).await);
    let lengths = CLASSES.map(|bytes| bytes + OVERHEAD_BYTES);
    assert!(lengths.contains(&one.len()));
    let same = one.iter().zip(&other).filter(|(one, other)| one == other).count();
    assert!(same < one.len() / 64, "{same} of {} bytes are the same", one.len());
    // a caller of 4,096 names of their greatest length has no larger one than the largest
    let long = |index: u64| {
        let detail = Detail {
            caller: long_text(index),
            path: long_text(index * 7),
            accessor: format!("a-{index}"),
            request_id: format!("r-{index}"),
            ..Detail::default()
        };
        (Action::SecretRead, Outcome::Allowed, detail)
    };
    let full = Written::of(SEGMENT_ENTRIES, long).await;
    full.make_all().await;
    assert_eq!(full.index(0).await.len(), lengths[3]);
    let filter = Filter { caller: Some(long_text(4000)), ..Filter::default() };
    assert_eq!(full.search(&filter, ALL).await.0.fitting, 1);
}

/// Of a log with tiles on three levels, of which the entries do not matter.
#[tokio::test]
async fn roots_of_segments_are_proven_from_the_tree_in_memory_or_not_believed() {
    let store = Arc::new(MemoryStore::new());
    let (mut tail, mut tiles) = (Tail::default(), Vec::new());
    let size = 2 * 65_536 + 3 * SEGMENT_ENTRIES + 77;
    let leaf = |index: u64| leaf_hash(&index.to_be_bytes());
    (0..size).for_each(|index| tail.append(leaf(index), &mut tiles));
    for CompleteTile { level, number, hashes } in tiles {
        store.tamper(&tile_key(level, number), Some(encode_hashes(&hashes)));
    }
    // where the log ends, as a reader of tiles asks for it
    let note = Checkpoint::sign(size, tail.root(), &Bench::keys().signer);
    store.tamper(&checkpoint_key(), Some(note.into_bytes()));
    let log = LogReader::new(Arc::clone(&store) as _);
    let mut trust = Trust::new(log, tail.frontier().clone());
    let expected = |number: u64| {
        let mut tree = Frontier::new();
        let first = number * SEGMENT_ENTRIES;
        (first..first + SEGMENT_ENTRIES).for_each(|index| tree.append(leaf(index)));
        tree.root()
    };
    for number in [34, 33, 32, 31, 30, 16, 15, 0, 17, 1, 34] {
        let root = trust.root(Segment::new(number).unwrap()).await.unwrap();
        assert_eq!(root, Some(expected(number)), "segment {number}");
    }
    assert_eq!(trust.root(Segment::new(35).unwrap()).await.unwrap(), None, "not whole");
    let mut altered = store.get(&tile_key(1, 0)).await.unwrap().unwrap().value;
    altered[5] ^= 1;
    store.tamper(&tile_key(1, 0), Some(altered));
    let root = trust.root(Segment::new(0).unwrap()).await.unwrap();
    assert_eq!(root, None, "its hashes do not lead to the tree");
    // hashes of a tile that is not full are made of those below, so all of that subtree are not believed
    assert_eq!(trust.root(Segment::new(16).unwrap()).await.unwrap(), None, "of the same tile above");
    assert!(trust.root(Segment::new(33).unwrap()).await.unwrap().is_some(), "others do");
}

/// Rows that somebody rolled back under a running broker are no end of the log.
#[tokio::test]
async fn a_log_that_is_shorter_than_the_tree_in_memory_is_not_searched_as_if_that_were_all() {
    let mut log = Written::of(SEGMENT_ENTRIES, varied).await;
    let earlier = log.store.get(&checkpoint_key()).await.unwrap().unwrap().value;
    log.grow_to(SEGMENT_ENTRIES + 500, varied).await;
    log.store.commit(vec![put(checkpoint_key(), earlier)]).await.unwrap();
    let (known, keys) = (Known::default(), (log.keys.audit.as_ref(), log.keys.deployment));
    let mut searcher = Searcher::new(log.log(), log.tail.frontier().clone(), keys, &known);
    let found = searcher.search(&Filter::default(), ALL).await;
    assert!(matches!(found, Err(LogError::Short { .. })), "it ended early without a word");
    let counted = searcher.tally(&Filter::default(), (0, u64::MAX)).await;
    assert!(matches!(counted, Err(LogError::Short { .. })), "so did a count");
}

/// What a tally of the whole log comes to, in as many calls as it takes.
async fn tally(log: &Written, filter: &Filter, range: (u64, u64)) -> Tally {
    let (known, keys) = (Known::default(), (log.keys.audit.as_ref(), log.keys.deployment));
    let mut searcher = Searcher::new(log.log(), log.tail.frontier().clone(), keys, &known);
    let (mut all, mut next) = (Vec::new(), Some(range));
    while let Some(range) = next {
        let counted = searcher.tally(filter, range).await.unwrap();
        all.push(counted.tally);
        next = counted.rest;
    }
    assert_eq!(all.len(), 1, "12,000 entries are one answer with indices");
    all.remove(0)
}

#[tokio::test]
async fn a_tally_with_indices_is_that_of_the_entries() {
    let log = Written::of(2 * SEGMENT_ENTRIES, varied).await;
    let filter =
        Filter { since_ms: Some(entry_time(100)), until_ms: Some(entry_time(8000)), ..Filter::default() };
    let without = tally(&log, &filter, (0, u64::MAX)).await;
    log.make_all().await;
    let with = tally(&log, &filter, (0, u64::MAX)).await;
    assert_eq!(with, without);
    assert_eq!((with.entries, with.span), (7900, Some((100, 7999))));
    assert_eq!(with.callers.len(), 8, "seven callers, and one with a long name");
    let (action, outcome) = (Action::SecretRead, Outcome::Allowed);
    let reads = log.scan(&Filter { actions: vec![action], outcome: Some(outcome), ..filter }, ALL).await;
    assert_eq!(with.kinds[&(action, outcome)], reads.fitting);
    assert!(with.logins.keys().all(|(path, _)| path == "auth/approle/login"));
    assert_eq!(with.logins.values().sum::<u64>(), (100..8000).filter(|index| index % 97 == 3).count() as u64);
    assert!(with.paths.contains_key("secret/team-3/app-31"), "as people spell it");
}

/// Of 255 bytes, and no two begin alike.
fn long_text(number: u64) -> String {
    format!("{:0<255}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
