//! What requests by nobody known leave in the log: little, all of it counted, and nothing for others to read.

use std::net::IpAddr;
use std::time::Instant;

use symbolon_broker::audit::log::LogReader;
use symbolon_proto::log::Entry;

use crate::audit::{entries, size};
use crate::site::{CALM, Site};

/// Heads of the entries from `from` on, as anybody may read them: action, outcome, and how long the rest is.
async fn heads(site: &Site, from: u64) -> Vec<(String, String, usize)> {
    let store = site.world.session().unwrap().rows.shared_store();
    let reader = LogReader::new(store);
    let entries = reader.entries(from, 1000).await.unwrap();
    let decoded = entries.iter().map(|entry| Entry::decode(&entry.bytes).unwrap());
    decoded.map(|entry| (entry.action.to_string(), entry.outcome.to_string(), entry.detail.len())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_asks_ten_thousand_times_leaves_few_entries_and_is_counted() {
    let mut site = Site::open(CALM).await;
    let begin = size(&site).await;
    let (began, mut asked) = (Instant::now(), 0_u64);
    for _ in 0..2000 {
        let round = ["secret/data/app/db", "none/at/all", "sys/mounts", "auth/token/lookup-self", "x"];
        for path in round {
            site.get(path, "").await.expect(403);
            asked += 1;
        }
    }
    let minutes = began.elapsed().as_secs() / 60 + 1;
    let grown = size(&site).await - begin;
    // the first, then 10, 20 and 40 s, then one a minute
    assert!(grown <= 4 + minutes, "{grown} entries in {minutes} minutes");
    // an orderly stop writes what is not written yet
    site.restart(async |_| {}).await;
    site.unseal().await;
    let counted = entries(&site, begin).await;
    let strangers: Vec<_> =
        counted.iter().filter(|entry| entry["type"] == "refused" || entry["head"] == "refused").collect();
    let requests = |entry: &&serde_json::Value| entry["counts"]["requests"].as_u64().unwrap_or(1);
    assert_eq!(strangers.iter().map(requests).sum::<u64>(), asked);
    assert!(strangers.iter().all(|entry| entry["client"] == "127.0.0.1"));
    let found = site.root_get("sys/symbolon/audit?action=mount-read&outcome=denied").await.expect(200).json();
    let found = found["data"]["events"].as_array().unwrap().clone();
    let of_mounts = found.iter().flat_map(|entry| entry["counts"]["kinds"].as_array().unwrap());
    let of_mounts = of_mounts.filter(|kind| kind["type"] == "mount-read");
    assert_eq!(of_mounts.map(|kind| kind["requests"].as_u64().unwrap()).sum::<u64>(), 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_everybody_reads_of_a_refused_request_does_not_say_what_is_mounted() {
    let site = Site::open(CALM).await;
    site.prepare_machines().await;
    let team = site.token_with("team", r#"path "cubbyhole/*" { capabilities = ["read"] }"#).await;
    let made = size(&site).await;
    for (last, (path, token)) in (10_u8..).zip([
        ("secret/data/app", ""),
        ("nothing/data/ap", ""),
        ("sys/policies/xx", "hvs.unknown"),
        ("auth/kubernetes", "hvs.unknown"),
    ]) {
        let source = IpAddr::from([127, 0, 0, last]);
        let request = site.request_from(source, "GET", &format!("v1/{path}"));
        let request = if token.is_empty() { request } else { request.header("X-Vault-Token", token) };
        site.send(request).await.expect(403);
    }
    let strangers = heads(&site, made).await;
    assert_eq!(strangers.len(), 4);
    assert!(strangers.iter().all(|head| *head == strangers[0]), "{strangers:?}");
    assert_eq!((strangers[0].0.as_str(), strangers[0].1.as_str()), ("refused", "denied"));
    let known = size(&site).await;
    for path in ["secret/data/app", "nothing/data/ap", "sys/policies/xx"] {
        site.get(path, &team).await.expect(403);
    }
    let denied = heads(&site, known).await;
    assert_eq!(denied.len(), 3, "each request of a known token has its entry");
    assert!(denied.iter().all(|head| *head == denied[0]), "{denied:?}");
    let found =
        site.root_get("sys/symbolon/audit?action=secret-read&outcome=denied").await.expect(200).json();
    let found = found["data"]["events"].as_array().unwrap().clone();
    let paths: Vec<_> = found.iter().map(|entry| entry["target"]["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["secret/data/app", "secret/data/app"], "who may read details finds what was asked");
}
