//! The newest backup after a lost volume, with the real commands on real processes: as docs/loss.md has it.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[path = "support/officers.rs"]
#[allow(dead_code)] // as above
mod officers;
#[path = "support/people.rs"]
mod people;
#[path = "support/secrets.rs"]
mod secrets;
mod support;

use serde_json::Value;

use crate::deployment::{Deployment, Programs, until};
use crate::officers::{OLGA, OMAR, hand_in, ordered, section};
use crate::people::keygen;
use crate::secrets::mount;
use crate::support::{Done, run};

const GENERAL: i32 = 1;
const USAGE: i32 = 2;
const DENIED: i32 = 3;
const ABSENT: i32 = 4;
const UNAVAILABLE: i32 = 5;
const INTEGRITY: i32 = 6;

fn deployment() -> Deployment {
    let deployment =
        Deployment::start(Programs::default(), |home| [OLGA, OMAR].map(|name| section(home, name)).concat());
    deployment.unseal();
    mount(&deployment);
    put(&deployment, "first");
    keygen(&deployment.path("."), "ops");
    deployment
}

fn put(deployment: &Deployment, name: &str) {
    deployment.as_root(&["kv", "put", &format!("secret/{name}"), "value=kept"]).expect(0);
}

fn get(deployment: &Deployment, name: &str) -> Done {
    deployment.as_root(&["kv", "get", &format!("secret/{name}"), "--field", "value"])
}

fn back_up(deployment: &Deployment, to: &str) {
    let create = ["backup", "create", "--out", to, "--card", "ops.card", "--yes"];
    let made = deployment.as_root(&create).expect(0).stdout;
    assert!(made.contains("every byte is signed") && made.contains("ops"), "{made}");
}

/// The recipient's key.
const OPS: [&str; 5] = ["--key", "ops.key", "--passphrase-file", "phrase", "--allow-insecure-memory"];

fn opened(deployment: &Deployment, args: &[&str]) -> Done {
    deployment.run(&[args, &OPS].concat(), "")
}

#[test]
fn the_newest_backup_brings_a_lost_volume_back_and_fences_what_ran_before() {
    let mut deployment = deployment();
    let log_key = deployment.log_key.clone();
    back_up(&deployment, "b1.backup");
    put(&deployment, "second");
    std::fs::create_dir(deployment.path("place")).unwrap();
    let plan = format!(
        "[backup]\nto = {:?}\nrecipients = [{:?}]\n",
        deployment.path("place"),
        deployment.path("ops.card")
    );
    deployment.restart_broker(|home| {
        let config = std::fs::read_to_string(home.join("broker.toml")).unwrap();
        std::fs::write(home.join("broker.toml"), config + &plan).unwrap();
    });
    deployment.unseal();
    until("the first of the schedule", || {
        deployment.run(&["backup", "list", "--config", "broker.toml"], "").stdout.contains(".backup")
    });
    put(&deployment, "third");
    drop(deployment.as_root(&["backup", "create"]).expect(0));
    let status = deployment.run(&["operator", "status"], "").expect(0).stdout;
    assert!(status.contains("last backup"), "{status}");
    let drill = ["backup", "drill", "--config", "broker.toml", "--log-key", &log_key];
    let drilled = opened(&deployment, &drill).expect(0).stdout;
    assert!(drilled.contains("all verified") && drilled.contains("0 hours 0 minutes"), "{drilled}");
    let list = deployment.run(&["backup", "list", "place", "--output", "json"], "").expect(0).stdout;
    let list: Value = serde_json::from_str(&list).unwrap();
    let newest = format!("place/{}", list.as_array().unwrap().last().unwrap()["name"].as_str().unwrap());
    put(&deployment, "lost");

    // The volume is gone; somebody has a copy of it all the same.
    let restore = ["backup", "restore", &newest, "--store", "store.redb", "--log-key", &log_key];
    let mut restoring = deployment.command(&[&restore[..], &OPS].concat());
    deployment.restart_broker(|home| {
        std::fs::rename(home.join("store.redb"), home.join("twin.redb")).unwrap();
        let restored = run(&mut restoring, "").expect(0).stdout;
        assert!(restored.contains("two officers"), "{restored}");
    });
    let give = |deployment: &Deployment, share: usize| {
        deployment.run(&["operator", "unseal", "-"], &deployment.shares[share])
    };
    give(&deployment, 0).expect(0);
    give(&deployment, 1).refused(UNAVAILABLE, "this store is an old copy");
    let done = deployment.run(&["fragment", "status", "--output", "json"], "").expect(0);
    let service: Value = serde_json::from_str(&done.stdout).unwrap();
    let admit = ordered(&deployment, &["admit", service["brokers"][0]["broker"].as_str().unwrap()]);
    hand_in(&deployment, "admit", &admit).expect(0);
    deployment.unseal();
    for name in ["first", "second", "third"] {
        until("reads", || get(&deployment, name).code == 0);
    }
    get(&deployment, "lost").expect(ABSENT);
    let unseals =
        deployment.as_root(&["audit", "search", "--action", "unseal", "--output", "json"]).expect(0);
    assert_eq!(unseals.stdout.matches("restored from the backup of 20").count(), 1, "{}", unseals.stdout);

    // What ran before is fenced, whoever starts it and whatever it has written.
    deployment.restart_broker(|home| {
        std::fs::rename(home.join("store.redb"), home.join("restored.redb")).unwrap();
        std::fs::rename(home.join("twin.redb"), home.join("store.redb")).unwrap();
    });
    give(&deployment, 0).expect(0);
    give(&deployment, 1).expect(UNAVAILABLE);
    deployment.run(&["operator", "status"], "").refused(UNAVAILABLE, "sealed");
}

