//! `/metrics`: what Prometheus is told, and that it names nobody and nothing.

use std::io::Write as _;
use std::process::{Command, Stdio};

use symbolon_cli::demo::world::World;
use symbolon_repository::machine;

use crate::site::{CALM, Site};

async fn scrape(site: &Site) -> String {
    let got = site.send(site.request("GET", "metrics")).await.expect(200);
    assert!(got.headers.contains("version=0.0.4"), "{}", got.headers);
    got.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_states_are_counted_and_nobody_is_named() {
    let mut world = World::new(CALM, None).unwrap();
    world.tables("[metrics]\nopen = true");
    world.start_fragment().await.unwrap();
    world.start_broker(true).await.unwrap();
    let site = Site::initialise(world).await;
    let sealed = scrape(&site).await;
    for line in ["symbolon_initialized 1", "symbolon_sealed 1", "symbolon_ready 0", "symbolon_degraded 0"] {
        assert!(sealed.lines().any(|told| told == line), "{line}: {sealed}");
    }
    site.begin().await;
    site.write("zanzibar/db", "x").await;
    for (name, status) in [("zanzibar/db", 200), ("zanzibar/db", 200), ("zanzibar/none", 404)] {
        site.read(name).await.expect(status);
    }
    site.get("secret/data/zanzibar/db", "hvs.unknown").await.expect(403);
    for _ in 0..2 {
        site.get("auth/token/lookup-self", "hvs.unknown").await.expect(403);
    }
    let told = scrape(&site).await;
    for (operation, outcome, count) in
        [("read", "done", 2), ("read", "absent", 1), ("read", "denied", 1), ("write", "done", 1)]
    {
        let labels = format!(r#"area="secrets",operation="{operation}",outcome="{outcome}""#);
        let line = format!("symbolon_requests_total{{{labels}}} {count}");
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    assert!(told.lines().any(|told| told == "symbolon_refusals_coalesced_total 2"), "{told}");
    assert!(told.contains("symbolon_sealed 0") && told.contains("symbolon_ready 1"), "{told}");
    assert!(told.contains(r#"symbolon_request_seconds_count{area="secrets"} 5"#), "{told}");
    only_an_open_broker_tells(&sealed, &told);
    for name in ["zanzibar", "secret/", "hvs.", "ana"] {
        assert!(!told.contains(name), "{name}: {told}");
    }
    prometheus_reads(&told);
}

/// What is known to a session is told while there is one, and the certificate's end always.
fn only_an_open_broker_tells(sealed: &str, told: &str) {
    let value = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        line.unwrap_or(-1.0)
    };
    for (name, kind) in
        [("symbolon_remote_evaluation_seconds", "histogram"), ("symbolon_collected_rows_total", "counter")]
    {
        let line = format!("# TYPE {name} {kind}");
        assert!(told.lines().any(|told| told == line) && !sealed.contains(name), "{line}: {told}");
    }
    let end = "symbolon_certificate_end_timestamp_seconds";
    assert!(value(sealed, end) > 1_700_000_000.0 && value(told, end) == value(sealed, end));
    for (name, least) in [
        (r#"symbolon_remote_evaluation_seconds_count{node="1",outcome="done"}"#, 1.0),
        ("symbolon_log_entries", 5.0),
        ("symbolon_rewrap_running", 0.0),
        ("symbolon_rotation_failures_total", 0.0),
        ("symbolon_remote_key_epoch", 1.0),
    ] {
        assert!(value(told, name) >= least && value(sealed, name) < 0.0, "{name}: {told}");
    }
}

/// Prometheus's own tool, where it is installed.
fn prometheus_reads(text: &str) {
    if Command::new("promtool").arg("--version").output().is_err() {
        return machine::skip("promtool, of Debian's package prometheus");
    }
    let mut tool = Command::new("promtool");
    let tool = tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tool = tool.stderr(Stdio::piped()).spawn().unwrap();
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_in_the_configuration_nothing_is_told() {
    let site = Site::sealed(CALM).await;
    let got = site.send(site.request("GET", "metrics")).await.expect(404);
    assert!(got.text.starts_with("<!doctype html>"), "{}", got.text);
}
