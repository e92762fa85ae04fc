//! Certificates as people make them with OpenSSL, by the lines that tutorials have: each serves and is
//! believed, or whoever must act reads why not and what to type.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[allow(dead_code)] // as above
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use symbolon_cli::demo::world::free_port;
use symbolon_repository::machine::needs;

use crate::deployment::until;
use crate::support::{Done, command, run};

const NAMES: &str = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1";
const REQUEST: &str = "req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj /CN=localhost";

/// What comes of a pair of files.
#[derive(Clone, Copy)]
enum Fate {
    /// Served, and believed with this file as CA.
    Works(&'static str),
    /// The broker serves it, and the client says this.
    ClientSays(&'static str),
    /// The broker does not start, and says this.
    BrokerSays(&'static str),
}

use Fate::{BrokerSays, ClientSays, Works};

struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(home: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(home).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().ok();
    needs("openssl", "install openssl", found).is_some()
}

/// Starts a broker with `tls.crt` and `tls.key` and asks it how it is, until it answers or has ended.
fn met(home: &Path, ca: &str) -> (Done, Option<String>) {
    let address = free_port().unwrap();
    let config = format!(
        "listen = \"{address}\"\n[tls]\ncert_file = \"tls.crt\"\nkey_file = \"tls.key\"\n[store]\npath = \"store.redb\"\n\
         [remote]\nurl = \"https://127.0.0.1:1\"\nfingerprint = \"{}\"\n[init]\nallow = true\n",
        ["00000"; 12].join(" ")
    );
    std::fs::write(home.join("broker.toml"), config).unwrap();
    let log = std::fs::File::create(home.join("broker.log")).unwrap();
    let mut serve = command(&["broker", "--config", "broker.toml"]);
    let mut broker = Broker(serve.current_dir(home).stdin(Stdio::null()).stderr(log).spawn().unwrap());
    let url = format!("https://localhost:{}", address.port());
    let ask =
        || run(command(&["operator", "status", "--address", &url, "--ca-cert", ca]).current_dir(home), "");
    let log = || std::fs::read_to_string(home.join("broker.log")).unwrap();
    let (mut done, mut ended) = (ask(), None);
    until("an answer, or the end", || {
        if broker.0.try_wait().unwrap().is_some() {
            ended = Some(log());
        }
        done = ask();
        let knows_nothing =
            ["cannot be reached", "no PEM certificate"].iter().any(|says| done.stderr.contains(says));
        ended.is_some() || !knows_nothing
    });
    (done, ended)
}

#[track_caller]
fn check(lines: &[String], fate: Fate) {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("san.ext"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    lines.iter().for_each(|line| openssl(home.path(), line));
    check_files(home.path(), fate, &lines.join("\n"));
}

#[track_caller]
fn check_files(home: &Path, fate: Fate, what: &str) {
    let ca = if let Works(ca) = fate { ca } else { "tls.crt" };
    let (done, ended) = met(home, ca);
    match fate {
        Works(_) => assert!(
            ended.is_none() && done.stdout.contains("not initialised"),
            "{what}\n{ended:?}\n{}",
            done.stderr
        ),
        ClientSays(says) => assert!(
            ended.is_none() && done.code == 6 && done.stderr.contains(says),
            "{what}\n{ended:?}\n{}",
            done.stderr
        ),
        BrokerSays(says) => {
            let ended = ended.unwrap_or_else(|| panic!("it serves {what}\n{}", done.stderr));
            assert!(ended.contains(says), "{what}\n{ended}");
        }
    }
}

fn one(line: &str) -> Vec<String> {
    vec![line.to_owned()]
}

/// `openssl req -x509`: a certificate of a CA that serves itself, which rustls alone takes for no server.
#[test]
fn a_certificate_of_openssl_req_x509_is_served_and_believed() {
    if !has_openssl() {
        return;
    }
    let rest = format!("-nodes -keyout tls.key -out tls.crt -days 365 -subj /CN=localhost {NAMES}");
    check(&one(&format!("req -x509 -newkey rsa:2048 {rest}")), Works("tls.crt"));
    check(
        &one(&format!("req -x509 -sha256 -newkey ec -pkeyopt ec_paramgen_curve:P-256 {rest}")),
        Works("tls.crt"),
    );
    check(&one(&format!("req -x509 -newkey ed25519 {rest}")), Works("tls.crt"));
    let no_ca = "-addext basicConstraints=critical,CA:FALSE";
    check(&one(&format!("req -x509 -newkey rsa:2048 {rest} {no_ca}")), Works("tls.crt"));
    let key = "ecparam -name prime256v1 -genkey -noout -out tls.key".to_owned();
    let own = format!("req -new -x509 -key tls.key -out tls.crt -days 30 -subj /CN=localhost {NAMES}");
    check(&[key, own], Works("tls.crt"));
    let ca = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=Home-CA".to_owned();
    let sign = "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out tls.crt -days 30 -extfile san.ext";
    check(&[ca.clone(), REQUEST.to_owned(), sign.to_owned()], Works("ca.crt"));
    // The certificate itself is as good as whoever signed it.
    check(&[ca, REQUEST.to_owned(), sign.to_owned()], Works("tls.crt"));
}

#[test]
fn a_certificate_that_will_not_do_says_what_to_type_instead() {
    if !has_openssl() {
        return;
    }
    let self_signed = |how: &str| {
        format!("req -x509 -nodes -keyout tls.key -out tls.crt -days 30 -subj /CN=localhost {how}")
    };
    check(
        &one(&self_signed("-newkey rsa:2048")),
        ClientSays("make it again with -addext subjectAltName=DNS:localhost"),
    );
    let other = "-newkey rsa:2048 -addext subjectAltName=DNS:other.example";
    check(&one(&self_signed(other)), ClientSays("it is for other.example and not for localhost"));
    check(&one(&self_signed(&format!("-newkey rsa:1024 {NAMES}"))), BrokerSays("RSA of 1024 bits"));
    let curve = format!("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 {NAMES}");
    check(&one(&self_signed(&curve)), BrokerSays("are not served; P-256"));
    let locked = format!(
        "req -x509 -newkey rsa:2048 -passout pass:x -keyout tls.key -out tls.crt -subj /CN=localhost {NAMES}"
    );
    check(&one(&locked), BrokerSays("openssl pkey -in tls.key -out"));
    let good = self_signed(&format!("-newkey rsa:2048 {NAMES}"));
    check(
        &[good.clone(), "genpkey -algorithm ed25519 -out tls.key".to_owned()],
        BrokerSays("the key belongs to another certificate"),
    );
    let der = "x509 -in tls.crt -outform der -out tls.crt".to_owned();
    check(&[good.clone(), der], BrokerSays("openssl x509 -inform der"));
    check(&[good, "x509 -in tls.crt -out tls.key".to_owned()], BrokerSays("the other way round"));
    check(
        &[REQUEST.to_owned(), "req -in tls.csr -out tls.crt".to_owned()],
        BrokerSays("holds a request (CSR)"),
    );
}

/// Newer versions of OpenSSL make one of version 3 without names of the same line.
#[test]
fn a_certificate_of_openssl_x509_req_without_extensions_says_what_to_type_instead() {
    if !has_openssl() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let sign = "x509 -req -in tls.csr -signkey tls.key -out tls.crt -days 30";
    [REQUEST, sign].iter().for_each(|line| openssl(home.path(), line));
    let version =
        symbolon_net::certificate::first_facts(&std::fs::read(home.path().join("tls.crt")).unwrap())
            .unwrap()
            .version;
    let fate = if version == 1 { BrokerSays("of X.509 version 1") } else { ClientSays("subjectAltName") };
    check_files(home.path(), fate, sign);
}

/// What is believed because it was given itself is believed no longer and for no other name than any other.
#[test]
fn a_certificate_that_was_given_itself_is_believed_for_its_names_and_its_time() {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
    for (name, end, fate) in [
        ("localhost", 2999, Works("tls.crt")),
        ("localhost", 2001, ClientSays("xpired")),
        ("other.example", 2999, ClientSays("it is for other.example")),
    ] {
        let home = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(end, 1, 1);
        std::fs::write(home.path().join("tls.key"), key.serialize_pem()).unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.distinguished_name.push(DnType::CommonName, "somebody else");
        let ca = Issuer::new(ca, ca_key);
        let (own, signed) = (params.self_signed(&key).unwrap(), {
            params.is_ca = IsCa::NoCa;
            params.signed_by(&key, &ca).unwrap()
        });
        for certificate in [own, signed] {
            std::fs::write(home.path().join("tls.crt"), certificate.pem()).unwrap();
            check_files(home.path(), fate, name);
        }
    }
}
