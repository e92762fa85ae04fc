//! A broker that starts with nobody there: real processes, real Tang servers.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[path = "support/people.rs"]
mod people;
#[path = "support/secrets.rs"]
mod secrets;
mod support;
#[path = "support/tang.rs"]
mod tang;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::deployment::{Deployment, Programs, until};
use crate::people::keygen;
use crate::secrets::mount;
use crate::support::{Done, run};
use crate::tang::Tang;

const GENERAL: i32 = 1;
const USAGE: i32 = 2;

const PEOPLE: [&str; 2] = ["ana", "boris"];
const CARDS: [&str; 5] = ["--card", "ana.card", "--card", "boris.card", "--yes"];
/// How often a broker is looked at that is to do nothing by itself, until it is believed.
const QUIET_LOOKS: u32 = 12;
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// A deployment of which any two of ana, boris and two Tang servers open the broker; or `None` where there is
/// no Tang.
struct Home {
    deployment: Deployment,
    attic: Tang,
    office: Tang,
}

impl Home {
    fn start() -> Option<Self> {
        let (attic, office) = (Tang::start()?, Tang::start()?);
        let mut deployment = Deployment::uninitialised(Programs::default(), |_| String::new());
        let custody = attic.source("attic", "site") + &office.source("office", "office");
        configure(&mut deployment, &custody);
        PEOPLE.iter().for_each(|name| keygen(&deployment.path("."), name));
        let holders =
            ["--card", "ana.card", "--card", "boris.card", "--source", "attic", "--source", "office"];
        deployment.init(&[&["--threshold", "2", "--envelopes", "envelopes", "--yes"], &holders[..]].concat());
        let mut home = Self { deployment, attic, office };
        home.opens("the broker after init");
        mount(&home.deployment);
        home.deployment.as_root(&["kv", "put", "secret/door", "value=kept"]).expect(0);
        Some(home)
    }

    /// Waits until it serves what was stored, if anything was.
    #[track_caller]
    fn opens(&mut self, what: &'static str) {
        until(what, || self.is_open());
    }

    fn is_open(&self) -> bool {
        self.deployment.run(&["operator", "status"], "").code == 0
    }

    #[track_caller]
    fn stays_sealed(&self) {
        for _ in 0..QUIET_LOOKS {
            assert!(!self.is_open(), "it opened");
            pass(LOOK_AGAIN);
        }
    }

    /// As a power cut does.
    fn kill(&mut self) {
        let [broker, _] = self.deployment.pids();
        assert!(Command::new("kill").args(["-9", &broker.to_string()]).status().unwrap().success());
        self.deployment.restart_broker(|_| ());
    }

    fn custody(&self) -> Value {
        let done = self.deployment.run(&["custody", "status", "--output", "json"], "").expect(0);
        serde_json::from_str(&done.stdout).unwrap()
    }

    fn state(&self, name: &str) -> String {
        let custody = self.custody();
        let sources = custody["sources"].as_array().unwrap();
        let source = sources.iter().find(|source| source["name"] == name).unwrap();
        source["state"].as_str().unwrap().to_owned()
    }

    /// A custodian's command, with the fingerprint from the console.
    fn custodian(&self, verb: &str, name: &str, args: &[&str]) -> Done {
        let log = std::fs::read_to_string(self.deployment.path("broker.log")).unwrap();
        let line = log.lines().rfind(|line| line.contains("custodians compare this")).unwrap();
        let fingerprint = line.split_once("fingerprint=").unwrap().1.to_owned();
        let key = format!("{name}.key");
        let own = ["custodian", verb, "--key", &key, "--passphrase-file", "phrase"];
        let mut command = self.deployment.command(&[&own[..], args].concat());
        run(command.args(["--expect-fingerprint", fingerprint.trim()]), "")
    }

    fn gives(&self, name: &str, envelope: &str) {
        self.custodian("submit", name, &["--envelope", envelope]).expect(0);
    }

