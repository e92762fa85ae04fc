//! Mounts, login methods, roles, and any path of the API, on the real binary and a whole broker.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/dev.rs"]
#[allow(dead_code)] // other tests use the rest
mod dev;
#[allow(dead_code)] // as above
mod support;

use serde_json::json;

use crate::dev::Dev;

/// One deployment for all, as in `whole.rs`.
#[test]
fn a_mount_a_login_method_and_a_role_are_made_without_another_tool() {
    let dev = Dev::start();
    mounts(&dev);
    logins(&dev);
    any_path(&dev);
    status(&dev);
}

fn mounts(dev: &Dev) {
    dev.ok(&[
        "secrets",
        "enable",
        "kv",
        "--path",
        "team/kv",
        "--description",
        "the team's",
        "--max-lease-ttl",
        "2h",
    ]);
    dev.ok(&["secrets", "enable", "-path=old", "-version=1", "kv"]);
    let table = dev.ok(&["secrets", "list"]);
    assert!(
        table.contains("team/kv/") && table.contains("version=2") && table.contains("the team's"),
        "{table}"
    );
    let list = dev.json(&["secrets", "list"]);
    assert_eq!((&list["old/"]["options"]["version"], &list["team/kv/"]["type"]), (&"1".into(), &"kv".into()));
    assert!(dev.ok(&["secrets", "list", "--detailed"]).contains("2 h"));

    dev.ok(&["secrets", "tune", "team/kv", "--max-lease-ttl", "3h"]);
    let tuned = dev.check(&["secrets", "tune", "team/kv"], "", 0);
    assert!(tuned.stdout.contains("10800") && tuned.stderr.contains("nothing to change"), "{}", tuned.stdout);
    dev.ok(&["secrets", "tune", "old", "--version", "2"]);
    assert_eq!(dev.json(&["secrets", "list"])["old/"]["options"]["version"], "2");

    // What cannot be taken back is asked on a terminal, and must be said elsewhere.
    let asked = dev.check(&["secrets", "disable", "team/kv"], "", 2);
    assert!(asked.stderr.contains("--yes is needed"), "{}", asked.stderr);
    assert!(dev.ok(&["secrets", "list"]).contains("team/kv/"));
    dev.ok(&["secrets", "disable", "team/kv/", "--yes"]);
    assert!(!dev.ok(&["secrets", "list"]).contains("team/kv/"));
    dev.check(&["secrets", "enable", "nonsense"], "", 1);
    let twice = dev.check(&["secrets", "enable", "kv", "--path", "secret"], "", 1);
    assert!(twice.stderr.contains("hint: "), "{}", twice.stderr);
}

fn logins(dev: &Dev) {
    let next = dev.ok(&["auth", "enable", "kubernetes", "--path", "home", "--description", "k3s"]);
    assert!(next.contains("Next: symbolon write auth/home/config"), "{next}");
    dev.ok(&["auth", "enable", "userpass"]);
    dev.ok(&["auth", "tune", "auth/userpass", "--token-type", "batch"]);
    assert_eq!(dev.json(&["auth", "tune", "userpass"])["token_type"], "batch");

    let line = "role write kubernetes eso --mount home --service-account a,b --namespace x --audience vault \
                --policy eso --ttl 10m token_num_uses=0";
    dev.ok(&line.split_whitespace().collect::<Vec<_>>());
    let role = dev.json(&["role", "read", "kubernetes", "eso", "--mount", "home"]);
    let role = &role["data"];
    assert_eq!(role["bound_service_account_names"], json!(["a", "b"]));
    assert_eq!((&role["token_policies"], &role["token_ttl"]), (&json!(["eso"]), &json!(600)));
    assert_eq!(dev.ok(&["role", "list", "kubernetes", "--mount", "home"]), "eso\n");

    dev.check(&["role", "write", "userpass", "ana", "--password", "--policy", "eso"], "correct horse\n", 0);
    assert_eq!(dev.ok(&["role", "read", "userpass", "ana", "--field", "token_policies"]), r#"["eso"]"#);
    let login = dev.check(&["write", "auth/userpass/login/ana", "password=-"], "correct horse", 0);
    assert!(login.stdout.contains("client_token") && login.stderr.is_empty(), "{}", login.stderr);

    let next = dev.ok(&["role", "write", "approle", "ci", "--policy", "eso", "--ttl", "5m"]);
    assert!(next.contains("auth/approle/role/ci/secret-id"), "{next}");
    let role_id = dev.ok(&["read", "-field=role_id", "auth/approle/role/ci/role-id"]);
    let secret_id = dev.ok(&["write", "--force", "auth/approle/role/ci/secret-id", "--field", "secret_id"]);
    let login = ["login", "approle", "--role-id", &role_id, "-format=json"];
    let done = dev.run_as(None, &login, &secret_id).expect(0);
    let auth: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    let token = auth["auth"]["client_token"].as_str().unwrap();
    assert_eq!(auth["auth"]["lease_duration"], 300);
    dev.run_as(Some(token), &["kv", "get", "secret/example/database"], "").expect(0);
    let field = [&login[..4], &["--field", "auth.client_token"]].concat();
    let bare = dev.run_as(None, &field, &secret_id).expect(0).stdout;
    dev.run_as(Some(&bare), &["token", "lookup"], "").expect(0);
    dev.ok(&["role", "delete", "approle", "ci"]);
    dev.check(&["role", "read", "approle", "ci"], "", 4);
    dev.ok(&["auth", "disable", "home", "--yes"]);
}

fn any_path(dev: &Dev) {
    std::fs::write(dev.home.path().join("body.json"), r#"{"data": {"n": 12345678901234567890.10}}"#).unwrap();
    let written = dev.json(&["write", "secret/data/any", "@body.json"]);
    assert_eq!(written["data"]["version"], 1);
    dev.check(&["write", "/v1/secret/data/any", "-"], r#"{"data": {"a": "b"}}"#, 0);
    assert_eq!(
        dev.json(&["read", "secret/data/any", "version=1"])["data"]["data"]["n"].to_string(),
        "12345678901234567890.10"
    );
    assert!(dev.ok(&["read", "secret/data/any", "-o", "yaml"]).contains("\n    a: \"b\"\n"));
    assert!(dev.ok(&["list", "secret/metadata"]).contains("any\n"));
    dev.ok(&["delete", "secret/metadata/any"]);
    dev.check(&["read", "secret/data/any"], "", 4);
    let seal = dev.ok(&["read", "sys/seal-status", "--field", "t"]);
    assert_eq!(seal, "2");

    let seen = dev.check(&["write", "cubbyhole/x", "password=hunter2", "name=n"], "", 0);
    assert!(
        seen.stderr.contains("warning: the value of password stands in the shell's history"),
        "{}",
        seen.stderr
    );
    assert!(!seen.stderr.contains("hunter2") && !seen.stderr.contains("of name"), "{}", seen.stderr);
    dev.check(&["write", "cubbyhole/x"], "", 2);
    let missing = dev.check(&["read", "cubbyhole/x", "--field", "nothing"], "", 1);
    assert!(missing.stderr.contains("hint: it has: "), "{}", missing.stderr);
}

/// As `vault status` ends: scripts wait for it.
fn status(dev: &Dev) {
    assert!(dev.check(&["status"], "", 0).stdout.contains("open"));
    dev.ok(&["operator", "seal"]);
    assert!(dev.check(&["status"], "", 2).stdout.contains("sealed"));
    dev.check(&["status", "--nonsense"], "", 1);
    dev.check(&["status", "--address", "https://127.0.0.1:1"], "", 1);
    dev.check(&["operator", "status"], "", 5);
}
