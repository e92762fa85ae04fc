//! The command line against a whole deployment: `symbolon dev` on a free port, then every command that needs
//! a broker.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/dev.rs"]
mod dev;
mod support;

use serde_json::Value;

use crate::dev::Dev;
use crate::support::{command, run};

/// One deployment for all: starting one takes longer than everything that is asked of it.
#[test]
fn every_command_that_needs_a_broker() {
    let dev = Dev::start();
    secrets(&dev);
    policies_and_tokens(&dev);
    logins(&dev);
    rotations(&dev);
    audit(&dev);
    seal_and_unseal(&dev);
}

fn secrets(dev: &Dev) {
    assert_eq!(
        dev.ok(&["kv", "get", "secret/example/database", "-f", "password"]),
        "correct horse battery staple"
    );
    let put = dev.check(&["kv", "put", "secret/team/app", "user=app", "password=-"], "s3cret\n", 0);
    assert!(put.stdout.contains("version  1"), "{}", put.stdout);
    assert_eq!(dev.ok(&["kv", "get", "secret/team/app", "-f", "password"]), "s3cret");
    assert!(dev.ok(&["kv", "get", "secret/team/app"]).contains("user      app"));

    let lost = dev.check(&["kv", "put", "secret/team/app", "user=x", "--cas", "0"], "", 7);
    assert!(lost.stderr.contains("hint: read the current version"), "{}", lost.stderr);
    dev.ok(&["kv", "patch", "secret/team/app", "user=other", "--cas", "1"]);
    let read = dev.json(&["kv", "get", "secret/team/app"]);
    assert_eq!((&read["data"]["user"], &read["data"]["password"]), (&"other".into(), &"s3cret".into()));
    assert_eq!(read["metadata"]["version"], 2);
    assert_eq!(dev.ok(&["kv", "get", "secret/team/app", "--version", "1", "-f", "user"]), "app");

    std::fs::write(
        dev.home.path().join("whole.json"),
        r#"{"n": 12345678901234567890.10, "deep": {"a": [1]}}"#,
    )
    .unwrap();
    dev.ok(&["kv", "put", "secret/team/whole", "@whole.json"]);
    assert_eq!(dev.ok(&["kv", "get", "secret/team/whole", "-f", "n"]), "12345678901234567890.10");

    assert_eq!(dev.ok(&["kv", "list", "secret"]), "example/\nteam/\n");
    assert_eq!(dev.json(&["kv", "list", "secret/team"]), serde_json::json!(["app", "whole"]));
    let absent = dev.check(&["kv", "get", "secret/team/nothing"], "", 4);
    assert!(absent.stderr.starts_with("error: not found"), "{}", absent.stderr);
    dev.check(&["kv", "list", "secret/nowhere"], "", 4);

    dev.ok(&["kv", "delete", "secret/team/app"]);
    let deleted = dev.check(&["kv", "get", "secret/team/app"], "", 4);
    assert!(deleted.stderr.contains("this version was deleted"), "{}", deleted.stderr);
    dev.ok(&["kv", "undelete", "secret/team/app", "--versions", "2"]);
    assert_eq!(dev.ok(&["kv", "get", "secret/team/app", "-f", "user"]), "other");
    dev.ok(&["kv", "destroy", "secret/team/app", "--versions", "1"]);
    let destroyed = dev.check(&["kv", "get", "secret/team/app", "--version", "1"], "", 4);
    assert!(destroyed.stderr.contains("this version was destroyed"), "{}", destroyed.stderr);

    dev.ok(&["kv", "metadata", "put", "secret/team/app", "--custom", "owner=ana", "--max-versions", "5"]);
    let metadata = dev.ok(&["kv", "metadata", "get", "secret/team/app"]);
    for part in ["current version  2", "owner=ana", "destroyed"] {
        assert!(metadata.contains(part), "{part}: {metadata}");
    }
    dev.ok(&["kv", "metadata", "delete", "secret/team/app"]);
    dev.check(&["kv", "metadata", "get", "secret/team/app"], "", 4);
}

