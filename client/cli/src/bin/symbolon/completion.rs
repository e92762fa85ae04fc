//! Completion: a few lines for the shell, which ask this binary each time.

use clap::Args;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::failure::Failure;
use crate::globals::Format;
use crate::output::Output;

/// The variable with which a shell asks.
pub const VARIABLE: &str = "COMPLETE";
const NAME: &str = "symbolon";

/// `symbolon completion`
#[derive(Args)]
pub struct Completion {
    /// Which shell; for bash: `symbolon completion bash > /etc/bash_completion.d/symbolon`
    shell: Shell,
}

impl Completion {
    pub fn run(self) -> Result<(), Failure> {
        let mut stub = Vec::new();
        let shells = Shells::builtins();
        let shell = shells.completer(&self.shell.to_string());
        let shell = shell.ok_or_else(|| Failure::usage("no completion is made for this shell"))?;
        shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut stub)?;
        Output::new(Format::Table).text(&String::from_utf8_lossy(&stub))
    }
}
