//! `-o` and `--field` everywhere: walks all commands of the binary, as its manual pages list them.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/dev.rs"]
#[allow(dead_code)] // other tests use the rest
mod dev;
#[allow(dead_code)] // as above
mod support;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dev::Dev;

/// What a command does with `-o`.
enum Kind {
    /// It prints data: the same as JSON and YAML. May be run several times.
    Data,
    /// It does something, and programs read its exit code.
    Done,
}
use Kind::{Data, Done};

/// The command lines of commands that a lone broker answers, in an order in which they work. What standard
/// input holds stands after the `<`.
const CASES: &[(Kind, &str)] = &[
    (Done, "secrets enable kv --path walked"),
    (Data, "secrets list"),
    (Data, "secrets tune walked"),
    (Done, "secrets disable walked --yes"),
    (Done, "auth enable userpass"),
    (Data, "auth list"),
    (Data, "auth tune userpass"),
    (Done, "role write userpass ana --password --policy default < correct horse"),
    (Data, "role read userpass ana"),
    (Data, "role list userpass"),
    (Done, "role delete userpass ana"),
    (Done, "role write approle walker --policy default --ttl 1h"),
    (Done, "auth enable jwt"),
    (Done, "auth enable kubernetes"),
    (Done, "role write jwt walker --audience a --policy default"),
    (Done, "role write kubernetes walker --service-account a --namespace b --audience c --policy default"),
    (Done, "auth disable userpass --yes"),
    (Data, "kv put secret/walked a=1"),
    (Data, "kv patch secret/walked b=2"),
    (Data, "kv get secret/walked"),
    (Data, "kv list secret"),
    (Done, "kv metadata put secret/walked --max-versions 9"),
    (Data, "kv metadata get secret/walked"),
    (Done, "kv delete secret/walked"),
    (Done, "kv undelete secret/walked --versions 1"),
    (Done, "kv destroy secret/walked --versions 1"),
    (Done, "kv metadata delete secret/walked"),
    (Data, "write secret/data/raw @raw.json"),
    (Data, "read secret/data/raw"),
    (Data, "list secret/metadata"),
    (Done, "delete secret/metadata/raw"),
    (Done, "policy write walked - < path \"a\" { capabilities = [\"read\"] }"),
    (Data, "policy list"),
    (Data, "policy read walked"),
    (Data, "policy fmt - < path \"a\" { capabilities = [\"read\"] }"),
    (Done, "policy delete walked"),
    (Data, "token create --ttl 1h"),
    (Data, "token lookup"),
    (Data, "login token < TOKEN"),
    (Data, "login approle --role-id ROLE < SECRET"),
    (Data, "eso manifest --no-ca"),
    (Data, "status"),
    (Data, "operator status"),
    (Data, "operator unseal - < nothing"),
    (Data, "operator rotate status"),
    (Data, "ceremony watch --once"),
    (Data, "custody status"),
    (Data, "custodian show ana.key"),
    (Data, "officer show off.key"),
    (Data, "audit tail"),
    (Data, "audit search --limit 3"),
    (Data, "audit who-read secret/raw"),
    (Data, "audit who-changed secret/raw"),
    (Data, "audit segments"),
    (Data, "audit verify --key KEY"),
    (Done, "audit copy copied"),
    (Done, "operator rotate kek"),
    (Done, "token revoke - < CHILD"),
    (Done, "operator seal"),
];

/// Commands that a lone broker does not answer, and who looks at what they print.
const ELSEWHERE: &[(&str, &str)] = &[
    ("audit-", "tests/whole.rs and tests/service.rs; pruning needs an export"),
    ("backup-", "tests/backup.rs, with --output json"),
    ("broker", "a server: it logs"),
    ("ceremony-", "tests/ceremonies.rs: they need custodians"),
    ("completion", "a script for a shell"),
    ("custody-", "tests/unattended.rs: they need devices"),
    ("custodian-", "tests/custodians.rs, with --output json"),
    ("demo", "a story"),
    ("dev", "a server: it says how to use it"),
    ("eso-", "asks a cluster's operator"),
    ("fragment-", "the fragment service's own --output"),
    ("load", "a measurement, in words"),
    ("login-", "tests/whole.rs: they need an issuer"),
    ("man", "files"),
    ("officer-", "tests/orders.rs: an order is a document"),
    ("operator-init", "tests/init.rs, with --output json"),
    ("operator-root-", "tests/ceremonies.rs, with --output json"),
    ("operator-rotate-", "tests/whole.rs: they change the key of the fragment service"),
    ("recovery-", "tests/recovery.rs"),
    ("setup", "asks its questions on a terminal"),
    ("token-renew", "the root token cannot be renewed; tests/whole.rs"),
    ("workload-", "needs evidence"),
];

