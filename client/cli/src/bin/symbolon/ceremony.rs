//! `symbolon ceremony`: what operators begin and end, and who has given, who is missing, what is wrong.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use symbolon_cli::{Ceremony, CeremonyState, KeptCeremony};
use symbolon_proto::custody::transcript::{CeremonyType, Transcript};
use symbolon_proto::share::ShareSetManifest;

use crate::cards::{self, card_text};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::key_file::write_new;
use crate::output::{Output, printable};
use crate::token::lifetime;

/// `symbolon ceremony`
#[derive(Subcommand)]
pub enum CeremonyCommand {
    /// Begin a ceremony that changes something, on an open broker
    Begin(Begin),
    /// Follow the ceremony under way until it is over
    Watch(Watch),
    /// End a drill with the shares that are there
    Finish,
    /// Give the ceremony up; everything stays as it was
    Cancel,
    /// List the ceremonies that are over
    List,
    /// Print what was kept of one that is over
    Show(Show),
}

/// `symbolon ceremony begin`
#[derive(Args)]
pub struct Begin {
    /// drill: everybody's share is right? epoch: new keys from the same shares. reshare: new shares. rekey:
    /// new fragment
    #[arg(value_parser = ["drill", "epoch", "reshare", "rekey"])]
    kind: String,
    /// Shares that are needed from then on, 2 to the number of cards
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16), requires = "cards")]
    threshold: Option<u8>,
    /// Card of a custodian who is to hold a new share; give it once per custodian
    #[arg(long = "card", value_name = "FILE")]
    cards: Vec<PathBuf>,
    /// A source of the broker that is to hold a new share; give it once per source
    #[arg(long = "source", value_name = "NAME", requires = "cards")]
    sources: Vec<String>,
    /// Begin without being asked; whoever says so has compared the fingerprints of the cards
    #[arg(long)]
    yes: bool,
}

/// `symbolon ceremony show`
#[derive(Args)]
pub struct Show {
    /// Nonce of the ceremony, as `symbolon ceremony list` prints it
    nonce: String,
    /// Write the transcript into this new file
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
}

/// `symbolon ceremony watch`
#[derive(Args)]
pub struct Watch {
    /// Print the state once and end
    #[arg(long)]
    once: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    every: u64,
}

impl CeremonyCommand {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Begin(command) => command.run(globals).await,
            Self::Watch(command) => command.run(globals).await,
            Self::Finish => {
                let after = globals.client()?.finish_ceremony().await?;
                print_once(globals.out(), after.as_ref())
            }
            Self::Cancel => {
                globals.client()?.cancel_ceremony().await?;
                globals.out().done("cancelled: everything stays as it was")
            }
            Self::List => list(globals).await,
            Self::Show(command) => command.run(globals).await,
        }
    }
}

impl Begin {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let makes_shares = matches!(self.kind.as_str(), "reshare" | "rekey");
        if makes_shares != self.threshold.is_some() || makes_shares == self.cards.is_empty() {
            return Err(Failure::usage(format!(
                "{} is begun {} --threshold and --card",
                self.kind,
                if makes_shares { "with" } else { "without" }
            ))
            .hint("`reshare` and `rekey` make new shares for the owners of the cards; `drill` and `epoch` make none"));
        }
        let cards = self.cards.iter().map(|path| card_text(path)).collect::<Result<Vec<_>, _>>()?;
        if makes_shares && !self.yes {
            cards::compare("New shares are sealed to these cards", &cards)?;
        }
        let begun =
            globals.client()?.begin_ceremony(&self.kind, self.threshold, &cards, &self.sources).await?;
        print_once(globals.out(), begun.as_ref())
    }
}

async fn list(globals: &Globals) -> Result<(), Failure> {
    let ceremonies = globals.client()?.ceremonies().await?;
    if globals.out().is_json() {
        return globals.out().json(&ceremonies);
    }
    let rows: Vec<Vec<String>> = ceremonies.iter().map(row).collect();
    globals.out().more_rows(rows)
}

fn row(ceremony: &KeptCeremony) -> Vec<String> {
    let signed = match (ceremony.complete, ceremony.participants.is_empty()) {
        (true, true) => "signed by the broker",
        (true, false) => "signed by all",
        (false, _) => "signatures missing",
    };
    [ceremony.nonce.as_str(), &ceremony.kind, &ceremony.ended, signed].map(printable).into()
}

impl Show {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let kept = globals.client()?.kept_ceremony(&self.nonce).await?;
        let text = kept.transcript.as_deref().unwrap_or_default();
        let transcript = Transcript::parse(text)
            .map_err(|error| Failure::integrity(format!("the broker sent no transcript: {error}")))?;
        if let Some(path) = &self.transcript {
            write_new(path, text.as_bytes())?;
        }
        if globals.out().is_json() {
            return globals.out().json(&kept);
        }
        show_transcript(globals.out(), &transcript)?;
        globals.out().line(&format!("broker      {}", printable(&kept.broker)))?;
        for (name, standing) in &kept.participants {
            globals.out().line(&printable(&format!("{name}  {standing}")))?;
        }
        Ok(())
    }
}

/// What happened, and the hash that everybody signs.
pub fn show_transcript(out: Output, transcript: &Transcript) -> Result<(), Failure> {
    out.line(&format!("{} of deployment {}\n", transcript.ceremony().name(), transcript.deployment()))?;
    for event in transcript.events() {
        let who =
            if event.name.is_empty() { String::new() } else { format!("  {} ({})", event.name, event.x) };
        out.line(&printable(&format!("  {}  {}{who}", moment_ms(event.at_ms), event.kind.name())))?;
    }
    let hash: String = transcript.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    out.line(&format!("\nFinal hash  {hash}"))
}

