//! `symbolon man`: manual pages, one per command, for whoever packages the binary.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use crate::failure::Failure;

/// `symbolon man`
#[derive(Args)]
pub struct Man {
    /// Directory to write the pages to; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Man {
    pub fn run(self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.directory)?;
        let mut command = crate::command();
        command.build();
        let count = write(&self.directory, &command, &[])?;
        Ok(writeln!(std::io::stderr().lock(), "{count} pages in {}", self.directory.display())?)
    }
}

/// The page of a command and those below it; how many.
fn write(directory: &Path, command: &Command, above: &[&str]) -> Result<usize, Failure> {
    let path: Vec<&str> = above.iter().copied().chain([command.get_name()]).collect();
    let name = path.join("-");
    let page = clap_mangen::Man::new(command.clone()).title(name.to_uppercase());
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(directory.join(format!("{name}.1")), text)?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    below.map(|below| write(directory, below, &path)).try_fold(1, |sum, count| Ok(sum + count?))
}
