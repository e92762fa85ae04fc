//! What two officers order, from their keys to what the broker answers, with the real commands on real
//! processes.
//!
//! Nobody waits seven days in a test: what happens when the cooling-off time has passed is shown with a clock
//! of its own in the fragment service's tests.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
mod deployment;
#[path = "support/officers.rs"]
mod officers;
#[path = "support/secrets.rs"]
mod secrets;
mod support;

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::deployment::{Deployment, Programs, until};
use crate::officers::{OLGA, OMAR, hand_in, ordered, section, sign};
use crate::secrets::mount;
use crate::support::Done;

/// Unavailable: try again later.
const UNAVAILABLE: i32 = 5;
const DAY_SECS: u64 = 86_400;

/// A service with two officers, an open broker, and one secret.
fn deployment() -> Deployment {
    let deployment =
        Deployment::start(Programs::default(), |home| [OLGA, OMAR].map(|name| section(home, name)).concat());
    deployment.unseal();
    mount(&deployment);
    put(&deployment, "first");
    deployment
}

fn put(deployment: &Deployment, name: &str) {
    deployment.as_root(&["kv", "put", &format!("secret/{name}"), "value=kept"]).expect(0);
}

fn get(deployment: &Deployment, name: &str) -> Done {
    deployment.as_root(&["kv", "get", &format!("secret/{name}"), "--field", "value"])
}

fn service_status(deployment: &Deployment) -> Value {
    let done = deployment.run(&["fragment", "status", "--output", "json"], "").expect(0);
    serde_json::from_str(&done.stdout).unwrap()
}

fn only_key(deployment: &Deployment) -> String {
    service_status(deployment)["keys"][0]["key"].as_str().unwrap().to_owned()
}

/// Waits until reads end so; until then they may still be served, and nothing is ever called absent.
fn reads_become(deployment: &Deployment, code: i32) -> Done {
    let mut last = get(deployment, "first");
    until("the fate of reads", || {
        last = get(deployment, "first");
        assert!([0, UNAVAILABLE].contains(&last.code), "{}", last.stderr);
        last.code == code
    });
    last
}

/// The order with one bit of its beginning changed, in a text form that is whole.
fn changed(order: &str) -> String {
    let mut lines: Vec<String> = order.lines().map(str::to_owned).collect();
    let mut bytes = STANDARD.decode(&lines[1]).unwrap();
    bytes[12] ^= 1; // behind "SKB1/order", the format and the action: the first byte of the node
    lines[1] = STANDARD.encode(bytes);
    lines.join("\n")
}

#[test]
fn two_officers_order_a_destruction_and_two_cancel_it() {
    let deployment = deployment();
    let key = only_key(&deployment);
    let officers = deployment.run(&["fragment", "officers"], "").expect(0).stdout;
    assert!([OLGA, OMAR].iter().all(|name| officers.contains(name)), "{officers}");

    // As docs/fragment-service.md has it, with files.
    let draft = deployment.run(&["fragment", "draft", "destroy", &key], "").expect(0).stdout;
    std::fs::write(deployment.path("order"), &draft).unwrap();
    let destroy = |file: &str| deployment.run(&["fragment", "destroy", file], "");
    destroy("order").refused(1, "0 of 2 configured officers have signed");
    sign(&deployment, OLGA, &draft, &["--out", "once"]).expect(0);
    destroy("once").refused(1, "1 of 2 configured officers have signed");
    let once = std::fs::read_to_string(deployment.path("once")).unwrap();
    sign(&deployment, OLGA, &once, &[]).refused(2, "this officer has signed the order already");
    sign(&deployment, OMAR, &changed(&once), &[]).refused(2, "the file was changed after signing");
    sign(&deployment, OMAR, &once, &["--out", "once"]).refused(2, "exists already");
    sign(&deployment, OMAR, &once, &["--out", "twice"]).expect(0);

    let order = std::fs::read_to_string(deployment.path("twice")).unwrap();
    hand_in(&deployment, "destroy", &changed(&order)).refused(1, "the file was changed after signing");
    hand_in(&deployment, "destroy", &format!("destroy nothing\n{order}"))
        .refused(1, "something stands before the BEGIN line");
    hand_in(&deployment, "cancel", &order).refused(1, "the file orders to destroy key");
    assert_eq!(service_status(&deployment)["keys"][0]["state"], "active", "nothing has happened yet");
    assert_eq!(get(&deployment, "first").expect(0).stdout, "kept");

    let carried = destroy("twice").expect(0).stdout;
    assert!(carried.contains(&format!("Ordered by {OLGA} and {OMAR}.")), "{carried}");
    let status = service_status(&deployment)["keys"][0].clone();
    assert_eq!((&status["state"], &status["ordered_by"]), (&json!("pending-destroy"), &json!([OLGA, OMAR])));
    let in_secs = status["destroy_at"].as_u64().unwrap() - now_secs();
    assert!((13 * DAY_SECS..=14 * DAY_SECS).contains(&in_secs), "{in_secs}");
    destroy("twice").refused(1, "this order was carried out already");
    let refused = reads_become(&deployment, UNAVAILABLE).stderr;
    assert!(refused.contains("the broker cannot serve this now"), "not sealed, and not gone: {refused}");
    deployment.run(&["fragment", "resume", &key], "").refused(1, "two officers can cancel it");

    let cancel = ordered(&deployment, &["cancel", &key]);
    hand_in(&deployment, "cancel", &cancel).expect(0);
    let status = service_status(&deployment)["keys"][0].clone();
    assert_eq!((&status["state"], &status["destroy_at"]), (&json!("suspended"), &Value::Null));
    hand_in(&deployment, "destroy", &order).refused(1, "this order was carried out already");
    get(&deployment, "first").expect(UNAVAILABLE);
    let told = deployment.run(&["operator", "status"], "").refused(UNAVAILABLE, "the broker is degraded");
    assert!(told.stdout.contains("(suspended)"), "{}", told.stdout);
    deployment.run(&["fragment", "resume", &key], "").expect(0);
    assert_eq!(reads_become(&deployment, 0).stdout, "kept");
}

