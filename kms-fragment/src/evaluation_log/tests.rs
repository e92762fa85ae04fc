#![allow(clippy::unwrap_used)]
use super::*;

fn record(time: u64, status: u16) -> Record {
    Record {
        time,
        key_id: KeyId::from_bytes([1; 16]),
        broker_id: BrokerId::from_bytes([2; 16]),
        count: 8,
        status,
        quota_left: 100,
    }
}

fn from_start(head: Head) -> Anchor {
    Anchor { base: Head::EMPTY, head }
}

fn written(records: u64) -> (tempfile::TempDir, PathBuf, Head) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("evaluations.log");
    let (log, _) = EvaluationLog::open(&path, Anchor::EMPTY).unwrap();
    (0..records).for_each(|time| log.append(&record(time, 0)).unwrap());
    let head = log.head();
    (dir, path, head)
}

#[test]
fn records_are_found_again_and_continued() {
    let (_dir, path, head) = written(3);
    let (log, last_use) = EvaluationLog::open(&path, from_start(head)).unwrap();
    assert_eq!(log.head(), head);
    assert_eq!(last_use[&KeyId::from_bytes([1; 16])], LastUse { time: 2, quota_left: 100 });
    log.append(&record(3, 0)).unwrap();
    drop(log);
    assert_eq!(EvaluationLog::open(&path, from_start(head)).unwrap().0.head().records, 4);
}

#[test]
fn a_changed_record_is_found() {
    let (_dir, path, head) = written(3);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(" 8 0 ", " 1 0 ", 1)).unwrap();
    assert!(matches!(EvaluationLog::open(&path, from_start(head)), Err(LogError::Altered { record: 1, .. })));
}

#[test]
fn a_removed_record_is_found() {
    let (_dir, path, head) = written(3);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    assert!(matches!(EvaluationLog::open(&path, from_start(head)), Err(LogError::Altered { record: 2, .. })));
}

#[test]
fn removed_last_records_are_found_by_the_head() {
    let (_dir, path, head) = written(3);
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    std::fs::write(&path, format!("{first}\n")).unwrap();
    let outcome = EvaluationLog::open(&path, from_start(head));
    assert!(matches!(outcome, Err(LogError::Truncated { found: 1, expected: 3, .. })));
}

#[test]
fn a_torn_tail_is_kept_beside_the_log() {
    let (dir, path, head) = written(2);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"3 17 half a li").unwrap();
    let (log, _) = EvaluationLog::open(&path, from_start(head)).unwrap();
    assert_eq!(log.head(), head);
    let aside = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(aside, 2);
}

#[test]
fn refusals_are_counted_rather_than_written_each() {
    let (_dir, path, _) = written(0);
    let (log, _) = EvaluationLog::open(&path, Anchor::EMPTY).unwrap();
    for time in 1000..1000 + 2 * REFUSAL_INTERVAL_SECS {
        log.append(&record(time, 6)).unwrap();
    }
    assert_eq!(log.head().records, 2);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().nth(1).unwrap().contains(" 100 59 "), "{text}");
}

#[test]
fn many_threads_share_syncs_and_lose_nothing() {
    let (_dir, path, _) = written(0);
    let (log, _) = EvaluationLog::open(&path, Anchor::EMPTY).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|time| log.append(&record(time, 0)).unwrap()));
        }
    });
    assert_eq!(log.head().records, 400);
    drop(log);
    assert_eq!(EvaluationLog::open(&path, Anchor::EMPTY).unwrap().0.head().records, 400);
}

/// A log of five records, the first three of them set aside; and what the anchor said before and after.
fn set_aside() -> (tempfile::TempDir, PathBuf, [Anchor; 2]) {
    let (dir, path, _) = written(3);
    let (log, _) = EvaluationLog::open(&path, Anchor::EMPTY).unwrap();
    let mut before = Anchor::EMPTY;
    let note = |anchor| {
        before = anchor;
        Ok::<_, LogError>(())
    };
    log.set_aside(1, note).unwrap();
    (3..5).for_each(|time| log.append(&record(time, 0)).unwrap());
    let after = log.anchor();
    (dir, path, [before, after])
}

#[test]
fn a_long_file_is_set_aside_and_the_chain_goes_on() {
    let (_dir, path, [before, after]) = set_aside();
    assert_eq!((after.base, after.base.records), (before.head, 3));
    let (log, last_use) = EvaluationLog::open(&path, after).unwrap();
    assert_eq!(log.head().records, 5);
    assert_eq!(last_use.len(), 1);
    let old = std::fs::read_to_string(path.with_extension("3.log")).unwrap();
    let new = std::fs::read_to_string(&path).unwrap();
    assert_eq!((old.lines().count(), new.lines().count()), (3, 2));
    std::fs::write(&path, old + &new).unwrap();
    assert_eq!(EvaluationLog::open(&path, from_start(after.head)).unwrap().0.head(), after.head, "one chain");
}

#[test]
fn a_crash_while_the_file_was_set_aside_is_survived() {
    let (_dir, path, [before, _]) = set_aside();
    assert_eq!(EvaluationLog::open(&path, before).unwrap().0.head().records, 5);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(EvaluationLog::open(&path, before).unwrap().0.head(), before.head);
}

#[test]
fn a_removed_file_is_found() {
    let (_dir, path, head) = written(3);
    std::fs::remove_file(&path).unwrap();
    let outcome = EvaluationLog::open(&path, from_start(head));
    assert!(matches!(outcome, Err(LogError::Truncated { found: 0, expected: 3, .. })));
}
