//! The one canonical event, from a run in which everything happens that the log has a word for: as the
//! schema says, as the documentation shows, and without anything that was secret.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use symbolon::Token;
use symbolon_core::audit::{Action, Draft};

use crate::audit::entries;
use crate::site::{CALM, Site};
use crate::tools::python;

const DOCS: &str = "docs/audit-events.md";
const SCHEMA: &str = "docs/audit-event.schema.json";

fn file(name: &str) -> String {
    std::fs::read_to_string(symbolon_repository::root().join(name)).unwrap()
}

/// A run, and every text in it that must not be in an event.
struct Run {
    site: Site,
    secrets: Vec<String>,
}

/// Something that is secret, and easily found again.
fn canary(name: &str) -> String {
    format!("canary-{name}-zanzibar")
}

impl Run {
    async fn new() -> Self {
        let site = Site::sealed(CALM).await;
        let secrets = site.shares.iter().map(|share| share.to_string()).chain([site.root.clone()]).collect();
        let mut run = Self { site, secrets };
        run.site.begin().await;
        run.logins().await;
        run.tokens().await;
        run.secrets().await;
        run.wrapping().await;
        run.system().await;
        run.strangers().await;
        run
    }

    fn secret(&mut self, text: impl Into<String>) -> String {
        self.secrets.push(text.into());
        self.secrets.last().unwrap().clone()
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        let got = self.site.root_put(path, &body).await;
        assert!(got.status < 300, "{path}: {} {}", got.status, got.text);
        if got.text.is_empty() { Value::Null } else { got.json() }
    }

    /// A token of an answer.
    fn token(&mut self, answer: &Value) -> String {
        let token = answer["auth"]["client_token"].as_str().unwrap();
        self.secret(token)
    }

    /// Every method, let in and refused.
    async fn logins(&mut self) {
        self.site.prepare_machines().await;
        let jwt = self.jwt("symbolon");
        let body = json!({ "role": "reader", "jwt": jwt }).to_string();
        let made = self.site.ask("PUT", "auth/kubernetes/login", "", &body).await.expect(200).json();
        let machine = self.token(&made);
        let read = self.secret(canary("read"));
        self.put("secret/data/app/db", json!({ "data": { "value": read } })).await;
        self.site.get("secret/data/app/db", &machine).await.expect(200);
        self.site.get("secret/data/other", &machine).await.expect(403);
        self.put("sys/auth/approle", json!({ "type": "approle" })).await;
        self.put("auth/approle/role/ci", json!({ "token_policies": "reader" })).await;
        let role = self.site.root_get("auth/approle/role/ci/role-id").await.expect(200).json();
        let role_id = self.secret(role["data"]["role_id"].as_str().unwrap());
        let chosen = self.secret(canary("secret-id"));
        self.put("auth/approle/role/ci/custom-secret-id", json!({ "secret_id": chosen })).await;
        self.put("auth/approle/role/ci/secret-id/lookup", json!({ "secret_id": chosen })).await;
        let made = self.put("auth/approle/role/ci/secret-id", json!({})).await;
        let secret_id = self.secret(made["data"]["secret_id"].as_str().unwrap());
        for evidence in [chosen, secret_id] {
            let made = self.put("auth/approle/login", json!({ "role_id": role_id, "secret_id": evidence }));
            let made = made.await;
            self.token(&made);
        }
        self.people().await;
        let issuer = self.site.world.broker_url();
        let rule = json!({
            "bound_service_account_names": ["reader"], "bound_service_account_namespaces": ["apps"],
            "audience": issuer, "workload_audiences": ["https://ledger"],
        });
        self.put("auth/kubernetes/role/workload", rule).await;
        let proof = self.jwt(&issuer);
        let proof = Token::new(&proof).unwrap();
        let issued = self.site.client().exchange_token(&proof, "https://ledger").await.unwrap();
        self.secret(issued.expose().to_owned());
    }

