//! Entries on their way to other systems, from a whole broker: OpenTelemetry's own messages read them, a
//! sealed broker sends none, and strangers and metrics are told no name.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use symbolon_cli::demo::world::World;

use crate::site::{CALM, Site};
use crate::tools::python;

/// A receiver of OTLP, and what it has got. It ends with this.
struct Receiver {
    child: Child,
    port: u16,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Receiver {
    fn start(python: std::path::PathBuf) -> Self {
        let script = symbolon_repository::root().join("tests/hvac/otlp_receiver.py");
        let mut child = Command::new(python).arg(script).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap().parse().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&got);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                all.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, port, got }
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }
}

async fn site(sinks: &str) -> Site {
    let mut world = World::new(CALM, None).unwrap();
    let folder = world.path("sinks");
    std::fs::create_dir(&folder).unwrap();
    world.tables(&format!("[metrics]\nopen = true\n{}", sinks.replace("$HOME", folder.to_str().unwrap())));
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let site = Site::initialise(world).await;
    site.begin().await;
    site
}

fn lines(site: &Site) -> Vec<Value> {
    let text = std::fs::read_to_string(site.world.path("sinks").join("keyed")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn until(what: &str, is: impl AsyncFn() -> bool) {
    for _ in 0..1200 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not so after a minute: {what}");
}

async fn until_sent(site: &Site) {
    let all = site.world.session().unwrap().entries();
    until("everything is sent", async || {
        let sinks = site.root_get("sys/symbolon/audit/sinks").await.expect(200).json();
        let sinks = sinks["data"]["sinks"].as_array().unwrap().clone();
        sinks.iter().all(|sink| sink["next"].as_u64().is_some_and(|next| next >= all))
    })
    .await;
}

const FILE: &str = "[[audit.sinks]]\nname = \"zanzibar-keyed\"\nkind = \"file\"\npath = \"$HOME/keyed\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opentelemetry_reads_every_event_with_its_own_messages() {
    let Some(python) = python() else { return };
    let receiver = Receiver::start(python);
    let otlp = format!(
        "[[audit.sinks]]\nname = \"otel\"\nkind = \"otlp\"\nnames = \"plain\"\nurl = \"http://127.0.0.1:{}\"\n",
        receiver.port
    );
    let site = site(&otlp).await;
    site.write("zanzibar/zürich", "x").await;
    site.read("zanzibar/zürich").await.expect(200);
    site.get("secret/data/zanzibar", "hvs.unknown").await.expect(403);
    until_sent(&site).await;
    let events: Vec<Value> =
        receiver.got().iter().map(|it| serde_json::from_str(it["body"].as_str().unwrap()).unwrap()).collect();
    let all = events.len() as u64;
    assert!(events.iter().map(|event| event["index"].as_u64().unwrap()).eq(0..all), "{events:?}");
    for (record, event) in receiver.got().iter().zip(&events) {
        assert_eq!(
            (&record["scope"], &record["resource"]),
            (&json!("symbolon.audit"), &json!({ "service.name": "symbolon" }))
        );
        assert_eq!(record["name"], format!("symbolon.{}", event["type"].as_str().unwrap()));
        let own = json!({
            "log.record.uid": event["hash"],
            "symbolon.index": event["index"],
            "symbolon.outcome": event["outcome"],
        });
        assert_eq!(record["attributes"], own);
        let severity = if event["outcome"] == "denied" { json!([13, "WARN"]) } else { json!([9, "INFO"]) };
        assert_eq!(record["severity"], severity);
        assert!(record["nanos"].as_u64().unwrap() > 1_700_000_000_000_000_000);
    }
    let read = events.iter().find(|event| event["type"] == "secret-read").unwrap();
    assert_eq!(read["target"]["path"], "secret/data/zanzibar/zürich");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_broker_sends_nothing_and_goes_on_where_it_was() {
    let site = site(FILE).await;
    site.write("zanzibar/db", "x").await;
    until_sent(&site).await;
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let before = lines(&site).len();
    tokio::time::sleep(Duration::from_millis(1500)).await; // longer than anything here waits
    assert_eq!(lines(&site).len(), before);
    let status = site.get("sys/seal-status", "").await.expect(200).json();
    assert_eq!((&status["sealed"], &status["sinks"][0]["kind"]), (&json!(true), &json!("file")));
    site.unseal().await;
    until_sent(&site).await;
    let all: std::collections::BTreeSet<u64> =
        lines(&site).iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert!(all.iter().copied().eq(0..all.len() as u64) && all.len() > before, "{all:?}");
    let seal = lines(&site).into_iter().filter(|event| event["type"] == "seal").count();
    assert!(seal >= 1, "what sealed it was sent after the next unseal");
    nobody_is_named(&site).await;
    what_stands_for_a_name_is_told_to_those_who_may_read_the_log(&site).await;
}

/// Strangers and Prometheus are told places and kinds.
async fn nobody_is_named(site: &Site) {
    let numbers = site.send(site.request("GET", "metrics")).await.expect(200).text;
    for line in [
        r#"symbolon_sink_failed{kind="file",sink="1"} 0"#,
        r#"symbolon_sink_pruned_entries_total{kind="file",sink="1"} 0"#,
    ] {
        assert!(numbers.lines().any(|told| told == line), "{line}: {numbers}");
    }
    let status = site.get("sys/seal-status", "").await.expect(200);
    for text in [numbers, status.text] {
        assert!(!text.contains("zanzibar"), "{text}");
    }
}

async fn what_stands_for_a_name_is_told_to_those_who_may_read_the_log(site: &Site) {
    let asked = json!({ "input": "secret/data/zanzibar/db" });
    let told = site.root_put("sys/symbolon/audit/hash", &asked).await.expect(200).json();
    let hash = &told["data"]["hash"];
    let write = lines(site).into_iter().find(|event| event["type"] == "secret-write").unwrap();
    assert_eq!(&write["target"]["path"], hash);
    let state = site.root_get("sys/symbolon/audit/sinks").await.expect(200).json();
    let sink = &state["data"]["sinks"][0];
    assert_eq!((&sink["name"], &sink["names"]), (&json!("zanzibar-keyed"), &json!("keyed")));
    let rule = r#"path "sys/symbolon/audit/*" { capabilities = ["read", "update"] }"#;
    let token = site.token_with("auditor", rule).await;
    site.get("sys/symbolon/audit/sinks", &token).await.expect(403);
    site.ask("PUT", "sys/symbolon/audit/hash", &token, &asked.to_string()).await.expect(403);
    site.root_put("sys/symbolon/audit/hash", &json!({})).await.expect(400);
}
