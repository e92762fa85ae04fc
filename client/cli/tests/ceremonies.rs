//! Ceremonies that change something, with the real commands of operators and custodians on real processes.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
mod deployment;
#[path = "support/people.rs"]
mod people;
mod support;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use symbolon_proto::custody::Card;

use crate::deployment::{Deployment, Programs, until};
use crate::support::{Done, run};

const USAGE: i32 = 2;
const DENIED: i32 = 3;
const UNAVAILABLE: i32 = 5;
const PEOPLE: [&str; 2] = ["dora", "emil"];

/// What the broker's console shows last: custodians compare it.
fn on_the_console(deployment: &Deployment) -> String {
    let log = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
    let line = log.lines().rfind(|line| line.contains("custodians compare this")).unwrap();
    line.split_once("fingerprint=").unwrap().1.to_owned()
}

/// Key files and cards of the new custodians, in the deployment's directory.
fn keygen(home: &Path) {
    PEOPLE.into_iter().for_each(|name| people::keygen(home, name));
}

/// A custodian's command, with the fingerprint from the console.
fn custodian(deployment: &Deployment, args: &[&str], stdin: &str) -> Done {
    let console = on_the_console(deployment);
    deployment.run(&[&["custodian"], args, &["--expect-fingerprint", &console]].concat(), stdin)
}

fn with_key<'a>(command: &'a str, key: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[command, "--key", key, "--passphrase-file", "phrase"], rest].concat()
}

fn begin(deployment: &Deployment, kind: &str) -> Done {
    let cards = ["--threshold", "2", "--card", "dora.card", "--card", "emil.card", "--yes"];
    deployment.as_root(&[&["ceremony", "begin", kind], &cards[..]].concat())
}

/// From the first share of the old set to the last proof of the new one.
fn take_over(deployment: &Deployment, kind: &str) {
    begin(deployment, kind).expect(0);
    for share in &deployment.shares[..2] {
        let said = custodian(deployment, &["submit", "--share"], share).expect(0).stderr;
        assert!(said.contains(&format!("ceremony of type {kind}")), "{said}");
        for name in PEOPLE {
            let card = std::fs::read_to_string(deployment.path(&format!("{name}.card"))).unwrap();
            let card = Card::parse(&card).unwrap().fingerprint().to_string();
            let console = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
            assert!(
                said.contains(&card) && console.contains(&card),
                "who gets a new share is said at both ends"
            );
        }
    }
    for name in PEOPLE {
        let (key, saved) = (format!("{name}.key"), format!("{name}.{kind}.envelope"));
        custodian(deployment, &with_key("drill", &key, &["--save", &saved]), "").expect(0);
    }
}

fn submit_new(deployment: &Deployment, kind: &str) {
    for name in PEOPLE {
        let (key, envelope) = (format!("{name}.key"), format!("{name}.{kind}.envelope"));
        custodian(deployment, &with_key("submit", &key, &["--envelope", &envelope]), "").expect(0);
    }
}