    fn jwt(&mut self, audience: &str) -> String {
        let now = jsonwebtoken::get_current_timestamp();
        let jwt = self.site.cluster.token("apps", "reader", audience, now).unwrap();
        self.secret(jwt.to_string())
    }

    async fn people(&mut self) {
        self.put("sys/auth/userpass", json!({ "type": "userpass" })).await;
        let [first, second, wrong] = ["password", "renewed", "wrong"].map(|name| self.secret(canary(name)));
        self.put("auth/userpass/users/ana", json!({ "password": first, "token_policies": "reader" })).await;
        let made = self.put("auth/userpass/login/ana", json!({ "password": first })).await;
        self.token(&made);
        self.put("auth/userpass/users/ana/password", json!({ "password": second })).await;
        let body = json!({ "password": wrong }).to_string();
        self.from(60, "PUT", "auth/userpass/login/ana", "", &body).await;
    }

    /// From a source of its own: of strangers, only the first request has an entry to itself.
    async fn from(&self, last: u8, method: &str, path: &str, token: &str, body: &str) {
        let source = std::net::IpAddr::from([127, 0, 0, last]);
        let request = self.site.request_from(source, method, &format!("v1/{path}"));
        let request = if token.is_empty() { request } else { request.header("X-Vault-Token", token) };
        self.site.send(request.body(body.to_owned())).await;
    }

    async fn tokens(&mut self) {
        // whoever has a token may write down what they like
        let meta = json!({ "service_account_namespace": "kube-system", "role": "admin" });
        let wish = json!({ "policies": ["reader"], "ttl": "1h", "meta": meta });
        let made = self.put("auth/token/create", wish).await;
        let token = self.token(&made);
        self.put("auth/token/lookup", json!({ "token": token })).await;
        self.put("auth/token/renew", json!({ "token": token })).await;
        self.site.ask("PUT", "auth/token/renew-self", &token, "{}").await.expect(200);
        self.put("auth/token/revoke", json!({ "token": token })).await;
        let unknown = self.secret(canary("token"));
        self.site.root_put("auth/token/lookup", &json!({ "token": unknown })).await.expect(403);
        self.put("sys/capabilities", json!({ "token": self.site.root, "paths": ["x"] })).await;
        let made = self.put("auth/token/create", json!({ "num_uses": 1 })).await;
        let token = self.token(&made);
        self.site.get("auth/token/lookup-self", &token).await.expect(200);
    }

    async fn secrets(&mut self) {
        let [one, two, patched, kept] =
            ["one", "two", "patched", "cubbyhole"].map(|name| self.secret(canary(name)));
        self.put("secret/data/app/db", json!({ "data": { "value": one } })).await;
        self.put("secret/data/app/db", json!({ "data": { "value": two } })).await;
        let patch = json!({ "data": { "more": patched } }).to_string();
        let request = self.site.request("PATCH", "v1/secret/data/app/db").body(patch);
        let request = request.header("Content-Type", "application/merge-patch+json");
        let got = self.site.send(request.header("X-Vault-Token", &self.site.root)).await;
        assert!(got.status == 200, "{}", got.text);
        self.site.read("app/db").await.expect(200);
        self.site.root_get("secret/data/app/db?version=1").await.expect(200);
        for what in ["delete", "undelete", "destroy"] {
            self.put(&format!("secret/{what}/app/db"), json!({ "versions": [1] })).await;
        }
        let wrong = json!({ "data": { "value": one }, "options": { "cas": 9 } });
        self.site.root_put("secret/data/app/db", &wrong).await.expect(400);
        self.site.root_put("secret/data/app/db", &json!({ "data": one })).await.expect(400);
        self.put("secret/metadata/app/db", json!({ "max_versions": 3 })).await;
        self.site.root_get("secret/metadata/app/db").await.expect(200);
        self.site.ask("LIST", "secret/metadata/app", &self.site.root, "").await.expect(200);
        self.put("sys/mounts/old", json!({ "type": "kv", "options": { "version": "1" } })).await;
        self.put("old/app", json!({ "value": one })).await;
        self.site.root_get("old/app").await.expect(200);
        self.put("cubbyhole/own", json!({ "value": kept })).await;
        self.site.root_get("cubbyhole/own").await.expect(200);
        self.site.ask("DELETE", "secret/data/app/db", &self.site.root, "").await.expect(204);
        self.site.ask("DELETE", "secret/metadata/app/db", &self.site.root, "").await.expect(204);
    }

