//! What custodians do on their own machines, with the real commands: keys, envelopes, and a share for a
//! sealed broker.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
mod deployment;
mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use qrcode::{Color, EcLevel, QrCode};
use rand_core::UnwrapErr;
use serde_json::Value;
use symbolon_proto::custody::{Card, Parcel, ShareEnvelope};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::share::{Dealing, Holder, Share, ShareKind, Threshold};

use crate::deployment::{Deployment, Programs};
use crate::support::{Done, command, run};

const PHRASE: &str = "correct horse battery staple";
/// Exit codes of docs/cli.md.
const USAGE: i32 = 2;
const DENIED: i32 = 3;
const UNAVAILABLE: i32 = 5;
const INTEGRITY: i32 = 6;

/// A person's desk: a directory with a file that holds the passphrase.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        std::fs::write(desk.path("phrase"), format!("{PHRASE}\n")).unwrap();
        std::fs::write(desk.path("other phrase"), "incorrect horse battery staple\n").unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Done {
        run(command(args).current_dir(self.0.path()), "")
    }

    fn keygen(&self, role: &str, name: &str, file: &str) -> Value {
        let with = ["--out", file, "--passphrase-file", "phrase", "--memory", "64", "--output", "json"];
        let done = self.run(&[&[role, "keygen", "--name", name], &with[..]].concat()).expect(0);
        serde_json::from_str(&done.stdout).unwrap()
    }
}