#[test]
fn shares_change_hands_and_everybody_signs() {
    let deployment = Deployment::start(Programs::default(), |_| String::new());
    deployment.unseal();
    keygen(&deployment.path("."));
    // Wrong wishes do not reach the broker, and strangers begin nothing.
    deployment.as_root(&["ceremony", "begin", "reshare"]).refused(USAGE, "--threshold and --card");
    deployment
        .as_root(&["ceremony", "begin", "epoch", "--threshold", "2", "--card", "dora.card"])
        .refused(USAGE, "without --threshold");
    deployment
        .as_root(&["ceremony", "begin", "rekey", "--threshold", "2", "--card", "phrase", "--yes"])
        .refused(USAGE, "phrase");
    deployment.run(&["ceremony", "begin", "drill"], "").expect(DENIED);
    // Without --yes the operator must say that the fingerprints were compared.
    let asked =
        ["ceremony", "begin", "reshare", "--threshold", "2", "--card", "dora.card", "--card", "emil.card"];
    deployment.as_root(&asked).refused(USAGE, "--yes");

    take_over(&deployment, "reshare");
    let watched = deployment.run(&["ceremony", "watch", "--once"], "").expect(0).stdout;
    assert!(watched.contains("reshare ceremony, signing"), "{watched}");
    assert!(watched.contains("Signatures missing: dora, emil"), "{watched}");
    for name in PEOPLE {
        let key = format!("{name}.key");
        let args = [&["custodian"], &with_key("sign", &key, &["--yes"])[..]].concat();
        let signed = deployment.run(&args, "").expect(0).stdout;
        assert!(signed.contains("proven") && signed.contains("Final hash"), "{signed}");
    }
    assert_eq!(deployment.run(&["ceremony", "watch", "--once"], "").stdout, "No ceremony is under way.\n");
    let listed = deployment.as_root(&["ceremony", "list"]).expect(0).stdout;
    let signed = ["signed by the broker", "signed by all"]; // nobody has given a share at init
    assert!(listed.lines().zip(signed).all(|(line, signed)| line.ends_with(signed)), "{listed}");
    let nonce = listed.lines().last().unwrap().split_whitespace().next().unwrap();
    let shown =
        deployment.as_root(&["ceremony", "show", nonce, "--transcript", "reshare.txt"]).expect(0).stdout;
    assert!(shown.contains("dora  signed") && shown.contains("Ann  no key"), "{shown}");
    assert!(std::fs::read_to_string(deployment.path("reshare.txt")).unwrap().contains("TRANSCRIPT"));

    deployment.as_root(&["operator", "seal"]).expect(0);
    let old = custodian(&deployment, &["submit", "--share"], &deployment.shares[0]);
    old.refused(USAGE, "use the share of the set in use");
    submit_new(&deployment, "reshare");
    deployment.run(&["operator", "status"], "").expect(0);
}

#[test]
fn a_new_fragment_and_a_drill_of_those_who_hold_it() {
    let mut deployment = Deployment::start(Programs::default(), |_| String::new());
    deployment.unseal();
    keygen(&deployment.path("."));
    take_over(&deployment, "rekey");
    let settled = || {
        let status =
            deployment.as_root(&["operator", "rotate", "status", "--output", "json"]).expect(0).stdout;
        let status: Value = serde_json::from_str(&status).unwrap();
        status["fragment"]["epoch"] == 2 && status["fragment"]["changing"] == false
    };
    until("the end of the change", settled);
    let status = deployment.as_root(&["operator", "rotate", "status", "--wait"]).expect(0).stdout;
    assert!(status.contains("fragment epoch"), "{status}");
    // One of the two has lost the envelope; the drill is given up.
    deployment.as_root(&["ceremony", "begin", "drill"]).expect(0);
    let envelope = ["--envelope", "dora.rekey.envelope"];
    custodian(&deployment, &with_key("drill", "dora.key", &envelope), "").expect(0);
    deployment.as_root(&["ceremony", "finish"]).refused(1, "1 of 2 shares were given");
    deployment.as_root(&["ceremony", "cancel"]).expect(0);
    deployment.restart_broker(|_| ());
    submit_new(&deployment, "rekey");
    deployment.run(&["operator", "status"], "").expect(0);
}

/// A sealed deployment whose shares dora and emil hold, in envelopes.
fn with_cards() -> Deployment {
    let cards = ["--threshold", "2", "--card", "dora.card", "--card", "emil.card"];
    let holders = [&cards[..], &["--envelopes", "new/envelopes", "--yes"]].concat();
    let prepare = |home: &Path| {
        keygen(home);
        String::new()
    };
    let deployment = Deployment::start_for(Programs::default(), prepare, &holders);
    assert!(deployment.shares.is_empty());
    deployment
}

/// Both give, by the fingerprint on the console. What the second one was told.
fn both_submit(deployment: &Deployment) -> Done {
    let mut last = None;
    for (key, x) in ["dora.key", "emil.key"].iter().zip(1..) {
        let envelope = format!("new/envelopes/custodian-{x}.envelope");
        let given = custodian(deployment, &with_key("submit", key, &["--envelope", &envelope]), "");
        last = Some(given.expect(0));
    }
    last.unwrap()
}

