//! `symbolon custodian keygen`

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use symbolon_proto::custody::KeyKind;

use crate::failure::Failure;
use crate::key_file::{NewKeys, print_public};
use crate::output::Output;
use crate::promised::{Promised, check_free};

/// `symbolon custodian keygen`
#[derive(Args)]
pub struct Keygen {
    #[command(flatten)]
    keys: NewKeys,
    /// File to write the card to; it must not exist yet [default: beside the key file, as NAME.card]
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
}

impl Keygen {
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let path = self.card.clone().unwrap_or_else(|| beside(&self.keys.out));
        check_free(&path)?; // before anybody is asked for a passphrase
        let file = self.keys.make(KeyKind::Custodian)?;
        let card = file.card().map(|card| card.to_text()).unwrap_or_default();
        Promised::new(&path)?.fill(card.as_bytes())?;
        print_public(out, &file)?;
        out.done(&format!(
            "\nThe card is in {}. Send it to the operator and read the fingerprint to them over another channel.\n\
             Keep a copy of the key file in another place; without it or its passphrase your share cannot be opened.",
            path.display()
        ))
    }
}

/// `ana.key` has `ana.card` beside it.
fn beside(key: &Path) -> PathBuf {
    match key.extension() == Some(OsStr::new("key")) {
        true => key.with_extension("card"),
        false => PathBuf::from(format!("{}.card", key.display())),
    }
}
