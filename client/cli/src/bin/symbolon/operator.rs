//! `symbolon operator`: the life cycle of a broker.

use clap::{Args, Subcommand};
use symbolon_cli::SealStatus;
use symbolon_proto::share::Share;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::operator_init::Init;
use crate::operator_root::Root;
use crate::operator_rotate::Rotate;
use crate::output::printable;

/// `symbolon operator`
#[derive(Subcommand)]
pub enum Operator {
    /// Make a deployment: prints every custodian's share and the root token, once
    Init(Init),
    /// Give one custodian's share; run it once per custodian, from any terminal
    Unseal(Unseal),
    /// Make the broker forget every key
    Seal,
    /// Print the state of the seal; exit code 5 if the broker is not open
    Status,
    /// A new root token, made by custodians together, when every token is lost
    #[command(subcommand)]
    Root(Root),
    /// New keys for what is stored, while everything is served
    #[command(subcommand, alias = "remote")]
    Rotate(Rotate),
}

/// `symbolon operator unseal`
#[derive(Args)]
pub struct Unseal {
    /// `-`: read the share from standard input; otherwise it is typed without echo
    #[arg(value_parser = ["-"])]
    share: Option<String>,
    /// Throw away the shares given so far instead
    #[arg(long, conflicts_with = "share")]
    reset: bool,
}

impl Operator {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Init(command) => command.run(globals).await,
            Self::Unseal(command) => command.run(globals).await,
            Self::Seal => {
                globals.client()?.seal().await?;
                globals.out().done("sealed: the broker has forgotten every key")
            }
            Self::Status => status(globals).await,
            Self::Root(command) => command.run(globals).await,
            Self::Rotate(command) => command.run(globals).await,
        }
    }
}

impl Unseal {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.anonymous()?;
        if self.reset {
            let status = client.unseal_reset().await?;
            return print_progress(globals, &status);
        }
        let before = client.seal_status().await?;
        if !before.initialized {
            return Err(Failure::unavailable("the broker is not initialised")
                .hint("an operator must run `symbolon operator init`"));
        }
        if !before.sealed {
            let out = globals.out();
            return if out.is_json() { out.json(&before) } else { out.line("the broker is already open") };
        }
        let text = input::secret("Share (skf1…)")?;
        // A typing error is found here, and the share of a wrong machine never leaves this one.
        let share = Share::parse(&text).map_err(|error| {
            Failure::usage(format!("this is not a share: {error}")).hint("type or paste it again")
        })?;
        let status = client.unseal(&share.to_text()).await?;
        print_progress(globals, &status)
    }
}

fn print_progress(globals: &Globals, status: &SealStatus) -> Result<(), Failure> {
    let out = globals.out();
    if out.is_json() {
        return out.json(status);
    }
    if !status.sealed {
        return out.line("unsealed: the broker is open");
    }
    let given = if status.given.is_empty() { String::new() } else { format!(" ({})", given(status)) };
    out.line(&format!(
        "{} of {} shares given{given}; the broker is still sealed",
        status.progress, status.threshold
    ))
}

fn given(status: &SealStatus) -> String {
    printable(&status.given.join(", "))
}

/// What the broker knows of its backups, if it makes any.
fn backup_facts(status: &SealStatus) -> Vec<(&'static str, String)> {
    let Some(backup) = status.more.get("backup").filter(|backup| backup.is_object()) else {
        return Vec::new();
    };
    let last = backup["last"]["time"].as_str().unwrap_or("none is known");
    let failed = backup["failed"].as_str().filter(|why| !why.is_empty());
    let failed = failed.map(|why| ("backup failed", printable(why)));
    std::iter::once(("last backup", printable(last))).chain(failed).collect()
}

/// `symbolon status`: the same, with Vault's exit codes, which scripts wait for: 0 open, 2 sealed, 1 neither.
pub async fn status_as_vault(globals: &Globals) -> Result<(), Failure> {
    let status = globals.anonymous().map_err(|failure| failure.exits(1))?.seal_status().await;
    let status = status.map_err(|error| Failure::from(error).exits(1))?;
    let code = if status.sealed || !status.initialized { 2 } else { 1 };
    print_status(globals, &status).map_err(|failure| failure.exits(code))
}