#[test]
fn a_deployment_begins_with_cards_and_nobody_sees_a_share() {
    let deployment = with_cards();
    both_submit(&deployment);
    deployment.run(&["operator", "status"], "").expect(0);
}

/// `operator root`, with a key file.
fn root(deployment: &Deployment, what: &str, key: &str, rest: &[&str]) -> Done {
    let args = ["operator", "root", what, "--key", key, "--passphrase-file", "phrase"];
    deployment.run(&[&args[..], rest].concat(), "")
}

#[test]
fn custodians_who_lost_every_token_make_one() {
    let deployment = with_cards();
    root(&deployment, "begin", "dora.key", &[]).refused(UNAVAILABLE, "sealed");
    both_submit(&deployment);
    root(&deployment, "begin", "dora.key", &["--ttl", "2d"]).refused(USAGE, "10m to 24h");
    root(&deployment, "finish", "dora.key", &[]).refused(1, "no root token waits for this card");
    root(&deployment, "cancel", "dora.key", &[]).refused(UNAVAILABLE, "no ceremony for a root token");
    let stranger =
        ["custodian", "keygen", "--name", "eve", "--out", "eve.key", "--passphrase-file", "phrase"];
    deployment.run(&[&stranger[..], &["--memory", "64"]].concat(), "").expect(0);
    root(&deployment, "begin", "eve.key", &[]).refused(1, "not in the share set in use");

    let begun = root(&deployment, "begin", "dora.key", &["--ttl", "1h"]).expect(0).stdout;
    let card = std::fs::read_to_string(deployment.path("dora.card")).unwrap();
    let card = Card::parse(&card).unwrap().fingerprint().to_string();
    let console = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
    for (place, text) in [("begin", &begun), ("console", &console)] {
        assert!(text.contains("dora") && text.contains(&card), "{place}: {text}");
    }
    assert!(console.contains("ceremony=\"root\""), "{console}");
    root(&deployment, "cancel", "emil.key", &[]).refused(1, "no ceremony of your request");
    let told = both_submit(&deployment).stderr;
    for part in ["ceremony of type root", "It makes a root token", &card] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let watched = deployment.run(&["ceremony", "watch", "--once"], "").expect(0).stdout;
    assert!(watched.contains("root ceremony, signing") && watched.contains("for dora"), "{watched}");
    root(&deployment, "finish", "emil.key", &[]).refused(1, "no root token waits for this card");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let args = ["operator", "root", "finish", "--key", "dora.key", "--passphrase-file", "phrase"];
    let unseen = deployment.command(&args).stdout(full).output().unwrap();
    assert_eq!(unseen.status.code(), Some(1), "a token that could not be printed is not lost");
    let printed = root(&deployment, "finish", "dora.key", &["--output", "json"]).expect(0).stdout;
    let printed: Value = serde_json::from_str(&printed).unwrap();
    root(&deployment, "finish", "dora.key", &[]).refused(1, "no root token waits for this card");

    let token = printed["token"].as_str().unwrap();
    let with_token = |args: &[&str]| run(deployment.command(args).env("SYMBOLON_TOKEN", token), "");
    let own = with_token(&["token", "lookup"]).expect(0).stdout;
    assert!(own.contains("root") && own.contains(printed["accessor"].as_str().unwrap()), "{own}");
    for name in PEOPLE {
        let key = format!("{name}.key");
        let args = [&["custodian"], &with_key("sign", &key, &["--yes"])[..]].concat();
        let signed = deployment.run(&args, "").expect(0).stdout;
        assert!(signed.contains("requested  dora (1)") && signed.contains("root token issued"), "{signed}");
    }
    let listed = with_token(&["ceremony", "list"]).expect(0).stdout;
    assert!(listed.lines().last().unwrap().contains("root"), "{listed}");
    with_token(&["token", "revoke", "--self"]).expect(0);
}

