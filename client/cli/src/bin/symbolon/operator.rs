//! `symbolon operator`: the life cycle of a broker.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use symbolon_cli::{InitAnswer, InitRequest, SealStatus};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::{Card, Parcel};
use symbolon_proto::share::Share;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::key_file::{text_file, write_new};
use crate::operator_rotate::Rotate;
use crate::output::{columns, printable};

/// Init waits until the operator of the fragment service has compared fingerprints and approved the broker.
const INIT_TIMEOUT: Duration = Duration::from_secs(900);

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
    /// New keys for what is stored, while everything is served
    #[command(subcommand, alias = "remote")]
    Rotate(Rotate),
}

/// `symbolon operator init`
#[derive(Args)]
pub struct Init {
    /// Shares to make, 2 to 16
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    shares: Option<u8>,
    /// Shares needed to unseal, 2 to the number of shares
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    threshold: Option<u8>,
    /// Name of a custodian whose share is shown once; give it once per share
    #[arg(long = "custodian", value_name = "NAME")]
    custodians: Vec<String>,
    /// Card of a custodian, instead of names; give it once per share. No share is shown then
    #[arg(long = "card", value_name = "FILE", conflicts_with_all = ["custodians", "shares"], requires = "envelopes")]
    cards: Vec<PathBuf>,
    /// Folder for the share envelopes, one new file per card
    #[arg(long, value_name = "DIR", requires = "cards")]
    envelopes: Option<PathBuf>,
    /// What happens if the fragment service is lost for good. none: all data is lost with it
    #[arg(long, value_parser = ["none", "customer-escrow"])]
    recovery: String,
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
            Self::Rotate(command) => command.run(globals).await,
        }
    }
}

impl Init {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let request = self.request()?;
        let client = globals.anonymous_within(INIT_TIMEOUT)?;
        if client.seal_status().await?.initialized {
            return Err(Failure::general("this broker is already initialised")
                .hint("unseal it with `symbolon operator unseal`; a new deployment needs a new store"));
        }
        let answer = tokio::select! {
            answer = client.init(&request) => answer?,
            never = announce(&client) => match never {},
        };
        match &self.envelopes {
            Some(folder) => write_init(globals, folder, &request, &answer),
            None => print_init(globals, &request, &answer),
        }
    }

    fn request(&self) -> Result<InitRequest, Failure> {
        let cards = self.cards.iter().map(|path| card_text(path)).collect::<Result<Vec<_>, _>>()?;
        let of_cards = u8::try_from(cards.len()).ok().filter(|cards| *cards > 0);
        let shares = number(self.shares.or(of_cards), "How many shares", "--shares")?;
        let threshold = number(self.threshold, "How many of them open the broker", "--threshold")?;
        if !(2..=16).contains(&shares) || !(2..=shares).contains(&threshold) {
            return Err(Failure::usage(format!("{threshold} of {shares} is no threshold"))
                .hint("use 2 to 16 shares, and a threshold from 2 to the number of shares, such as 2 of 3"));
        }
        let mut custodians = self.custodians.clone();
        while cards.is_empty() && custodians.len() < usize::from(shares) {
            let question = format!("Name of custodian {}", custodians.len() + 1);
            custodians.push(input::ask(&question, "--custodian, once per share,")?);
        }
        if custodians.len() > usize::from(shares) {
            let message = format!("{} custodians are named, but there are {shares} shares", custodians.len());
            return Err(Failure::usage(message).hint("one custodian holds one share"));
        }
        Ok(InitRequest {
            secret_shares: shares,
            secret_threshold: threshold,
            custodians,
            cards,
            recovery: self.recovery.clone(),
        })
    }
}

/// Says what the operator of the fragment service must be told, as soon as the broker waits for that. Never
/// ends and never fails: giving up here would lose the shares that `init` is about to answer with.
async fn announce(client: &symbolon_cli::Operator) -> std::convert::Infallible {
    let mut announced = String::new();
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Ok(status) = client.seal_status().await else { continue };
        // First the broker or its group, then the escrow key if there is one.
        let wish = status.fact("enrolling").filter(|text| !text.is_empty() && *text != announced);
        if let Some(fingerprint) = wish {
            let text = format!(
                "Waiting for the operator of every fragment service. Read this fingerprint to them:\n\n  \
                 {fingerprint}\n\nThey compare it and run: symbolon fragment approve <fingerprint>\n"
            );
            announced = fingerprint;
            // nobody to tell if it is closed
            let _ = writeln!(std::io::stderr().lock(), "{}", printable(&text));
        }
    }
}

fn number(given: Option<u8>, question: &str, option: &str) -> Result<u8, Failure> {
    match given {
        Some(number) => Ok(number),
        None => input::ask(question, option)?.parse().map_err(|_| {
            Failure::usage("that is not a number").hint("shares: 2 to 16, such as 3; threshold: such as 2")
        }),
    }
}

