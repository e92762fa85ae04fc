#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use symbolon_core::audit::{Action, Actor, Detail, Outcome};
use symbolon_core::path::{PATH_BYTES_MAX, PolicyName, RoleName};
use symbolon_core::strangers::{ENTRIES_AT_ONCE, WINDOW_MS};
use symbolon_proto::log::Entry;

use super::*;
use crate::audit::log::detail::{self, DetailPlace};
use crate::audit::writer::tests::Bench;
use crate::store::memory::Failure;

fn at(boot_ms: u64) -> Now {
    Now { unix_ms: 1000 + boot_ms, boot_ms }
}

fn source(number: u32) -> Source {
    Source::of(Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes())))
}

fn refused(action: Action, path: &str, reason: &str) -> Draft {
    let detail = Detail {
        request_id: "0b2f6f0e-0000-4000-8000-000000000000".to_owned(),
        path: path.to_owned(),
        remote: "10.0.0.1".to_owned(),
        reason: reason.to_owned(),
        ..Detail::default()
    };
    Draft { action, outcome: Outcome::Denied, detail }
}

fn open(entry: &Entry) -> Detail {
    let keys = Bench::keys();
    let place = DetailPlace {
        deployment: keys.deployment,
        broker: entry.broker,
        action: entry.action,
        outcome: entry.outcome,
    };
    detail::open(&keys.audit, &place, &entry.detail).unwrap()
}

/// Requests that the entries in the store stand for.
fn requests(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| open(entry).counts.map_or(1, |counts| counts.requests)).sum()
}

#[tokio::test]
async fn ten_thousand_refused_requests_leave_two_entries_and_all_are_counted() {
    let bench = Bench::new();
    let (writer, strangers) = (bench.start().await, Strangers::default());
    for number in 0..10_000_u64 {
        let draft = refused(Action::SecretRead, &format!("secret/data/{number}"), "token missing");
        strangers.enter(&writer, source(1), draft, at(number / 10)).await.unwrap();
        assert!(writer.size() <= 1);
    }
    assert_eq!((writer.size(), strangers.counted()), (1, 9_999), "the first is durable before its answer");
    strangers.write_due(&writer, at(WINDOW_MS)).await;
    drop(writer);
    let entries = bench.entries().await; // from the store
    assert_eq!((entries.len(), requests(&entries)), (2, 10_000));
    assert_eq!(open(&entries[1]).remote, "10.0.0.1");
}

#[tokio::test]
async fn many_sources_stay_within_the_bound_and_a_close_writes_what_is_left() {
    let bench = Bench::new();
    let (writer, strangers) = (bench.start().await, Strangers::default());
    for number in 0..10_000 {
        let draft = refused(Action::Login, "auth/approle/login", "unknown role id");
        strangers.enter(&writer, source(number % 5000), draft, at(1)).await.unwrap();
    }
    strangers.close(&writer, at(2)).await;
    drop(writer);
    let entries = bench.entries().await;
    assert_eq!(entries.len() as u64, ENTRIES_AT_ONCE + 1);
    assert_eq!(requests(&entries), 10_000);
}

#[tokio::test]
async fn heads_and_lengths_of_refused_requests_tell_nothing() {
    let bench = Bench::new();
    let writer = bench.start().await;
    let drafts = [
        refused(Action::SecretRead, "some/path", "token missing, unknown or expired"),
        refused(Action::Other, "some/path", "no policy allows it"),
        refused(Action::MetadataDelete, "some/path", "x"),
        Draft {
            detail: Detail {
                actor: Some(
                    Actor::of("kubernetes").by_role(&RoleName::parse(&"r".repeat(128)).unwrap()).into(),
                ),
                mount_bytes: 9,
                ..refused(Action::Login, "some/path", "the audience is not one that the role takes").detail
            },
            ..refused(Action::Login, "", "")
        },
        Draft {
            detail: Detail {
                mount_bytes: 4,
                policies: [PolicyName::parse("who-denies").unwrap()].into(),
                ..refused(Action::PolicyRead, "some/path", "no policy allows it").detail
            },
            ..refused(Action::PolicyRead, "", "")
        },
    ];
    for (number, draft) in (0..).zip(drafts) {
        let _ = writer.commit(Vec::new(), draft.clone()).await.unwrap(); // of a known token
        let strangers = Strangers::default();
        strangers.enter(&writer, source(number), draft.clone(), at(0)).await.unwrap();
    }
    drop(writer);
    let entries = bench.entries().await;
    let shown = |entry: &Entry| (entry.action, entry.outcome, entry.detail.len());
    assert_eq!(entries.len(), 10);
    for entry in &entries {
        assert_eq!(shown(entry), (Action::Refused, Outcome::Denied, entries[0].detail.len()));
    }
    assert_eq!(open(&entries[5]).asked, Some(Action::MetadataDelete));
}

