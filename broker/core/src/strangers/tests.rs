#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::IpAddr;

use super::*;

const MINUTE: u64 = 60_000;

fn at(boot_ms: u64) -> Now {
    Now { unix_ms: 1_790_000_000_000 + boot_ms, boot_ms }
}

fn source(number: u32) -> Source {
    Source::of(Some(IpAddr::from((0x0a00_0000 + number).to_be_bytes())))
}

fn refused(action: Action, path: &str, reason: &str) -> Draft {
    let detail = Detail { path: path.to_owned(), reason: reason.to_owned(), ..Detail::default() };
    Draft { action, outcome: Outcome::Denied, detail }
}

fn read(path: &str) -> Draft {
    refused(Action::SecretRead, path, "token missing, unknown or expired")
}

/// What became of everything that was noted.
#[derive(Default)]
struct Log {
    entries: Vec<Draft>,
}

impl Log {
    fn note(&mut self, strangers: &mut Strangers, from: Source, draft: Draft, now: Now) {
        self.entries.extend(strangers.note(from, draft, now));
    }

    fn write(&mut self, summaries: &[Summary]) {
        self.entries.extend(summaries.iter().map(Summary::draft));
    }

    /// Requests that the entries stand for.
    fn requests(&self) -> u64 {
        self.entries
            .iter()
            .map(|entry| entry.detail.counts.as_ref().map_or(1, |counts| counts.requests))
            .sum()
    }
}

#[test]
fn ten_thousand_requests_of_one_source_leave_two_entries_a_minute_and_all_count() {
    let (mut strangers, mut log) = (Strangers::default(), Log::default());
    for number in 0..10_000 {
        let now = at(number * 6); // a minute
        log.note(&mut strangers, source(1), read("secret/data/a"), now);
        log.write(&strangers.due(now));
    }
    log.write(&strangers.close(at(MINUTE)));
    assert_eq!(log.requests(), 10_000);
    assert_eq!(
        log.entries.len(),
        4,
        "the first, then windows of 10, 20 and 40 s, the last of them cut short"
    );
}

#[test]
fn a_quiet_source_is_written_at_once_again() {
    let mut strangers = Strangers::default();
    assert!(strangers.note(source(1), read("a"), at(0)).is_some());
    assert!(strangers.note(source(1), read("a"), at(WINDOW_MS - 1)).is_none());
    assert_eq!(strangers.due(at(WINDOW_MS)).len(), 1);
    assert!(strangers.note(source(1), read("a"), at(WINDOW_MS + 1)).is_none(), "it goes on");
    assert_eq!(strangers.due(at(3 * WINDOW_MS)).len(), 1);
    assert!(strangers.due(at(3 * WINDOW_MS + 4 * WINDOW_MS)).is_empty());
    assert!(strangers.note(source(1), read("a"), at(8 * WINDOW_MS)).is_some());
}

#[test]
fn sources_are_told_apart() {
    let mut strangers = Strangers::default();
    let network = |text: &str| Source::of(Some(text.parse().unwrap()));
    assert!(strangers.note(network("2001:db8::1"), read("a"), at(0)).is_some());
    assert!(strangers.note(network("2001:db8::2"), read("b"), at(1)).is_none(), "one /64");
    assert!(strangers.note(network("2001:db8:0:1::1"), read("c"), at(2)).is_some());
    assert!(strangers.note(network("192.0.2.1"), read("d"), at(3)).is_some());
    assert!(strangers.note(network("192.0.2.1"), read("e"), at(4)).is_none());
    let mut found = HashMap::new();
    for draft in strangers.due(at(WINDOW_MS * 2)).iter().map(Summary::draft) {
        let counts = draft.detail.counts.unwrap();
        found.insert(draft.detail.remote, (counts.requests, counts.asked[0].path.clone(), counts.merged));
    }
    let expected = [("2001:db8::/64", (1, "b".to_owned(), 0)), ("192.0.2.1", (1, "e".to_owned(), 0))];
    assert_eq!(found, expected.map(|(source, counts)| (source.to_owned(), counts)).into());
}

#[test]
fn five_thousand_sources_stay_within_the_bound_and_all_count() {
    let (mut strangers, mut log) = (Strangers::default(), Log::default());
    let (minutes, each_ms) = (5, 10);
    for tick in 0..minutes * MINUTE / each_ms {
        let now = at(tick * each_ms);
        let from = source(u32::try_from(tick * 7919 % 5000).unwrap());
        log.note(&mut strangers, from, read("secret/data/a"), now);
        if tick % 100 == 0 {
            log.write(&strangers.due(now));
        }
        assert!(strangers.sources.len() <= SOURCES_MAX);
        assert!(strangers.ended.len() as u64 <= ENTRIES_AT_ONCE);
    }
    log.write(&strangers.close(at(minutes * MINUTE)));
    assert_eq!(log.requests(), minutes * MINUTE / each_ms);
    let bound = ENTRIES_AT_ONCE + minutes * (MINUTE / ENTRY_MS + MINUTE / OTHERS_MS) + 1;
    let entries = log.entries.len() as u64;
    assert!(entries <= bound, "{entries} entries, at most {bound}");
    assert!(entries >= bound - 60, "the budget is used: {entries} of {bound}");
}

