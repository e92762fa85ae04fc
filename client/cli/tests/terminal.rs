//! Questions on a terminal: what people see, and that "no" and an interrupt leave nothing behind. `script` of
//! util-linux gives the command a terminal of its own.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[path = "support/people.rs"]
mod people;
#[allow(dead_code)] // as above
mod support;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use symbolon_proto::custody::Card;
use symbolon_repository::machine::needs;

use crate::deployment::{Deployment, Programs};
use crate::people::keygen;
use crate::support::Done;

/// The end of the question.
const QUESTION: &str = "(yes/no)";
/// What the interrupt key sends.
const INTERRUPT: &str = "\u{3}";

fn has_script() -> bool {
    let found = Command::new("script").arg("--version").output().is_ok().then_some(());
    needs("script", "install util-linux, or bsdutils on Debian", found).is_some()
}

/// The same command, typed on a terminal, with these keys once it has asked its question.
fn typed(command: &Command, keys: &str) -> Done {
    typed_at(QUESTION, command, keys)
}

/// The same, once this was printed.
fn typed_at(question: &str, command: &Command, keys: &str) -> Done {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &words.join(" "), "/dev/null"]);
    script.env_clear().env("PATH", "/usr/bin:/bin");
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(question) {
        let mut byte = [0];
        stdout.read_exact(&mut byte).expect("it asks before it ends");
        seen.push(byte[0]);
    }
    stdin.write_all(keys.as_bytes()).unwrap();
    stdout.read_to_end(&mut seen).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    Done { code, stdout: String::from_utf8(seen).unwrap(), stderr: String::new() }
}

fn fingerprint(home: &Path, name: &str) -> String {
    let card = std::fs::read_to_string(home.join(format!("{name}.card"))).unwrap();
    Card::parse(&card).unwrap().fingerprint().to_string()
}

#[test]
fn cards_are_compared_before_init_and_no_or_an_interrupt_makes_nothing() {
    if !has_script() {
        return;
    }
    let deployment = Deployment::uninitialised(Programs::default(), |home| {
        ["ana", "boris"].into_iter().for_each(|name| keygen(home, name));
        String::new()
    });
    let init = ["operator", "init", "--recovery", "none", "--threshold", "2", "--envelopes", "envelopes"];
    let cards = ["--card", "ana.card", "--card", "boris.card"];
    let init = deployment.command(&[&init[..], &cards].concat());
    for keys in ["no\n", INTERRUPT] {
        let done = typed(&init, keys);
        assert_ne!(done.code, 0, "{}", done.stdout);
        for name in ["ana", "boris"] {
            assert!(done.stdout.contains(&fingerprint(&deployment.path("."), name)), "{}", done.stdout);
        }
        assert!(!deployment.path("envelopes").exists(), "after {keys:?}");
        let status = deployment.run(&["operator", "status"], "").stdout;
        assert!(status.contains("not initialised"), "{status}");
        assert!(!deployment.run(&["fragment", "pending"], "").stdout.contains('-'), "nobody waits there");
    }
}

#[test]
fn whoever_may_open_a_backup_is_compared_before_it_is_made() {
    if !has_script() {
        return;
    }
    let deployment = Deployment::start(Programs::default(), |_| String::new());
    deployment.unseal();
    keygen(&deployment.path("."), "ops");
    let mut create = deployment.command(&["backup", "create", "--out", "b.backup", "--card", "ops.card"]);
    create.env("SYMBOLON_TOKEN", &deployment.root_token);
    for keys in ["no\n", INTERRUPT] {
        let done = typed(&create, keys);
        assert_ne!(done.code, 0, "{}", done.stdout);
        assert!(done.stdout.contains(&fingerprint(&deployment.path("."), "ops")), "{}", done.stdout);
        assert!(!deployment.path("b.backup").exists(), "after {keys:?}");
    }
    let done = typed(&create, "yes\n").expect(0);
    assert!(done.stdout.contains("every byte is signed"), "{}", done.stdout);
    assert!(deployment.path("b.backup").exists());
}

#[test]
fn a_set_up_asks_for_what_is_missing_until_it_can_be_read_and_makes_nothing_before_yes() {
    if !has_script() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let mut setup = support::command(&["setup", "fragment", "--home", "nas"]);
    setup.current_dir(home.path());
    let first = "(such as nas.example:8300)";
    let done = typed_at(first, &setup, "https://nas:8300\nnas:8300\nno\n");
    assert!(done.code != 0 && done.stdout.contains("without https://"), "{}", done.stdout);
    assert!(done.stdout.contains("brokers that reach it at nas:8300"), "{}", done.stdout);
    assert!(!home.path().join("nas").exists());
    let done = typed_at(first, &setup, "nas:8300\nyes\n").expect(0);
    assert!(done.stdout.contains("https://nas:8300#"), "{}", done.stdout);
}
