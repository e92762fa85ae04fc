//! How commands fail: what happened, what to do next, and an exit code that scripts can rely on.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::environment::has_colours;

/// Exit codes, as `--help` and `docs/cli.md` state them.
pub const EXIT_CODES_HELP: &str = "\
Exit codes:
  0    success
  1    failure of another kind
  2    wrong usage
  3    permission denied, or no token
  4    not found
  5    sealed, suspended, unreachable or too slow: try again later
  6    integrity: a signature, hash or certificate does not hold
  7    conflict: somebody else wrote first";

/// Why a command failed, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Anything else.
    General = 1,
    /// The command was not given what it needs.
    Usage = 2,
    /// No token, or not enough rights.
    Denied = 3,
    /// Truly absent.
    NotFound = 4,
    /// Sealed, unreachable, suspended, too slow.
    Unavailable = 5,
    /// A signature, hash or certificate does not hold.
    Integrity = 6,
    /// Somebody else wrote first.
    Conflict = 7,
}

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code as u8, message: message.into(), hint: None }
    }

    /// Anything without a code of its own.
    pub fn general(message: impl Into<String>) -> Self {
        Self::new(Code::General, message)
    }

    /// The command was not given what it needs.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// No token, or not enough rights.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Code::Denied, message)
    }

    /// Sealed, unreachable, too slow.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// Something that was signed or hashed is not what it was.
    pub fn integrity(message: impl Into<String>) -> Self {
        Self::new(Code::Integrity, message)
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends an error and its causes.
    pub fn because(mut self, error: &dyn std::error::Error) -> Self {
        self.message = format!("{}: {}", self.message, chain(error));
        self
    }

    /// Another exit code than `docs/cli.md` has for all commands: that of another program.
    pub fn exits(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Says first what was being done.
    pub fn prefixed(mut self, text: &str) -> Self {
        self.message = format!("{text}: {}", self.message);
        self
    }

    /// Prints to standard error and gives the exit code.
    pub fn report(self) -> ExitCode {
        let mut stderr = std::io::stderr().lock();
        let (red, green, plain) = match has_colours(stderr.is_terminal()) {
            true => ("\x1b[1;31m", "\x1b[32m", "\x1b[0m"),
            false => ("", "", ""),
        };
        // If standard error is closed there is nobody to tell.
        let _ = writeln!(stderr, "{red}error:{plain} {}", self.message);
        if let Some(hint) = self.hint {
            let _ = writeln!(stderr, "{green}hint:{plain} {hint}");
        }
        ExitCode::from(self.code)
    }
}

/// An error and its causes on one line, each once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::general("input or output failed").because(&error)
    }
}
