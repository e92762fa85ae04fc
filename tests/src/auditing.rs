//! What auditors and operators do with the log beside searching it: follow it, count a time, prove entries.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use symbolon_cli::Operator;
use symbolon_cli::audit::{Counted, Followed, Line, LogSource, Prover, Search, Span, Tally};
use symbolon_core::event::Event;
use symbolon_proto::log::{EntryProof, VerifierKey};
use tokio::time::timeout;

use crate::audit::{entries, size};

use crate::site::{CALM, Site};
use crate::tools::go;

fn key(site: &Site) -> VerifierKey {
    site.log_key.parse().unwrap()
}

fn client(site: &Site) -> Operator {
    site.world.client_as(&site.root).unwrap()
}

/// The next line within a time.
async fn next(lines: &mut Followed) -> Option<Line> {
    timeout(Duration::from_secs(20), lines.next()).await.expect("something is told").unwrap()
}

/// The next event, whatever else is told.
async fn next_event(lines: &mut Followed) -> Box<Event> {
    loop {
        match next(lines).await {
            Some(Line::Event(event)) => return event,
            Some(Line::Waiting { .. }) => {}
            other => panic!("expected an event, found {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_is_one_request_with_one_entry_and_tells_everything_in_order() {
    let site = Site::open(CALM).await;
    site.write("app/db", "one").await;
    let before = size(&site).await;
    let search = Search { limit: Some(2), ..Search::default() };
    let mut lines = client(&site).follow_audit(&search).await.unwrap();
    let (first, second) = (next_event(&mut lines).await, next_event(&mut lines).await);
    let own = next_event(&mut lines).await;
    let indices = (first.index, second.index, own.index);
    assert_eq!(indices, (before - 2, before - 1, before), "the newest two that were there, and its own");
    assert_eq!(own.target.path, "sys/symbolon/audit/tail");
    for value in ["two", "three"] {
        site.write("app/db", value).await;
    }
    let (two, three) = (next_event(&mut lines).await, next_event(&mut lines).await);
    assert_eq!((two.action.as_str(), two.index, three.index), ("secret-write", before + 1, before + 2));
    assert!(matches!(next(&mut lines).await, Some(Line::Waiting { next }) if next == Some(before + 3)));
    let looks = entries(&site, 0).await;
    let looks = looks.iter().filter(|event| event["target"]["path"] == "sys/symbolon/audit/tail");
    let looks: Vec<_> = looks.collect();
    assert_eq!(looks.len(), 1, "one entry, however long it goes on");
    let told = looks[0]["target"]["object"].as_str().unwrap();
    assert!(told.starts_with(&format!("the newest 2 that fit before {before}, and ")), "{told}");
    // somebody who begins where another was cut off misses nothing, and a filter counts
    let search =
        Search { from: Some(two.index), action: Some("secret-write".to_owned()), ..Search::default() };
    let mut again = client(&site).follow_audit(&search).await.unwrap();
    assert_eq!(next_event(&mut again).await, two);
    assert_eq!(next_event(&mut again).await, three);
    // the newest that fit are not the newest of all
    let search = Search { limit: Some(2), action: Some("secret-write".to_owned()), ..Search::default() };
    let mut rare = client(&site).follow_audit(&search).await.unwrap();
    assert_eq!((next_event(&mut rare).await, next_event(&mut rare).await), (two, three));
    site.write("app/db", "four").await;
    assert_eq!(next_event(&mut rare).await.action, "secret-write");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_ends_with_the_token_its_policies_and_the_seal_and_has_few_places() {
    let site = Site::open(CALM).await;
    let rule = r#"path "sys/symbolon/audit/tail" { capabilities = ["read", "sudo"] }"#;
    let weak = site.token_with("weak", r#"path "sys/symbolon/audit/tail" { capabilities = ["read"] }"#).await;
    site.get("sys/symbolon/audit/tail", &weak).await.expect(403);
    site.get("sys/symbolon/audit/tail", "").await.expect(403);
    // what is asked for wrongly is told to whoever may, and leaves an entry, as everywhere
    let before = size(&site).await;
    for wrong in ["outcom=denied", "outcome=none"] {
        site.get(&format!("sys/symbolon/audit/tail?{wrong}"), "").await.expect(403);
        site.get(&format!("sys/symbolon/audit/tail?{wrong}"), &site.root).await.expect(400);
    }
    for path in ["sys/symbolon/audit/report", "sys/symbolon/audit/tail"] {
        site.root_put(path, &json!({})).await.expect(400); // both have no such method
    }
    let left = entries(&site, before).await;
    let left = left.iter().filter(|event| event["target"]["path"] == "sys/symbolon/audit/tail");
    assert!(left.count() >= 3, "two were malformed, and one was not for this method");
    let (revoked, judged) = (site.token_with("a", rule).await, site.token_with("b", rule).await);
    let begin = async |token: &str| {
        let client = site.world.client_as(token).unwrap();
        client.follow_audit(&Search::default()).await.unwrap()
    };
    let mut lines = begin(&revoked).await;
    site.root_put("auth/token/revoke", &json!({ "token": revoked })).await.expect(204);
    let reason = end_of(&mut lines).await;
    assert!(reason.contains("the token has ended"), "{reason}");
    let mut lines = begin(&judged).await;
    let other = r#"path "x" { capabilities = ["read"] }"#;
    site.root_put("sys/policies/acl/b", &json!({ "policy": other })).await.expect(204);
    let reason = end_of(&mut lines).await;
    assert!(reason.contains("policies do not allow this"), "{reason}");
    let mut all = Vec::new();
    let refused = loop {
        match client(&site).follow_audit(&Search::default()).await {
            Ok(lines) => all.push(lines),
            Err(error) => break error,
        }
        assert!(all.len() < 20);
    };
    assert_eq!(all.len(), 8, "{refused:?}");
    drop(all.split_off(1));
    site.root_put("sys/seal", &json!({})).await.expect(204);
    let reason = end_of(&mut all[0]).await;
    assert!(reason.contains("sealed"), "{reason}");
}

/// Why a stream ends, after whatever else it tells.
async fn end_of(lines: &mut Followed) -> String {
    loop {
        match next(lines).await {
            Some(Line::Event(_) | Line::Waiting { .. }) => {}
            Some(Line::End { reason, again: false }) => return reason,
            other => panic!("expected an end, found {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_counts_what_the_log_says() {
    let site = Site::open(CALM).await;
    let root = client(&site);
    site.write("app/db", "one").await;
    let team = site.token_with("team", r#"path "secret/data/app/*" { capabilities = ["read"] }"#).await;
    for _ in 0..3 {
        site.get("secret/data/app/db", &team).await.expect(200);
    }
    site.get("secret/data/other", &team).await.expect(403);
    let until = size(&site).await;
    let page: Counted = root.count_audit(None, None, Span { from: 0, until }).await.unwrap();
    let mut tally = Tally::default();
    tally.add(&page);
    assert!(page.next.is_none());
    assert_eq!((tally.entries, tally.span), (until, Some((0, until - 1))));
    let kind = |action: &str, outcome: &str| {
        tally.kinds.get(&(action.to_owned(), outcome.to_owned())).copied().unwrap_or_default()
    };
    assert_eq!((kind("secret-read", "allowed"), kind("secret-read", "denied")), (3, 1));
    let path = &tally.paths["secret/app/db"];
    assert_eq!((path.requests, path.denied), (4, 0), "one write and three reads");
    assert_eq!(tally.paths["secret/other"].denied, 1);
    let weak = site.token_with("w", r#"path "sys/symbolon/audit/*" { capabilities = ["read"] }"#).await;
    site.get("sys/symbolon/audit/report", &weak).await.expect(403);
    let own = entries(&site, until).await;
    let own = own.iter().find(|event| event["target"]["path"] == "sys/symbolon/audit/report").unwrap();
    assert_eq!(own["target"]["object"], json!(format!("a report of {until} entries")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_of_one_entry_holds_offline_and_for_go() {
    let site = Site::open(CALM).await;
    for value in 0..300 {
        site.write("app/db", &value.to_string()).await;
    }
    let key = key(&site);
    let found = client(&site).search_audit(&Search { limit: Some(1000), ..Search::default() }).await.unwrap();
    let source = LogSource::Broker(client(&site));
    let mut prover = Prover::begin(&source).await.unwrap();
    let mut written = Vec::new();
    for event in found.events.iter().step_by(37) {
        let proof = prover.prove(event.index).await.unwrap();
        let proven = EntryProof::parse(&proof.text()).unwrap().verify(&key).unwrap();
        assert_eq!((proven.entry.index, proven.hash.to_string()), (event.index, event.hash.clone()));
        let path = site.world.path(&format!("{}.tlog-proof", event.index));
        std::fs::write(&path, proof.text()).unwrap();
        written.push((path, event.index));
    }
    assert!(prover.prove(prover.size()).await.is_err(), "no entry, no proof");
    assert!(
        proven_by_go(&key, &written[0].0)
            .is_none_or(|told| told.contains(&format!("proven {}", written[0].1)))
    );
    for (path, index) in &written[1..] {
        let told = proven_by_go(&key, path);
        assert!(told.is_none_or(|told| told.starts_with(&format!("proven {index} of "))));
    }
    // of another entry
    let text = std::fs::read_to_string(&written[0].0).unwrap();
    let other = std::fs::read_to_string(&written[1].0).unwrap();
    let extra = |text: &str| text.lines().nth(1).unwrap().to_owned();
    let altered = text.replace(&extra(&text), &extra(&other));
    assert!(EntryProof::parse(&altered).unwrap().verify(&key).is_err());
    std::fs::write(&written[0].0, altered).unwrap();
    assert!(proven_by_go(&key, &written[0].0).is_none_or(|told| told.is_empty()), "Go refuses it as well");
}

/// What Go's own packages say of a proof; nothing on standard output if they refuse it.
fn proven_by_go(key: &VerifierKey, path: &Path) -> Option<String> {
    let mut go: Command = go()?;
    let output = go.args(["run", "./tlog", "proof", &key.to_string()]).arg(path).output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
