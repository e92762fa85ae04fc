//! The real binary: one call, and what came of it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a command ended.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// Fails the test that called, with everything that was printed, unless this is the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The same, and the problem is the one that is meant.
    #[track_caller]
    pub fn refused(self, code: i32, says: &str) -> Self {
        let done = self.expect(code);
        assert!(done.stderr.contains(says), "expected {says:?}:\n{}", done.stderr);
        done
    }
}

/// `symbolon` with nothing of this process's environment.
pub fn command(args: &[&str]) -> Command {
    command_of(env!("CARGO_BIN_EXE_symbolon").as_ref(), args)
}

/// The same for the binary of another version.
pub fn command_of(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear();
    command
}

/// Runs a command to its end. Standard input is a pipe, so nothing is asked on a terminal.
pub fn run(command: &mut Command, stdin: &str) -> Done {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    // A command that fails early closes its input, which is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