fn policies_and_tokens(dev: &Dev) {
    let text = "path \"secret/data/team/*\" {\n  capabilities = [\"read\"]\n}\n";
    dev.check(&["policy", "write", "reader", "-"], text, 0);
    assert_eq!(dev.ok(&["policy", "read", "reader"]), text);
    assert!(dev.ok(&["policy", "list"]).lines().any(|name| name == "reader"));
    let wrong = dev.check(&["policy", "write", "broken", "-"], "path {", 1);
    assert!(wrong.stderr.contains("error: the broker refused the request"), "{}", wrong.stderr);

    let made = dev.json(&["token", "create", "--policy", "reader", "--ttl", "1h", "--display-name", "ci"]);
    let token = made["token"].as_str().unwrap();
    let read = dev.run_as(Some(token), &["kv", "get", "secret/team/whole", "-f", "n"], "");
    assert_eq!(read.stdout, "12345678901234567890.10", "{}", read.stderr);
    let denied = dev.run_as(Some(token), &["kv", "get", "secret/example/database"], "");
    assert_eq!(denied.code, 3);
    assert!(
        denied.stderr.contains("error: permission denied\nhint: the token is good, and none of its policies"),
        "{}",
        denied.stderr
    );
    let own = dev.run_as(Some(token), &["token", "lookup"], "");
    assert!(own.stdout.contains("reader") && !own.stdout.contains(token), "{}", own.stdout);
    assert_eq!(dev.run_as(Some(token), &["token", "renew", "--increment", "30m"], "").code, 0);
    let lookup = dev.check(&["token", "lookup", "-"], token, 0);
    assert!(lookup.stdout.contains("token-ci"), "{}", lookup.stdout);
    dev.ok(&["token", "revoke", "--accessor", made["accessor"].as_str().unwrap()]);
    let ended = dev.run_as(Some(token), &["token", "lookup"], "").expect(3).stderr;
    assert!(ended.contains("hint: the broker does not know the token in SYMBOLON_TOKEN"), "{ended}");
    let nowhere = dev.check(&["read", "nowhere/x"], "", 1).stderr;
    assert!(nowhere.contains("hint: `symbolon secrets list`"), "{nowhere}");
    let namespaced = dev.check(&["token", "lookup", "--tenant", "team"], "", 1).stderr;
    assert!(namespaced.contains("hint: leave --tenant out"), "{namespaced}");
    dev.ok(&["policy", "delete", "reader"]);
    dev.check(&["policy", "read", "reader"], "", 4);
}

fn logins(dev: &Dev) {
    let login = ["login", "approle", "--role-id", &dev.role_id];
    let refused = dev.run_as(None, &login, "wrong");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("invalid role or secret ID"), "{}", refused.stderr);
    let done = dev.run_as(None, &login, &dev.secret_id);
    assert!(done.code == 0 && done.stdout.contains("stored in"), "{}", done.stderr);
    let file = dev.home.path().join(".symbolon-token");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        !done.stdout.contains(std::fs::read_to_string(&file).unwrap().trim()),
        "the token is not printed"
    );
    let read = dev.run_as(None, &["kv", "get", "secret/example/database", "-f", "password"], "");
    assert_eq!((read.code, read.stdout.as_str()), (0, "correct horse battery staple"));
    assert_eq!(dev.run_as(None, &["token", "revoke", "--self"], "").code, 0);
    assert_eq!(dev.run_as(None, &["kv", "get", "secret/example/database"], "").code, 3);

    let shown = dev.run_as(None, &[&login[..], &["--no-store", "--output", "json"]].concat(), &dev.secret_id);
    assert!(serde_json::from_str::<Value>(&shown.stdout).unwrap()["token"].is_string());
    let mut shadowed = command(&login);
    shadowed.env("HOME", dev.home.path()).env("BAO_TOKEN", "hvs.other");
    shadowed.env("BAO_ADDR", &dev.address).env("SYMBOLON_CACERT", &dev.ca_file);
    let shadowed = run(&mut shadowed, &dev.secret_id).expect(0).stderr;
    assert!(shadowed.contains("warning: BAO_TOKEN is set and goes before the stored token"), "{shadowed}");
    let kept = dev.run_as(None, &["login", "token"], &dev.token);
    assert!(!kept.stderr.contains("warning"), "{}", kept.stderr);
    assert!(kept.code == 0 && kept.stdout.contains("root"), "{}", kept.stderr);
    let no_method = dev.run_as(None, &["login", "kubernetes", "--role", "x", "--jwt-file", "-"], "a.b.c");
    assert_ne!(no_method.code, 0);
}

