//! `symbolon ceremony`: who has given, who is missing, what is wrong.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, Subcommand};
use symbolon::{Ceremony, CeremonyState};
use symbolon_proto::share::ShareSetManifest;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::{Output, printable};

/// `symbolon ceremony`
#[derive(Subcommand)]
pub enum CeremonyCommand {
    /// Follow the ceremony under way until it is over
    Watch(Watch),
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
            Self::Watch(command) => command.run(globals).await,
        }
    }
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

/// Prints a ceremony as it stands.
pub fn print_once(out: Output, ceremony: Option<&Ceremony>) -> Result<(), Failure> {
    match out.is_json() {
        true => out.json(&CeremonyState { ceremony: ceremony.cloned() }),
        false => out.text(&view(ceremony)?),
    }
}

/// The last picture, so that a terminal is redrawn in place and a pipe gets a new one only when something changed.
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
    text.push_str(&format!("Ceremony key  {}\n", ceremony.key()?.fingerprint()));
    if let Some(expires) = ceremony.expires_ms {
        text.push_str(&format!("Time left     {} minutes\n", minutes_left(expires)));
    }
    text.push('\n');
    text.push_str(&people(&ceremony.giving()?, &ceremony.give.names, "gave", "Shares"));
    if let (Some(set), Some(prove)) = (ceremony.proving()?, &ceremony.prove) {
        text.push_str(&people(&set, &prove.names, "proved", "New shares"));
    }
    for refused in &ceremony.refused {
        text.push_str(&format!("  !  {}  {}\n", moment_ms(refused.at_ms), refused.reason));
    }
    Ok(printable(&text))
}

fn people(set: &ShareSetManifest, done: &[String], verb: &str, title: &str) -> String {
    let (needed, total) = (set.sharing().needed(), set.sharing().total());
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
