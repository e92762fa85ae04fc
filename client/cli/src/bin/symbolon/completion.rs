//! Completion scripts.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::globals::Format;
use crate::output::Output;

/// `symbolon completion`
#[derive(Args)]
pub struct Completion {
    /// Which shell; for bash: `symbolon completion bash > /etc/bash_completion.d/symbolon`
    shell: Shell,
}

impl Completion {
    pub fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "symbolon", &mut script);
        Output::new(Format::Table).text(&String::from_utf8_lossy(&script))
    }
}