fn rotations(dev: &Dev) {
    let name = |number: u32| format!("secret/rolled/s{number}");
    let value = |number: u32, version: u32| format!("value={number} v{version}");
    for number in 0..12 {
        for version in 1..=2 {
            dev.ok(&["kv", "put", &name(number), &value(number, version)]);
        }
    }
    let before = dev.json(&["operator", "rotate", "status"]);
    assert_eq!(
        (&before["keks"]["secret/"]["state"], &before["own"]["kek_epoch"]),
        (&"settled".into(), &1.into())
    );
    let epoch = before["keks"]["secret/"]["kek_epoch"].as_u64().unwrap();

    let one = dev.json(&["operator", "rotate", "kek", "secret/", "--wait"]);
    let keks = &one["keks"]["secret/"];
    assert_eq!((&keks["state"], &keks["kek_epoch"]), (&"settled".into(), &(epoch + 1).into()), "{one}");
    assert!(keks["payloads_moved"].as_u64().unwrap() >= 24 && keks["finished"].is_string(), "{one}");
    assert_eq!(one["own"]["kek_epoch"], 1, "one mount leaves the deployment's own keys alone");

    let asked = dev.ok(&["operator", "rotate", "kek"]);
    assert!(asked.starts_with("new KEKs are being made"), "{asked}");
    dev.ok(&["operator", "rotate", "status", "--wait"]);
    let all = dev.json(&["operator", "rotate", "status"]);
    assert_eq!(
        (&all["keks"]["secret/"]["kek_epoch"], &all["own"]["kek_epoch"]),
        (&(epoch + 2).into(), &2.into())
    );
    assert_eq!((&all["own"]["older_token_epochs"], &all["problem"]), (&serde_json::json!([1]), &Value::Null));
    let table = dev.ok(&["operator", "rotate", "status"]);
    for part in
        ["remote key epochs", "own KEK epoch", "kept for machine tokens", "MOUNT", "secret/", "settled"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }

    for number in 0..12 {
        for version in 1..=2 {
            let read = ["kv", "get", &name(number), "--version", &version.to_string(), "-f", "value"];
            assert_eq!(dev.ok(&read), value(number, version)["value=".len()..]);
        }
    }
    let nowhere = dev.check(&["operator", "rotate", "kek", "nowhere"], "", 1);
    assert!(
        nowhere.stderr.contains("no KV mount at this path\nhint: `symbolon operator rotate status`"),
        "{}",
        nowhere.stderr
    );
    let too_early = dev.check(&["operator", "rotate", "retire"], "", 1);
    assert!(too_early.stderr.contains("nothing is to be retired"), "{}", too_early.stderr);
    assert_eq!(dev.run_as(Some("hvs.unknown"), &["operator", "rotate", "kek"], "").code, 3);
}