fn epochs(deployment: &Deployment) -> Vec<(u64, Value)> {
    let key = service_status(deployment)["keys"][0].clone();
    let epochs = key["epochs"].as_array().unwrap().iter();
    epochs.map(|epoch| (epoch["key_epoch"].as_u64().unwrap(), epoch["state"].clone())).collect()
}

#[test]
fn an_old_epoch_is_retired_when_the_broker_has_asked_and_two_officers_say_so() {
    let deployment = deployment();
    let key = only_key(&deployment);
    deployment.as_root(&["operator", "rotate", "remote", "--wait"]).expect(0);
    assert_eq!(epochs(&deployment), [(1, json!("living")), (2, json!("living"))]);
    let retire = ordered(&deployment, &["retire", &key, "1"]);
    hand_in(&deployment, "retire", &retire).refused(1, "the broker has not asked");
    let newest = ordered(&deployment, &["retire", &key, "2"]);
    hand_in(&deployment, "retire", &newest).refused(1, "the newest epoch");

    deployment.as_root(&["operator", "rotate", "retire"]).expect(0);
    assert!(epochs(&deployment)[0].1["retire-asked"]["at"].is_u64(), "{:?}", epochs(&deployment));
    hand_in(&deployment, "retire", &retire).expect(0); // a refusal did not use it up
    assert_eq!(epochs(&deployment), [(1, json!("retired")), (2, json!("living"))]);
    put(&deployment, "second");
    assert_eq!(get(&deployment, "first").expect(0).stdout, "kept");

    let until_secs = now_secs() + DAY_SECS;
    let restore = ordered(&deployment, &["restore", &key, "1", "--days", "1"]);
    hand_in(&deployment, "restore", &restore).expect(0);
    let restoring = epochs(&deployment)[0].1["restoring"]["until"].as_u64().unwrap();
    assert!((until_secs..until_secs + 600).contains(&restoring), "as long as the order counts");

    let destroy = ordered(&deployment, &["destroy", &key, "--epoch", "1"]);
    hand_in(&deployment, "destroy", &destroy).expect(0);
    assert!(epochs(&deployment)[0].1["pending-destroy"]["at"].is_u64(), "{:?}", epochs(&deployment));
    assert_eq!(service_status(&deployment)["keys"][0]["state"], "active", "only the old epoch");
    hand_in(&deployment, "cancel", &ordered(&deployment, &["cancel", &key])).expect(0);
    assert_eq!(epochs(&deployment), [(1, json!("retired")), (2, json!("living"))]);
}

#[test]
fn officers_admit_a_broker_that_was_restored_from_a_backup() {
    let mut deployment = deployment();
    let copy = |from: &'static str, to: &'static str| {
        move |home: &Path| assert!(std::fs::copy(home.join(from), home.join(to)).is_ok())
    };
    deployment.restart_broker(copy("store.redb", "backup.redb"));
    deployment.unseal();
    put(&deployment, "second");
    deployment.restart_broker(copy("backup.redb", "store.redb"));
    let give = |share: usize| deployment.run(&["operator", "unseal", "-"], &deployment.shares[share]);
    give(0).expect(0);
    give(1).refused(UNAVAILABLE, "this store is an old copy");

    let broker = service_status(&deployment)["brokers"][0].clone();
    let admit = ordered(&deployment, &["admit", broker["broker"].as_str().unwrap()]);
    let carried = hand_in(&deployment, "admit", &admit).expect(0).stdout;
    assert!(carried.contains("admit an older state of broker"), "{carried}");
    deployment.unseal();
    assert_eq!(reads_become(&deployment, 0).stdout, "kept");
    get(&deployment, "second").expect(4);
    let unseals =
        deployment.as_root(&["audit", "search", "--action", "unseal", "--output", "json"]).expect(0);
    let told = unseals.stdout.matches("its officers have admitted an older state").count();
    assert_eq!(told, 1, "the entry says what happened: {}", unseals.stdout);
    let admitted = service_status(&deployment)["brokers"][0].clone();
    assert_eq!(admitted["barred_generation"], broker["generation"]);
    assert!(admitted["admitted_at"].is_u64() && admitted["generation"] != broker["generation"], "{admitted}");
    hand_in(&deployment, "admit", &admit).refused(1, "this order was carried out already");
}

fn now_secs() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
