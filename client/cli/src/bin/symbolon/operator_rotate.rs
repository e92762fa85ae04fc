//! `symbolon operator rotate`: new keys for what is stored, while everything is served.
//!
//! The broker does the work; these commands ask for it and show how far it is. So a terminal that is closed
//! stops nothing.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;
use symbolon::Error;
use symbolon_cli::{
    FragmentKeys, GroupChange, LeavingNode, MountKeks, Operator, RewrapProgress, RotationStatus,
};
use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::{Output, printable};

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// A rotation that has come upon damage and has not moved for so long will not move any more.
const STUCK: Duration = Duration::from_secs(15);

/// How often it is looked how far a change of a group is.
const LOOK: Duration = Duration::from_millis(250);

const FOLLOW: &str = "follow it with `symbolon operator rotate status --wait`";

/// `symbolon operator rotate`
#[derive(Subcommand)]
pub enum Rotate {
    /// New KEKs for one KV mount, or for all and for the deployment itself
    Kek(Kek),
    /// A new key epoch of the fragment services, and every capsule re-wrapped for it
    #[command(alias = "rotate")] // as in `operator remote rotate`
    Remote(Wait),
    /// Print how rotations stand
    Status(Wait),
    /// New shares of the same key for the same fragment services
    Refresh,
    /// The same key for the fragment services and the threshold in the broker's configuration
    Reshare(Reshare),
    /// Tell the fragment services that the oldest key epoch is needed no more; refused while a capsule needs
    /// it
    Retire,
}

/// `symbolon operator rotate kek`
#[derive(Args)]
pub struct Kek {
    /// Path of the mount; without it all KV mounts and the deployment's own keys
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    mount: Option<String>,
    #[command(flatten)]
    wait: Wait,
}

/// `symbolon operator rotate reshare`
#[derive(Args)]
pub struct Reshare {
    /// Only print the fingerprint that the operators of all services, leaving ones too, compare and approve
    /// before
    #[arg(long)]
    proposed: bool,
}

/// Whether to stay until the end.
#[derive(Args)]
pub struct Wait {
    /// Stay until the rotation has ended, and show on a terminal how far it is
    #[arg(long)]
    wait: bool,
}

/// What is waited for.
enum Awaited {
    /// KEKs of one mount.
    Mount(String),
    /// KEKs of all mounts and of the deployment.
    Keks,
    /// Capsules of a key epoch.
    Remote(u32),
    /// Everything.
    All,
}

impl Rotate {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.client()?;
        match self {
            Self::Kek(command) => command.run(&client, globals.out()).await,
            Self::Remote(wait) => remote(&client, wait, globals.out()).await,
            Self::Status(Wait { wait: true }) => follow(&client, &Awaited::All, globals.out()).await,
            Self::Status(_) => print(globals.out(), &client.rotations().status().await?),
            Self::Refresh => {
                watched(&client, globals.out(), client.rotations().refresh()).await?;
                globals.out().done("the fragment services have new shares; the old ones are erased")
            }
            Self::Reshare(Reshare { proposed: true }) => {
                let fingerprint = client.rotations().proposed().await.map_err(refused)?;
                globals
                    .out()
                    .facts(&json!({ "fingerprint": fingerprint }), &[("fingerprint", fingerprint.clone())])
            }
            Self::Reshare(_) => {
                watched(&client, globals.out(), client.rotations().reshare()).await?;
                globals.out().done("the key is shared among the configured fragment services")
            }
            Self::Retire => retire(&client, globals.out()).await,
        }
    }
}

impl Kek {
    async fn run(self, client: &Operator, out: Output) -> Result<(), Failure> {
        let (asked, awaited) = match &self.mount {
            Some(mount) => {
                let path = mount.trim_end_matches('/');
                (client.rotations().mount_keks(path).await, Awaited::Mount(format!("{path}/")))
            }
            None => (client.rotations().all_keks().await, Awaited::Keks),
        };
        asked.map_err(refused)?;
        if self.wait.wait {
            return follow(client, &awaited, out).await;
        }
        out.done(&format!("new KEKs are being made; {FOLLOW}"))
    }
}

async fn remote(client: &Operator, wait: Wait, out: Output) -> Result<(), Failure> {
    let key_epoch = client.rotations().remote().await.map_err(refused)?;
    if wait.wait {
        return follow(client, &Awaited::Remote(key_epoch), out).await;
    }
    if out.is_json() {
        return out.json(&json!({ "key_epoch": key_epoch }));
    }
    out.line(&format!("capsules are being re-wrapped for key epoch {key_epoch}; {FOLLOW}"))
}