impl Watch {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.anonymous()?;
        if self.once || globals.out().is_json() {
            return print_once(globals.out(), client.ceremony().await?.as_ref());
        }
        let mut screen = Screen::default();
        loop {
            let ceremony = client.ceremony().await?;
            screen.show(&view(ceremony.as_ref())?)?;
            if ceremony.is_none_or(|ceremony| is_over(&ceremony)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(self.every)).await;
        }
    }
}

fn is_over(ceremony: &Ceremony) -> bool {
    matches!(ceremony.stage.as_str(), "done" | "cancelled")
}

/// A ceremony of a type that this version knows. Nobody gives a share or signs for what they are not shown.
pub fn known(ceremony: Ceremony) -> Result<Ceremony, Failure> {
    match CeremonyType::from_name(&ceremony.kind) {
        Some(_) => Ok(ceremony),
        None => Err(Failure::usage("the ceremony is of a type that this command does not know")
            .hint("take the version of the broker, so that you see what the ceremony is for")),
    }
}

/// Prints a ceremony as it stands.
pub fn print_once(out: Output, ceremony: Option<&Ceremony>) -> Result<(), Failure> {
    match out.is_json() {
        true => out.json(&CeremonyState { ceremony: ceremony.cloned() }),
        false => out.text(&view(ceremony)?),
    }
}

/// The last picture, so that a terminal is redrawn in place and a pipe gets a new one only when something
/// changed.
#[derive(Default)]
struct Screen {
    shown: String,
}

impl Screen {
    fn show(&mut self, picture: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        if stdout.is_terminal() && !self.shown.is_empty() {
            // Up as many lines as there are, then clear to the end of the screen.
            write!(stdout, "\x1b[{}A\x1b[J{picture}", self.shown.lines().count())?;
        } else if picture != self.shown {
            write!(stdout, "{picture}")?;
        }
        stdout.flush()?;
        picture.clone_into(&mut self.shown);
        Ok(())
    }
}

/// The ceremony as people read it.
fn view(ceremony: Option<&Ceremony>) -> Result<String, Failure> {
    let Some(ceremony) = ceremony else { return Ok("No ceremony is under way.\n".to_owned()) };
    let mut text = format!("{} ceremony, {}\n", ceremony.kind, ceremony.stage);
    if ceremony.key.is_some() {
        text.push_str(&format!("Ceremony key  {}\n", ceremony.key()?.fingerprint()));
    }
    if let Some(expires) = ceremony.expires_ms.filter(|_| !is_over(ceremony)) {
        text.push_str(&format!("Time left     {} minutes\n", minutes_left(expires)));
    }
    if let Some(wish) = &ceremony.root {
        text.push_str(&format!(
            "Root token    for {}, card {}\n              {} from when it is made\n",
            wish.name,
            wish.fingerprint,
            lifetime(wish.ttl_secs.into())
        ));
    }
    text.push('\n');
    text.push_str(&people(&ceremony.giving()?, &ceremony.give.names, "gave", "Shares", ceremony.threshold));
    if let (Some(set), Some(prove)) = (ceremony.proving()?, &ceremony.prove) {
        // Any t of the new shares will do later; now everybody shows that theirs opens.
        text.push_str(&people(&set, &prove.names, "proved", "New shares", set.sharing().total()));
    }
    if ceremony.stage == "signing" {
        text.push_str(&format!("Signatures missing: {}\n", ceremony.missing.join(", ")));
    }
    for refused in &ceremony.refused {
        text.push_str(&format!("  !  {}  {}\n", moment_ms(refused.at_ms), refused.reason));
    }
    Ok(printable(&text))
}

fn people(set: &ShareSetManifest, done: &[String], verb: &str, title: &str, needed: u8) -> String {
    let total = set.sharing().total();
    let mut text =
        format!("{title}: {} {verb}; {needed} of {total} needed, set {}\n", done.len(), set.set_id());
    for custodian in set.custodians() {
        let (mark, state) = if done.contains(&custodian.name) { ("x", verb) } else { (" ", "missing") };
        text.push_str(&format!("  [{mark}] {:>2}  {}  {state}\n", custodian.x, custodian.name));
    }
    text
}

fn minutes_left(expires_ms: u64) -> u64 {
    expires_ms.saturating_sub(crate::moment::now_ms()).div_ceil(60_000)
}

/// A moment in UTC from Unix milliseconds.
pub fn moment_ms(unix_ms: u64) -> String {
    crate::moment::utc(unix_ms)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nobody_takes_part_in_a_ceremony_of_a_later_version() {
        let of_kind = |kind: &str| -> Ceremony {
            let give = serde_json::json!({ "manifest": "", "names": [] });
            serde_json::from_value(serde_json::json!({
                "type": kind, "stage": "collecting", "deployment": "", "nonce": "", "key": null, "opened_ms": 0,
                "fingerprint": null, "expires_ms": null, "give": give, "prove": null, "transcript": "",
            }))
            .unwrap()
        };
        for kind in ["unseal", "drill", "root"] {
            assert!(known(of_kind(kind)).is_ok(), "{kind}");
        }
        assert!(known(of_kind("of tomorrow")).is_err());
    }
}
