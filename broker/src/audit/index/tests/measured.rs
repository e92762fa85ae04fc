//! How long a search takes, with indices and without, on a store as it lies on a disk.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::store::embedded::EmbeddedStore;

/// Paths and callers of a busy installation; some are asked for far more often than others.
const PATHS: u64 = 4000;
const CALLERS: u64 = 40;

#[expect(clippy::disallowed_methods, reason = "a test is told by whoever starts it how much it does")]
fn entries() -> u64 {
    std::env::var("SYMBOLON_INDEX_ENTRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(300_000)
}

/// The place of an entry's path: the square of an even number is small more often than large.
fn skewed(index: u64, of: u64) -> u64 {
    let even = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (((even * even) >> 32) * of) >> 32
}

fn busy(index: u64) -> Said {
    let caller = skewed(index * 3 + 1, CALLERS);
    let detail = Detail {
        request_id: format!("{:08x}-0000-4000-8000-{index:012x}", index.wrapping_mul(0x9e37_79b9)),
        caller: format!("kubernetes-team{caller}-service"),
        accessor: format!("accessor-of-a-token-{caller}"),
        path: format!("secret/data/team{}/service/app-{}", skewed(index, PATHS) % 50, skewed(index, PATHS)),
        mount_bytes: 6,
        remote: "10.1.2.3".to_owned(),
        ..Detail::default()
    };
    match index % 50 {
        0 => (Action::Login, Outcome::Allowed, Detail { path: "auth/kubernetes/login".into(), ..detail }),
        1 => refused(Detail { asked: Some(Action::SecretRead), ..detail }),
        2 => (Action::SecretWrite, Outcome::Allowed, detail),
        _ => (Action::SecretRead, Outcome::Allowed, detail),
    }
}

#[tokio::test]
#[ignore = "a measurement that asserts no figure; docs/benchmarks.md has the command"]
async fn how_long_a_search_takes_with_and_without_indices() {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::create(&directory.path().join("store"), 64 << 20).unwrap();
    let mut log = Written::new(Arc::new(store));
    let (size, begun) = (entries(), Instant::now());
    log.grow_to(size, busy).await;
    println!("{size} entries written in {:.1?}", begun.elapsed());
    let begun = Instant::now();
    log.make_all().await;
    let segments = size / SEGMENT_ENTRIES;
    println!(
        "{segments} indices of {} bytes made, each in {:.1?}",
        log.index(0).await.len(),
        begun.elapsed() / u32::try_from(segments.max(1)).unwrap()
    );
    let path = |app: u64| Some(format!("secret/team{}/service/app-{app}", app % 50));
    for (what, filter) in [
        ("who read a path that is read often", Filter { path: path(0), ..Filter::default() }),
        ("who read a path that is read seldom", Filter { path: path(PATHS - 1), ..Filter::default() }),
        ("who read a path that nobody reads", Filter { path: path(PATHS), ..Filter::default() }),
        (
            "refused to one caller",
            Filter {
                caller: Some("kubernetes-team39-service".into()),
                outcome: Some(Outcome::Denied),
                ..Filter::default()
            },
        ),
    ] {
        for counts_only in [false, true] {
            report(&log, what, &filter, Range { counts_only, ..ALL }).await;
        }
    }
}

/// Takes the time of a search to its end, as the client does it, and of the first answer.
async fn report(log: &Written, what: &str, filter: &Filter, range: Range) {
    let begun = Instant::now();
    let (page, suspects) = log.search(filter, range).await;
    let with = begun.elapsed();
    assert!(suspects.is_empty());
    let begun = Instant::now();
    let expected = log.scan(filter, range).await;
    let without = begun.elapsed();
    assert_eq!((page.fitting, page.found), (expected.fitting, expected.found));
    let each = |time: Duration| time.as_secs_f64() / entries() as f64;
    println!(
        "{what}, {}: {} of {}: {with:.1?} with indices, {without:.1?} without; ten million: {:.2} s and {:.0} s",
        if range.counts_only { "counted" } else { "shown" },
        page.fitting,
        entries(),
        each(with) * 1e7,
        each(without) * 1e7
    );
}