async fn retire(client: &Operator, out: Output) -> Result<(), Failure> {
    let retired = client.rotations().retire().await.map_err(refused)?;
    if out.is_json() {
        return out.json(&json!({ "retired_key_epoch": retired }));
    }
    out.line(&format!(
        "key epoch {retired} is retired at the broker; two officers of the fragment service order its end there"
    ))
}

/// Waits for a change of a group of services, and shows on a terminal how far it is.
async fn watched(
    client: &Operator,
    out: Output,
    change: impl Future<Output = Result<(), Error>>,
) -> Result<(), Failure> {
    let mut line = Line::new(out);
    let changed = tokio::select! {
        changed = change => changed,
        never = show_group(client, &mut line) => match never {},
    };
    line.clear();
    changed.map_err(refused)
}

/// Never ends, and never fails: what is waited for is the change.
async fn show_group(client: &Operator, line: &mut Line) -> std::convert::Infallible {
    loop {
        sleep(LOOK).await;
        let status = client.rotations().status().await;
        if let Some(GroupChange { change, step, done, total }) =
            status.ok().and_then(|status| status.remote.under_way)
        {
            line.show(&format!("{change}: {step}, {done} of {total}"));
        }
    }
}

/// The broker's refusals say who must act; what they are about is seen in the status.
fn refused(error: Error) -> Failure {
    let is_refusal = matches!(error, Error::Invalid(_));
    let failure = Failure::from(error);
    if is_refusal {
        return failure.hint(
            "`symbolon operator rotate status` lists KV mounts, key epochs and what is under way; nothing has changed",
        );
    }
    failure
}

/// Stays until what is awaited has ended, and prints how everything stands then.
async fn follow(client: &Operator, awaited: &Awaited, out: Output) -> Result<(), Failure> {
    let mut line = Line::new(out);
    let ended = until(client, awaited, &mut line).await;
    line.clear();
    print(out, &ended?)
}

async fn until(client: &Operator, awaited: &Awaited, line: &mut Line) -> Result<RotationStatus, Failure> {
    let mut last: Option<RotationStatus> = None;
    let mut moved = Instant::now();
    loop {
        let status = client.rotations().status().await.map_err(|error| {
            Failure::from(error).prefixed("the rotation was asked for, but how far it is cannot be told")
        })?;
        if awaited.is_over(&status)? {
            return Ok(status);
        }
        if last.as_ref().is_none_or(|last| place(last) != place(&status)) {
            moved = Instant::now();
        }
        if status.damaged() > 0 && moved.elapsed() > STUCK {
            return Err(stuck(&status));
        }
        line.show(&awaited.progress(&status));
        last = Some(status);
        sleep(EVERY).await;
    }
}

/// Where a rotation is, without what changes while it stands.
fn place(status: &RotationStatus) -> impl PartialEq + '_ {
    (&status.fragment, &status.remote.last, &status.keks, &status.own)
}

fn stuck(status: &RotationStatus) -> Failure {
    let damaged = status.damaged();
    Failure::integrity(format!("the rotation stands: {damaged} stored values or capsules are damaged"))
        .hint("restore them from a backup, or remove what they belong to; the rotation goes on at the next unseal at the latest")
}

impl Awaited {
    fn is_over(&self, status: &RotationStatus) -> Result<bool, Failure> {
        match self {
            Self::Mount(path) => match status.keks.get(path) {
                Some(keks) => Ok(!keks.is_rolling()),
                None => Err(Failure::general("the mount was removed meanwhile")
                    .hint("`symbolon operator rotate status` lists the KV mounts")),
            },
            Self::Keks => Ok(!status.is_rolling()),
            Self::Remote(key_epoch) => Ok(status.is_rewrapped_for(*key_epoch)),
            Self::All => Ok(!status.is_rolling() && !status.is_rewrapping() && !status.fragment.changing),
        }
    }

    fn progress(&self, status: &RotationStatus) -> String {
        let mut parts = Vec::new();
        if matches!(self, Self::Remote(_) | Self::All) && status.is_rewrapping() {
            parts.push(rewrapping(status));
        }
        if matches!(self, Self::All) && status.fragment.changing {
            let FragmentKeys { epoch, rows_resealed, .. } = status.fragment;
            parts.push(format!("fragment epoch {epoch}: {rows_resealed} rows sealed anew"));
        }
        for (path, keks) in &status.keks {
            let ours = match self {
                Self::Mount(mount) => mount == path,
                Self::Remote(_) => false,
                Self::Keks | Self::All => true,
            };
            if ours && keks.is_rolling() {
                parts.push(rolling(path, keks));
            }
        }
        if let Some(problem) = &status.problem {
            parts.push(format!("waiting: {problem}"));
        }
        if parts.is_empty() { "waiting for the broker to begin".to_owned() } else { parts.join("; ") }
    }
}

