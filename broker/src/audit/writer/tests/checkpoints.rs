//! When checkpoints are signed, and what stands for a log between two of them.

use symbolon_proto::log::Checkpoint;

use super::*;

pub(super) fn signed_size(note: &[u8]) -> u64 {
    let signer = Bench::keys().signer;
    Checkpoint::open(std::str::from_utf8(note).unwrap(), signer.verifier()).unwrap().size
}

async fn commit(writer: &Writer, times: usize) {
    for _ in 0..times {
        let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    }
}

#[tokio::test]
async fn checkpoints_are_signed_when_asked_for_and_at_the_end() {
    let bench = Bench::new();
    let writer = bench.try_start().await.unwrap();
    writer.store_checkpoint().await.unwrap(); // there is nothing to sign
    commit(&writer, 5).await;
    assert_eq!(bench.signed(), 1);
    writer.store_checkpoint().await.unwrap();
    assert_eq!(bench.signed(), 5);
    commit(&writer, 2).await;
    writer.stop().await;
    assert_eq!(bench.signed(), 7);
}

#[tokio::test]
async fn a_checkpoint_is_signed_in_time_although_nobody_commits() {
    let bench = Bench::new();
    let writer = bench.start_signing(Duration::from_millis(20)).await.unwrap();
    let _ = together(&bench, &Arc::new(writer), vec![Vec::new(); 5]).await;
    while bench.signed() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = bench.store.commits_begun();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.store.commits_begun(), begun, "there is no news");
}

#[tokio::test]
async fn a_commit_after_a_quiet_time_is_signed_at_once_and_alone() {
    let bench = Bench::new();
    let writer = bench.start_signing(Duration::ZERO).await.unwrap();
    commit(&writer, 5).await;
    assert_eq!((bench.signed(), bench.store.commits_begun()), (5, 5));
}

/// What a kill leaves behind the last checkpoint is signed by the next start.
#[tokio::test]
async fn a_start_signs_what_it_found() {
    let bench = Bench::new();
    commit(&*bench.start().await, 5).await;
    assert_eq!(bench.signed(), 1);
    let _next = bench.start().await;
    while bench.signed() < 5 {
        tokio::task::yield_now().await;
    }
}

/// What a kill leaves: the log goes on, and what was committed after the checkpoint still is ours.
#[tokio::test]
async fn entries_after_the_checkpoint_are_accepted_by_their_head_alone() {
    let bench = Bench::new();
    let writer = bench.start().await;
    commit(&writer, 20).await;
    let rows = bench.store.rows();
    assert_eq!(bench.signed(), 1);
    let refused = async |what: &str, tamper: &dyn Fn()| {
        tamper();
        let found = bench.try_start().await;
        assert!(matches!(found, Err(StartError::Log(_))), "{what}");
        bench.store.tamper(&head_key(), Some(rows.get(&head_key()).unwrap().value.clone()));
        for index in 0..20 {
            bench.store.tamper(&bundle_key(index), Some(rows.get(&bundle_key(index)).unwrap().value.clone()));
        }
    };
    refused("no head", &|| bench.store.tamper(&head_key(), None)).await;
    for byte in 0..73 {
        refused("a changed head", &|| flip(&bench.store, &head_key(), byte)).await;
    }
    refused("a missing entry", &|| bench.store.tamper(&bundle_key(19), None)).await;
    refused("a changed entry", &|| flip(&bench.store, &bundle_key(12), 60)).await;
    assert_eq!(bench.start().await.commit(Vec::new(), draft()).await.unwrap().index(), 20);
}

/// The version before signed every group and wrote no head.
#[tokio::test]
async fn a_log_of_the_version_before_goes_on_also_behind_a_stale_head() {
    let bench = Bench::new();
    let writer = bench.try_start().await.unwrap();
    let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    let head = bench.store.rows().get(&head_key()).unwrap().value.clone();
    let _ = writer.commit(Vec::new(), draft()).await.unwrap();
    writer.stop().await; // signed to the end, as every group was
    for head in [None, Some(head)] {
        bench.store.tamper(&head_key(), head);
        assert_eq!(bench.start().await.size(), 2);
    }
}

