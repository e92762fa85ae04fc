//! What lies on the disk: nothing that a thief could read, and nothing that could be changed unnoticed.

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use symbolon_broker::access::mounts::MOUNTS;
use symbolon_broker::access::policies::POLICIES;
use symbolon_broker::access::tokens::ACCESSORS;
use symbolon_broker::access::tokens::TOKENS;
use symbolon_broker::auth::approle::SECRET_ID_ACCESSORS;
use symbolon_broker::auth::approle::SECRET_IDS;
use symbolon_broker::auth::roles::CONFIGS;
use symbolon_broker::auth::roles::ROLES;
use symbolon_broker::engines::kv::ENTRIES;
use symbolon_broker::engines::kv::SECRETS;
use symbolon_broker::engines::kv::VERSIONS;
use symbolon_broker::keys::CAPSULES;
use symbolon_broker::rows::COUNTERS;
use symbolon_broker::rows::SYSTEM;
use symbolon_broker::rows::Table;
use symbolon_cli::demo::world::World;

use crate::rows::{self, Rows};
use crate::site::{CALM, Site};

/// Names and values that occur nowhere else; each is searched for in several spellings.
const NAMES: [&str; 14] = [
    "zanzibar-folder",
    "zanzibar-secret",
    "zanzibar-field",
    "zanzibar-value-3141592653589793",
    "zanzibar-wrapped-2718281828459045",
    "zanzibar-metadata-key",
    "zanzibar-metadata-value",
    "zanzibar-mount",
    "zanzibar-description",
    "zanzibar-policy",
    "zanzibar-rule-path",
    "zanzibar-login",
    "zanzibar-role",
    "zanzibar-display-name",
];

