//! `symbolon custodian keygen`

use clap::Args;
use symbolon_proto::custody::KeyKind;

use crate::failure::Failure;
use crate::key_file::{NewKeys, print_public};
use crate::output::Output;

/// `symbolon custodian keygen`
#[derive(Args)]
pub struct Keygen {
    #[command(flatten)]
    keys: NewKeys,
}

impl Keygen {
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let file = self.keys.make(KeyKind::Custodian)?;
        print_public(out, &file)?;
        out.done(
            "\nSend the card to the operator and read the fingerprint to them over another channel. Keep a copy of the\n\
             key file in another place; without it or its passphrase your share cannot be opened.",
        )
    }
}
