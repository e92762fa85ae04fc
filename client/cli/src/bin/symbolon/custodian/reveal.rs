//! `symbolon custodian show-share`: a share as text or QR code, on explicit request only.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use symbolon_proto::Zeroizing;
use symbolon_proto::custody::{KeyKind, Parcel};
use symbolon_proto::share::Share;

use super::submit::open_parcel;
use crate::failure::Failure;
use crate::key_file::{Opening, text_file};
use crate::output::Output;

/// How to print a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Print {
    /// The 81 characters
    Text,
    /// A QR code for the terminal
    Qr,
    /// A sheet of paper as SVG: QR code, characters, whose share of which set
    Paper,
}

/// `symbolon custodian show-share`
#[derive(Args)]
pub struct ShowShare {
    #[command(flatten)]
    opening: Opening,
    /// The share envelope
    #[arg(long, value_name = "FILE")]
    envelope: PathBuf,
    /// In which form. There is no default: without this option a share is never shown
    #[arg(long, value_enum)]
    print: Print,
}

impl ShowShare {
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let parcel = Parcel::parse(&text_file(&self.envelope)?).map_err(|e| Failure::usage(e.to_string()))?;
        let share = open_parcel(&parcel, &self.opening.open(KeyKind::Custodian)?)?;
        writeln!(
            std::io::stderr().lock(),
            "Whoever sees what follows holds the share of {}. Keep it off shared screens, printers and clipboards.",
            parcel.holder()
        )?;
        print_share(out, &share, parcel.holder(), self.print)
    }
}

/// Prints a share in the form that was asked for.
pub fn print_share(out: Output, share: &Share, holder: &str, print: Print) -> Result<(), Failure> {
    let text = share.to_text();
    if out.is_json() {
        return out.json(&serde_json::json!({ "holder": holder, "share": &*text }));
    }
    match print {
        Print::Text => out.line(&text),
        Print::Qr => out.line(&terminal_code(&text, std::io::stdout().is_terminal())?),
        Print::Paper => out.text(&sheet(share, holder, &text)?),
    }
}

/// Capital letters make the smallest code; the text form allows them.
fn code(text: &str) -> Result<qrcode::QrCode, Failure> {
    let capitals = Zeroizing::new(text.to_uppercase());
    qrcode::QrCode::with_error_correction_level(capitals.as_bytes(), qrcode::EcLevel::Q)
        .map_err(|_| Failure::general("the share does not fit a QR code"))
}

/// Blocks for the dark modules. A terminal may write light on dark, and not every camera reads a code in
/// negative: there the colours are set, line by line.
fn terminal_code(text: &str, is_terminal: bool) -> Result<Zeroizing<String>, Failure> {
    let image =
        Zeroizing::new(code(text)?.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build());
    if !is_terminal {
        return Ok(image);
    }
    let (black_on_white, plain) = ("\x1b[30;107m", "\x1b[0m");
    let mut lines = Zeroizing::new(String::with_capacity(2 * image.len()));
    for line in image.lines() {
        lines.extend([black_on_white, line, plain, "\n"]);
    }
    Ok(lines)
}

/// An A6 sheet: what it is stands beside the code, so that a finder knows whom to give it back to.
fn sheet(share: &Share, holder: &str, text: &str) -> Result<Zeroizing<String>, Failure> {
    let image = Zeroizing::new(
        code(text)?
            .render::<qrcode::render::svg::Color<'_>>()
            .min_dimensions(240, 240)
            .quiet_zone(true)
            .build(),
    );
    let inner = image.split_once("?>").map_or(image.as_str(), |(_, svg)| svg);
    let mut lines = Zeroizing::new(String::new());
    let threshold = share.threshold();
    let caption = format!(
        "Share {} of {} ({} needed), set {}, of {}",
        share.x(),
        threshold.total(),
        threshold.needed(),
        share.set_id(),
        escaped(holder)
    );
    for (row, line) in [caption.as_str(), &text[..27], &text[27..54], &text[54..]].into_iter().enumerate() {
        lines.push_str(&format!("<text x=\"20\" y=\"{}\">{line}</text>\n", 290 + 18 * row));
    }
    Ok(Zeroizing::new(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"420\" height=\"370\" font-family=\"monospace\" font-size=\"13\">\n\
         {inner}\n{}</svg>\n",
        lines.as_str()
    )))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_the_code_dark_on_light() {
        let text = "SKF1".repeat(20);
        let (plain, coloured) = (terminal_code(&text, false), terminal_code(&text, true));
        let (plain, coloured) = (plain.unwrap_or_default(), coloured.unwrap_or_default());
        assert!(!plain.is_empty() && !plain.contains('\x1b'));
        assert!(coloured.lines().all(|line| line.starts_with("\x1b[30;107m") && line.ends_with("\x1b[0m")));
        assert_eq!(
            coloured.replace("\x1b[30;107m", "").replace("\x1b[0m", "").trim_end_matches('\n'),
            *plain
        );
    }

    #[test]
    fn names_cannot_write_markup() {
        assert_eq!(escaped("<b>&"), "&lt;b&gt;&amp;");
    }
}