fn spellings(text: &str) -> Vec<Vec<u8>> {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    // In base64 a text looks different at each of three offsets; the middle of each does not depend on its
    // neighbours.
    let base64 = (0..3).map(|offset| {
        let shifted = [&vec![b'.'; offset], text.as_bytes()].concat();
        STANDARD.encode(shifted).trim_end_matches('=').as_bytes()[4..]
            .split_last_chunk::<2>()
            .unwrap()
            .0
            .to_vec()
    });
    let wide = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut all = vec![text.as_bytes().to_vec(), text.to_uppercase().into_bytes(), hex.into_bytes(), wide];
    all.extend(base64);
    all
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(files(&path));
        } else if kind.is_file() {
            found.push((path.to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// Which of these texts some file of the world holds, in any spelling.
fn found_on_disk(world: &World, texts: &[&str]) -> BTreeSet<String> {
    let needles: Vec<(&str, Vec<u8>)> = texts
        .iter()
        .flat_map(|text| spellings(text).into_iter().map(move |spelling| (*text, spelling)))
        .collect();
    // Nearly every place is dismissed by its first two bytes.
    let beginning = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut begins = vec![false; 1 << 16];
    needles.iter().for_each(|(_, spelling)| begins[beginning(spelling)] = true);
    let mut found = BTreeSet::new();
    for (_, bytes) in files(world.path("store.redb").parent().unwrap()) {
        for (at, _) in bytes.windows(2).enumerate().filter(|(_, pair)| begins[beginning(pair)]) {
            let here = needles.iter().filter(|(_, spelling)| bytes[at..].starts_with(spelling));
            found.extend(here.map(|(text, _)| (*text).to_owned()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_values_are_not_readable_on_disk() {
    let mut site = Site::open(CALM).await;
    let put = async |path: &str, body: Value| {
        let got = site.root_put(path, &body).await;
        assert!(matches!(got.status, 200 | 204), "{path}: {}", got.text);
        got
    };
    put("sys/mounts/zanzibar-mount", json!({ "type": "kv-v2", "description": "zanzibar-description" })).await;
    let value = json!({ "zanzibar-field": "zanzibar-value-3141592653589793" });
    put("zanzibar-mount/data/zanzibar-folder/zanzibar-secret", json!({ "data": value })).await;
    let custom = json!({ "custom_metadata": { "zanzibar-metadata-key": "zanzibar-metadata-value" } });
    put("zanzibar-mount/metadata/zanzibar-folder/zanzibar-secret", custom).await;
    let rule = r#"path "zanzibar-rule-path/*" { capabilities = ["read"] }"#;
    put("sys/policies/acl/zanzibar-policy", json!({ "policy": rule })).await;
    put("sys/auth/zanzibar-login", json!({ "type": "approle", "description": "zanzibar-description" })).await;
    put("auth/zanzibar-login/role/zanzibar-role", json!({ "token_policies": ["zanzibar-policy"] })).await;
    let role_id = site.root_get("auth/zanzibar-login/role/zanzibar-role/role-id").await.expect(200).json();
    let role_id = role_id["data"]["role_id"].as_str().unwrap().to_owned();
    let made = put("auth/zanzibar-login/role/zanzibar-role/secret-id", json!({})).await.json();
    let secret_id = made["data"]["secret_id"].as_str().unwrap().to_owned();
    let login = json!({ "role_id": role_id, "secret_id": secret_id });
    let login = put("auth/zanzibar-login/login", login).await.json();
    let service = login["auth"]["client_token"].as_str().unwrap().to_owned();
    let accessor = login["auth"]["accessor"].as_str().unwrap().to_owned();
    let child = json!({ "display_name": "zanzibar-display-name", "policies": ["zanzibar-policy"] });
    put("auth/token/create", child).await;
    site.prepare_machines().await;
    let machine = site.machine_login().await.expect(200).json();
    let machine = machine["auth"]["client_token"].as_str().unwrap().to_owned();
    let wrapped = site.request("PUT", "v1/sys/wrapping/wrap").header("X-Vault-Token", &site.root);
    let wrapped =
        wrapped.header("X-Vault-Wrap-TTL", "60").body(r#"{"k":"zanzibar-wrapped-2718281828459045"}"#);
    let wrapped = site.send(wrapped).await.expect(200).json();
    let wrapping = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
    // Requests that fail are logged with their paths.
    site.root_get("zanzibar-mount/data/zanzibar-folder/none").await.expect(404);
    site.get("zanzibar-mount/data/zanzibar-folder/zanzibar-secret", "").await.expect(403);

    let secret = [&role_id, &secret_id, &service, &accessor, &machine, &site.root, &wrapping];
    let shares = site.shares.iter().map(|share| &share[5..75]);
    let texts: Vec<&str> = NAMES.into_iter().chain(secret.map(|text| &text[4..])).chain(shares).collect();
    let deployment = site.client().seal_status().await.unwrap().cluster_id;
    assert_eq!(found_on_disk(&site.world, &texts), BTreeSet::new(), "while the broker runs");
    site.world.stop_broker().await.unwrap();
    let stopped = rows::read(&site.world).await;
    assert_eq!(found_on_disk(&site.world, &texts), BTreeSet::new(), "after it has stopped");

    // The scan finds what is there: the deployment's id in the seal record, and a name if one were written.
    assert_eq!(found_on_disk(&site.world, &[&deployment]), BTreeSet::from([deployment.clone()]));
    let (key, _) = stopped.first_key_value().unwrap();
    for spelling in spellings("zanzibar-secret") {
        rows::write(&site.world, [([key.as_slice(), b"/planted"].concat(), spelling)]).await;
        assert_eq!(found_on_disk(&site.world, &texts), BTreeSet::from(["zanzibar-secret".to_owned()]));
        rows::write(&site.world, [([key.as_slice(), b"/planted"].concat(), Vec::new())]).await;
    }
}

/// Requests that together read every table of the store, and what is the same in two answers to them.
async fn questions(site: &Site, items: &Items) -> Vec<(String, u16, Value)> {
    let secret_id = json!({ "secret_id": items.secret_id }).to_string();
    let accessor = json!({ "secret_id_accessor": items.secret_id_accessor }).to_string();
    let token_accessor = json!({ "accessor": items.team_accessor }).to_string();
    let login = json!({ "role_id": items.role_id, "secret_id": items.secret_id }).to_string();
    let (root, team) = (site.root.as_str(), items.team.as_str());
    let mut answers = Vec::new();
    for (method, path, token, body) in [
        ("GET", "secret/data/a", root, ""),
        ("GET", "secret/data/a?version=1", root, ""),
        ("GET", "secret/data/folder/b", root, ""),
        ("GET", "secret/metadata/a", root, ""),
        ("LIST", "secret/metadata", root, ""),
        ("LIST", "secret/metadata/folder", root, ""),
        ("GET", "secret/config", root, ""),
        ("GET", "other/data/c", root, ""),
        ("LIST", "other/metadata", root, ""),
        ("GET", "sys/mounts", root, ""),
        ("GET", "sys/policies/acl/team", root, ""),
        ("GET", "auth/approle/role/app", root, ""),
        ("LIST", "auth/approle/role", root, ""),
        ("PUT", "auth/approle/role/app/secret-id/lookup", root, secret_id.as_str()),
        ("PUT", "auth/approle/role/app/secret-id-accessor/lookup", root, accessor.as_str()),
        ("PUT", "auth/approle/login", "", login.as_str()),
        ("GET", "auth/kubernetes/config", root, ""),
        ("GET", "auth/kubernetes/role/reader", root, ""),
        ("PUT", "auth/token/lookup-accessor", root, token_accessor.as_str()),
        ("GET", "auth/token/lookup-self", team, ""),
        ("GET", "secret/data/a", team, ""),
        ("GET", "auth/token/lookup-self", site.machine_token.as_str(), ""),
    ] {
        let got = site.ask(method, path, token, body).await;
        let who = if token == root { "root" } else { "other" };
        answers.push((format!("{method} {path} ({who})"), got.status, essence(&got.text)));
    }
    let login = site.machine_login().await;
    answers.push(("machine login".to_owned(), login.status, essence(&login.text)));
    let jwks = site.send(site.request("GET", "oauth2/jwks")).await;
    answers.push(("jwks".to_owned(), jwks.status, essence(&jwks.text)));
    answers
}

/// Data without what changes by itself, or the errors.
fn essence(text: &str) -> Value {
    let body: Value = serde_json::from_str(text).unwrap();
    if let Some(errors) = body.get("errors").or(body.get("error_description")) {
        return errors.clone();
    }
    let mut data = body.get("data").cloned().unwrap_or_default();
    if let Value::Object(members) = &mut data {
        for volatile in ["ttl", "last_updated_time", "secret_id_num_uses"] {
            members.remove(volatile);
        }
    }
    data
}

struct Items {
    team: String,
    team_accessor: String,
    role_id: String,
    secret_id: String,
    secret_id_accessor: String,
}

async fn fill(site: &mut Site) -> Items {
    site.write("a", "first").await;
    site.write("a", "second").await;
    site.write("folder/b", "third").await;
    site.root_put("sys/mounts/other", &json!({ "type": "kv-v2" })).await.expect(204);
    site.root_put("other/data/c", &json!({ "data": { "value": "fourth" } })).await.expect(200);
    site.root_put("secret/config", &json!({ "max_versions": 9 })).await.expect(204);
    let team = site.token_with("team", r#"path "secret/data/*" { capabilities = ["read"] } path "auth/token/lookup-self" { capabilities = ["read"] }"#).await;
    let looked = site.root_put("auth/token/lookup", &json!({ "token": team })).await.expect(200).json();
    site.root_put("sys/auth/approle", &json!({ "type": "approle" })).await.expect(204);
    site.root_put("auth/approle/role/app", &json!({ "token_policies": ["team"], "token_type": "batch" }))
        .await
        .expect(204);
    let text = |value: &Value, name: &str| value["data"][name].as_str().unwrap().to_owned();
    let role = site.root_get("auth/approle/role/app/role-id").await.expect(200).json();
    let made = site.root_put("auth/approle/role/app/secret-id", &json!({})).await.expect(200).json();
    site.prepare_machines().await;
    site.root_put(
        "sys/policies/acl/reader",
        &json!({ "policy": r#"path "auth/token/lookup-self" { capabilities = ["read"] }"# }),
    )
    .await
    .expect(204);
    let machine = site.machine_login().await.expect(200).json();
    site.machine_token = machine["auth"]["client_token"].as_str().unwrap().to_owned();
    Items {
        team_accessor: text(&looked, "accessor"),
        team,
        role_id: text(&role, "role_id"),
        secret_id: text(&made, "secret_id"),
        secret_id_accessor: text(&made, "secret_id_accessor"),
    }
}

/// What damage to some rows did: the unseal refused, or the questions whose answers changed. Restores the
/// rows afterwards.
async fn effect(
    site: &mut Site,
    items: &Items,
    healthy: &[(String, u16, Value)],
    damaged: Vec<(Vec<u8>, Vec<u8>)>,
) -> Effect {
    let whole: std::cell::OnceCell<Rows> = std::cell::OnceCell::new();
    site.restart(async |world| {
        let rows = rows::read(world).await;
        rows::write(world, damaged.clone()).await;
        let _ = whole.set(rows);
    })
    .await;
    let effect = match unseal(site).await {
        Some(refusal) => Effect::Refused(refusal),
        None => {
            let answers = questions(site, items).await;
            let changed = answers.into_iter().zip(healthy).filter(|(now, before)| now != *before);
            Effect::Changed(changed.map(|(now, _)| now).collect())
        }
    };
    let whole = whole.into_inner().unwrap();
    let original = damaged.iter().map(|(key, _)| (key.clone(), whole[key].clone())).collect::<Vec<_>>();
    site.restart(async |world| rows::write(world, original).await).await;
    effect
}

enum Effect {
    Refused(String),
    Changed(Vec<(String, u16, Value)>),
}

impl Effect {
    fn is_noticed(&self) -> bool {
        !matches!(self, Self::Changed(changed) if changed.is_empty())
    }
}

/// Gives two shares. The answer's error, if there is one.
async fn unseal(site: &Site) -> Option<String> {
    for share in &site.shares[..2] {
        let got = site.ask("PUT", "sys/unseal", "", &json!({ "key": share.as_str() }).to_string()).await;
        if got.status != 200 {
            assert_eq!(got.status, 500, "{}", got.text);
            return Some(got.text);
        }
    }
    None
}

/// Damage is said, in one sentence, for exactly what is damaged. Above all it never looks like absence.
fn assert_said(what: &str, effect: &Effect) {
    match effect {
        Effect::Refused(text) => assert!(text.contains("integrity check"), "{what}: {text}"),
        Effect::Changed(answers) => {
            for (question, status, answer) in answers {
                let text = answer.to_string();
                // Strangers at the token endpoint learn only whose fault it is.
                let said = *status == 500
                    && (text.contains("integrity check") || text.contains("the issuer failed"));
                assert!(said, "{what}: {question}: {status} {answer}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_is_said_and_leaves_the_others_readable() {
    let mut site = Site::open(CALM).await;
    let items = fill(&mut site).await;
    let healthy = questions(&site, &items).await;
    assert!(healthy.iter().all(|(_, status, _)| *status == 200), "{healthy:?}");
    site.world.stop_broker().await.unwrap();
    let all = rows::read(&site.world).await;
    site.start_again().await;
    let mut report = Vec::new();
    for table in TABLES {
        let rows = rows::of(&all, table);
        assert!(!rows.is_empty(), "nothing in table {table:?}; the test has lost its subject");
        for (key, value) in rows {
            let mut value = value.clone();
            let middle = value.len() / 2;
            value[middle] ^= 1;
            let effect = effect(&mut site, &items, &healthy, vec![(key.clone(), value)]).await;
            assert_said(&format!("{table:?}"), &effect);
            report.push((table, effect));
        }
    }
    // What each table's damage costs, at most. Others stay readable: nothing here costs more than it must.
    for (table, effect) in &report {
        match effect {
            Effect::Refused(_) => assert!(READ_AT_UNSEAL.contains(table), "{table:?} stops the unseal"),
            // Without the root token's row nothing is left that root, or a token made by root, may ask.
            Effect::Changed(_) if *table == TOKENS => {}
            Effect::Changed(changed) => {
                assert!(changed.len() <= 6, "{table:?} costs {} answers", changed.len())
            }
        }
    }
    for table in TABLES {
        let noticed = report.iter().any(|(of, effect)| *of == table && effect.is_noticed());
        assert!(noticed, "no question noticed {table:?}");
    }
}

/// From the commit of an unseal on, a version before ours may refuse the store. One that may be able to read
/// what we cannot must still find the store as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unseal_that_cannot_read_mounts_or_policies_commits_nothing() {
    let mut site = Site::open(CALM).await;
    site.token_with("team", r#"path "secret/data/*" { capabilities = ["read"] }"#).await;
    site.world.stop_broker().await.unwrap();
    let healthy = rows::read(&site.world).await;
    for table in [MOUNTS, POLICIES] {
        let (key, value) = rows::of(&healthy, table)[0];
        let mut cut = healthy.clone();
        cut.insert(key.clone(), value[1..].to_vec());
        rows::write(&site.world, cut.clone()).await;
        site.start_again().await;
        let refusal = unseal(&site).await.expect("what cannot be read was not missed");
        assert!(refusal.contains("integrity check"), "{table:?}: {refusal}");
        site.world.stop_broker().await.unwrap();
        assert!(rows::read(&site.world).await == cut, "{table:?}: the refused unseal changed rows");
        rows::write(&site.world, healthy.clone()).await;
    }
}

const TABLES: [Table; 14] = [
    SYSTEM,
    MOUNTS,
    POLICIES,
    CONFIGS,
    ROLES,
    SECRET_IDS,
    SECRET_ID_ACCESSORS,
    TOKENS,
    ACCESSORS,
    COUNTERS,
    SECRETS,
    ENTRIES,
    VERSIONS,
    CAPSULES,
];

/// Without these the broker does not know who it is or what it must refuse, so it stays sealed.
const READ_AT_UNSEAL: [Table; 4] = [SYSTEM, MOUNTS, POLICIES, COUNTERS];

/// Each row opens only where it was put: exchanged with another of its table it does not, and gives no one's
/// rights away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_in_another_ones_place_does_not_open() {
    let mut site = Site::open(CALM).await;
    let items = fill(&mut site).await;
    let healthy = questions(&site, &items).await;
    site.world.stop_broker().await.unwrap();
    let all = rows::read(&site.world).await;
    site.start_again().await;
    for table in TABLES {
        let rows = rows::of(&all, table);
        for pair in rows.windows(2) {
            let [(one, first), (other, second)] = pair else { unreachable!("windows of two") };
            let exchanged = vec![((*one).clone(), (*second).clone()), ((*other).clone(), (*first).clone())];
            let effect = effect(&mut site, &items, &healthy, exchanged).await;
            assert_said(&format!("{table:?}"), &effect);
            // What leads from a token to its children is read by a revocation only, a bucket's count by a
            // write.
            let read = !matches!(table, ACCESSORS | COUNTERS);
            assert!(effect.is_noticed() || !read, "two rows of {table:?} were exchanged and nothing noticed");
        }
    }
    // The root token's row under the key of another token, and under that of an accessor.
    let tokens = rows::of(&all, TOKENS);
    let accessors = rows::of(&all, ACCESSORS);
    for (_, root) in &tokens {
        let everywhere =
            tokens.iter().chain(&accessors).map(|(key, _)| ((*key).clone(), (*root).clone())).collect();
        let effect = effect(&mut site, &items, &healthy, everywhere).await;
        assert_said("one token for all", &effect);
        assert!(effect.is_noticed());
    }
}
