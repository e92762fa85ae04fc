//! Values of secrets: ordinary memory holds them while a request runs, and is overwritten when it is given
//! back.

use std::time::Duration;

use serde_json::{Value, json};

use super::scanner::{Needles, Scan};
use super::{KEPT_VALUE, Separate, report, scan, start};
use crate::site::Site;

/// Callers of their own, so that their connections end, and with them the buffers of the broker's side.
struct Caller(reqwest::Client);

impl Caller {
    fn new(site: &Site) -> Self {
        let ca = reqwest::Certificate::from_pem(site.world.ca_pem().as_bytes()).unwrap();
        Self(reqwest::Client::builder().tls_certs_only([ca]).build().unwrap())
    }

    async fn send(&self, site: &Site, method: &str, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/v1/{path}", site.world.broker_url());
        let mut request = self.0.request(method.parse().unwrap(), url).header("X-Vault-Token", &site.root);
        if let Some(body) = body {
            let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
            request = request.header("Content-Type", kind).body(body.to_string());
        }
        if path.ends_with("/wrap") {
            request = request.header("X-Vault-Wrap-TTL", "60s");
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// Forty-odd characters that stand nowhere else.
fn value(what: &str) -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    format!("{what}-{}", random.map(|byte| format!("{byte:02x}")).concat())
}

/// Values that are written, read, patched and wrapped, small and large, by every engine.
async fn use_values(site: &Site) -> Needles {
    site.root_put("sys/mounts/old", &json!({ "type": "kv", "options": { "version": "1" } }))
        .await
        .expect(204);
    let mut needles = Needles::default();
    let mut fresh = |what: &str| {
        let value = value(what);
        needles.text(what, &value.as_bytes()[what.len() + 1..]);
        value
    };
    let caller = Caller::new(site);
    let send =
        async |method: &str, path: &str, body: Option<&Value>| caller.send(site, method, path, body).await;
    for number in 0..5 {
        let path = format!("secret/data/app/{number}");
        let large = fresh("a large value").repeat(4000);
        let data = json!({ "data": { "small": fresh("a written value"), "large": large } });
        send("PUT", &path, Some(&data)).await;
        send("PATCH", &path, Some(&json!({ "data": { "small": fresh("a patched value") } }))).await;
        assert_eq!(send("GET", &path, None).await["data"]["data"]["large"], large.as_str());
        send("PUT", &format!("old/app/{number}"), Some(&json!({ "small": fresh("a value of version 1") })))
            .await;
        send("GET", &format!("old/app/{number}"), None).await;
        let own = json!({ "small": fresh("a value of a cubbyhole") });
        send("PUT", &format!("cubbyhole/app/{number}"), Some(&own)).await;
        send("GET", &format!("cubbyhole/app/{number}"), None).await;
        let wrapped = json!({ "small": fresh("a wrapped value") });
        let answer = send("PUT", "sys/wrapping/wrap", Some(&wrapped)).await;
        let opened = json!({ "token": answer["wrap_info"]["token"] });
        assert_eq!(send("PUT", "sys/wrapping/unwrap", Some(&opened)).await["data"], wrapped);
    }
    needles
}

/// Scans until nothing is found, or it is clear that it stays: buffers end a moment after their connections.
async fn settled(broker: Separate, needles: Needles) -> (Separate, Needles, Scan) {
    let (mut broker, mut needles, mut found) = scan(broker, needles).await;
    for _ in 0..20 {
        if found.found.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        (broker, needles, found) = scan(broker, needles).await;
    }
    (broker, needles, found)
}

async fn open(program: &str) -> (Site, Separate) {
    let (site, broker) = start(program).await;
    let engine = json!({ "type": "kv", "options": { "version": "2" } });
    site.root_put("sys/mounts/secret", &engine).await.expect(204);
    (site, broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_nowhere_once_their_requests_are_done() {
    let (site, broker) = open("memory::a_broker").await;
    let needles = use_values(&site).await;
    let (broker, needles, open) = settled(broker, needles).await;
    report("open, after values were written, read and patched", &open);
    assert_eq!(open.found, Default::default(), "while the broker is open");
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let (broker, _, sealed) = settled(broker, needles).await;
    report("sealed", &sealed);
    assert_eq!(sealed.found, Default::default(), "after it was sealed");
    drop(broker);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_careless_code_keeps_is_found_out() {
    let (site, broker) = open("memory::a_broker_that_leaks").await;
    site.write("app", KEPT_VALUE).await;
    let mut needles = Needles::default();
    needles.text("a kept value", KEPT_VALUE.as_bytes());
    site.ask("PUT", "sys/seal", &site.root, "").await.expect(204);
    let (broker, _, sealed) = scan(broker, needles).await;
    report("sealed", &sealed);
    assert!(sealed.found.keys().any(|name| name.starts_with("a kept value in ")), "{sealed:?}");
    drop(broker);
}
