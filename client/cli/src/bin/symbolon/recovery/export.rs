//! `symbolon recovery export`: every secret in one file, for the day when the fragment service is gone.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use symbolon_broker::recovery::Found;

use super::{Source, judge, show};
use crate::failure::Failure;
use crate::output::Output;

/// `symbolon recovery export`
#[derive(Args)]
pub struct Export {
    #[command(flatten)]
    source: Source,
    /// New file for every secret in plain text, one JSON object per line; readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// I know that this writes every secret in plain text and bypasses revocation
    #[arg(long)]
    reveal_everything: bool,
}

impl Export {
    pub(super) async fn run(self, out: Output) -> Result<(), Failure> {
        if !self.reveal_everything {
            return Err(Failure::usage("this writes every secret in plain text")
                .hint("say --reveal-everything if that is meant; `symbolon recovery drill` shows none"));
        }
        let recovered = self.source.recover().await?;
        let failed = |error: std::io::Error| {
            Failure::general(format!("cannot write {}", self.out.display())).because(&error)
        };
        let file =
            File::options().write(true).create_new(true).mode(0o600).open(&self.out).map_err(failed)?;
        let mut lines = BufWriter::new(file);
        let report =
            recovered.go_through::<Failure>(|found| write_line(&mut lines, found).map_err(failed)).await?;
        let file = lines.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        show(out, &report)?;
        judge(&report)
    }
}

/// `{"mount":…,"path":…,"version":…,"data":…}`; the data is the JSON text as it was stored.
fn write_line(lines: &mut impl Write, found: Found<'_>) -> std::io::Result<()> {
    let Found { mount, path, version, value } = found;
    let (mount, path) = (serde_json::to_string(mount)?, serde_json::to_string(path)?);
    write!(lines, "{{\"mount\":{mount},\"path\":{path},\"version\":{version},\"data\":")?;
    value.transform(|data| lines.write_all(data))?;
    writeln!(lines, "}}")
}