/// How far each sink of the log is behind, and why.
fn sink_facts(status: &SealStatus) -> Vec<(&'static str, String)> {
    let Some(sinks) = status.more.get("sinks").and_then(|sinks| sinks.as_array()) else {
        return Vec::new();
    };
    let fact = |sink: &serde_json::Value| {
        let [kind, failed] = ["kind", "failed"].map(|name| sink[name].as_str().unwrap_or_default());
        let [lag, secs, pruned, rejected] =
            ["lag", "lag_secs", "pruned", "rejected"].map(|name| sink[name].as_u64().unwrap_or(0));
        let mut told = format!("{kind}, {lag} entries behind");
        for (is, text) in [
            (secs > 0, format!(" for {secs} s")),
            (pruned > 0, format!("; {pruned} were pruned before it had them")),
            (rejected > 0, format!("; it would not keep {rejected}")),
            (!failed.is_empty(), format!("; {failed}")),
        ] {
            told.push_str(if is { &text } else { "" });
        }
        ("sink of the log", printable(&told))
    };
    sinks.iter().map(fact).collect()
}

async fn status(globals: &Globals) -> Result<(), Failure> {
    print_status(globals, &globals.anonymous()?.seal_status().await?)
}

/// Prints the state; an error unless the broker is open and reads would succeed.
fn print_status(globals: &Globals, status: &SealStatus) -> Result<(), Failure> {
    let degraded = status.fact("degraded").filter(|reason| !reason.is_empty());
    let state = match (status.initialized, status.sealed) {
        (false, _) => "not initialised",
        (true, true) => "sealed",
        (true, false) if degraded.is_some() => "degraded",
        (true, false) => "open",
    };
    let mut facts = vec![("state", state.to_owned())];
    if status.initialized {
        facts.push(("shares", format!("{} of {} open it", status.threshold, status.shares)));
    }
    if status.sealed && status.progress > 0 {
        facts.push(("given", format!("{} ({})", status.progress, given(status))));
    }
    for (label, name) in [
        ("recovery policy", "recovery"),
        ("secret memory", "memory"),
        ("remote lease", "lease"),
        ("lease seconds left", "lease_left_secs"),
        ("degraded", "degraded"),
        ("sealed because", "sealed_because"),
        ("generation", "generation"),
        ("deployment", "cluster_id"),
    ] {
        let fact = if name == "cluster_id" { Some(status.cluster_id.clone()) } else { status.fact(name) };
        if let Some(fact) = fact.filter(|fact| !fact.is_empty()) {
            facts.push((label, printable(&fact)));
        }
    }
    // The switch runs only while no lease is active.
    if let Some(left) = degraded.as_ref().and_then(|_| status.fact("dead_man_left_secs")) {
        facts.push(("seals itself in seconds", printable(&left)));
    }
    facts.extend(backup_facts(status));
    facts.extend(sink_facts(status));
    let alarms = status.more.get("alarms").and_then(|alarms| alarms.as_array()).into_iter().flatten();
    facts.extend(alarms.filter_map(|alarm| Some(("alarm", printable(alarm.as_str()?)))));
    globals.out().facts(status, &facts)?;
    if state == "open" {
        return Ok(());
    }
    Err(Failure::unavailable(format!("the broker is {state}")).hint(match state {
        "degraded" => "it is open, and reads fail: look at the fragment service, and at the network between",
        "sealed" => "custodians must give their shares with `symbolon operator unseal`",
        _ => "an operator must run `symbolon operator init`",
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::globals::Asking;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        asking: Asking<Operator>,
    }

    #[tokio::test]
    async fn init_gives_up_when_it_was_told_to() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // connects, and never answers
        let address = format!("http://{}", silent.local_addr().unwrap());
        let line = "x init --shares 2 --threshold 2 --custodian a --custodian b --recovery none --timeout 1";
        let words = line.split(' ').chain(["--address", &address]);
        let Typed { asking } = Typed::parse_from(words);
        let run = asking.command.run(&asking.globals);
        let ended = tokio::time::timeout(Duration::from_secs(20), run).await;
        assert!(ended.expect("the time that was given counts").is_err());
    }
}