    /// ana gives for a reshare that has begun, the sources follow, and everybody proves the new shares.
    fn reshares(&self, envelope: &str, saved: &str) {
        self.gives("ana", envelope);
        for name in PEOPLE {
            let to = format!("{name}.{saved}");
            until("the proof", || self.custodian("drill", name, &["--save", &to]).code == 0);
        }
        let ceremony = || self.deployment.as_root(&["ceremony", "watch", "--once"]).stdout;
        until("the reshare", || !ceremony().contains("proving"));
        until("the broker with the new set", || self.is_open());
    }

    fn reads(&self) {
        let get = || self.deployment.as_root(&["kv", "get", "secret/door", "--field", "value"]);
        until("the secret", || get().code == 0);
        assert_eq!(get().stdout.trim(), "kept");
    }
}

fn configure(deployment: &mut Deployment, custody: &str) {
    deployment.restart_broker(|home| {
        let config = std::fs::read_to_string(home.join("broker.toml")).unwrap();
        let config = config.split("[custody]").next().unwrap().to_owned();
        std::fs::write(home.join("broker.toml"), config + "[custody]\n" + custody).unwrap();
    });
}

/// Lets time pass.
#[allow(clippy::disallowed_methods)] // nothing is waited for
fn pass(time: Duration) {
    std::thread::sleep(time);
}

fn envelope(x: u8) -> String {
    format!("envelopes/custodian-{x}.envelope")
}

#[test]
fn a_killed_broker_opens_with_nobody_there_when_the_last_source_answers() {
    let Some(mut home) = Home::start() else { return };
    home.kill();
    home.opens("the broker after a kill");
    home.reads();

    home.office.pause();
    home.kill();
    home.stays_sealed();
    assert_eq!(home.state("office"), "it does not answer");
    assert_eq!(home.state("attic"), "gave what it was asked for");
    home.office.resume();
    home.opens("the broker when the second source is back");
    home.reads();

    // a person and a source
    home.office.pause();
    home.kill();
    home.gives("boris", &envelope(2));
    home.opens("the broker with a person and a source");
    let unseals =
        home.deployment.as_root(&["audit", "search", "--action", "unseal", "--output", "json"]).expect(0);
    assert!(unseals.stdout.contains("boris") && unseals.stdout.contains("attic"), "{}", unseals.stdout);
}

#[test]
fn an_order_to_seal_holds_sources_until_people_have_opened_the_broker() {
    let Some(mut home) = Home::start() else { return };
    home.deployment.as_root(&["operator", "seal"]).expect(0);
    home.stays_sealed();
    home.kill();
    home.stays_sealed();
    assert!(home.state("attic").starts_with("held"), "{}", home.state("attic"));
    assert_eq!(home.custody()["held"], true);
    home.gives("ana", &envelope(1));
    home.gives("boris", &envelope(2));
    home.opens("the broker by people");
    home.kill();
    home.opens("the broker by its sources again");
}

#[test]
fn a_source_that_was_reshared_away_opens_nothing() {
    let Some(mut home) = Home::start() else { return };
    let root = |args: &[&str]| home.deployment.as_root(args);
    root(&["custody", "test", "office"]).expect(0);
    root(&["custody", "remove", "office"]).refused(GENERAL, "reshare without it");
    let begin = ["ceremony", "begin", "reshare", "--threshold", "2", "--source", "attic"];
    root(&[&begin[..], &CARDS].concat()).expect(0);
    pass(LOOK_AGAIN * QUIET_LOOKS);
    let watched = root(&["ceremony", "watch", "--once", "--output", "json"]).expect(0).stdout;
    let watched: Value = serde_json::from_str(&watched).unwrap();
    assert_eq!(watched["ceremony"]["give"]["names"].as_array().unwrap().len(), 0, "no person has given yet");
    home.reshares(&envelope(1), "without");
    assert_eq!(home.custody()["sources"][1]["holds"], false);
    root(&["custody", "remove", "office"]).expect(0);
    home.kill();
    home.stays_sealed();
    home.custodian("submit", "ana", &["--envelope", &envelope(1)]).refused(USAGE, "set");
    home.gives("boris", "boris.without");
    home.opens("the broker with one source and a person");
    home.reads();

    home.deployment.as_root(&["custody", "enrol", "office"]).expect(0);
    let both =
        ["ceremony", "begin", "reshare", "--threshold", "2", "--source", "attic", "--source", "office"];
    home.deployment.as_root(&[&both[..], &CARDS].concat()).expect(0);
    home.reshares("ana.without", "with");
    home.kill();
    home.opens("the broker with the source that was enrolled");
    home.reads();
}