#[test]
fn every_command_that_prints_data_prints_it_in_the_format_it_is_asked_for() {
    let dev = Dev::start();
    prepare(&dev);
    let leaves = leaves(&dev);
    let is_case = |leaf: &str| CASES.iter().any(|(_, line)| line.replace(' ', "-").starts_with(leaf));
    for leaf in &leaves {
        let elsewhere = ELSEWHERE.iter().any(|(name, _)| leaf.starts_with(name));
        assert!(is_case(leaf) || elsewhere, "`{leaf}` is new: say what it does with -o");
    }
    for (kind, line) in CASES {
        let (words, stdin) = filled(&dev, line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match kind {
            Done => {
                let told = dev.check(&[&words[..], &["-o", "json"]].concat(), &stdin, 0).stdout;
                assert_eq!(told, "", "`{line}` has nothing to tell programs");
            }
            Data => data(&dev, line, &words, &stdin),
        }
    }
}

/// The same as JSON and YAML, one field of it, and CSV or the refusal of it.
fn data(dev: &Dev, line: &str, words: &[&str], stdin: &str) {
    let told = |format: &str| dev.check(&[words, &["-o", format]].concat(), stdin, 0).stdout;
    let json = told("json");
    let values: Vec<Value> = serde_json::Deserializer::from_str(&json)
        .into_iter()
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("`{line}` -o json: {error}:\n{json}"));
    assert!(!values.is_empty() || json.is_empty(), "`{line}` -o json printed nothing");
    let yaml = told("yaml");
    let first = yaml.lines().next().unwrap_or_default();
    let is_empty = values.first().is_none_or(|value| value == &serde_json::json!([]));
    assert!(is_empty || !first.starts_with(['{', '[']), "`{line}` -o yaml:\n{yaml}");
    assert!(is_empty || first.contains(':') || first.starts_with('-'), "`{line}` -o yaml:\n{yaml}");
    assert_ne!(told("table"), json, "`{line}` prints a table for people");
    if let Some(name) = values.first().and_then(Value::as_object).and_then(|object| object.keys().next()) {
        let some = dev.run_as(Some(&dev.token), &[words, &["--field", name]].concat(), stdin);
        // A secret's fields are those of its data.
        assert!(some.code == 0 || some.stderr.contains("no such field"), "`{line}`: {}", some.stderr);
        assert!(some.stdout.len() < json.len(), "`{line}` --field {name}:\n{}", some.stdout);
    }
    let csv = dev.run_as(Some(&dev.token), &[words, &["-o", "csv"]].concat(), stdin);
    assert!(csv.code == 0 || csv.stderr.contains("not printed as CSV"), "`{line}` -o csv: {}", csv.stderr);
    assert!(!csv.stdout.starts_with('{'), "`{line}` -o csv:\n{}", csv.stdout);
}

fn prepare(dev: &Dev) {
    std::fs::write(dev.home.path().join("raw.json"), r#"{"data": {"n": 1.50}}"#).unwrap();
    std::fs::write(dev.home.path().join("phrase"), "correct horse battery staple\n").unwrap();
    for (who, name) in [("custodian", "ana"), ("officer", "off")] {
        let (out, mut args) = (format!("{name}.key"), vec![who, "keygen", "--name", name, "--memory", "64"]);
        args.extend(["--passphrase-file", "phrase", "--out", &out]);
        assert!(dev.json(&args)["fingerprint"].is_string());
    }
}

/// A line with what only this deployment knows.
fn filled(dev: &Dev, line: &str) -> (Vec<String>, String) {
    let line = line.replace("ROLE", &dev.role_id).replace("SECRET", &dev.secret_id);
    let line = line.replace("TOKEN", &dev.token);
    let line = if line.contains("CHILD") {
        let made = dev.json(&["token", "create", "--ttl", "1h"]);
        line.replace("CHILD", made["auth"]["client_token"].as_str().unwrap())
    } else {
        line
    };
    let (words, stdin) = line.split_once(" < ").unwrap_or((&line, ""));
    let words =
        words.split(' ').map(|word| if word == "KEY" { dev.log_key.clone() } else { word.to_owned() });
    (words.collect(), stdin.to_owned())
}

/// Commands without commands below them, with dashes for blanks.
fn leaves(dev: &Dev) -> BTreeSet<String> {
    dev.ok(&["man", "pages"]);
    let pages = std::fs::read_dir(dev.home.path().join("pages")).unwrap();
    let name = |page: std::io::Result<std::fs::DirEntry>| {
        let name = page.unwrap().file_name().into_string().unwrap();
        name.trim_start_matches("symbolon").trim_start_matches('-').trim_end_matches(".1").to_owned()
    };
    let all: BTreeSet<String> = pages.map(name).filter(|name| !name.is_empty()).collect();
    let has_below = |name: &String| all.iter().any(|other| other.starts_with(&format!("{name}-")));
    let is_real = |name: &&String| !has_below(name) || ["role-write"].contains(&name.as_str());
    all.iter().filter(is_real).cloned().collect()
}