#[test]
fn a_flood_at_one_moment_is_bounded_too() {
    let (mut strangers, mut log) = (Strangers::default(), Log::default());
    for number in 0..5000 {
        log.note(&mut strangers, source(number), read("a"), at(0));
    }
    log.write(&strangers.close(at(0)));
    assert_eq!(log.requests(), 5000);
    assert_eq!(log.entries.len() as u64, ENTRIES_AT_ONCE + 1);
    let merged = log.entries.last().unwrap().detail.counts.as_ref().unwrap().merged;
    assert_eq!(merged, 5000 - ENTRIES_AT_ONCE, "each source's counts came together once");
}

#[test]
fn counts_wait_no_longer_than_a_window_and_those_of_others() {
    let mut strangers = Strangers::default();
    let mut written = 0;
    for second in 0..200 {
        for number in 0..600 {
            let _ = strangers.note(source(number), read("a"), at(second * 1000));
        }
        let now = at(second * 1000 + 999);
        for summary in strangers.due(now) {
            let waited = now.unix_ms - summary.counts.first_ms;
            assert!(waited <= WINDOW_MAX_MS + OTHERS_MS + 1000, "{waited} ms");
            written += 1;
        }
    }
    assert!(written > 0);
}

#[test]
fn what_could_not_be_written_is_counted_again() {
    let mut strangers = Strangers::default();
    assert!(strangers.note(source(1), read("a"), at(0)).is_some());
    strangers.not_written(source(1));
    assert!(strangers.note(source(1), read("a"), at(1)).is_some(), "the next is a first one");
    let _ = strangers.note(source(1), read("a"), at(2));
    let mut due = strangers.due(at(WINDOW_MS * 2));
    strangers.put_back(due.remove(0), at(WINDOW_MS * 2));
    let again = strangers.due(at(WINDOW_MS * 2 + OTHERS_MS));
    assert_eq!(again.iter().map(Summary::requests).collect::<Vec<_>>(), [1]);
}

#[test]
fn after_the_last_counts_everything_is_written() {
    let mut strangers = Strangers::default();
    assert!(strangers.note(source(1), read("a"), at(0)).is_some());
    assert!(strangers.close(at(1)).is_empty());
    assert!(strangers.note(source(1), read("a"), at(2)).is_some());
    assert!(strangers.note(source(1), read("a"), at(3)).is_some());
}

#[test]
fn counts_say_what_kinds_there_were_and_show_some() {
    let mut strangers = Strangers::default();
    let _ = strangers.note(source(1), read("first"), at(0));
    for number in 0..20 {
        let _ = strangers.note(source(1), read(&format!("secret/data/{number}")), at(1 + number));
        let login = refused(Action::Login, "auth/approle/login", "unknown role id");
        let _ = strangers.note(source(1), login, at(30 + number));
    }
    let draft = strangers.close(at(100)).remove(0).draft();
    assert_eq!((draft.action, draft.outcome), (Action::Refused, Outcome::Denied));
    let counts = draft.detail.counts.unwrap();
    assert_eq!((counts.requests, counts.unlisted), (40, 0));
    assert_eq!((counts.first_ms, counts.last_ms), (at(1).unix_ms, at(49).unix_ms));
    let kinds: Vec<_> = counts.kinds.iter().map(|kind| (kind.action.unwrap(), kind.requests)).collect();
    assert_eq!(kinds, [(Action::SecretRead, 20), (Action::Login, 20)]);
    assert_eq!((counts.asked.len(), counts.asked[7].path.as_str()), (8, "secret/data/6"));
}

#[test]
fn counts_are_bounded_and_add_up_whatever_is_asked() {
    let mut counts = Counts::default();
    for number in 0..100 {
        let long = "ü".repeat(1000);
        counts
            .add(&refused(Action::Other, &format!("{number}{long}"), &format!("{number}{long}")), at(number));
    }
    let size = serde_json::to_vec(&counts).unwrap().len();
    assert!(size < 8 << 10, "{size} bytes");
    loop {
        let listed: u64 = counts.kinds.iter().map(|kind| kind.requests).sum();
        assert_eq!((counts.requests, listed + counts.unlisted), (100, 100));
        if !counts.shorten() {
            break;
        }
    }
}

#[test]
fn a_detail_keeps_what_was_asked_and_older_ones_stay_readable() {
    let veiled = read("secret/data/a").veiled();
    assert_eq!((veiled.action, veiled.detail.asked), (Action::Refused, Some(Action::SecretRead)));
    assert_eq!(veiled.detail.action(veiled.action), Action::SecretRead);
    let twice = veiled.clone().veiled();
    assert_eq!((twice.action, &twice.detail), (veiled.action, &veiled.detail));
    let mut counts = Counts::default();
    counts.add(&veiled, at(5));
    let detail = Detail { counts: Some(Box::new(counts)), ..veiled.detail };
    let text = serde_json::to_string(&detail).unwrap();
    assert_eq!(serde_json::from_str::<Detail>(&text).unwrap(), detail);
    let newer = text.replace("secret-read", "fly");
    assert_eq!(serde_json::from_str::<Detail>(&newer).unwrap().asked, None, "an action of a later version");
    let old = r#"{"caller":"ci","path":"secret/data/x"}"#;
    let old: Detail = serde_json::from_str(old).unwrap();
    assert_eq!((old.action(Action::Login), old.counts), (Action::Login, None));
}
