//! `symbolon officer`: keys of those whose orders a fragment service carries out, two at a time.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use symbolon_proto::custody::KeyKind;
use symbolon_proto::order::{Order, SignedOrder};

use crate::failure::Failure;
use crate::input;
use crate::key_file::{NewKeys, Opening, Show, print_public, write_new};
use crate::moment;
use crate::output::{Output, printable};

/// `symbolon officer`
#[derive(Subcommand)]
pub enum Officer {
    /// Make an officer's key: a key file under a passphrase, and the line for the service's configuration
    Keygen(Keygen),
    /// Print name, fingerprint and public key of a key file
    Show(Show),
    /// Read an order and sign it
    Sign(Sign),
}

/// `symbolon officer keygen`
#[derive(Args)]
pub struct Keygen {
    #[command(flatten)]
    keys: NewKeys,
}

/// `symbolon officer sign`
#[derive(Args)]
pub struct Sign {
    #[command(flatten)]
    opening: Opening,
    /// The order, with or without the signature of another officer; `-` is standard input
    #[arg(value_name = "FILE")]
    order: PathBuf,
    /// Write the signed order to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign without being asked; whoever says so has read the order
    #[arg(long)]
    yes: bool,
}

impl Officer {
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Self::Keygen(command) => command.run(out),
            Self::Show(command) => command.run(out),
            Self::Sign(command) => command.run(out),
        }
    }
}

impl Keygen {
    fn run(self, out: Output) -> Result<(), Failure> {
        let file = self.keys.make(KeyKind::Officer)?;
        print_public(out, &file)?;
        out.done(
            "\nGive the key to the operator of the fragment service ([[officer]] name, key) and read the fingerprint to them\n\
             over another channel. Keep a copy of the key file in another place.",
        )
    }
}

impl Sign {
    fn run(self, out: Output) -> Result<(), Failure> {
        if self.order.as_os_str() == "-" && self.opening.is_asked() {
            return Err(Failure::usage("--passphrase-file is needed").hint(
                "standard input holds the order, so nobody can be asked; or give the order as a file",
            ));
        }
        let refused = |error: symbolon_proto::order::OrderError| Failure::usage(error.to_string());
        let mut order = SignedOrder::from_text(&input::file(&self.order)?).map_err(refused)?;
        self.ask(order.order())?;
        let keys = self.opening.open(KeyKind::Officer)?;
        order.sign(keys.signing()).map_err(refused)?;
        let text = order.to_text();
        match &self.out {
            Some(path) => write_new(path, text.as_bytes())?,
            None => out.document("order", &text)?,
        }
        let signed = order.signers().count();
        let next =
            if signed < 2 { "another officer signs it next" } else { "the service can be given it now" };
        // Standard output may hold the order itself.
        Ok(std::io::Write::write_all(
            &mut std::io::stderr().lock(),
            format!("signed by {signed}; {next}\n").as_bytes(),
        )?)
    }

    /// Nobody signs what they have not been shown.
    fn ask(&self, order: &Order) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        let (from, until) =
            (order.not_before_secs.saturating_mul(1000), order.not_after_secs.saturating_mul(1000));
        let question = format!(
            "{order}\n            {} to {}\n\nSign this order? (yes/no)",
            moment::utc(from),
            moment::utc(until)
        );
        match input::ask(&printable(&question), "--yes")?.as_str() {
            "yes" | "y" => Ok(()),
            _ => Err(Failure::general("nothing was signed")),
        }
    }
}
