//! One version back, both ways: broker and fragment service are run by different people and upgraded on
//! different days. The real binaries on loopback. `SYMBOLON_PREVIOUS` is that of the version before
//! (`tests/previous` says which); `.ci/nightly` builds it.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "support/deployment.rs"]
mod deployment;
#[path = "support/secrets.rs"]
mod secrets;
mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use symbolon_repository::machine::skip;

use crate::deployment::{Deployment, Programs, until};
use crate::secrets::mount;
use crate::support::Done;

/// What a broker says that finds a store of a later version.
const NEWER: &str = "was the file written by another program or a newer Symbolon?";

/// A broker that refuses its store does so at once.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn the_broker_before_works_with_this_fragment_service() {
    let Some(before) = previous() else { return };
    serves(&start(Programs { broker: Some(before), ..Programs::default() }));
}

#[test]
fn this_broker_works_with_the_fragment_service_before() {
    let Some(before) = previous() else { return };
    serves(&start(Programs { fragment: Some(before), ..Programs::default() }));
}

#[test]
fn a_deployment_of_the_version_before_opens_and_does_not_go_back() {
    let Some(before) = previous() else { return };
    let old = Programs { broker: Some(before.clone()), fragment: Some(before) };
    let mut deployment = start(old.clone());
    serves(&deployment);
    deployment.upgrade(Programs::default(), |_| {});
    deployment.unseal();
    reads(&deployment, "before");
    put(&deployment, "after");
    deployment.restart_broker(|home| {
        end(&mut old.at(home, &["broker", "--config", "broker.toml"])).refused(1, NEWER);
    });
    deployment.unseal();
    reads(&deployment, "before");
    reads(&deployment, "after");
}

fn previous() -> Option<PathBuf> {
    let found = std::env::var_os("SYMBOLON_PREVIOUS").map(PathBuf::from);
    if found.is_none() {
        skip("SYMBOLON_PREVIOUS, the binary of the version before, which .ci/nightly builds");
    }
    found
}

/// How a server ends by itself. One that serves is stopped, and that counts as success.
fn end(command: &mut Command) -> Done {
    let pipes = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let late = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Done { code: output.status.code().unwrap_or(0), stdout: String::new(), stderr }
}

fn start(programs: Programs) -> Deployment {
    Deployment::start(programs, |_| String::new())
}

/// What takes both halves: a first start, a secret, a seal, and everything again.
fn serves(deployment: &Deployment) {
    deployment.unseal();
    mount(deployment);
    put(deployment, "before");
    reads(deployment, "before");
    deployment.as_root(&["operator", "seal"]).expect(0);
    deployment.unseal();
    reads(deployment, "before");
}

fn put(deployment: &Deployment, name: &str) {
    deployment
        .as_root(&["kv", "put", &format!("secret/{name}"), &format!("value={name} it was kept")])
        .expect(0);
}

/// A broker that has just opened waits for the first lease.
fn reads(deployment: &Deployment, name: &str) {
    let get = || deployment.as_root(&["kv", "get", &format!("secret/{name}"), "-f", "value"]);
    until("the first lease", || get().code == 0);
    assert_eq!(get().expect(0).stdout, format!("{name} it was kept"));
}