/// One event a line.
fn events(dev: &Dev, args: &[&str]) -> Vec<Value> {
    let told = dev.ok(&[args, &["--output", "json"]].concat());
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What an auditor takes away: proofs with an export, and a report. All of it is checked without a broker.
fn proofs_and_report(dev: &Dev) {
    let found = dev.ok(&["audit", "who-read", "secret/team/app", "-o", "json"]);
    let first: Value = serde_json::from_str(found.lines().next().unwrap()).unwrap();
    let index = first["index"].to_string();
    dev.ok(&["audit", "proof", &index, "--key", &dev.log_key, "--file", "one.tlog-proof"]);
    let told = dev.ok(&["audit", "verify", "--key", &dev.log_key, "--proof", "one.tlog-proof"]);
    assert!(told.contains(&format!("{index} at ")) && told.contains("secret-read, allowed"), "{told}");
    let export = dev.ok(&["audit", "search", "--path", "secret/team/", "-o", "json", "--proofs", "proofs"]);
    let (events, proofs) = (dev.home.path().join("events.json"), dev.home.path().join("proofs"));
    std::fs::write(&events, &export).unwrap();
    let verify = ["audit", "verify", "--key", &dev.log_key, "--proof", "proofs", "--events", "events.json"];
    let told = dev.ok(&verify);
    assert!(told.contains(&format!("{}, each of a proven entry", export.lines().count())), "{told}");
    std::fs::write(&events, export.replacen("\"allowed\"", "\"denied\"", 1)).unwrap();
    let altered = dev.check(&verify, "", 6);
    assert!(altered.stderr.contains("does not say what its entry says openly"), "{}", altered.stderr);
    std::fs::write(&events, &export).unwrap();
    let proof = std::fs::read_dir(&proofs).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&proof).unwrap();
    std::fs::write(&proof, text.replacen("extra A", "extra B", 1)).unwrap();
    let altered = dev.check(&verify, "", 6);
    assert!(altered.stderr.contains("does not hold"), "{}", altered.stderr);
    dev.check(&["audit", "proof", "99999999"], "", 2);

    let report = dev.ok(&["audit", "report", "--since", "1h", "--key", &dev.log_key]);
    for part in ["secret-read", "secret/team/app", "token-ci", "verified with the given key", "policy-write"]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
    let report: Value =
        serde_json::from_str(&dev.ok(&["audit", "report", "--since", "1h", "-o", "json"])).unwrap();
    assert_eq!(report["first"], 0, "{report}");
    assert_eq!(report["last"].as_u64().unwrap() + 1, report["checkpoint"]["size"].as_u64().unwrap());
    let csv = dev.ok(&["audit", "report", "--since", "1h", "-o", "csv"]);
    assert!(csv.starts_with("part,what,more,requests,refused\r\n"), "{csv}");
}

/// The log as somebody asks it who knows a secret by the name that `kv` has for it.
fn questions(dev: &Dev) {
    for path in ["secret/team/app", "secret/data/team/app"] {
        let read = events(dev, &["audit", "who-read", path]);
        assert!(!read.is_empty(), "{path}");
        assert!(read.iter().all(|event| event["target"]["path"] == "secret/data/team/app"), "{read:?}");
        assert!(read.iter().all(|event| event["type"] == "secret-read"), "{read:?}");
        let indices: Vec<_> = read.iter().map(|event| event["index"].as_u64().unwrap()).collect();
        assert!(indices.is_sorted_by(|newer, older| newer > older), "newest first: {indices:?}");
        let changed = events(dev, &["audit", "who-changed", path, "--since", "1h"]);
        assert!(changed.iter().any(|event| event["type"] == "secret-write"), "{path}: {changed:?}");
        assert!(changed.iter().all(|event| event["type"] != "secret-read"), "{changed:?}");
        assert!(!events(dev, &["audit", "search", "--path", path]).is_empty(), "{path}");
    }
    for other in ["secret/team", "secret/team/ap", "secret/team/app/x"] {
        assert!(events(dev, &["audit", "who-read", other]).is_empty(), "{other} is no secret");
    }
    let newest = dev.check(&["audit", "who-read", "secret/team/app", "--limit", "1"], "", 0);
    let all = events(dev, &["audit", "who-read", "secret/team/app"]).len();
    assert!(newest.stderr.contains(&format!("showing 1 of {all}, the newest")), "{}", newest.stderr);
    let ahead = events(dev, &["audit", "search", "--since", "2999-01-31"]);
    assert!(ahead.is_empty());
    dev.check(&["audit", "search", "--since", "yesterday"], "", 2);
    let all = events(dev, &["audit", "search", "--action", "secret-read"]).len();
    let few = dev.check(&["audit", "search", "--action", "secret-read", "--limit", "2"], "", 0);
    assert!(few.stderr.contains(&format!("showing 2 of {all}, the newest")), "{all}: {}", few.stderr);
    let table: Vec<_> = few.stdout.lines().collect();
    assert!(table.len() == 3 && table[0].starts_with("index"), "{table:?}");
    let column = table[0].find("outcome").unwrap();
    assert!(
        table[1..].iter().all(|row| row[column - 1..].starts_with(' ') && !row[column..].starts_with(' '))
    );
    assert!(table[1].contains("Z  ") && table[1].contains('.'), "full times: {table:?}");
    let csv = dev.ok(&["audit", "who-read", "secret/team/app", "--output", "csv"]);
    assert!(csv.starts_with("index,time,outcome,type,path,version,") && csv.contains("\r\n"), "{csv}");
    let help = dev.ok(&["audit", "search", "--help"]);
    assert!(["secret-undelete", "workload-token", "7d"].iter().all(|word| help.contains(word)), "{help}");
}

