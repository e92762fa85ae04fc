//! What to do about a call that gave no answer, in words of this command line: by what the server says, not
//! by its status code alone.

use std::error::Error as _;

use symbolon::{Configuration, Error, Refusal, Unavailable};

use crate::environment;
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
fn hint(error: &Error) -> String {
    let fixed = match error {
        Error::Configuration(reason) => configuration(reason).1,
        Error::Unavailable(reason) => unavailable(reason),
        Error::Denied(refusal) => return denied(refusal),
        Error::Invalid(refusal) => invalid(refusal),
        Error::Untrusted(_) => untrusted(&chain(error)),
        Error::Path => "write the path as team/service/name, without slashes at the start",
        Error::TooLarge { .. } => "ask for less at once",
        Error::Foreign { .. } => {
            "check that SYMBOLON_ADDR names a Symbolon broker and not a proxy's error page"
        }
        Error::Absent(_) => {
            "check the spelling of the path; `symbolon list` and `symbolon kv list` show what is there"
        }
        Error::Conflict(_) => {
            "read the current version with `symbolon kv get` and write again with its number as --cas"
        }
        Error::Failed(_) => {
            "see the broker's log; a full disk or a damaged store stops it before anything is lost"
        }
        _ => SEE_ABOVE,
    };
    fixed.to_owned()
}

const SEE_ABOVE: &str = "see the message above; `symbolon <command> --help` shows what is expected";

/// The first of these whose words the text has.
fn first_match(text: &str, causes: &[(&str, &'static str)]) -> Option<&'static str> {
    causes.iter().find(|(words, _)| text.contains(words)).map(|(_, hint)| *hint)
}

/// The API says "permission denied" of a token that it does not know, and more of one that it does.
fn denied(refusal: &Refusal) -> String {
    let text = refusal.messages().join(" ");
    if text == "permission denied" || text == "bad token" || text.contains("missing client token") {
        return unknown_token();
    }
    let known = first_match(
        &text,
        &[
            (
                "preflight capability check",
                "there is no mount at that path, or none that your policies show: see `symbolon secrets list` and \
                 `symbolon auth list`",
            ),
            (
                "1 error occurred",
                "the token is good, and none of its policies allows this: `symbolon token lookup` shows them; \
                 whoever runs the broker adds a rule for this path with `symbolon policy write`",
            ),
        ],
    );
    known.unwrap_or("the text says what the broker's operator must change").to_owned()
}

fn unknown_token() -> String {
    let again = "it has ended, was revoked, or is another broker's";
    match environment::first_named(&environment::TOKEN) {
        Some((name, _)) => format!(
            "the broker does not know the token in {name}: {again}. Set another there, or unset {name} and log in with \
             `symbolon login`"
        ),
        None => format!("the broker does not know this token: {again}. Log in again with `symbolon login`"),
    }
}

fn invalid(refusal: &Refusal) -> &'static str {
    let causes = [
        (
            "only the root namespace",
            "leave --tenant out, and unset SYMBOLON_NAMESPACE, BAO_NAMESPACE and VAULT_NAMESPACE",
        ),
        ("no handler for route", "`symbolon secrets list` and `symbolon auth list` show what is mounted"),
        ("path is already in use", "choose another with --path; the mount that is there stays as it is"),
        ("invalid role", "`symbolon role list` shows the roles of a login method"),
        ("invalid username or password", "type it again; after five failures wait for fifteen minutes"),
    ];
    first_match(&refusal.messages().join(" "), &causes).unwrap_or(SEE_ABOVE)
}

fn untrusted(text: &str) -> &'static str {
    let causes = [
        (
            "InvalidContentType",
            "the server does not speak TLS at this address: check the port, or use http:// if it is on this machine",
        ),
        (
            "not valid for name",
            "the certificate is for other names than the one in the address: use one of them, or have the name added",
        ),
        (
            "NotValidForName",
            "the certificate is for other names than the one in the address: use one of those",
        ),
        ("xpired", "the broker's certificate has ended: its operator must renew it"),
        ("NotValidYet", "the certificate is not valid yet: check the clocks of both machines"),
        ("CaUsedAsEndEntity", "the broker serves a CA certificate: its operator must give it one of its own"),
    ];
    first_match(text, &causes).unwrap_or(
        "if this is your broker, give its CA with --ca-cert or SYMBOLON_CACERT; \
         if it was trusted before, do not send it anything",
    )
}

fn unavailable(reason: &Unavailable) -> &'static str {
    match reason {
        Unavailable::Sealed(_) => "custodians must give their shares with `symbolon operator unseal`",
        Unavailable::Unreachable(cause) => {
            let causes = [
                ("dns error", "no machine of this name is known: check the host in SYMBOLON_ADDR"),
                ("failed to lookup", "no machine of this name is known: check the host in SYMBOLON_ADDR"),
                (
                    "No route to host",
                    "the network does not lead there: check the host in SYMBOLON_ADDR, and routes",
                ),
            ];
            first_match(&chain(cause.as_ref()), &causes)
                .unwrap_or("check that the broker runs and that SYMBOLON_ADDR names its host and port")
        }
        Unavailable::Timeout => {
            "check the network between here and the broker, or give more time with --timeout"
        }
        Unavailable::Refused(refusal) => refused_now(&refusal.messages().join(" ")),
        _ => "see `symbolon operator status`",
    }
}

fn refused_now(text: &str) -> &'static str {
    let causes = [
        ("not initialized", "an operator must run `symbolon operator init`"),
        ("not initialised", "an operator must run `symbolon operator init`"),
        ("suspended", "the operator of the fragment service must resume the key: `symbolon fragment resume`"),
        ("quota", "wait, or ask the operator of the fragment service for a larger quota"),
        ("busy", "try again in a moment"),
        ("too many", "wait as long as the text says"),
    ];
    first_match(text, &causes)
        .unwrap_or("see `symbolon operator status`; if the remote is suspended, its operator must resume it")
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
