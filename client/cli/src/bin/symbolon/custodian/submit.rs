//! `symbolon custodian submit` and `drill`: a share on its way to a ceremony.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use symbolon_cli::{Ceremony, Operator, RootWish, Wanted, WantedCustodian};
use symbolon_proto::custody::{KeyKind, KeyPair, Parcel, Purpose, Submission, XWingPublicKey};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::share::{Share, ShareSetManifest};

use crate::ceremony::{known, print_once};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::key_file::{Opening, os_rng, text_file, write_new};
use crate::output::printable;
use crate::token::lifetime;

/// Where the share comes from, and how sure its owner is of the broker.
#[derive(Args)]
pub struct Source {
    /// The key file that opens the envelope
    #[arg(long, value_name = "FILE", required_unless_present = "share")]
    key: Option<PathBuf>,
    /// The share envelope
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "share")]
    envelope: Option<PathBuf>,
    /// Ask for the share as text (skf1…), or read it from standard input
    #[arg(long, conflicts_with_all = ["key", "passphrase_file"])]
    share: bool,
    /// Read the passphrase of the key file from a file instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Twelve groups that the ceremony key must have; otherwise they are shown and you are asked
    #[arg(long, value_name = "FINGERPRINT")]
    expect_fingerprint: Option<Fingerprint>,
}

/// `symbolon custodian submit`
#[derive(Args)]
pub struct Submit {
    #[command(flatten)]
    source: Source,
}

/// `symbolon custodian drill`
#[derive(Args)]
pub struct Drill {
    #[command(flatten)]
    source: Source,
    /// Fetch the envelope of your new share from the broker and keep it in this new file
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["envelope", "share"])]
    save: Option<PathBuf>,
}

impl Submit {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.anonymous()?;
        let ceremony = under_way(&client).await?;
        if ceremony.kind == "drill" {
            return Err(Failure::usage("the ceremony under way is a drill")
                .hint("give your share with `symbolon custodian drill`"));
        }
        // The broker takes a share for a root token only from somebody who was shown that it is for one.
        let purpose = if ceremony.kind == "root" { Purpose::RootToken } else { Purpose::Give };
        let share = self.source.share(None)?;
        self.source.send(globals, &client, &ceremony, &share, purpose).await
    }
}

impl Drill {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.anonymous()?;
        let ceremony = under_way(&client).await?;
        if let Some(path) = &self.save {
            let parcel = new_parcel(&ceremony, &self.source)?;
            write_new(path, parcel.to_text().as_bytes())?;
        }
        let share = self.source.share(self.save.clone())?;
        let is_new = ceremony.proving()?.is_some_and(|set| set.set_id() == share.set_id());
        let purpose = match (is_new, ceremony.kind.as_str()) {
            (true, _) => Purpose::Prove,
            (false, "drill") => Purpose::Give,
            (false, _) => {
                return Err(Failure::usage("this share is not of the new set, and the ceremony is no drill")
                    .hint("to give a share of the set in use: `symbolon custodian submit`"));
            }
        };
        self.source.send(globals, &client, &ceremony, &share, purpose).await
    }
}

impl Source {
    /// The share, from the envelope in `saved` or in `--envelope`, or as text.
    fn share(&self, saved: Option<PathBuf>) -> Result<Share, Failure> {
        let Some(key) = &self.key else { return typed_share() };
        let path = saved.or_else(|| self.envelope.clone()).ok_or_else(|| {
            Failure::usage("--envelope is needed").hint("it is the file that you were handed with your share")
        })?;
        let parcel = Parcel::parse(&text_file(&path)?).map_err(|error| Failure::usage(error.to_string()))?;
        open_parcel(&parcel, &self.keys(key)?)
    }

    fn keys(&self, key: &std::path::Path) -> Result<KeyPair, Failure> {
        Opening::new(key, self.passphrase_file.as_deref()).open(KeyKind::Custodian)
    }

    async fn send(
        &self,
        globals: &Globals,
        client: &Operator,
        ceremony: &Ceremony,
        share: &Share,
        purpose: Purpose,
    ) -> Result<(), Failure> {
        check_set(ceremony, share, purpose)?;
        say_what_for(ceremony)?;
        let key = ceremony.key()?;
        self.compare(&key)?;
        let submission = Submission::seal(share, purpose, &ceremony.binding()?, &key, &mut os_rng());
        match client.submit_share(&submission).await? {
            None if ceremony.kind == "unseal" && !globals.out().is_json() => {
                globals.out().line("Yours was the last share that was needed: the broker is open.")
            }
            after => print_once(globals.out(), after.as_ref()),
        }
    }