/// A checkpoint of another tree that the same key has signed.
#[tokio::test]
async fn a_checkpoint_of_another_history_is_refused() {
    let (ours, other) = (Bench::new(), Bench::new());
    other.clock.0.store(2000, Ordering::Relaxed);
    for bench in [&ours, &other] {
        commit(&*bench.start().await, 2).await;
    }
    let note = other.store.rows().get(&checkpoint_key()).unwrap().value.clone();
    ours.store.tamper(&checkpoint_key(), Some(note));
    assert!(matches!(ours.try_start().await, Err(StartError::Log(TailError::Root { size: 1 }))));
}

/// One who was fenced out and does not know it yet must not replace the newer checkpoint of the other.
#[tokio::test]
async fn a_fenced_broker_replaces_no_checkpoint() {
    let bench = Bench::new();
    let first = bench.try_start().await.unwrap();
    commit(&first, 2).await;
    let second = bench.try_start().await.unwrap();
    commit(&second, 3).await;
    let asked = first.store_checkpoint().await;
    assert!(matches!(asked, Err(CommitError::Fenced)), "{asked:?}");
    assert!(first.is_fenced());
    second.stop().await;
    first.stop().await;
    assert_eq!(bench.signed(), 5);
}

/// Whether it happened is looked for before anything is signed: it would be signed over, or never.
#[tokio::test]
async fn a_commit_without_an_answer_is_signed_too() {
    let bench = Bench::new();
    let writer = bench.try_start().await.unwrap();
    commit(&writer, 1).await;
    bench.store.fail_commit(0, Failure::LostAnswer);
    assert!(writer.commit(Vec::new(), draft()).await.is_err());
    writer.stop().await;
    assert_eq!(bench.signed(), 2, "it is durable, and this was an orderly stop");
}

/// Nothing else tells whoever restores a snapshot how far its log went.
#[tokio::test]
async fn a_moment_is_covered_by_its_checkpoint_while_others_commit() {
    let bench = Bench::new();
    let writer = bench.start().await;
    commit(&writer, 1).await;
    let busy = Arc::clone(&writer);
    let others = tokio::spawn(async move {
        for _ in 0..300 {
            let _ = tokio::join!(busy.commit(Vec::new(), draft()), busy.commit(Vec::new(), draft()));
        }
    });
    while !others.is_finished() {
        let moment = writer.moment().await.unwrap();
        let mut snapshot = moment.snapshot;
        let rows = snapshot.next(usize::MAX).await.unwrap();
        let row = |key: &[u8]| rows.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
        let last = rows.iter().rfind(|(key, _)| first_index(key).is_some()).unwrap();
        let end = first_index(&last.0).unwrap() + decode_bundle(&last.1).unwrap().len() as u64;
        assert_eq!((signed_size(&row(&checkpoint_key()).unwrap()), moment.entries), (end, end));
        tokio::task::yield_now().await;
    }
    others.await.unwrap();
}

/// A fence or a store that fails is told to who asks, and nothing is shown that no checkpoint covers.
#[tokio::test]
async fn no_moment_is_shown_without_a_checkpoint() {
    let bench = Bench::new();
    let writer = bench.try_start().await.unwrap();
    commit(&writer, 2).await;
    bench.store.fail_commit(0, Failure::Full);
    assert!(matches!(writer.moment().await, Err(CommitError::Full)));
    assert_eq!(writer.moment().await.unwrap().entries, 2);
    let second = bench.try_start().await.unwrap();
    commit(&second, 1).await;
    assert!(writer.commit(Vec::new(), draft()).await.is_err());
    assert!(matches!(writer.moment().await, Err(CommitError::Fenced)));
}
