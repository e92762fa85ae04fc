//! Shares of two kinds from one source: the fragment's and the escrow key's.

use std::collections::VecDeque;
use std::path::Path;

use symbolon_proto::Zeroizing;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::share::{Ceremony, Share, ShareKind, ShareSetManifest};

use crate::failure::Failure;
use crate::input;
use crate::output::printable;

/// Most lines of a share file: both sets in full.
const LINES_MAX: usize = 32;

/// Where shares come from.
pub(super) enum Shares {
    /// A file that was read.
    File(VecDeque<Share>),
    /// People at this terminal.
    Asked,
}

impl Shares {
    /// Reads a file of shares, or prepares to ask.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Asked) };
        let text = input::file(path)?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.len() > LINES_MAX {
            return Err(Failure::usage(format!("more than {LINES_MAX} shares in {}", path.display())));
        }
        let parse = |(index, line): (usize, &&str)| {
            Share::parse(line).map_err(|error| Failure::usage(format!("line {}: {error}", index + 1)))
        };
        lines.iter().enumerate().map(parse).collect::<Result<_, _>>().map(Self::File)
    }

    /// What t shares of `set` give.
    pub(super) fn combine(&mut self, set: &ShareSetManifest) -> Result<Fragment, Failure> {
        let mut ceremony = Ceremony::new(set.clone());
        while !ceremony.progress().is_complete() {
            let share = self.next(set, &ceremony)?;
            match (ceremony.submit(share, 0), &self) {
                (Ok(_), _) => {}
                (Err(error), Self::Asked) => complain(&error.to_string())?,
                (Err(error), Self::File(_)) => return Err(Failure::usage(printable(&error.to_string()))),
            }
        }
        ceremony.recombine().map_err(|error| Failure::integrity(error.to_string()))
    }

    fn next(&mut self, set: &ShareSetManifest, ceremony: &Ceremony) -> Result<Share, Failure> {
        let progress = ceremony.progress();
        match self {
            Self::File(shares) => {
                let index = shares.iter().position(|share| share.kind() == set.kind());
                index.and_then(|index| shares.remove(index)).ok_or_else(|| {
                    Failure::usage(format!(
                        "{} of {} shares of {} were given",
                        progress.given,
                        progress.needed,
                        set.kind()
                    ))
                    .hint(format!("custodians: {}", printable(&names(set))))
                })
            }
            Self::Asked => ask(set, progress.given + 1, progress.needed),
        }
    }
}

fn names(set: &ShareSetManifest) -> String {
    set.custodians().iter().map(|custodian| custodian.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn ask(set: &ShareSetManifest, number: u8, needed: u8) -> Result<Share, Failure> {
    let start = match set.kind() {
        ShareKind::Fragment => "skf1…",
        ShareKind::Escrow => "ske1…",
    };
    loop {
        let prompt = format!("Share {number} of {needed} of {} ({start}; {})", set.kind(), names(set));
        let text: Zeroizing<String> = input::secret(&printable(&prompt))?;
        if text.is_empty() {
            return Err(
                Failure::usage("no share was given").hint("shares may also come from a file: --shares")
            );
        }
        match Share::parse(&text) {
            Ok(share) => return Ok(share),
            Err(error) => complain(&error.to_string())?,
        }
    }
}

fn complain(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    Ok(writeln!(std::io::stderr().lock(), "{}", printable(text))?)
}
