//! Cards of custodians, to whom shares are sealed: read from files, compared by people.

use std::io::Write as _;
use std::path::Path;

use symbolon_proto::custody::Card;

use crate::failure::Failure;
use crate::input;
use crate::key_file::text_file;
use crate::output::printable;

/// A card in text form, checked here so that a wrong file is named.
pub fn card_text(path: &Path) -> Result<String, Failure> {
    let text = text_file(path)?;
    match Card::parse(&text) {
        Ok(card) => Ok(card.to_text()),
        Err(error) => Err(Failure::usage(format!("{}: {error}", path.display()))),
    }
}

/// A card proves that its keys belong together, not whose they are: that only people can tell.
pub fn compare(what: &str, cards: &[String]) -> Result<(), Failure> {
    let mut text = format!("{what}:\n\n");
    for card in cards.iter().filter_map(|card| Card::parse(card).ok()) {
        text.push_str(&format!("  {}\n    {}\n", printable(card.name()), card.fingerprint()));
    }
    writeln!(std::io::stderr().lock(), "{text}")?;
    let question = "Did their owners read exactly these fingerprints to you? (yes/no)";
    match input::ask(question, "--yes")?.as_str() {
        "yes" | "y" => Ok(()),
        _ => Err(Failure::general("nothing was begun").hint("ask the owners for their cards again")),
    }
}