fn rewrapping(status: &RotationStatus) -> String {
    let newest = status.remote.key_epochs.last();
    match status.remote.last.as_ref().filter(|last| Some(&last.key_epoch) == newest) {
        Some(RewrapProgress { key_epoch, capsules, done, left, .. }) => {
            let rate = status.remote.rate_per_second;
            let time =
                if rate > 0.0 { format!(", {:.0} s left", *left as f64 / rate) } else { String::new() };
            format!("key epoch {key_epoch}: {done} of {capsules} capsules, {rate:.0} a second{time}")
        }
        None => "counting capsules".to_owned(),
    }
}

fn rolling(path: &str, MountKeks { payloads_moved, state, .. }: &MountKeks) -> String {
    match state.as_str() {
        "preparing" => format!("{path} makes KEKs"),
        _ => format!("{path} {payloads_moved} payloads moved"),
    }
}

/// One line on the terminal of standard error, written over and over. Nothing for programs and files.
struct Line {
    is_shown: bool,
}

impl Line {
    fn new(out: Output) -> Self {
        Self { is_shown: !out.is_json() && std::io::stderr().is_terminal() }
    }

    fn show(&mut self, text: &str) {
        let one_line: String = printable(text).replace(['\n', '\t'], " ").chars().take(100).collect();
        self.write(&one_line);
    }

    fn clear(&mut self) {
        self.write("");
    }

    fn write(&mut self, text: &str) {
        if self.is_shown {
            let mut stderr = std::io::stderr().lock();
            // nobody to tell if it is closed
            let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
        }
    }
}

fn print(out: Output, status: &RotationStatus) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(status);
    }
    out.facts(&(), &facts(status))?;
    if status.keks.is_empty() {
        return Ok(());
    }
    out.gap()?;
    let rows = status.keks.iter().map(|(path, keks)| row(path, keks)).collect();
    out.rows(&(), &["MOUNT", "TIER", "KEK EPOCH", "STATE", "MOVED", "STARTED", "ENDED"], rows)
}

fn facts(status: &RotationStatus) -> Vec<(&'static str, String)> {
    let changing = if status.fragment.changing { ", taking over from the one before" } else { "" };
    let mut facts = vec![
        ("fragment epoch", format!("{}{changing}", status.fragment.epoch)),
        ("remote key epochs", numbers(&status.remote.key_epochs)),
    ];
    if let Some(last) = &status.remote.last {
        let rate = status.remote.rate_per_second;
        let end = match (&last.finished, status.remote.running) {
            (Some(finished), _) => format!("ended {}", printable(finished)),
            (None, true) => format!("{rate:.0} a second"),
            (None, false) => "not ended".to_owned(),
        };
        let RewrapProgress { key_epoch, capsules, done, .. } = last;
        facts.push((
            "last rotation",
            format!("to key epoch {key_epoch}: {done} of {capsules} capsules, {end}"),
        ));
    }
    for LeavingNode { url, approve, waits, .. } in &status.remote.leaving {
        let text = format!("{}: {}; fingerprint {}", printable(url), printable(waits), printable(approve));
        facts.push(("left, share not erased", text));
    }
    let rolling = if status.own.rolling { ", being rolled" } else { "" };
    facts.push(("own KEK epoch", format!("{}{rolling}", status.own.kek_epoch)));
    if !status.own.older_token_epochs.is_empty() {
        facts.push(("kept for machine tokens", numbers(&status.own.older_token_epochs)));
    }
    if status.damaged() > 0 {
        facts.push(("damaged", status.damaged().to_string()));
    }
    facts.extend(status.problem.as_deref().map(|problem| ("problem", printable(problem))));
    facts
}

fn row(path: &str, keks: &MountKeks) -> Vec<String> {
    let moment = |at: &Option<String>| at.as_deref().map_or_else(|| "-".to_owned(), printable);
    vec![
        printable(path),
        printable(&keks.tier),
        keks.kek_epoch.to_string(),
        printable(&keks.state),
        keks.payloads_moved.to_string(),
        moment(&keks.started),
        moment(&keks.finished),
    ]
}

fn numbers(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}