#[test]
fn what_is_wrong_with_a_backup_is_said_and_nothing_is_restored() {
    let deployment = deployment();
    keygen(&deployment.path("."), "other");
    back_up(&deployment, "b.backup");
    let bytes = std::fs::read(deployment.path("b.backup")).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(deployment.path(name), bytes).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    write("flipped", &flipped);
    write("cut", &bytes[..bytes.len() - 100]);
    write("no-backup", b"SQLite format 3");
    let verify = |name: &str| deployment.run(&["backup", "verify", name], "");
    verify("b.backup").expect(0);
    verify("flipped").refused(INTEGRITY, "signature does not fit");
    verify("cut").refused(INTEGRITY, "cut off");
    verify("no-backup").refused(INTEGRITY, "not a backup");
    verify("none").refused(GENERAL, "cannot read none");
    let other = deployment.log_key.replace("symbolon/", "symbolon/x");
    deployment.run(&["backup", "verify", "b.backup", "--log-key", &other], "").expect(USAGE);
    let restore = |name: &'static str, key: &'static str| {
        let args =
            ["backup", "restore", name, "--store", "new.redb", "--key", key, "--passphrase-file", "phrase"];
        deployment.run(&[&args[..], &["--allow-insecure-memory"]].concat(), "")
    };
    restore("flipped", "ops.key").expect(INTEGRITY);
    restore("cut", "ops.key").expect(INTEGRITY);
    restore("b.backup", "other.key").refused(DENIED, "its recipients are ops");
    assert!(!deployment.path("new.redb").exists());
    restore("b.backup", "ops.key").expect(0);
    restore("b.backup", "ops.key").refused(USAGE, "there is a store");
    let create = ["backup", "create", "--out", "b.backup", "--card", "ops.card", "--yes"];
    deployment.as_root(&create).refused(USAGE, "exists already");
    let nobody = ["backup", "create", "--out", "nobody.backup"];
    deployment.as_root(&nobody).refused(GENERAL, "nobody could open");
    assert!(!deployment.path("nobody.backup").exists());
}
