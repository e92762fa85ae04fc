//! `symbolon custodian sign`: the participants' signatures under a transcript.

use clap::Args;
use symbolon_cli::Ceremony;
use symbolon_proto::custody::transcript::Transcript;
use symbolon_proto::custody::{CustodianKeys, KeyKind};

use super::submit::own_number;
use crate::ceremony::{known, print_once, show_transcript};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::key_file::Opening;

/// `symbolon custodian sign`
#[derive(Args)]
pub struct Sign {
    #[command(flatten)]
    opening: Opening,
    /// Sign without being asked; whoever says so has read the transcript
    #[arg(long)]
    yes: bool,
}

impl Sign {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.anonymous()?;
        let ceremony = client.ceremony().await?.filter(|ceremony| ceremony.stage == "signing");
        let ceremony = ceremony.ok_or_else(|| {
            Failure::unavailable("no transcript is waiting for signatures")
                .hint("a ceremony is signed when it is over; see `symbolon ceremony watch`")
        })?;
        let ceremony = known(ceremony)?;
        let transcript = checked(&ceremony)?;
        let file = self.opening.read()?;
        let (name, is_new) = own_name(&ceremony, file.card().map(|card| card.keys()))?;
        if !transcript.participants().contains(&name.as_str()) {
            return Err(Failure::usage(
                "you took no part in this ceremony: the transcript does not name you",
            ));
        }
        if !globals.out().is_json() {
            show_transcript(globals.out(), &transcript)?;
        }
        if !self.yes
            && !matches!(input::ask("Is this what happened? (yes/no)", "--yes")?.as_str(), "yes" | "y")
        {
            return Err(Failure::general("nothing was signed").hint("tell the operator what is wrong"));
        }
        let keys = self.opening.open(KeyKind::Custodian)?;
        let signature = keys.signing().sign(&transcript.signed_bytes());
        let set = if is_new { ceremony.proving()? } else { None };
        let manifest = set.map(|set| keys.signing().sign(&set.signed_bytes()));
        let after = client.sign_ceremony(&name, &signature, manifest.as_ref()).await?;
        print_once(globals.out(), after.as_ref())
    }
}

/// The transcript, if it is that of this ceremony.
fn checked(ceremony: &Ceremony) -> Result<Transcript, Failure> {
    let transcript = ceremony.transcript()?;
    let binding = ceremony.binding()?;
    let same = transcript.nonce() == &binding.nonce && transcript.deployment() == binding.deployment;
    if same { Ok(transcript) } else { Err(Failure::integrity("the transcript is that of another ceremony")) }
}

/// The name under which the owner of `keys` takes part, and whether it is that of a new custodian.
fn own_name(ceremony: &Ceremony, keys: Option<&CustodianKeys>) -> Result<(String, bool), Failure> {
    let new = ceremony.proving()?;
    for (set, is_new) in [(new, true), (Some(ceremony.giving()?), false)] {
        let Some(set) = set else { continue };
        let own =
            own_number(&set, keys).and_then(|x| set.custodian(x).map(|custodian| custodian.name.clone()));
        if let Some(name) = own {
            return Ok((name, is_new));
        }
    }
    Err(Failure::usage("your key is not among the custodians of this ceremony"))
}
