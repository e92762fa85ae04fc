//! What to do about a call that gave no answer, in words of this command line.

use std::error::Error as _;

use symbolon::{Configuration, Error, Unavailable};

use crate::failure::{Code, Failure, chain};

/// The exit code that scripts see.
fn code(error: &Error) -> Code {
    match error {
        Error::Path => Code::Usage,
        Error::Configuration(reason) => configuration(reason).0,
        Error::Denied(_) => Code::Denied,
        Error::Absent(_) => Code::NotFound,
        Error::Unavailable(_) => Code::Unavailable,
        Error::Untrusted(_) | Error::Rejected(_) => Code::Integrity,
        Error::Conflict(_) => Code::Conflict,
        _ => Code::General,
    }
}

/// What to do next, in one sentence.
fn hint(error: &Error) -> &'static str {
    match error {
        Error::Configuration(reason) => configuration(reason).1,
        Error::Unavailable(reason) => unavailable(reason),
        Error::Path => "write the path as team/service/name, without slashes at the start",
        Error::Untrusted(_) => {
            "if this is your broker, give its CA with --ca-cert or SYMBOLON_CACERT; \
             if it was trusted before, do not send it anything"
        }
        Error::TooLarge { .. } => "ask for less at once",
        Error::Foreign { .. } => {
            "check that SYMBOLON_ADDR names a Symbolon broker and not a proxy's error page"
        }
        Error::Denied(_) => {
            "log in with `symbolon login`, or ask for a policy that allows this (`symbolon token lookup`)"
        }
        Error::Absent(_) => "check the spelling of the path (`symbolon kv list`)",
        Error::Conflict(_) => {
            "read the current version with `symbolon kv get` and write again with its number as --cas"
        }
        Error::Failed(_) => {
            "see the broker's log; a full disk or a damaged store stops it before anything is lost"
        }
        _ => "see the message above; `symbolon <command> --help` shows what is expected",
    }
}

fn unavailable(reason: &Unavailable) -> &'static str {
    match reason {
        Unavailable::Sealed(_) => "custodians must give their shares with `symbolon operator unseal`",
        Unavailable::Unreachable(_) => {
            "check that the broker runs and that SYMBOLON_ADDR names its host and port"
        }
        Unavailable::Timeout => {
            "check the network between here and the broker, or give more time with --timeout"
        }
        _ => "see `symbolon operator status`; if the remote is suspended, its operator must resume it",
    }
}

fn configuration(reason: &Configuration) -> (Code, &'static str) {
    const CA: &str =
        "--ca-cert and SYMBOLON_CACERT name a PEM file with the certificate that signed the broker's";
    match reason {
        Configuration::Address => {
            (Code::Usage, "give it as https://host:port, with --address or SYMBOLON_ADDR")
        }
        Configuration::PlainHttp => {
            (Code::Usage, "use https:// and give the CA with --ca-cert or SYMBOLON_CACERT")
        }
        Configuration::CaFile { .. } => (Code::General, CA),
        Configuration::CaEmpty { .. } => (Code::Usage, CA),
        Configuration::Token(_) => {
            (Code::Denied, "log in again with `symbolon login`, or check SYMBOLON_TOKEN")
        }
        Configuration::TokenFile { .. } => {
            (Code::General, "check that the file exists and that this user may read it")
        }
        _ => (Code::General, "check that the CA file holds certificates, and report this if it does"),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = match (&error, error.source()) {
            (Error::Absent(refusal), _) if !refusal.messages().is_empty() => format!("not found{refusal}"),
            (Error::Denied(refusal), _)
                if refusal.messages().iter().any(|text| !text.contains("permission denied")) =>
            {
                format!("permission denied{refusal}")
            }
            _ => chain(&error),
        };
        Self::new(code(&error), message).hint(hint(&error))
    }
}
