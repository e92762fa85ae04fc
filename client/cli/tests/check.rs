//! `--check-config` of both servers, where the configuration comes from, and logs for programs.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[allow(dead_code)] // as above
mod support;

use std::process::Stdio;

use serde_json::Value;
use symbolon_cli::demo::world::free_port;

use crate::deployment::{Deployment, Programs, until};
use crate::support::{Done, run};

fn broker(deployment: &Deployment, config: &str) -> Done {
    run(deployment.command(&["broker", "--check-config"]).env("SYMBOLON_CONFIG", config), "")
}

/// Both run meanwhile: nothing is opened that they hold.
#[test]
fn a_configuration_is_checked_with_everything_that_is_wrong_in_it() {
    let deployment = Deployment::uninitialised(Programs::default(), |_| String::new());
    assert!(broker(&deployment, "broker.toml").expect(0).stdout.contains("can be used"));
    deployment.run(&["fragment", "serve", "--check-config"], "").expect(0);

    let good = std::fs::read_to_string(deployment.path("broker.toml")).unwrap();
    let bad = good
        .replace("broker.key", "absent.key")
        .replace("heartbeat_secs = 1", "heartbeat_secs = \"often\"\ndead_man_hours = 0")
        .replace("allow = true", "alow = true");
    std::fs::write(deployment.path("bad.toml"), format!("{bad}\n[metrics]\nopen = 3\n")).unwrap();
    let found = broker(&deployment, "bad.toml").expect(2).stderr;
    for words in ["absent.key", "heartbeat", "dead_man_hours", "unknown field `alow`", "open"] {
        assert!(found.contains(words), "{words}: {found}");
    }
    broker(&deployment, "nowhere.toml").refused(2, "cannot read nowhere.toml");

    let foreign = good.replace("[init]\nallow = true", "").replace("store.redb", "other.redb");
    std::fs::write(deployment.path("foreign.toml"), foreign).unwrap();
    broker(&deployment, "foreign.toml").refused(2, "there is no store at");

    let fragment = std::fs::read_to_string(deployment.path("fragment.toml")).unwrap();
    let bad = fragment.replace("lease_ttl_secs = 600", "lease_ttl_secs = 0\nnonsense = 1");
    std::fs::write(deployment.path("bad.toml"), bad.replace("fragment.key", "absent.key")).unwrap();
    let found =
        deployment.run(&["fragment", "serve", "--check-config", "--config", "bad.toml"], "").expect(2).stderr;
    for words in ["absent.key", "grants.lease_ttl_secs", "unknown field `nonsense`", "3 faults"] {
        assert!(found.contains(words), "{words}: {found}");
    }
}

#[test]
fn a_log_for_programs_is_one_object_a_line() {
    let deployment = Deployment::uninitialised(Programs::default(), |_| String::new());
    let config = std::fs::read_to_string(deployment.path("broker.toml")).unwrap();
    let here = deployment.address.trim_start_matches("https://");
    let other = config.replace(here, &free_port().unwrap().to_string()).replace("store.redb", "other.redb");
    std::fs::write(deployment.path("other.toml"), other).unwrap();
    let log = std::fs::File::create(deployment.path("other.log")).unwrap();
    let mut command = deployment.command(&["broker", "--config", "other.toml", "--log-format", "json"]);
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let told = || std::fs::read_to_string(deployment.path("other.log")).unwrap();
    until("its first lines", || told().contains("the broker listens"));
    server.kill().unwrap();
    server.wait().unwrap();
    let lines: Vec<Value> = told().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let listens = lines.iter().find(|line| line["message"] == "the broker listens").unwrap();
    assert!(listens["address"].is_string() && listens["level"] == "INFO", "{listens}");
}
