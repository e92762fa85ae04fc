//! `symbolon setup`: what it makes, that it makes it once, and what it refuses.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // other tests use the rest
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use symbolon_cli::setup::{Layout, unit};
use symbolon_repository::machine::{needs, skip};

use crate::support::{Done, command, run};

const BROKER: &str =
    "broker --home broker --invitation nas/invitation --name broker.example --name 192.168.1.5 --yes";

/// Both sides in folders of their own.
struct Sides(tempfile::TempDir);

impl Sides {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) -> Done {
        let words: Vec<_> = line.split(' ').collect();
        let mut command = command(&[&["setup"], &words[..]].concat());
        run(command.current_dir(self.0.path()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "")
    }

    fn fragment(&self) -> Done {
        self.run("fragment --home nas --address nas.example:8300 --yes")
    }

    fn broker(&self) -> Done {
        self.run(BROKER)
    }

    /// Every file: mode, when it was written, and what is in it.
    fn files(&self) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.0.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let (path, found) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
                if found.is_dir() {
                    folders.push(path.clone());
                }
                let content = std::fs::read(&path).unwrap_or_default();
                files.insert(path, (found.mode() & 0o7777, found.mtime(), found.mtime_nsec(), content));
            }
        }
        files
    }
}

fn openssl(args: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(args).output().ok();
    let output = needs("openssl", "install openssl", output)?;
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn both_sides_are_set_up_and_the_second_time_changes_nothing() {
    let sides = Sides::new();
    let first = sides.fragment().expect(0).stdout;
    let invitation = std::fs::read_to_string(sides.path("nas/invitation")).unwrap();
    assert!(first.contains(invitation.trim()) && first.contains("symbolon fragment serve"), "{first}");
    let first = sides.broker().expect(0).stdout;
    assert!(
        first.contains("symbolon operator init") && first.contains("symbolon fragment approve"),
        "{first}"
    );
    for (name, mode) in [
        ("nas", 0o700),
        ("nas/state", 0o700),
        ("nas/fragment.key", 0o600),
        ("broker/state", 0o700),
        ("broker/ca.key", 0o600),
        ("broker/tls.key", 0o600),
    ] {
        let found = std::fs::metadata(sides.path(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(found, mode, "{name}");
    }
    let before = sides.files();
    let again = [sides.broker(), sides.run("broker --home broker --yes"), sides.fragment()];
    for again in again.into_iter().chain([sides.run("fragment --home nas --yes")]) {
        let again = again.expect(0).stdout;
        assert!(again.contains("Nothing was changed") && !again.contains("differs"), "{again}");
    }
    assert_eq!(sides.files(), before);
    let other = sides.run("broker --home broker --listen 127.0.0.1:9999 --yes").expect(0).stdout;
    assert!(other.contains("kept, differs"), "{other}");
}

/// What gives shares with nobody there is asked for once, and stands in the commands that follow.
#[test]
fn devices_that_were_named_are_configured_and_hold_shares() {
    let sides = Sides::new();
    sides.fragment().expect(0);
    let devices = "--source http://tang.lan:7500#abc@site --source /usr/lib/libhsm.so#hsm/wrap@office";
    let first = sides.run(&format!("{BROKER} {devices}")).expect(0).stdout;
    assert!(first.contains("--source tang-1 --source pkcs11-2 --envelopes"), "{first}");
    let config = std::fs::read_to_string(sides.path("broker/broker.toml")).unwrap();
    assert!(config.contains("kind = \"tang\"") && config.contains("pkcs11-2.pin"), "{config}");
    let again = sides.run("broker --home broker --yes").expect(0).stdout;
    assert!(again.contains("Nothing was changed") && !again.contains("differs"), "{again}");
    assert!(again.contains("--source tang-1"), "{again}");
    let refused = sides.run("broker --home broker --source http://tang.lan#abc --yes");
    refused.refused(2, "behind the @ is where the device stands");
}

#[test]
fn the_certificate_is_one_that_openssl_accepts_and_shows_this_fingerprint() {
    let sides = Sides::new();
    sides.fragment().expect(0);
    let printed = sides.broker().expect(0).stdout;
    let [ca, cert] = ["broker/ca.pem", "broker/tls.crt"].map(|name| sides.path(name).display().to_string());
    for name in [
        &["-verify_hostname", "broker.example"],
        &["-verify_ip", "192.168.1.5"],
        &["-verify_hostname", "localhost"],
    ] {
        let purpose = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &ca];
        if openssl(&[&purpose[..], name, &[&cert]].concat()).is_none() {
            return;
        }
    }
    let shown = openssl(&["x509", "-in", &ca, "-noout", "-fingerprint", "-sha256"]).unwrap();
    let fingerprint = shown.trim().split_once('=').unwrap().1;
    assert!(printed.contains(fingerprint), "{fingerprint}: {printed}");
    // Another name is in it after the next run, signed by what clients have already.
    let pinned = std::fs::read(sides.path("broker/ca.pem")).unwrap();
    let renewed =
        sides.run("broker --home broker --name broker.example --name other.example --yes").expect(0).stdout;
    assert!(renewed.contains("renewed"), "{renewed}");
    openssl(&["verify", "-verify_hostname", "other.example", "-CAfile", &ca, &cert]).unwrap();
    assert_eq!(std::fs::read(sides.path("broker/ca.pem")).unwrap(), pinned);
}

#[test]
fn a_set_up_that_was_cut_off_is_completed_and_no_key_is_made_anew() {
    let sides = Sides::new();
    sides.fragment().expect(0);
    sides.broker().expect(0);
    let keys = ["nas/fragment.key", "broker/ca.key", "broker/tls.key"].map(|name| sides.path(name));
    let before = keys.clone().map(|key| std::fs::read(key).unwrap());
    for name in ["nas/fragment.toml", "nas/invitation", "nas/symbolon-fragment.service"] {
        std::fs::remove_file(sides.path(name)).unwrap();
        assert!(sides.fragment().expect(0).stdout.contains("made"), "{name}");
    }
    for name in ["broker/ca.pem", "broker/tls.crt", "broker/broker.toml", "broker/symbolon-broker.service"] {
        std::fs::remove_file(sides.path(name)).unwrap();
        assert!(sides.broker().expect(0).stdout.contains("made"), "{name}");
    }
    assert_eq!(keys.map(|key| std::fs::read(key).unwrap()), before);
    std::fs::remove_file(sides.path("broker/tls.key")).unwrap();
    sides.broker().refused(1, "tls.crt is there and");
    // Between the identity of a service and its tables the power went.
    let sides = Sides::new();
    std::fs::create_dir_all(sides.path("nas/state/keys")).unwrap();
    for folder in ["nas", "nas/state"] {
        std::fs::set_permissions(sides.path(folder), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    std::fs::write(sides.path("nas/state/identity"), "half").unwrap();
    std::fs::write(sides.path("nas/state/lock"), "").unwrap();
    sides.fragment().expect(0);
}

#[test]
fn a_certificate_of_the_operators_own_is_looked_at_and_never_replaced() {
    let sides = Sides::new();
    sides.fragment().expect(0);
    std::fs::create_dir(sides.path("broker")).unwrap();
    std::fs::set_permissions(sides.path("broker"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let [key, cert] = ["broker/tls.key", "broker/tls.crt"].map(|name| sides.path(name).display().to_string());
    let made =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &cert, "-subj", "/CN=b"];
    let names = ["-addext", "subjectAltName=DNS:broker.example,IP:192.168.1.5"];
    if openssl(&[&made[..], &names].concat()).is_none() {
        return;
    }
    let before = [&key, &cert].map(|path| std::fs::read(path).unwrap());
    let own = sides.broker().expect(0).stdout;
    assert!(
        own.contains("of your own") && own.contains("SYMBOLON_CACERT=") && own.contains("broker/tls.crt"),
        "{own}"
    );
    let other = sides.run("broker --home broker --name other.example --yes").expect(0).stdout;
    assert!(other.contains("kept, differs"), "{other}");
    assert_eq!([&key, &cert].map(|path| std::fs::read(path).unwrap()), before);
    assert!(!sides.path("broker/ca.key").exists());
    openssl(&["genpkey", "-algorithm", "ed25519", "-out", &key]).unwrap();
    sides.broker().refused(1, "the key belongs to another certificate");
}

#[test]
fn fragment_init_makes_its_folders_and_goes_on_after_a_failure() {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let config = "listen = '127.0.0.1:8300'\nstate_dir = 'deep/state'\nkey_file = 'keys/fragment.key'\n";
    std::fs::write(path("fragment.toml"), config).unwrap();
    let init = || {
        let mut init = command(&["fragment", "init", "--config", "fragment.toml"]);
        run(init.current_dir(home.path()), "")
    };
    std::fs::write(path("keys"), "in the way").unwrap();
    init().refused(1, "the key file keys/fragment.key cannot be made");
    std::fs::remove_file(path("keys")).unwrap();
    init().expect(0);
    for (name, mode) in [("deep/state", 0o700), ("keys", 0o700), ("keys/fragment.key", 0o600)] {
        assert_eq!(std::fs::metadata(path(name)).unwrap().mode() & 0o7777, mode, "{name}");
    }
    init().refused(1, "is not empty");
}

#[test]
fn what_is_unsound_is_refused_and_says_why() {
    let sides = Sides::new();
    for (line, says) in [
        ("fragment --home nas --address https://nas:8300 --yes", "without https://"),
        ("fragment --home nas --address 0.0.0.0:8300 --yes", "at which others reach"),
        ("fragment --home nas --address nas --yes", "name:port"),
        ("fragment --home nas --yes", "--address is needed"),
        ("fragment --home nas --address nas:8300", "--yes is needed"),
        ("broker --home broker --name b --invitation https://nas:8300 --yes", "one line like"),
        ("broker --home broker --name b --invitation https://nas:8300#12345 --yes", "60 digits"),
    ] {
        sides.run(line).refused(2, says);
    }
    assert!(!sides.path("nas").exists() && !sides.path("broker").exists());
    sides.fragment().expect(0);
    let name = |name: &str| format!("broker --home broker --invitation nas/invitation --yes --name {name}");
    for (wrong, says) in
        [("*.example", "wildcard"), ("a_b", "letters"), ("b:8200", "letters"), ("::", "reach")]
    {
        sides.run(&name(wrong)).refused(2, says);
    }
    std::fs::create_dir(sides.path("shared")).unwrap();
    std::fs::set_permissions(sides.path("shared"), std::fs::Permissions::from_mode(0o777)).unwrap();
    sides.run("fragment --home shared --address nas:8300 --yes").refused(2, "can be changed by others");
    sides.run("fragment --home shared/below --address nas:8300 --yes").refused(2, "can be changed by others");
    std::fs::write(sides.path("file"), "").unwrap();
    sides.run("fragment --home file --address nas:8300 --yes").refused(1, "is no folder");
    sides.broker().expect(0);
    std::fs::set_permissions(sides.path("broker/tls.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    sides.broker().refused(1, "can be read by others");
}

/// In both layouts, on ports that need a capability and on others.
#[test]
fn the_units_are_what_systemd_takes() {
    let analyze = Command::new("systemd-analyze").arg("--version").output().ok();
    if needs("systemd-analyze", "install systemd", analyze).is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let (program, folder) = (Path::new(env!("CARGO_BIN_EXE_symbolon")), home.path().join("with blank"));
    for layout in
        [Layout::system("symbolon-broker", "symbolon"), Layout::home(&folder, "symbolon-broker").unwrap()]
    {
        for port in [8200, 443] {
            let config = layout.config("broker.toml");
            let (description, args, state, user) = ("Symbolon broker", "broker", "symbolon", "root");
            let service = unit::Service { description, args, config: &config, state, user, port };
            let path = home.path().join("symbolon-broker.service");
            std::fs::write(&path, service.unit(&layout, program)).unwrap();
            check_unit(&path);
        }
    }
}

fn check_unit(path: &Path) {
    let analyzed = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(path).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), told)
    };
    let (verified, told) = analyzed(&["verify", "--man=no"]);
    assert!(verified && told.is_empty(), "{told}");
    let (hardened, told) = analyzed(&["security", "--offline=true", "--threshold=35"]);
    assert!(hardened, "more exposed than 3.5 of 10:\n{told}");
}

/// A service of the whole machine, set up in layers over `/etc`, `/var/lib` and `/usr/local` that go with it.
const WHOLE_MACHINE: &str = r#"
set -e
mount -t tmpfs none "$2"
for place in etc var/lib usr/local; do
    mkdir -p "$2/$place/above" "$2/$place/work"
    mount -t overlay none -o "lowerdir=/$place,upperdir=$2/$place/above,workdir=$2/$place/work" "/$place"
done
touch /usr/local/bin/symbolon
mount --bind "$1" /usr/local/bin/symbolon
echo private
cd /usr/local/bin
./symbolon setup fragment --address nas.example:8300 --yes
./symbolon setup fragment --yes
./symbolon setup broker --invitation /etc/symbolon/invitation --name broker.example --yes
stat -c '%U %a %n' /etc/symbolon/* /var/lib/symbolon /var/lib/symbolon-fragment /var/lib/symbolon-fragment/*
setpriv --reuid symbolon-fragment --regid symbolon-fragment --clear-groups ./symbolon fragment fingerprint
setpriv --reuid symbolon --regid symbolon --clear-groups cat /etc/symbolon/tls.key
"#;

#[test]
fn a_service_of_the_whole_machine_has_a_user_to_whom_its_files_belong() {
    let scratch = tempfile::tempdir().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "bash", "-c", WHOLE_MACHINE, "bash", env!("CARGO_BIN_EXE_symbolon")]);
    let done = unshare.arg(scratch.path()).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    let Ok(output) = done else { return skip("unshare, of util-linux") };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if !told.starts_with("private") {
        return skip("root, and a kernel that lets it mount layers");
    }
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "root 600 /etc/symbolon/ca.key",
        "root 644 /etc/symbolon/ca.pem",
        "symbolon 600 /etc/symbolon/tls.key",
        "symbolon-fragment 600 /etc/symbolon/fragment.key",
        "symbolon 700 /var/lib/symbolon",
        "symbolon-fragment 700 /var/lib/symbolon-fragment",
        "symbolon-fragment 600 /var/lib/symbolon-fragment/identity",
    ] {
        assert!(told.lines().any(|other| other == line), "{line} in\n{told}");
    }
    for text in
        ["systemctl enable --now symbolon-fragment", "Nothing was changed", "no split", "BEGIN PRIVATE KEY"]
    {
        assert!(told.contains(text), "{text} in\n{told}");
    }
}