    async fn wrapping(&mut self) {
        let inside = self.secret(canary("wrapped"));
        for end in ["unwrap", "rewrap"] {
            let request = self.site.request("PUT", "v1/sys/wrapping/wrap").header("X-Vault-Wrap-TTL", "60");
            let request = request.header("X-Vault-Token", &self.site.root);
            let body = json!({ "value": inside }).to_string();
            let wrapped = self.site.send(request.body(body)).await.expect(200).json();
            let token = self.secret(wrapped["wrap_info"]["token"].as_str().unwrap());
            self.put("sys/wrapping/lookup", json!({ "token": token })).await;
            let got = self.put(&format!("sys/wrapping/{end}"), json!({ "token": token })).await;
            if let Some(token) = got["wrap_info"]["token"].as_str() {
                self.secret(token);
            }
        }
    }

    async fn system(&mut self) {
        self.put("sys/policies/acl/p", json!({ "policy": r#"path "x" { capabilities = ["read"] }"# })).await;
        self.site.root_get("sys/policies/acl/p").await.expect(200);
        self.site.root_get("sys/mounts").await.expect(200);
        self.site.root_get("auth/kubernetes/role/reader").await.expect(200);
        for path in ["sys/policies/acl/p", "sys/mounts/old", "auth/approle/role/ci"] {
            self.site.ask("DELETE", path, &self.site.root, "").await.expect(204);
        }
        self.put("sys/symbolon/rotate/kek/secret", json!({})).await;
        self.put("sys/symbolon/ceremony/begin", json!({ "type": "drill" })).await;
        self.put("sys/symbolon/ceremony/cancel", json!({})).await;
        self.site.root_put("sys/symbolon/backup", &json!({})).await; // nobody has said where to
        self.site.root_get("sys/symbolon/audit/segments").await;
        self.site.root_get("none/at/all").await.expect(400);
        // what a fragment service tells by itself, when a test cannot wait for it
        let told = Draft::by_broker(Action::Remote, "newer manifest of the fragment service");
        self.site.world.session().unwrap().record(told).await.unwrap();
        self.site.ask("PUT", "sys/seal", &self.site.root, "").await.expect(204);
        self.site.unseal().await;
    }

    /// Requests that share an entry, each with what should not be there.
    async fn strangers(&mut self) {
        let unknown = self.secret(canary("stranger"));
        for path in ["secret/data/app/db", "sys/mounts", "auth/userpass/login/eve"] {
            self.from(70, "PUT", path, &unknown, &json!({ "password": unknown }).to_string()).await;
        }
        // an orderly seal writes what is counted
        self.site.ask("PUT", "sys/seal", &self.site.root, "").await.expect(204);
        self.site.unseal().await;
    }

    async fn events(&self) -> Vec<Value> {
        let first = entries(&self.site, 0).await;
        let more = entries(&self.site, first.len() as u64).await; // a look is an event, too
        first.into_iter().chain(more).collect()
    }
}

/// Values that differ from run to run, for the documentation.
fn masked(event: &Value, index: usize) -> Value {
    let mut event = masked_texts(event);
    event["time"] = json!("2026-01-31T12:00:00.000Z");
    event["index"] = json!(index);
    event["node"] = json!("0123456789abcdef0123456789abcdef");
    if let Some(counts) = event.get_mut("counts") {
        counts["first"] = json!("2026-01-31T11:59:50.000Z");
        counts["last"] = json!("2026-01-31T11:59:59.999Z");
        for asked in counts["asked"].as_array_mut().unwrap() {
            asked["time"] = json!("2026-01-31T11:59:50.000Z");
        }
    }
    event
}

fn masked_texts(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(masked_text(text)),
        Value::Array(all) => all.iter().map(masked_texts).collect(),
        Value::Object(all) => {
            Value::Object(all.iter().map(|(name, value)| (name.clone(), masked_texts(value))).collect())
        }
        other => other.clone(),
    }
}

/// Words that look drawn by chance become others of the same length.
fn masked_text(text: &str) -> String {
    let mut masked = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let (word, end) = match word.char_indices().last() {
            Some((at, c)) if !c.is_ascii_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        let is_hex = word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let by_chance =
            word.len() >= 20 || (is_hex && word.len() >= 4) || word.parse::<u16>().is_ok_and(|n| n > 1024);
        match by_chance {
            true => masked.extend("0123456789abcdef".chars().cycle().take(word.len())),
            false => masked.push_str(word),
        }
        masked.push_str(end);
    }
    masked
}

/// One event of each type: the first that was allowed, or whatever there is.
fn examples(events: &[Value]) -> String {
    let mut text = String::new();
    for (index, action) in Action::ALL.iter().enumerate() {
        let of_type = || events.iter().filter(|event| event["type"] == action.as_str());
        let full = |event: &&&Value| event["outcome"] == "allowed" || event["counts"].is_object();
        let event = of_type().find(|event| full(&event)).or_else(|| of_type().next());
        let event = event.unwrap_or_else(|| panic!("nothing of type {action} has happened"));
        let event = serde_json::to_string_pretty(&masked(event, index)).unwrap();
        writeln!(text, "### `{action}`\n\n```json\n{event}\n```\n").unwrap();
    }
    text
}

const BEGIN: &str = "<!-- examples -->\n";
const END: &str = "<!-- /examples -->\n";

/// The documentation up to the examples, them, and what follows.
fn parts(docs: &str) -> (&str, &str, &str) {
    let (before, rest) = docs.split_once(BEGIN).unwrap();
    let (examples, after) = rest.split_once(END).unwrap();
    (before, examples, after)
}

fn compare_with_documentation(examples: &str) {
    let docs = file(DOCS);
    let (before, documented, after) = parts(&docs);
    if std::env::var_os("SYMBOLON_WRITE_EXAMPLES").is_some() {
        let text = format!("{before}{BEGIN}{examples}{END}{after}");
        std::fs::write(symbolon_repository::root().join(DOCS), text).unwrap();
        return;
    }
    for (documented, found) in documented.split("### ").zip(examples.split("### ")) {
        assert_eq!(documented, found, "SYMBOLON_WRITE_EXAMPLES=1 writes the examples of {DOCS} anew");
    }
    assert_eq!(documented.len(), examples.len());
}

fn validate(events: &[Value]) {
    let Some(python) = python() else { return };
    let mut run = Command::new(python)
        .arg("validate_events.py")
        .arg(symbolon_repository::root().join(SCHEMA))
        .current_dir(symbolon_repository::root().join("tests/hvac"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    run.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn has_null_or_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Object(all) => all.values().any(has_null_or_nothing),
        Value::Array(all) => all.iter().any(has_null_or_nothing),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_every_kind_are_as_documented() {
    let run = Run::new().await;
    let events = run.events().await;
    assert!(!events.iter().any(has_null_or_nothing), "what is not known is left out");
    no_event_has_anything_that_was_secret(&run, &events);
    who_and_what(&events);
    validate(&events);
    compare_with_documentation(&examples(&events));
}

/// Some of it by value, since examples only show what there is.
fn who_and_what(events: &[Value]) {
    let find = |kind: &str, outcome: &str, path: &str| {
        let is = |event: &&Value| {
            event["type"] == kind && event["outcome"] == outcome && event["target"]["path"] == path
        };
        events.iter().find(is).unwrap_or_else(|| panic!("no {kind} {outcome} of {path}")).clone()
    };
    let read = find("secret-read", "allowed", "secret/data/app/db");
    let actor = json!({
        "method": "kubernetes", "mount": "auth/kubernetes", "role": "reader", "subject": "system:serviceaccount:apps:reader",
        "namespace": "apps", "uid": read["actor"]["uid"], "name": "kubernetes-apps-reader",
    });
    assert_eq!((&read["actor"], &read["policy"]), (&actor, &json!(["reader"])));
    let target = json!({ "mount": "secret", "path": "secret/data/app/db", "version": 1 });
    assert_eq!(read["target"], target);
    let denied = find("secret-read", "denied", "secret/data/other");
    assert_eq!(
        (&denied["head"], &denied["actor"], &denied["policy"]),
        (&json!("refused"), &actor, &Value::Null)
    );
    let login = find("login", "allowed", "auth/approle/login");
    assert_eq!((&login["actor"]["subject"], &login["actor"]["role"]), (&json!("ci"), &json!("ci")));
    let login = find("login", "denied", "auth/userpass/login/ana");
    assert_eq!(login["actor"], json!({ "method": "userpass", "mount": "auth/userpass", "subject": "ana" }));
    assert_eq!(login["target"]["mount"], "auth/userpass");
    let own = find("token-renew", "allowed", "auth/token/renew-self")["actor"].clone();
    let child =
        json!({ "method": "token", "subject": "token", "name": "token", "accessor": own["accessor"] });
    assert_eq!(own, child, "metadata of a token says nothing of who it is");
    let listed = find("list", "allowed", "secret/metadata/app");
    assert_eq!((&listed["actor"]["method"], &listed["policy"]), (&json!("token"), &json!(["root"])));
}

/// Whole texts and their parts that would be enough for somebody.
fn no_event_has_anything_that_was_secret(run: &Run, events: &[Value]) {
    let told: String = events.iter().map(|event| format!("{event}\n")).collect();
    assert!(run.secrets.len() > 25, "{}", run.secrets.len());
    assert!(!told.contains("zanzibar"));
    for secret in &run.secrets {
        let tail = &secret[secret.len().saturating_sub(16)..];
        assert!(!told.contains(tail), "{secret} is in the log");
    }
}

/// Every member of the schema, with those above it.
fn members(schema: &Value, above: &str, found: &mut BTreeSet<String>) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let name = format!("{above}{name}");
        members(member, &format!("{name}."), found);
        found.insert(name);
    }
}

#[test]
fn every_type_and_member_has_its_place_in_ocsf() {
    let (schema, docs): (Value, _) = (serde_json::from_str(&file(SCHEMA)).unwrap(), file(DOCS));
    let (_, ocsf) = docs.split_once("## OCSF").unwrap();
    let rows = |text: &str| -> Vec<Vec<String>> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.map(|row| row.trim_end_matches(" |").split(" | ").map(|cell| cell.replace('`', "")).collect())
            .collect()
    };
    let (types, mapped) = ocsf.split_once("| Member |").unwrap();
    let types: Vec<_> = rows(types).into_iter().filter(|row| row[0] != "type").collect();
    let words: Vec<_> = types.iter().map(|row| row[0].as_str()).collect();
    let mut sorted: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(
        schema["$defs"]["type"]["enum"],
        json!(sorted),
        "the schema has every word, in the order of numbers"
    );
    sorted.sort_unstable();
    let mut found = words;
    found.sort_unstable();
    assert_eq!(found, sorted);
    let classes =
        ["3002 Authentication", "3004 Entity Management", "6002 Application Lifecycle", "6003 API Activity"];
    assert!(types.iter().all(|row| classes.contains(&row[1].as_str())), "{types:?}");

    let mut wanted = BTreeSet::new();
    members(&schema, "", &mut wanted);
    // objects are mapped member by member
    wanted.retain(|name| !["actor", "target"].contains(&name.as_str()) && !name.starts_with("counts."));
    let mapped: BTreeSet<_> = rows(mapped).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(mapped, wanted);
    let (_, listed) = docs.split_once("## Members").unwrap();
    let listed = listed.split_once("**What is not known").unwrap().0;
    assert!(wanted.iter().all(|name| listed.contains(&format!("`{name}`"))));
}
