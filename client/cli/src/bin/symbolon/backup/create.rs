//! `symbolon backup create`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use symbolon::Pieces;
use symbolon_cli::{BackupState, Operator};
use symbolon_proto::backup::{BackupReader, Whole};

use super::show;
use crate::cards::{self, card_text};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::promised::Promised;

/// Between two looks whether a backup has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// `symbolon backup create`
#[derive(Args)]
pub struct Create {
    /// Write it into this new file, or `-` for standard output, instead of the broker's configured place
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Card of somebody who is to open it; give it once for each. Without one, the configured recipients
    #[arg(long = "card", value_name = "FILE", requires = "out")]
    cards: Vec<PathBuf>,
    /// Begin without being asked; whoever says so has compared the fingerprints of the cards
    #[arg(long)]
    yes: bool,
}

impl Create {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.client()?;
        let Some(out) = &self.out else { return into_its_place(globals, &client).await };
        let cards = self.cards.iter().map(|path| card_text(path)).collect::<Result<Vec<_>, _>>()?;
        if !cards.is_empty() && !self.yes {
            cards::compare("The backup is sealed to these cards", &cards)?;
        }
        if out == Path::new("-") {
            let mut stdout = std::io::stdout().lock();
            let whole = pour(client.backup(&cards).await?, &mut stdout).await?;
            stdout.flush()?;
            return Ok(writeln!(std::io::stderr(), "whole: {} bytes", whole.bytes)?);
        }
        let mut file = Promised::new(out)?; // before the broker is asked
        let whole = pour(client.backup(&cards).await?, &mut file).await?;
        file.keep()?;
        show(globals.out(), &whole, false)
    }
}

/// Writes what comes, and checks the same bytes: what breaks off, or is not whole, is an error.
async fn pour(mut pieces: Pieces, out: &mut impl Write) -> Result<Whole, Failure> {
    let mut reader = BackupReader::new(None);
    while let Some(piece) = pieces.next().await? {
        reader.feed(&piece)?;
        out.write_all(&piece)?;
    }
    Ok(reader.finish()?)
}

async fn into_its_place(globals: &Globals, client: &Operator) -> Result<(), Failure> {
    let before = client.backup_state().await?;
    client.backup_now().await?;
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let state = client.backup_state().await?;
        if state.last != before.last {
            return told(globals, &state);
        }
        if !state.under_way {
            let why = if state.failed.is_empty() { "the broker does not say why" } else { &state.failed };
            return Err(Failure::unavailable(format!("no backup was made: {why}")));
        }
    }
}

fn told(globals: &Globals, state: &BackupState) -> Result<(), Failure> {
    let Some(last) = &state.last else { return Err(Failure::general("the broker forgot its backup")) };
    let facts = [
        ("made", last.time.clone()),
        ("name", last.name.clone()),
        ("bytes", last.bytes.to_string()),
        ("log entries", format!("{} or more", last.entries)),
    ];
    globals.out().facts(state, &facts)
}
