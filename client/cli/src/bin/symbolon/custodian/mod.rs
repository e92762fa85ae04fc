//! `symbolon custodian`: keys of those who hold shares, and giving a share without anybody seeing it.

mod keygen;
mod reveal;
mod sign;
mod submit;

use clap::Subcommand;

#[cfg(feature = "servers")]
pub use self::reveal::{Print, print_share};

use crate::failure::Failure;
use crate::globals::Globals;
use crate::key_file::Show;

/// `symbolon custodian`
#[derive(Subcommand)]
pub enum Custodian {
    /// Make a custodian's keys: a key file under a passphrase, and a card for the operator
    Keygen(keygen::Keygen),
    /// Print name, fingerprint and card of a key file
    Show(Show),
    /// Give a share to the ceremony under way; nobody between here and the broker sees it
    Submit(submit::Submit),
    /// Give a share in a drill, or prove that a new share opens
    Drill(submit::Drill),
    /// Sign the transcript of a ceremony that you took part in
    Sign(sign::Sign),
    /// Print a share as text or QR code. Whoever sees it holds the share
    ShowShare(reveal::ShowShare),
}

impl Custodian {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Keygen(command) => command.run(globals.out()),
            Self::Show(command) => command.run(globals.out()),
            Self::Submit(command) => command.run(globals).await,
            Self::Drill(command) => command.run(globals).await,
            Self::Sign(command) => command.run(globals).await,
            Self::ShowShare(command) => command.run(globals.out()),
        }
    }
}