/// A card in text form, checked here so that a wrong file is named.
pub(crate) fn card_text(path: &Path) -> Result<String, Failure> {
    let text = text_file(path)?;
    match Card::parse(&text) {
        Ok(card) => Ok(card.to_text()),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
    }
}

/// Shares of custodians with cards: one file each, which only its owner opens.
fn write_init(
    globals: &Globals,
    folder: &Path,
    request: &InitRequest,
    answer: &InitAnswer,
) -> Result<(), Failure> {
    let mut files = Vec::new();
    for text in &answer.parcels {
        let parcel =
            Parcel::parse(text).map_err(|_| Failure::integrity("the broker sent a broken envelope"))?;
        let path = folder.join(format!("{}-{}.envelope", parcel.manifest().set_id(), parcel.x()));
        write_new(&path, text.as_bytes())?;
        files.push((printable(parcel.holder()), path.display().to_string()));
    }
    let out = globals.out();
    if out.is_json() {
        let named: Vec<_> = (files.iter())
            .map(|(name, file)| serde_json::json!({ "custodian": name, "envelope": file }))
            .collect();
        return out.json(&serde_json::json!({
            "envelopes": named,
            "threshold": request.secret_threshold,
            "root_token": answer.root_token.expose(),
            "log_key": answer.log_key,
        }));
    }
    let rows: Vec<Vec<String>> = files.into_iter().map(|(name, file)| vec![name, file]).collect();
    out.line("Share envelopes. Give each to its custodian; nobody else can open it:\n")?;
    out.text(&columns(&rows))?;
    print_keys(globals, answer)?;
    out.line(&format!(
        "\n{} of {} custodians open the broker: symbolon custodian submit",
        request.secret_threshold, request.secret_shares
    ))?;
    out.line("Have everybody give their share once, in a drill: symbolon ceremony begin drill")
}

/// What is shown once beside the shares.
fn print_keys(globals: &Globals, answer: &InitAnswer) -> Result<(), Failure> {
    let out = globals.out();
    out.line(&format!("\nRoot token:  {}", answer.root_token.expose()))?;
    if !answer.log_key.is_empty() {
        out.line(&format!("Log key:     {}", answer.log_key))?;
        out.line("             (keep it off this machine: `symbolon audit verify --key` needs it)")?;
    }
    Ok(())
}

/// The only time that shares are shown.
fn print_init(globals: &Globals, request: &InitRequest, answer: &InitAnswer) -> Result<(), Failure> {
    let shares = answer
        .shares_text()
        .map_err(|error| Failure::integrity("the broker sent a broken share").because(&error))?;
    let out = globals.out();
    if out.is_json() {
        let named: Vec<_> = (request.custodians.iter().zip(&shares))
            .map(|(name, share)| serde_json::json!({ "custodian": name, "share": share.as_str() }))
            .collect();
        return out.json(&serde_json::json!({
            "shares": named,
            "threshold": request.secret_threshold,
            "root_token": answer.root_token.expose(),
            "log_key": answer.log_key,
        }));
    }
    let rows: Vec<Vec<String>> = (request.custodians.iter().zip(&shares))
        .map(|(name, share)| vec![printable(name), share.to_string()])
        .collect();
    let text = Zeroizing::new(columns(&rows));
    out.line("Shares. Give each to its custodian and to nobody else; they are not shown again:\n")?;
    out.text(&text)?;
    print_keys(globals, answer)?;
    out.line(&format!(
        "\n{} of {} custodians open the broker: symbolon operator unseal",
        request.secret_threshold, request.secret_shares
    ))
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
            return globals.out().done("the broker is already open");
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

async fn status(globals: &Globals) -> Result<(), Failure> {
    let status = globals.anonymous()?.seal_status().await?;
    let state = match (status.initialized, status.sealed) {
        (false, _) => "not initialised",
        (true, true) => "sealed",
        (true, false) => "open",
    };
    let mut facts = vec![("state", state.to_owned())];
    if status.initialized {
        facts.push(("shares", format!("{} of {} open it", status.threshold, status.shares)));
    }
    if status.sealed && status.progress > 0 {
        facts.push(("given", format!("{} ({})", status.progress, given(&status))));
    }
    for (label, name) in [
        ("recovery policy", "recovery"),
        ("secret memory", "memory"),
        ("remote lease", "lease"),
        ("lease seconds left", "lease_left_secs"),
        ("seals itself in seconds", "dead_man_left_secs"),
        ("sealed because", "sealed_because"),
        ("generation", "generation"),
        ("deployment", "cluster_id"),
    ] {
        let fact = if name == "cluster_id" { Some(status.cluster_id.clone()) } else { status.fact(name) };
        if let Some(fact) = fact.filter(|fact| !fact.is_empty()) {
            facts.push((label, printable(&fact)));
        }
    }
    globals.out().facts(&status, &facts)?;
    if state == "open" {
        return Ok(());
    }
    Err(Failure::unavailable(format!("the broker is {state}")).hint(if status.initialized {
        "custodians must give their shares with `symbolon operator unseal`"
    } else {
        "an operator must run `symbolon operator init`"
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
