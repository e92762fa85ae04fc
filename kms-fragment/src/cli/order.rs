//! Orders of two officers: drafting them, carrying them out, and what comes of it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use symbolon_proto::certificate::Certificate;
use symbolon_proto::fingerprint::Fingerprint;

use super::{Asking, CliError, print, send, show, status};
use crate::admin::{Ask, Draft, OrderKind, Reply};
use crate::orders::DRAFT_DAYS;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// Last line of a certificate.
const CERTIFICATE_END: &str = "-----END SYMBOLON CERTIFICATE OF DESTRUCTION-----";

/// Commands about orders.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Print an order for two officers to sign with `symbolon officer sign`. It changes nothing by itself.
    Draft {
        /// What to order.
        #[command(subcommand)]
        what: What,
    },
    /// Destroy a key, or a retired epoch of one, after the cooling-off time: hand in the signed order.
    Destroy(Handing),
    /// Cancel a destruction that is cooling off: hand in the signed order. The key is suspended then.
    Cancel(Handing),
    /// Stop answering for an epoch of which the broker has no capsule left: hand in the signed order.
    Retire(Handing),
    /// Answer restores for a retired epoch until the order expires: hand in the signed order.
    Restore(Handing),
    /// Let a broker that was restored from a backup in, and forget its anchor: hand in the signed order.
    Admit(Handing),
    /// Print the certificates of what was destroyed of a key.
    Certificate {
        /// Key id, 32 hex digits.
        key: String,
        /// How to ask.
        #[command(flatten)]
        asking: Asking,
    },
    /// Check a certificate of destruction. Needs no running service.
    VerifyCertificate {
        /// File with the certificate; - for standard input.
        file: PathBuf,
        /// Fingerprint of the service root that was compared at enrolment.
        #[arg(required = true, num_args = 1..)]
        fingerprint: Vec<String>,
    },
    /// List the officers whose signatures count here.
    Officers(Asking),
}

/// What to order.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Destroy a key with all its epochs, or with --epoch a retired one.
    Destroy {
        /// Key id, 32 hex digits.
        key: String,
        /// Only this epoch.
        #[arg(long)]
        epoch: Option<u32>,
        /// How.
        #[command(flatten)]
        drafting: Drafting,
    },
    /// Cancel a destruction that is cooling off.
    Cancel {
        /// Key id, 32 hex digits.
        key: String,
        /// How.
        #[command(flatten)]
        drafting: Drafting,
    },
    /// Retire an epoch.
    Retire {
        /// Key id, 32 hex digits.
        key: String,
        /// Which epoch.
        epoch: u32,
        /// How.
        #[command(flatten)]
        drafting: Drafting,
    },
    /// Answer restores for a retired epoch, for as long as the order is valid.
    Restore {
        /// Key id, 32 hex digits.
        key: String,
        /// Which epoch.
        epoch: u32,
        /// How.
        #[command(flatten)]
        drafting: Drafting,
    },
    /// Admit an older state of a broker in place of the generation that is registered now.
    Admit {
        /// Broker id, 32 hex digits.
        broker: String,
        /// How.
        #[command(flatten)]
        drafting: Drafting,
    },
}

/// How to draft.
#[derive(Clone, Debug, Args)]
pub struct Drafting {
    /// Days that the order counts, 1 to 30.
    #[arg(long, default_value_t = DRAFT_DAYS)]
    days: u32,
    /// How to ask.
    #[command(flatten)]
    asking: Asking,
}

/// Handing an order in.
#[derive(Clone, Debug, Args)]
pub struct Handing {
    /// File with the signed order; - for standard input.
    file: PathBuf,
    /// How to ask.
    #[command(flatten)]
    asking: Asking,
}