/// Whatever the length of a caller's name: a denied request for a path is as long in the log if something is
/// mounted there as if nothing is, and a name takes whole steps.
#[test]
fn lengths_of_denied_requests_of_any_caller_tell_nothing() {
    let denied = |action, actor: &Actor, mount_bytes, reason: &str| {
        let detail = Detail {
            caller: "kubernetes-apps-reader".to_owned(),
            actor: Some(actor.clone().into()),
            mount_bytes,
            policies: [PolicyName::parse("reader").unwrap()].into(),
            ..refused(action, "some/path", reason).detail
        };
        let draft = Draft { action, outcome: Outcome::Denied, detail }.veiled();
        detail::encode_refused(draft.detail).len()
    };
    let mut lengths = std::collections::BTreeSet::new();
    let longest = PATH_BYTES_MAX + RoleName::parse(&"r".repeat(128)).unwrap().as_str().len() + 6 * 3 * 256;
    for bytes in 0..=longest {
        let part = |at: usize, most: usize| "x".repeat(bytes.saturating_sub(at).min(most));
        let actor = Actor {
            mount: part(0, PATH_BYTES_MAX),
            role: part(PATH_BYTES_MAX, 128),
            subject: part(PATH_BYTES_MAX + 128, longest),
            ..Actor::of("kubernetes")
        };
        let nothing = denied(Action::Other, &actor, 0, "no policy allows it");
        let mounted = denied(Action::MetadataDelete, &actor, 9, "no policy allows it");
        let malformed = denied(Action::WorkloadToken, &actor, 1024, "token missing, unknown or expired");
        assert_eq!((mounted, malformed), (nothing, nothing), "{bytes} bytes of a name");
        lengths.insert(nothing);
    }
    let lengths: Vec<_> = lengths.into_iter().collect();
    assert!(lengths.windows(2).all(|pair| pair[1] - pair[0] == 512), "{lengths:?}");
}

#[tokio::test]
async fn entries_of_counts_have_one_length_whatever_was_counted() {
    let bench = Bench::new();
    let (writer, mut lengths) = (bench.start().await, std::collections::BTreeSet::new());
    for long in ["", "x", &"\"".repeat(1024)] {
        let strangers = Strangers::default();
        for number in 0..30_usize {
            let action = Action::ALL[number];
            let draft = refused(action, &format!("{number}{long}"), &format!("{number}{long}"));
            strangers.enter(&writer, source(1), draft, at(0)).await.unwrap();
        }
        strangers.close(&writer, at(1)).await;
    }
    drop(writer);
    let counts = bench.entries().await.into_iter().filter(|entry| open(entry).counts.is_some());
    for entry in counts {
        lengths.insert(entry.detail.len());
        assert_eq!(open(&entry).counts.unwrap().requests, 29);
    }
    assert_eq!(lengths.len(), 1, "{lengths:?}");
}

#[tokio::test]
async fn what_cannot_be_written_is_an_error_or_stays_counted() {
    let bench = Bench::new();
    let (writer, strangers) = (bench.start().await, Strangers::default());
    let draft = || refused(Action::SecretRead, "a", "token missing");
    bench.store.fail_commit(0, Failure::Full);
    assert!(matches!(strangers.enter(&writer, source(1), draft(), at(0)).await, Err(CommitError::Full)));
    strangers.enter(&writer, source(1), draft(), at(1)).await.unwrap();
    assert_eq!(writer.size(), 1, "the next is a first one");
    strangers.enter(&writer, source(1), draft(), at(2)).await.unwrap();
    bench.store.fail_commit(0, Failure::Full);
    strangers.write_due(&writer, at(WINDOW_MS + 1)).await;
    assert_eq!(writer.size(), 1, "put back");
    strangers.close(&writer, at(WINDOW_MS + 2)).await;
    drop(writer);
    assert_eq!(requests(&bench.entries().await), 2);
}