    /// Nobody but the broker may have made the key that the share is sealed to.
    fn compare(&self, key: &XWingPublicKey) -> Result<(), Failure> {
        let found = key.fingerprint();
        let same = match self.expect_fingerprint {
            Some(expected) => expected == found,
            None => {
                let question = format!(
                    "Fingerprint of the ceremony key:\n\n  {found}\n\nDoes the broker's console show exactly this? (yes/no)"
                );
                matches!(input::ask(&question, "--expect-fingerprint")?.as_str(), "yes" | "y")
            }
        };
        if same {
            return Ok(());
        }
        Err(Failure::integrity("the ceremony key is not the broker's; nothing was sent")
            .hint("somebody may sit between you and the broker: call the operator before you try again"))
    }
}

/// What the share is given for, and who has new ones afterwards: the broker's console says the same.
fn say_what_for(ceremony: &Ceremony) -> Result<(), Failure> {
    let mut text = format!("This is a ceremony of type {}.\n", ceremony.kind);
    if let Some(RootWish { name, fingerprint, ttl_secs, .. }) = &ceremony.root {
        let life = lifetime((*ttl_secs).into());
        text.push_str(&format!(
            "It makes a root token, which may do everything for {life}, for the owner of this card:\n  {name}\n    {fingerprint}\n\
             The broker's console must show exactly this. Give your share only if you have spoken with {name} and know why.\n",
        ));
    }
    if let Some(Wanted { threshold, custodians }) = &ceremony.wanted {
        text.push_str(&format!(
            "New shares, of which {threshold} are needed, go to the owners of these cards:\n"
        ));
        for WantedCustodian { name, fingerprint } in custodians {
            text.push_str(&format!("  {name}\n    {fingerprint}\n"));
        }
        text.push_str("The broker's console must show exactly these.\n");
    }
    writeln!(std::io::stderr().lock(), "{}", printable(&text))?;
    Ok(())
}

async fn under_way(client: &Operator) -> Result<Ceremony, Failure> {
    let ceremony = client
        .ceremony()
        .await?
        .filter(|ceremony| matches!(ceremony.stage.as_str(), "collecting" | "proving"));
    let ceremony = ceremony.ok_or_else(|| {
        Failure::unavailable("no ceremony is waiting for shares").hint("the operator must begin one")
    })?;
    known(ceremony)
}

fn typed_share() -> Result<Share, Failure> {
    let text = input::secret("Share (skf1…)")?;
    Share::parse(&text).map_err(|error| {
        Failure::usage(format!("this is not a share: {error}")).hint("type or paste it again")
    })
}

/// The share in an envelope. Somebody else's envelope is refused by name.
pub fn open_parcel(parcel: &Parcel, keys: &KeyPair) -> Result<Share, Failure> {
    let seed = keys.sealing().ok_or_else(|| Failure::usage("an officer's keys open no envelope"))?;
    parcel.open(seed).map_err(|error| {
        Failure::usage(printable(&error.to_string()))
            .hint("check that envelope and key file are of the same person")
    })
}

/// The envelope of the owner of the key file, among those of the new set.
fn new_parcel(ceremony: &Ceremony, source: &Source) -> Result<Parcel, Failure> {
    let none = |text: &str| Failure::usage(text).hint("look at the ceremony with `symbolon ceremony watch`");
    let set = ceremony.proving()?.ok_or_else(|| none("this ceremony makes no new shares"))?;
    let path = source.key.as_deref().ok_or_else(|| none("--key is needed"))?;
    let file = crate::key_file::read(path)?;
    let x = own_number(&set, file.card().map(|card| card.keys()))
        .ok_or_else(|| none("your key is not among the custodians of the new set"))?;
    let envelope =
        ceremony.envelope(x)?.ok_or_else(|| none("there is no envelope for your new share yet"))?;
    Parcel::new(set, x, envelope).map_err(|error| Failure::integrity(error.to_string()))
}

/// The number of the custodian with these keys.
pub fn own_number(
    set: &ShareSetManifest,
    keys: Option<&symbolon_proto::custody::CustodianKeys>,
) -> Option<u8> {
    let keys = keys?;
    set.custodians().iter().find(|custodian| custodian.keys.as_ref() == Some(keys)).map(|own| own.x)
}

/// Finds a share of another set before it is sent.
fn check_set(ceremony: &Ceremony, share: &Share, purpose: Purpose) -> Result<(), Failure> {
    let set = match purpose {
        Purpose::Give | Purpose::RootToken => Some(ceremony.giving()?),
        Purpose::Prove => ceremony.proving()?,
    };
    let set = set.ok_or_else(|| Failure::usage("this ceremony makes no new shares"))?;
    match set.check_share(share) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(printable(&error.to_string()))
            .hint("use the share of the set in use; an older one opens nothing any more")),
    }
}