impl OrderCommand {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Draft { what } => what.draft().await,
            Self::Destroy(handing) => handing.hand_in(OrderKind::Destroy).await,
            Self::Cancel(handing) => handing.hand_in(OrderKind::Cancel).await,
            Self::Retire(handing) => handing.hand_in(OrderKind::Retire).await,
            Self::Restore(handing) => handing.hand_in(OrderKind::Restore).await,
            Self::Admit(handing) => handing.hand_in(OrderKind::Admit).await,
            Self::Certificate { key, asking } => match send(&asking, &Ask::Certificates { key }).await? {
                Reply::Certificates(found) => print(&asking, &found, |out| show::certificates(out, &found)),
                _ => Err(CliError::Version),
            },
            Self::VerifyCertificate { file, fingerprint } => verify(&file, &fingerprint.join(" ")),
            Self::Officers(asking) => {
                let officers = status(&asking).await?.officers;
                print(&asking, &officers, |out| show::officers(out, &officers))
            }
        }
    }
}

impl What {
    async fn draft(self) -> Result<(), CliError> {
        let (draft, drafting) = match self {
            Self::Destroy { key, epoch, drafting } => (Draft::Destroy { key, epoch }, drafting),
            Self::Cancel { key, drafting } => (Draft::Cancel { key }, drafting),
            Self::Retire { key, epoch, drafting } => (Draft::Retire { key, epoch }, drafting),
            Self::Restore { key, epoch, drafting } => (Draft::Restore { key, epoch }, drafting),
            Self::Admit { broker, drafting } => (Draft::Admit { broker }, drafting),
        };
        let Drafting { days, asking } = drafting;
        match send(&asking, &Ask::Draft { draft, days }).await? {
            Reply::Drafted(text) => print(&asking, &text, |out| write!(out, "{text}")),
            _ => Err(CliError::Version),
        }
    }
}

impl Handing {
    async fn hand_in(self, kind: OrderKind) -> Result<(), CliError> {
        let text = read(&self.file)?;
        match send(&self.asking, &Ask::Order { kind, text }).await? {
            Reply::Carried(carried) => print(&self.asking, &carried, |out| show::carried(out, &carried)),
            _ => Err(CliError::Version),
        }
    }
}

fn verify(file: &Path, fingerprint: &str) -> Result<(), CliError> {
    let root: Fingerprint = fingerprint.parse()?;
    let text = read(file)?;
    let verified = certificates(&text).into_iter().map(|text| Certificate::from_text(text, &root));
    // All of them before the first is printed: nobody shall read half an answer.
    let verified = verified.collect::<Result<Vec<_>, _>>()?;
    let mut out = io::stdout().lock();
    verified.iter().try_for_each(|certificate| {
        Ok(writeln!(out, "{certificate}\n\nThe service with this root signed it.")?)
    })
}

/// The texts of the certificates in a file, at least one text. Whoever kept the whole output of `certificate`
/// has sentences before each.
fn certificates(text: &str) -> Vec<&str> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return vec![text]; // no certificate, which is not the same as none that is wrong
    }
    let pieces = text.split_inclusive(CERTIFICATE_END);
    pieces.map(|piece| &piece[piece.find("-----BEGIN").unwrap_or(0)..]).collect()
}

fn read(file: &Path) -> Result<String, CliError> {
    let failed = |source| CliError::File { path: file.to_owned(), source };
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(file).map_err(failed)?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_certificate_of_an_output_is_looked_at() {
        let begin = "-----BEGIN SYMBOLON CERTIFICATE OF DESTRUCTION-----";
        let one = |body: &str| format!("{begin}\n{body}\n{CERTIFICATE_END}");
        let output =
            format!("Epoch 1 was destroyed.\n\n{}\n\nThe key was destroyed.\n\n{}\n\n", one("a"), one("b"));
        assert_eq!(certificates(&output), [one("a"), one("b")]);
        assert_eq!(certificates(&one("a")), [one("a")]);
        let added = format!("{}\nAnd all backups.", one("a"));
        assert_eq!(certificates(&added)[1], "\nAnd all backups.", "this is none, and is refused");
        assert_eq!(certificates(" \n"), [""], "and so is nothing");
    }
}