#[test]
fn a_key_file_shows_whose_it_is_and_opens_with_its_passphrase_only() {
    let desk = Desk::new();
    let made = desk.keygen("custodian", "Ann Example", "ann.key");
    let card = Card::parse(made["card"].as_str().unwrap()).unwrap();
    assert_eq!((card.name(), &made["fingerprint"]), ("Ann Example", &card.fingerprint().to_string().into()));
    let mode = std::fs::metadata(desk.path("ann.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let shown = desk.run(&["custodian", "show", "ann.key"]).expect(0).stdout;
    for part in ["Ann Example", made["fingerprint"].as_str().unwrap(), made["card"].as_str().unwrap()] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let check = |phrase: &str| {
        desk.run(&[
            "custodian",
            "show",
            "ann.key",
            "--check",
            "--passphrase-file",
            phrase,
            "--output",
            "json",
        ])
    };
    assert_eq!(serde_json::from_str::<Value>(&check("phrase").expect(0).stdout).unwrap(), made);
    let wrong = check("other phrase").expect(DENIED);
    assert!(wrong.stdout.is_empty() && wrong.stderr.contains("the passphrase is wrong"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("horse"), "a passphrase is never repeated");

    let card = std::fs::read_to_string(desk.path("ann.card")).unwrap();
    assert_eq!(card, made["card"].as_str().unwrap(), "the card lies beside the key file");
    let again = ["custodian", "keygen", "--name", "Ann", "--passphrase-file", "phrase", "--out"];
    desk.run(&[&again[..], &["other.key", "--card", "ann.card"]].concat())
        .refused(USAGE, "ann.card exists already");
    assert!(!desk.path("other.key").exists());
    desk.run(&[&again[..], &["ann.key"]].concat()).refused(USAGE, "nothing is ever overwritten");
    std::fs::write(desk.path("phrase"), "short\n").unwrap();
    desk.run(&[&again[..], &["new.key"]].concat()).refused(USAGE, "shorter than 12 characters");
    desk.run(&["custodian", "keygen", "--name", "Ann", "--out", "new.key"])
        .refused(USAGE, "--passphrase-file is needed");
    assert!(!desk.path("new.key").exists());
    std::fs::set_permissions(desk.path("ann.key"), PermissionsExt::from_mode(0o640)).unwrap();
    desk.run(&["custodian", "show", "ann.key"]).refused(DENIED, "chmod 600");
}

#[test]
fn a_changed_key_file_does_not_open() {
    let desk = Desk::new();
    desk.keygen("custodian", "Ann", "ann.key");
    let text = std::fs::read_to_string(desk.path("ann.key")).unwrap();
    let show = |text: String| {
        std::fs::write(desk.path("ann.key"), text).unwrap();
        desk.run(&["custodian", "show", "ann.key", "--check", "--passphrase-file", "phrase"])
    };
    show(text.replace("-----END", "Ask Bob.\n-----END")).refused(USAGE, "the KEY FILE is damaged");
    show(format!("Ask Bob.\n{text}")).refused(USAGE, "something stands before the BEGIN line");
    let last = text.lines().rev().nth(1).unwrap();
    let other = if last.starts_with('A') { "B" } else { "A" };
    show(text.replace(last, &format!("{other}{}", &last[1..]))).refused(DENIED, "the file was altered");
    show(text).expect(0);
}

/// A share of a set that no broker knows, in an envelope for the owner of `card`.
fn parcel(card: &str) -> (Parcel, Share) {
    let holders = [Holder::from(&Card::parse(card).unwrap()), Holder::named("Bob"), Holder::named("Cid")];
    let mut rng = UnwrapErr(getrandom::SysRng);
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment: DeploymentId::random(&mut rng),
        frag_epoch: 1,
        created_ms: 1_790_000_000_000,
        threshold: Threshold::new(2, 3).unwrap(),
        holders: &holders,
        previous: None,
    };
    let (set, shares) = dealing.deal(&Fragment::random(&mut rng), &mut rng).unwrap();
    let share = shares.into_iter().next().unwrap();
    let envelope = ShareEnvelope::seal(&share, &set, &mut rng).unwrap();
    (Parcel::new(set, 1, envelope).unwrap(), share)
}

/// The modules of a code that was printed as text: dark ones are ink, two rows stand in each line.
fn modules(printed: &str) -> Vec<Vec<Color>> {
    let module = |is_ink: bool| if is_ink { Color::Dark } else { Color::Light };
    let rows = printed.lines().flat_map(|line| {
        let upper = line.chars().map(|c| module(matches!(c, '\u{2588}' | '\u{2580}'))).collect();
        let lower = line.chars().map(|c| module(matches!(c, '\u{2588}' | '\u{2584}'))).collect();
        [upper, lower]
    });
    rows.collect()
}

#[test]
fn a_share_leaves_its_envelope_on_explicit_request_only() {
    let desk = Desk::new();
    let made = desk.keygen("custodian", "Ann & Co", "ann.key");
    let (parcel, share) = parcel(made["card"].as_str().unwrap());
    std::fs::write(desk.path("ann.envelope"), parcel.to_text()).unwrap();
    let text = share.to_text();
    let show = |key: &str, envelope: &str, print: &[&str]| {
        let args = ["custodian", "show-share", "--key", key, "--passphrase-file", "phrase", "--envelope"];
        desk.run(&[&args[..], &[envelope], print].concat())
    };
    let printed = |how: &str| {
        let done = show("ann.key", "ann.envelope", &["--print", how]).expect(0);
        assert!(done.stderr.starts_with("Whoever sees what follows holds the share of Ann & Co."));
        done.stdout
    };
    assert_eq!(printed("text").trim_end(), text.as_str());

    let code = QrCode::with_error_correction_level(text.to_uppercase(), EcLevel::Q).unwrap();
    let (printed_rows, width, margin) = (modules(&printed("qr")), code.width(), 4);
    let inner = printed_rows.iter().skip(margin).take(width).map(|row| row[margin..margin + width].to_vec());
    assert!(inner.collect::<Vec<_>>().concat() == code.to_colors(), "the code holds the share in capitals");
    let by_camera = Share::parse(&text.to_uppercase()).unwrap();
    assert!(by_camera.to_bytes().same_as(&share.to_bytes()), "what a camera reads is the share");

    let paper = printed("paper");
    assert!(paper.starts_with("<svg ") && paper.trim_end().ends_with("</svg>"), "{paper}");
    let caption = format!("Share 1 of 3 (2 needed), set {}, of Ann &amp; Co<", share.set_id());
    assert!(paper.contains(&caption), "{paper}");
    let lines: Vec<&str> = paper.lines().filter_map(|line| Some(line.split_once("\">")?.1)).collect();
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.strip_suffix("</text>")).collect();
    assert_eq!(lines[1..].concat(), text.as_str());

    show("ann.key", "ann.envelope", &[]).refused(USAGE, "--print");
    desk.keygen("custodian", "Eve", "eve.key");
    show("eve.key", "ann.envelope", &["--print", "text"])
        .refused(USAGE, "this envelope is for Ann & Co (number 1)");
    desk.keygen("officer", "Olga", "olga.key");
    show("olga.key", "ann.envelope", &["--print", "text"]).refused(USAGE, "key file of an officer");
    std::fs::write(desk.path("card"), made["card"].as_str().unwrap()).unwrap();
    show("ann.key", "card", &["--print", "text"])
        .refused(USAGE, "expected a text of kind SHARE ENVELOPE, found one of kind CUSTODIAN CARD");
}

/// What the broker's console shows: the log of its process.
fn on_the_console(deployment: &Deployment) -> String {
    let log = std::fs::read_to_string(deployment.path("broker.log")).unwrap();
    let line = log.lines().rfind(|line| line.contains("custodians compare this")).unwrap();
    line.split_once("fingerprint=").unwrap().1.to_owned()
}

fn watch(deployment: &Deployment) -> String {
    deployment.run(&["ceremony", "watch", "--once"], "").expect(0).stdout
}

#[test]
fn a_share_reaches_the_broker_sealed_to_the_key_on_its_console() {
    let mut deployment = Deployment::start(Programs::default(), |_| String::new());
    let console = on_the_console(&deployment);
    let submit = |share: &str, expected: &[&str]| {
        deployment.run(&[&["custodian", "submit", "--share"], expected].concat(), share)
    };
    let shares = &deployment.shares;
    let before = watch(&deployment);
    for part in ["unseal ceremony, collecting", &console, "0 gave; 2 of 3 needed", "[ ]  1  Ann  missing"] {
        assert!(before.contains(part), "{part}: {before}");
    }

    submit(&shares[0], &[]).refused(USAGE, "--expect-fingerprint is needed");
    let other = Fingerprint::of(b"a key in between").to_string();
    submit(&shares[0], &["--expect-fingerprint", &other]).refused(INTEGRITY, "nothing was sent");
    assert_eq!(watch(&deployment), before);
    let right = ["--expect-fingerprint", &console];
    let mut mistyped = shares[0].clone();
    mistyped.truncate(60);
    submit(&mistyped, &right).refused(USAGE, "this is not a share");
    foreign_shares(&deployment, &right);
    assert_eq!(watch(&deployment), before, "none of these left this machine");

    let mut watching = deployment.command(&["ceremony", "watch", "--every", "1"]);
    let mut watching = watching.stdout(Stdio::piped()).spawn().unwrap();
    let mut pictures = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    let given = submit(&shares[0], &right).expect(0).stdout;
    assert!(given.contains("1 gave") && given.contains("[x]  1  Ann  gave"), "{given}");
    submit(&shares[0], &right).refused(1, "Ann");
    let refused = watch(&deployment);
    assert!(refused.lines().any(|line| line.starts_with("  !  ") && line.contains("Ann")), "{refused}");
    assert!(pictures.any(|line| line == "  [x]  1  Ann  gave"), "whoever watches sees it");

    let opened = submit(&shares[2], &right).expect(0).stdout;
    assert_eq!(opened, "Yours was the last share that was needed: the broker is open.\n");
    assert_eq!(pictures.last().as_deref(), Some("No ceremony is under way."));
    assert!(watching.wait().unwrap().success());
    deployment.run(&["operator", "status"], "").expect(0);
    submit(&shares[1], &right).refused(UNAVAILABLE, "no ceremony is waiting for shares");
    deployment
        .run(&["custodian", "sign", "--key", "nowhere"], "")
        .refused(UNAVAILABLE, "no transcript is waiting");

    deployment.as_root(&["operator", "seal"]).expect(0);
    key_is_new(&deployment, &console);
    let sealed_again = on_the_console(&deployment);
    deployment.restart_broker(|_| ());
    key_is_new(&deployment, &sealed_again);
    deployment.unseal();
}

/// The key of an earlier ceremony is on no console any more, and nothing is sealed to it.
fn key_is_new(deployment: &Deployment, earlier: &str) {
    assert_ne!(on_the_console(deployment), earlier);
    let args = ["custodian", "submit", "--share", "--expect-fingerprint", earlier];
    deployment.run(&args, &deployment.shares[0]).refused(INTEGRITY, "nothing was sent");
}

/// Shares of another set are found here: the broker is not told of them.
fn foreign_shares(deployment: &Deployment, right: &[&str]) {
    let desk = Desk::new();
    let made = desk.keygen("custodian", "Ann", "ann.key");
    let (parcel, share) = parcel(made["card"].as_str().unwrap());
    std::fs::write(desk.path("ann.envelope"), parcel.to_text()).unwrap();
    let says = "use the share of the set in use";
    let typed = [&["custodian", "submit", "--share"], right].concat();
    deployment.run(&typed, &share.to_text()).refused(USAGE, says);
    let file = |name: &str| desk.path(name).to_str().unwrap().to_owned();
    let (key, envelope, phrase) = (file("ann.key"), file("ann.envelope"), file("phrase"));
    let opened = ["--key", &key, "--envelope", &envelope, "--passphrase-file", &phrase];
    let with = |role: &str| deployment.run(&[&["custodian", role], &opened[..], right].concat(), "");
    with("submit").refused(USAGE, says);
    with("drill").refused(USAGE, "the ceremony is no drill");
}
