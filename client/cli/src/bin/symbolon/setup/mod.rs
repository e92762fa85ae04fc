//! `symbolon setup`: a first deployment, one side each. The same command again says what is next.

mod broker;
mod fragment;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use symbolon_cli::setup::{Deed, Layout, SetupError, Step};

use crate::failure::Failure;
use crate::input;
use crate::output::{Output, columns};

/// `symbolon setup`
#[derive(Subcommand)]
pub enum Setup {
    /// The side that holds the other half: on another machine, best of other people
    Fragment(fragment::Fragment),
    /// The side that serves secrets
    Broker(broker::Broker),
}

/// Where things go.
#[derive(Args)]
struct Place {
    /// Keep everything in this folder and run as whoever runs this
    /// [default: /etc/symbolon, /var/lib and a systemd unit; needs root]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Ask nothing
    #[arg(long)]
    yes: bool,
}

impl Setup {
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Fragment(command) => command.run().await,
            Self::Broker(command) => command.run().await,
        }
    }
}

impl Place {
    fn layout(&self, service: &str, state: &str) -> Result<Layout, Failure> {
        match &self.home {
            Some(folder) => Ok(Layout::home(folder, service)?),
            None => Ok(Layout::system(service, state)),
        }
    }

    /// Whether to go on.
    fn confirm(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        match input::ask(&format!("{what} Go on? (yes/no)"), "--yes")?.as_str() {
            "yes" | "y" => Ok(()),
            _ => Err(Failure::general("nothing was made")),
        }
    }
}

/// What was given, or what somebody types until it can be read.
fn answer<T: std::str::FromStr<Err: std::error::Error>>(
    given: Option<&str>,
    option: &str,
    question: &str,
) -> Result<T, Failure> {
    loop {
        let text = given.map_or_else(|| input::ask(question, option), |given| Ok(given.to_owned()))?;
        match text.parse() {
            Ok(value) => return Ok(value),
            Err(error) if given.is_none() && std::io::stdin().is_terminal() && !text.is_empty() => {
                Output::note(&format!("{error}"));
            }
            Err(error) => return Err(Failure::usage(format!("{option}: {error}"))),
        }
    }
}

fn report(out: Output, steps: &[Step]) -> Result<(), Failure> {
    let row = |step: &Step| {
        vec![step.deed.word().to_owned(), step.path.display().to_string(), step.what.to_owned()]
    };
    out.text(&columns(&steps.iter().map(row).collect::<Vec<_>>()))?;
    if !steps.iter().any(|step| step.deed.is_change()) {
        out.line("\nNothing was changed: everything was there.")?;
    }
    if steps.iter().any(|step| step.deed == Deed::Differs) {
        out.line("\nWhat differs is not what these options say, and was left alone: change it with an editor, or move it away.")?;
    }
    Ok(())
}

/// What people do next: who, and which command.
struct Next(Vec<(&'static str, String)>);

impl Next {
    fn print(self, out: Output) -> Result<(), Failure> {
        out.line("\nNext:")?;
        for (number, (who, command)) in (1..).zip(self.0) {
            out.line(&format!("  {number}. {who}\n     {command}"))?;
        }
        Ok(())
    }
}

/// How the service is started.
fn start(layout: &Layout, service: &str, by_hand: &str) -> String {
    if layout.is_system {
        return format!("systemctl daemon-reload && systemctl enable --now {service}");
    }
    format!("{by_hand}    # or by systemd: {}", layout.unit.display())
}

/// A path as a word of a shell.
fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ',' | ':');
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        let is_root_needed = matches!(&error, SetupError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied);
        let failure = match &error {
            SetupError::Writable { .. } | SetupError::Foreign { .. } | SetupError::Program { .. } => {
                Self::usage
            }
            _ => Self::general,
        };
        let failure = failure("the set-up stops here").because(&error);
        if is_root_needed {
            return failure.hint("run it as root for a service of the whole machine, or give --home DIR for a folder of your own");
        }
        failure.hint("what was made so far is kept; the same command again goes on from there")
    }
}