/// Another machine with everything that was on the disk, configuration included.
#[test]
fn a_stolen_disk_opens_nothing_where_its_sources_do_not_answer() {
    let Some(mut home) = Home::start() else { return };
    home.office.pause();
    home.kill();
    home.attic.pause();
    home.kill();
    home.stays_sealed();
    let state = home.deployment.run(&["operator", "status", "--output", "json"], "").stdout;
    assert!(state.contains("\"progress\": 0") || state.contains("\"progress\":0"), "{state}");
    home.attic.resume();
    until("the share of a source that the thief reaches", || home.state("attic").starts_with("gave"));
    home.stays_sealed();
}

#[test]
fn sets_that_are_weaker_than_demanded_are_refused_and_not_opened() {
    let Some(mut home) = Home::start() else { return };
    let (attic, office) = (home.attic.source("attic", "site"), home.office.source("office", "box"));
    configure(&mut home.deployment, &(attic.clone() + &office));
    home.stays_sealed();
    let refused = home.custody();
    assert!(refused["refused"].as_str().unwrap().contains("one place (site)"), "{refused}");
    configure(&mut home.deployment, &format!("accept_places = [\"site\"]\n{attic}{office}"));
    home.opens("the broker that accepts its site");
    let status = home.deployment.run(&["custody", "status"], "").expect(0).stdout;
    assert!(status.contains("whoever takes everything at site opens the broker"), "{status}");
    configure(&mut home.deployment, &format!("people_min = 1\naccept_places = [\"site\"]\n{attic}{office}"));
    home.stays_sealed();
    home.gives("ana", &envelope(1));
    home.gives("boris", &envelope(2));
    home.opens("the broker by people");
    let both =
        ["ceremony", "begin", "reshare", "--threshold", "2", "--source", "attic", "--source", "office"];
    home.deployment.as_root(&[&both[..], &CARDS].concat()).refused(GENERAL, "custody.people_min demands 1");
    let unknown = ["ceremony", "begin", "reshare", "--threshold", "2", "--source", "cellar"];
    home.deployment
        .as_root(&[&unknown[..], &CARDS].concat())
        .refused(GENERAL, "knows no source of that name");
    home.office.pause();
    home.deployment.as_root(&["custody", "test", "office"]).refused(GENERAL, "did not do what was asked");
}