#[test]
fn whoever_waits_for_the_shares_gets_the_token_at_once() {
    let deployment = with_cards();
    both_submit(&deployment);
    let begin = ["operator", "root", "begin", "--key", "dora.key", "--passphrase-file", "phrase", "--wait"];
    let mut waiting = deployment.command(&begin);
    let waiting = waiting.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let state = || deployment.run(&["ceremony", "watch", "--once"], "").stdout;
    until("the ceremony", || state().starts_with("root ceremony, collecting"));
    both_submit(&deployment);
    let done = waiting.wait_with_output().unwrap();
    let printed = String::from_utf8(done.stdout).unwrap();
    let token = printed.split_whitespace().find(|word| word.starts_with("hvs.")).unwrap();
    run(deployment.command(&["token", "lookup"]).env("SYMBOLON_TOKEN", token), "").expect(0);
    // Custodians with text shares are told before they type a passphrase.
    let texts = Deployment::start(Programs::default(), |home| {
        keygen(home);
        String::new()
    });
    texts.unseal();
    root(&texts, "begin", "dora.key", &[]).refused(USAGE, "its shares are texts");
}

#[test]
fn an_init_that_cannot_deliver_its_answer_makes_nothing() {
    let prepare = |home: &Path| {
        keygen(home);
        String::new()
    };
    let deployment = Deployment::uninitialised(Programs::default(), prepare);
    let init = |folder: &str| {
        let cards = ["--threshold", "2", "--card", "dora.card", "--card", "emil.card"];
        let init = ["operator", "init", "--recovery", "none", "--yes", "--envelopes", folder];
        deployment.run(&[&init[..], &cards].concat(), "")
    };
    std::fs::create_dir(deployment.path("taken")).unwrap();
    std::fs::write(deployment.path("taken/custodian-2.envelope"), "of before").unwrap();
    let asked = ["--threshold", "2", "--card", "dora.card", "--card", "emil.card", "--envelopes", "new"];
    let asked = [&["operator", "init", "--recovery", "none"], &asked[..]].concat();
    let shown = std::fs::read_to_string(deployment.path("dora.card")).unwrap();
    let fingerprint = Card::parse(&shown).unwrap().fingerprint().to_string();
    let refused = deployment.run(&asked, "").refused(USAGE, "--yes");
    assert!(refused.stderr.contains(&fingerprint), "{}", refused.stderr);
    init("taken").refused(USAGE, "exists already");
    init("dora.card/below").refused(1, "cannot write");
    assert_eq!(std::fs::read_dir(deployment.path("taken")).unwrap().count(), 1, "and nothing is left behind");
    // Whoever waits for the other side may stop waiting, and begin again.
    let cards = ["--threshold", "2", "--card", "dora.card", "--card", "emil.card", "--envelopes", "later"];
    let args = [&["operator", "init", "--recovery", "none", "--yes"], &cards[..]].concat();
    let waiting = deployment.command(&args).stderr(Stdio::null()).spawn().unwrap();
    until("the promise", || deployment.path("later/custodian-2.envelope.promised").exists());
    assert!(Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap().success());
    assert_eq!(waiting.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(std::fs::read_dir(deployment.path("later")).unwrap().count(), 0);
    assert!(deployment.run(&["operator", "status"], "").stdout.contains("not initialised"));
}

#[test]
fn an_answer_that_standard_output_does_not_take_goes_to_the_terminal() {
    let deployment = Deployment::uninitialised(Programs::default(), |_| String::new());
    let full = File::options().write(true).open("/dev/full").unwrap();
    let holders = ["--shares", "2", "--threshold", "2", "--custodian", "Ann", "--custodian", "Bob"];
    let done = deployment.init_to(full.into(), &holders).refused(1, "the root token are above");
    let shares: Vec<&str> = done.stderr.split_whitespace().filter(|word| word.starts_with("skf1")).collect();
    assert_eq!(shares.len(), 2, "{}", done.stderr);
    for share in shares {
        deployment.run(&["operator", "unseal", "-"], share).expect(0);
    }
    deployment.run(&["operator", "status"], "").expect(0);
    let root = done.stderr.split_whitespace().find(|word| word.starts_with("hvs.")).unwrap().to_owned();
    let own = run(deployment.command(&["token", "lookup"]).env("SYMBOLON_TOKEN", root), "");
    own.expect(0);
}
