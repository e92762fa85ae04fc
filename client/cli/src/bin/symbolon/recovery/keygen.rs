//! `symbolon recovery keygen`: the escrow key, whose private half exists only as shares.

use std::path::PathBuf;

use clap::Args;
use symbolon_proto::custody::escrow::EscrowKey;
use symbolon_proto::custody::{Card, Parcel, ShareEnvelope, XWingSeed};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::secret::Secret;
use symbolon_proto::share::{Dealing, Holder, Share, ShareKind, Threshold};

use crate::custodian::{Print, print_share};
use crate::failure::Failure;
use crate::key_file::{os_rng, text_file};
use crate::output::{Output, printable};
use crate::promised::Promised;

/// `symbolon recovery keygen`
#[derive(Args)]
pub struct Keygen {
    /// Shares that are enough, 2 to the number of custodians
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    threshold: u8,
    /// Card of an escrow custodian; give it once per custodian. Take other people than for the fragment
    #[arg(long = "card", value_name = "FILE", required_unless_present = "custodians")]
    cards: Vec<PathBuf>,
    /// Folder for the share envelopes, one file per card
    #[arg(long, value_name = "DIR", required_unless_present = "custodians")]
    envelopes: Option<PathBuf>,
    /// Name of an escrow custodian without keys, instead of cards; their shares are printed
    #[arg(long = "custodian", value_name = "NAME", conflicts_with = "cards", requires = "print")]
    custodians: Vec<String>,
    /// Print the shares, as custodians without keys need it. Whoever sees one holds it
    #[arg(long, value_enum, requires = "custodians")]
    print: Option<Print>,
    /// New file for the public escrow key, which `operator init` and the fragment services are given
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Keygen {
    pub(super) fn run(self, out: Output) -> Result<(), Failure> {
        let holders = self.holders()?;
        let public = Promised::new(&self.out)?;
        let envelopes = self.promised(&holders)?;
        let (key, shares) = self.make(&holders)?;
        self.hand_over(out, &key, &shares, envelopes)?;
        // Whoever has this file may rely on its shares being with their custodians.
        public.fill(key.to_text().as_bytes())?;
        let fingerprint = key.fingerprint().to_string();
        let value = serde_json::json!({ "fingerprint": fingerprint, "set": key.set().set_id().to_string() });
        out.facts(&value, &[("escrow key", self.out.display().to_string()), ("fingerprint", fingerprint)])
    }

    fn holders(&self) -> Result<Vec<Holder>, Failure> {
        let read = |path: &PathBuf| {
            let card = Card::parse(&text_file(path)?);
            let wrong = |error| Failure::usage(format!("{}: {error}", path.display()));
            card.map(|card| Holder::from(&card)).map_err(wrong)
        };
        match self.cards.is_empty() {
            true => Ok(self.custodians.iter().map(Holder::named).collect()),
            false => self.cards.iter().map(read).collect(),
        }
    }

    /// An empty file for each envelope, in order of the custodians with cards.
    fn promised(&self, holders: &[Holder]) -> Result<Vec<Promised>, Failure> {
        let Some(folder) = &self.envelopes else { return Ok(Vec::new()) };
        let with_cards = (1..).zip(holders).filter(|(_, holder)| holder.keys.is_some());
        with_cards.map(|(x, _)| Promised::new(&folder.join(format!("escrow-{x}.envelope")))).collect()
    }

    /// The private half is dealt and forgotten before anything is written.
    fn make(&self, holders: &[Holder]) -> Result<(EscrowKey, Vec<Share>), Failure> {
        let wrong = |error: &dyn std::error::Error| Failure::usage(error.to_string());
        let total = u8::try_from(holders.len()).unwrap_or(u8::MAX);
        let threshold = Threshold::new(self.threshold, total).map_err(|error| wrong(&error))?;
        let seed = XWingSeed::random(&mut os_rng());
        let secret = Fragment::from_secret(Secret::filled_by(|out| *out = *seed.secret().expose()));
        let dealing = Dealing {
            kind: ShareKind::Escrow,
            deployment: DeploymentId::random(&mut os_rng()),
            frag_epoch: 1,
            created_ms: crate::moment::now_ms(),
            threshold,
            holders,
            previous: None,
        };
        let (set, shares) = dealing.deal(&secret, &mut os_rng()).map_err(|error| wrong(&error))?;
        let key = EscrowKey::new(seed.public_key(), set).map_err(|error| wrong(&error))?;
        Ok((key, shares))
    }

    fn hand_over(
        &self,
        out: Output,
        key: &EscrowKey,
        shares: &[Share],
        envelopes: Vec<Promised>,
    ) -> Result<(), Failure> {
        let mut envelopes = envelopes.into_iter();
        for (share, custodian) in shares.iter().zip(key.set().custodians()) {
            let file = if custodian.keys.is_some() { envelopes.next() } else { None };
            match (file, self.print) {
                (Some(file), _) => {
                    let failed = |error: &dyn std::error::Error| Failure::general(error.to_string());
                    let envelope = ShareEnvelope::seal(share, key.set(), &mut os_rng());
                    let envelope = envelope.map_err(|error| failed(&error))?;
                    let parcel = Parcel::new(key.set().clone(), share.x(), envelope);
                    let parcel = parcel.map_err(|error| failed(&error))?;
                    let path = file.path().display().to_string();
                    file.fill(parcel.to_text().as_bytes())?;
                    out.done(&printable(&format!("{path} for {}", custodian.name)))?;
                }
                (_, Some(print)) => {
                    if !out.is_json() {
                        out.line(&printable(&format!("\n{} holds:", custodian.name)))?;
                    }
                    print_share(out, share, &custodian.name, print)?;
                }
                _ => return Err(Failure::usage("neither --envelopes nor --print was given")),
            }
        }
        Ok(())
    }
}
