//! Key files of custodians and officers on disk: made once, read with care, opened with a passphrase.

use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rand_core::UnwrapErr;
use symbolon_proto::Zeroizing;
use symbolon_proto::armour::TEXT_BYTES_MAX;
use symbolon_proto::custody::{KeyFile, KeyFileError, KeyKind, KeyPair, PassphraseCost};
use symbolon_proto::order::OfficerKey;

use crate::failure::Failure;
use crate::input;
use crate::output::{Output, printable};
use crate::promised::{Promised, check_free};

/// Fewest characters of a passphrase for new keys: whoever copies the file may guess at it for years.
const PASSPHRASE_CHARS_MIN: usize = 12;

/// What making keys needs to know.
#[derive(Args)]
pub struct NewKeys {
    /// Name of the person, as it is to stand in the share set or in the service's configuration
    #[arg(long)]
    pub name: String,
    /// File to write the private keys to, under a passphrase; it must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Read the passphrase from a file instead of asking twice
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Memory that guessing one passphrase costs, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u32).range(64..=4096))]
    memory: u32,
}

/// A key file and where its passphrase comes from.
#[derive(Args)]
pub struct Opening {
    /// The key file
    #[arg(long = "key", value_name = "FILE")]
    pub key: PathBuf,
    /// Read the passphrase from a file instead of asking
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// `symbolon custodian show`, `symbolon officer show`
#[derive(Args)]
pub struct Show {
    /// The key file
    #[arg(value_name = "FILE")]
    key: PathBuf,
    /// Ask for the passphrase and prove that the file opens
    #[arg(long)]
    check: bool,
    /// Read the passphrase from a file instead of asking
    #[arg(long, value_name = "FILE", requires = "check")]
    passphrase_file: Option<PathBuf>,
}

/// The operating system's randomness.
pub fn os_rng() -> UnwrapErr<getrandom::SysRng> {
    UnwrapErr(getrandom::SysRng)
}

impl NewKeys {
    /// Makes keys and writes them.
    pub fn make(&self, kind: KeyKind) -> Result<KeyFile, Failure> {
        check_free(&self.out)?;
        let cost = PassphraseCost::new(self.memory.saturating_mul(1024), 3, 1).map_err(unusable)?;
        let phrase = new_passphrase(self.passphrase_file.as_deref())?;
        let out = Promised::new(&self.out)?; // after the question: an interrupt there leaves no file
        let keys = KeyPair::generate(kind, &mut os_rng());
        let file = KeyFile::seal(&keys, &self.name, &phrase, cost, &mut os_rng())
            .map_err(|error| Failure::usage(error.to_string()))?;
        out.fill(file.to_text().as_bytes())?;
        Ok(file)
    }
}

impl Opening {
    /// A key file that was named in another way.
    pub fn new(key: &Path, passphrase_file: Option<&Path>) -> Self {
        Self { key: key.to_owned(), passphrase_file: passphrase_file.map(Path::to_owned) }
    }

    /// Whether the passphrase comes from a terminal or standard input.
    pub fn is_asked(&self) -> bool {
        self.passphrase_file.is_none()
    }

    /// The file, still closed.
    pub fn read(&self) -> Result<KeyFile, Failure> {
        read(&self.key)
    }

    /// The keys of a person of this kind.
    pub fn open(&self, kind: KeyKind) -> Result<KeyPair, Failure> {
        open(&self.read()?, kind, self.passphrase_file.as_deref())
    }
}

impl Show {
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let file = read(&self.key)?;
        if self.check {
            open(&file, file.kind(), self.passphrase_file.as_deref())?;
        }
        print_public(out, &file)
    }
}

/// Name, fingerprint, and the card or the officer's key.
pub fn print_public(out: Output, file: &KeyFile) -> Result<(), Failure> {
    let fingerprint = file.fingerprint().to_string();
    let key = (file.kind() == KeyKind::Officer).then(|| OfficerKey::new(*file.signing_key()).to_string());
    let card = file.card().map(|card| card.to_text());
    let value = serde_json::json!({
        "kind": file.kind().name(), "name": file.name(), "fingerprint": fingerprint, "key": key, "card": card,
    });
    let facts =
        [("kind", file.kind().name().into()), ("name", printable(file.name())), ("fingerprint", fingerprint)];
    out.facts(&value, &facts)?;
    if out.is_json() {
        return Ok(());
    }
    match (card, key) {
        (Some(card), _) => out.text(&format!("\n{card}")),
        (None, Some(key)) => out.line(&format!("key          {key}")),
        (None, None) => Ok(()),
    }
}

/// Reads a key file. One that others can read is refused: they may be guessing at its passphrase already.
pub fn read(path: &Path) -> Result<KeyFile, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::general(format!("cannot read the key file {}", path.display())).because(error)
    };
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(Failure::denied(format!("other users may read the key file {}", path.display()))
            .hint(format!("run: chmod 600 {} — and make new keys if others could copy it", path.display())));
    }
    let text = text_file(path)?;
    KeyFile::parse(&text).map_err(unusable)
}

/// A text file of ours, bounded.
pub fn text_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = input::file(path)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(Failure::usage(format!("{} is too large to be one of our files", path.display())));
    }
    Ok(text)
}

/// Asks for the passphrase, or reads it, and opens the file.
pub fn open(file: &KeyFile, kind: KeyKind, passphrase: Option<&Path>) -> Result<KeyPair, Failure> {
    if file.kind() != kind {
        let (found, expected) = (file.kind().name(), kind.name());
        return Err(unusable(KeyFileError::OtherKind { found, expected }));
    }
    let phrase = match passphrase {
        Some(path) => passphrase_line(path)?,
        None => input::secret(&format!("Passphrase of {}", printable(file.name())))?,
    };
    file.open(&phrase).map_err(|error| match error {
        KeyFileError::DoesNotOpen => {
            Failure::denied(error.to_string()).hint("type it again; without it the keys are lost")
        }
        other => unusable(other),
    })
}

fn unusable(error: impl std::error::Error) -> Failure {
    Failure::usage(error.to_string())
}

/// The first line of a file; blanks may belong to a passphrase, the line end does not.
fn passphrase_line(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = input::file(path)?;
    let line = text.lines().next().unwrap_or_default();
    Ok(Zeroizing::new(line.to_owned()))
}

fn new_passphrase(path: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let phrase = match path {
        Some(path) => passphrase_line(path)?,
        None if !std::io::stdin().is_terminal() => {
            return Err(Failure::usage("--passphrase-file is needed")
                .hint("or run this on a terminal, which asks for the passphrase"));
        }
        None => typed_twice()?,
    };
    if phrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(Failure::usage(format!(
            "the passphrase is shorter than {PASSPHRASE_CHARS_MIN} characters"
        ))
        .hint("take four or more random words"));
    }
    Ok(phrase)
}

fn typed_twice() -> Result<Zeroizing<String>, Failure> {
    let first = input::secret("New passphrase")?;
    let second = input::secret("Again")?;
    if *first == *second {
        Ok(first)
    } else {
        Err(Failure::usage("the two passphrases differ").hint("try again"))
    }
}

/// Writes a new file that only its owner may read. An existing one is never replaced.
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), Failure> {
    Promised::new(path)?.fill(content)
}