fn audit(dev: &Dev) {
    questions(dev);
    proofs_and_report(dev);
    let newest = dev.ok(&["audit", "tail", "-n", "500"]);
    for part in ["secret-read", "denied", "secret/data/team/app", "token-ci"] {
        assert!(newest.contains(part), "{part}: {newest}");
    }
    assert!(!newest.contains("s3cret") && !newest.contains(&dev.token));
    let denied = events(dev, &["audit", "search", "--outcome", "denied", "--action", "secret-read"]);
    assert!(denied.iter().any(|event| event["target"]["path"] == "secret/data/example/database"));
    let unknown = dev.check(&["audit", "search", "--action", "no-such"], "", 2);
    assert!(unknown.stderr.contains("secret-read"), "{}", unknown.stderr);

    let verified = dev.ok(&["audit", "verify", "--key", &dev.log_key]);
    assert!(verified.contains("each one as it was signed"), "{verified}");
    dev.ok(&["audit", "copy", "copy"]);
    dev.ok(&["audit", "verify", "--key", &dev.log_key, "--dir", "copy", "--save", "seen"]);
    dev.ok(&["kv", "put", "secret/later", "a=b"]);
    dev.ok(&["audit", "verify", "--key", &dev.log_key, "--since", "seen"]);
    let bundle =
        std::fs::read_dir(dev.home.path().join("copy/tile/entries/000.p")).unwrap().next().unwrap().unwrap();
    let mut bytes = std::fs::read(bundle.path()).unwrap();
    bytes[20] ^= 1;
    std::fs::write(bundle.path(), bytes).unwrap();
    let found = dev.check(&["audit", "verify", "--key", &dev.log_key, "--dir", "copy"], "", 6);
    assert!(found.stderr.contains("entry 0 was changed"), "{}", found.stderr);
    dev.check(&["audit", "verify", "--key", "name+00000000+AAAA"], "", 2);
}

fn seal_and_unseal(dev: &Dev) {
    let status = dev.ok(&["operator", "status"]);
    for part in
        ["open", "2 of 3 open it", "recovery policy", "none", "secret memory", "remote lease", "active"]
    {
        assert!(status.contains(part), "{part}: {status}");
    }
    dev.ok(&["operator", "seal"]);
    let sealed = dev.check(&["kv", "get", "secret/example/database"], "", 5);
    assert!(sealed.stderr.contains("error: the broker is sealed\nhint: custodians"), "{}", sealed.stderr);
    assert!(dev.check(&["operator", "status"], "", 5).stdout.contains("sealed"));

    dev.check(&["operator", "unseal", "-"], "skf1nonsense", 2);
    let first = dev.check(&["operator", "unseal", "-"], &dev.shares[2], 0);
    assert!(first.stdout.starts_with("1 of 2 shares given (carla)"), "{}", first.stdout);
    let twice = dev.check(&["operator", "unseal", "-"], &dev.shares[2], 1);
    assert!(twice.stderr.contains("carla"), "{}", twice.stderr);
    assert!(dev.ok(&["operator", "unseal", "--reset"]).starts_with("0 of 2"));
    dev.check(&["operator", "unseal", "-"], &dev.shares[0], 0);
    let open = dev.check(&["operator", "unseal", "-"], &dev.shares[1], 0);
    assert!(open.stdout.contains("unsealed"), "{}", open.stdout);
    assert_eq!(
        dev.ok(&["kv", "get", "secret/example/database", "-f", "password"]),
        "correct horse battery staple"
    );
    let again = [
        "operator",
        "init",
        "--shares",
        "2",
        "--threshold",
        "2",
        "--recovery",
        "none",
        "--custodian",
        "a",
        "--custodian",
        "b",
    ];
    dev.run_as(None, &again, "").refused(1, "already initialised");
    assert!(dev.check(&["operator", "unseal", "-"], &dev.shares[1], 0).stdout.contains("already open"));
}