/// A key in a token, and one person of two.
#[cfg(feature = "pkcs11")]
#[test]
fn an_hsm_and_any_one_person_open_a_broker() {
    use symbolon_repository::softhsm::SoftHsm;
    let folder = tempfile::tempdir().unwrap();
    let Some(hsm) = SoftHsm::in_folder(folder.path()) else { return };
    hsm.token("vault", "1234");
    hsm.aes(("vault", "1234"), "wrap", &["--sensitive"]);
    let (name, value) = hsm.environment();
    let program = folder.path().join("broker");
    let script = format!(
        "#!/bin/sh\nexport {name}={}\nexec {} \"$@\"\n",
        value.display(),
        env!("CARGO_BIN_EXE_symbolon")
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let programs = Programs { broker: Some(program), ..Programs::default() };
    let mut deployment = Deployment::uninitialised(programs, |_| String::new());
    std::fs::write(deployment.path("pin"), "1234\n").unwrap();
    let source = format!(
        "people_min = 1\n[[custody.sources]]\nname = \"hsm\"\nkind = \"pkcs11\"\nplace = \"office\"\nmodule = {:?}\ntoken = \"vault\"\nkey = \"wrap\"\nmechanism = \"aes-gcm\"\npin_file = {:?}\n",
        hsm.library,
        deployment.path("pin")
    );
    configure(&mut deployment, &source);
    PEOPLE.iter().for_each(|name| keygen(&deployment.path("."), name));
    let holders = ["--card", "ana.card", "--card", "boris.card", "--source", "hsm"];
    deployment.init(&[&["--threshold", "2", "--envelopes", "envelopes", "--yes"], &holders[..]].concat());
    let submit = |deployment: &Deployment, key: &str, x: u8| {
        let log = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
        let line = log.lines().rfind(|line| line.contains("custodians compare this")).unwrap();
        let fingerprint = line.split_once("fingerprint=").unwrap().1.trim().to_owned();
        let own = ["custodian", "submit", "--key", key, "--passphrase-file", "phrase"];
        let given = ["--envelope", &envelope(x), "--expect-fingerprint", &fingerprint];
        deployment.run(&[&own[..], &given].concat(), "").expect(0);
    };
    let is_open = |deployment: &Deployment| deployment.run(&["operator", "status"], "").code == 0;
    let gave = |deployment: &Deployment| {
        deployment.run(&["custody", "status"], "").stdout.contains("gave what it was asked for")
    };
    until("the share of the HSM", || gave(&deployment));
    assert!(!is_open(&deployment), "one of two");
    submit(&deployment, "boris.key", 2);
    until("the broker", || is_open(&deployment));

    // the token is gone
    std::fs::rename(hsm.tokens(), folder.path().join("away")).unwrap();
    deployment.restart_broker(|_| ());
    until("the refusal", || {
        !gave(&deployment) && !deployment.run(&["custody", "status"], "").stdout.contains("not asked")
    });
    submit(&deployment, "boris.key", 2);
    assert!(!is_open(&deployment));
    std::fs::rename(folder.path().join("away"), hsm.tokens()).unwrap();
    until("the broker when the token is back", || is_open(&deployment));
}

/// The machine's TPM and a Tang server of another place; then something else is booted.
#[test]
fn a_tpm_and_a_tang_server_open_a_broker_until_the_machine_boots_something_else() {
    use symbolon_repository::swtpm::SwTpm;
    let state = tempfile::tempdir().unwrap();
    let (Some(office), Some(tpm)) = (Tang::start(), SwTpm::start(state.path()).unwrap()) else { return };
    let mut deployment = Deployment::uninitialised(Programs::default(), |_| String::new());
    let board = format!(
        "[[custody.sources]]\nname = \"board\"\nkind = \"tpm\"\nplace = \"box\"\ndevice = \"{}\"\npcrs = [7, 16]\n",
        tpm.address()
    );
    configure(&mut deployment, &(board + &office.source("office", "office")));
    PEOPLE.iter().for_each(|name| keygen(&deployment.path("."), name));
    let holders = ["--card", "ana.card", "--card", "boris.card", "--source", "board", "--source", "office"];
    deployment.init(&[&["--threshold", "2", "--envelopes", "envelopes", "--yes"], &holders[..]].concat());
    let is_open = |deployment: &Deployment| deployment.run(&["operator", "status"], "").code == 0;
    until("the broker after init", || is_open(&deployment));
    deployment.restart_broker(|_| ());
    until("the broker after a restart", || is_open(&deployment));

    let extended = format!("tpm2_pcrextend 16:sha256={}", "5a".repeat(32));
    let _ = tpm.tool(state.path(), &extended).unwrap();
    deployment.restart_broker(|_| ());
    let status = || deployment.run(&["custody", "status"], "").stdout;
    until("the refusal", || status().contains("holds a share  it refuses"));
    assert!(!is_open(&deployment));
    let log = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
    assert!(log.contains("PCR 16 has changed since"), "{log}");
}
