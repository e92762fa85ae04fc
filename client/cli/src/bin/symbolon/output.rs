//! Printing: tables for people, JSON for programs. Nothing else in the binary writes to standard output.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::globals::Format;

/// Where and how to print.
#[derive(Clone, Copy)]
pub struct Output {
    format: Format,
}

impl Output {
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    pub fn is_csv(self) -> bool {
        self.format == Format::Csv
    }

    /// For secrets, which no CSV holds. To be asked for before the broker is asked for them.
    pub fn for_secrets(self) -> Result<SecretOutput, Failure> {
        if self.is_csv() {
            return Err(Failure::usage(
                "secrets are not printed as CSV: spreadsheets would run or alter them",
            )
            .hint("use -o json, or for one field of a secret `symbolon kv get --field NAME`"));
        }
        Ok(SecretOutput(self))
    }

    /// Prints a text as it is.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        written(write!(io::stdout().lock(), "{text}"))
    }

    /// Prints a line.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        written(writeln!(io::stdout().lock(), "{text}"))
    }

    /// Prints a value as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).expect("output values are maps with text keys");
        self.line(&text)
    }

    /// Prints facts: one per line, or the value as JSON.
    pub fn facts(self, value: &impl Serialize, facts: &[(&str, String)]) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(value);
        }
        let rows: Vec<Vec<String>> =
            facts.iter().map(|(name, fact)| vec![(*name).to_owned(), fact.clone()]).collect();
        self.more_rows(rows)
    }

    /// Prints rows under headings, or the value as JSON.
    pub fn rows(
        self,
        value: &impl Serialize,
        headings: &[&str],
        rows: Vec<Vec<String>>,
    ) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(value);
        }
        let mut all = vec![headings.iter().map(|heading| (*heading).to_owned()).collect()];
        all.extend(rows);
        self.more_rows(all)
    }

    /// Prints rows without headings.
    pub fn more_rows(self, rows: Vec<Vec<String>>) -> Result<(), Failure> {
        if self.is_csv() {
            return rows.iter().try_for_each(|row| self.text(&csv(row)));
        }
        self.text(&columns(&rows))
    }

    /// Prints names, one per line, or as a JSON list.
    pub fn names(self, names: &[String]) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(&names);
        }
        names.iter().try_for_each(|name| self.line(&printable(name)))
    }

    /// Says that something was done; programs read the exit code instead.
    pub fn done(self, text: &str) -> Result<(), Failure> {
        if self.is_json() { Ok(()) } else { self.line(text) }
    }
}

/// Output that secrets may go to as they are. A spreadsheet takes `=…` and `+…` for formulas, so CSV has a
/// mark before them; a secret with a mark is another secret, so there is no CSV of them.
#[derive(Clone, Copy)]
pub struct SecretOutput(Output);

impl SecretOutput {
    /// Prints facts: one per line, or the value as JSON.
    pub fn facts(self, value: &impl Serialize, facts: &[(&str, String)]) -> Result<(), Failure> {
        self.0.facts(value, facts)
    }

    /// Prints rows under headings, or the value as JSON.
    pub fn rows(
        self,
        value: &impl Serialize,
        headings: &[&str],
        rows: Vec<Vec<String>>,
    ) -> Result<(), Failure> {
        self.0.rows(value, headings, rows)
    }
}

/// A closed pipe (`symbolon … | head`) is not an error.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Aligns cells; the last column is not padded.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A cell without formulas: some of its texts come from elsewhere. Whatever a spreadsheet would take for the
/// beginning of a formula has a mark before it, also where one that separates cells by semicolons or tabs, or
/// does not know quoted line feeds, would begin a cell.
fn without_formulas(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    let mut begins = true;
    for c in cell.chars() {
        if begins && matches!(c, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') {
            text.push('\'');
        }
        // blanks and quotation marks are skipped by some
        begins = c == ';' || (begins && c == '"') || (c.is_whitespace() && (begins || c.is_control()));
        text.push(c);
    }
    text
}

/// A record of RFC 4180, of cells without formulas.
fn csv(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        let cell = without_formulas(cell);
        match cell.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell,
        }
    };
    format!("{}\r\n", cells.iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// A JSON value as people read it: texts bare, everything else as JSON.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Text from elsewhere without control characters, so that it cannot steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_without_trailing_blanks() {
        let rows = [["a", "long", "x"], ["bbb", "c", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "a    long  x\nbbb  c\n");
    }

    #[test]
    fn csv_quotes_what_must_be_and_holds_no_formula() {
        let row = ["a", "b,c", "d\"e", "=1+1", "", "-"].map(str::to_owned);
        assert_eq!(csv(&row), "a,\"b,c\",\"d\"\"e\",'=1+1,,'-\r\n");
    }

    /// Half of the world separates cells by semicolons.
    #[test]
    fn no_part_of_a_cell_is_a_formula_elsewhere() {
        for (cell, printed) in [
            ("secret/x;=HYPERLINK(1)", "secret/x;'=HYPERLINK(1)"),
            ("x\t+1", "x\t'+1"),
            ("x\n-1", "\"x\n'-1\""),
            ("x\r@a", "\"x\r'@a\""),
            ("\t=1", "\t'=1"),
            ("x; \"=1", "\"x; \"\"'=1\""),
            ("＝1", "'＝1"),
            ("a=b", "a=b"),
            ("a -b;c", "a -b;c"),
        ] {
            assert_eq!(csv(&[cell.to_owned()]), format!("{printed}\r\n"));
        }
    }

    #[test]
    fn secrets_are_printed_as_they_are_or_not_at_all() {
        assert!(Output::new(Format::Csv).for_secrets().is_err());
        for format in [Format::Table, Format::Json] {
            assert!(Output::new(format).for_secrets().is_ok());
        }
    }

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
