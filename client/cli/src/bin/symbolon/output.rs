//! Printing: tables for people, JSON, YAML and CSV for programs, and one bare field for shells. Nothing else
//! in the binary writes to standard output.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::globals::Format;
use crate::yaml;

/// Where and how to print.
#[derive(Clone, Copy)]
pub struct Output {
    format: Format,
    /// Only this field of the answer. Lives as long as the process, which runs one command.
    field: Option<&'static str>,
}

impl Output {
    pub fn new(format: Format) -> Self {
        Self { format, field: None }
    }

    /// Only this field of every value, as `--field` asks.
    pub fn only(self, field: Option<&str>) -> Self {
        Self { field: field.map(|name| &*Box::leak(name.to_owned().into_boxed_str())), ..self }
    }

    /// Whether values are printed as such: JSON, YAML that says the same, or one field of them.
    pub fn is_json(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml) || self.field.is_some()
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

    /// Says something to whoever is typing.
    #[cfg(feature = "servers")]
    pub fn note(text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}"); // nobody to tell if it is closed
    }

    /// Prints a value as JSON or YAML, or the field of it that was asked for.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let value = serde_json::to_value(value).expect("output values are maps with text keys");
        match self.field {
            Some(name) => self.one_field(&value, name),
            None => self.value(&value),
        }
    }

    fn value(self, value: &Value) -> Result<(), Failure> {
        match self.format {
            Format::Yaml => self.text(&yaml::text(value)),
            _ => self.line(&serde_json::to_string_pretty(value).expect("a JSON value")),
        }
    }

    fn one_field(self, value: &Value, name: &str) -> Result<(), Failure> {
        let Some(found) = field(value, name) else {
            let failure = Failure::general("the answer has no such field");
            return Err(match value.as_object() {
                Some(object) => failure.hint(format!("it has: {}", names(object.keys()))),
                None => failure.hint("it is no object: leave --field out"),
            });
        };
        match self.format {
            Format::Json | Format::Yaml => self.value(found),
            _ => self.bare(&plain(found)),
        }
    }

    /// A text for a shell: with a line feed, and without control characters, only on a terminal.
    pub fn bare(self, text: &str) -> Result<(), Failure> {
        if io::stdout().is_terminal() { self.line(&printable(text)) } else { self.text(text) }
    }

    /// Prints one of many values, each on a line of its own, or as a YAML document.
    pub fn json_line(self, line: &str) -> Result<(), Failure> {
        let value = || serde_json::from_str(line).unwrap_or(Value::Null);
        match (self.field, self.format) {
            (None, Format::Yaml) => self.text(&format!("---\n{}", yaml::text(&value()))),
            (None, _) => self.line(line),
            (Some(name), _) => self.line(&printable(&field(&value(), name).map(plain).unwrap_or_default())),
        }
    }

    /// Prints a document, such as a manifest or a signed order; programs get it as a member of this name.
    pub fn document(self, name: &str, text: &str) -> Result<(), Failure> {
        match self.is_json() {
            true => self.json(&serde_json::json!({ name: text })),
            false => self.text(text),
        }
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

    /// Prints the members of an object, one per row, or the object as JSON.
    pub fn pairs(self, value: &Value) -> Result<(), Failure> {
        self.rows(value, &["KEY", "VALUE"], pairs(value))
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

    /// The same for a document that is YAML itself.
    pub fn yaml_document(self, name: &str, text: &str) -> Result<(), Failure> {
        match self.format {
            Format::Yaml => self.text(text),
            _ => self.document(name, text),
        }
    }

    /// An empty line between two tables for people.
    pub fn gap(self) -> Result<(), Failure> {
        if self.format == Format::Table { self.line("") } else { Ok(()) }
    }

    /// For what is shown once: whoever asks for one field of it would lose the rest.
    pub fn whole(self) -> Result<Self, Failure> {
        match self.field {
            None => Ok(self),
            Some(_) => Err(Failure::usage("this answer is shown once, so it is printed whole")
                .hint("use -o json without --field, and keep all of it")),
        }
    }

    /// Prints names, one per line, or as a JSON list.
    pub fn names(self, names: &[String]) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(&names);
        }
        if self.is_csv() {
            return self.more_rows(names.iter().map(|name| vec![name.clone()]).collect());
        }
        names.iter().try_for_each(|name| self.line(&printable(name)))
    }

    /// Says that something was done, and nothing more is to be told; programs read the exit code instead.
    pub fn done(self, text: &str) -> Result<(), Failure> {
        if self.field.is_some() {
            return Err(Failure::usage("it was done, and there is no field to print")
                .hint("leave --field out: this command answers with its exit code"));
        }
        match self.format {
            Format::Table => self.line(text),
            Format::Json | Format::Yaml | Format::Csv => Ok(()),
        }
    }
}

/// A field, or one within others, with dots between: `auth.client_token`. A name with dots in it goes first.
fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| name.split('.').try_fold(value, |value, part| value.get(part)))
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    printable(&names.map(String::as_str).collect::<Vec<_>>().join(", "))
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

    /// Whether values are printed as such.
    pub fn is_json(self) -> bool {
        self.0.is_json()
    }

    /// Prints a value as JSON or YAML, or the field of it that was asked for.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        self.0.json(value)
    }

    /// Prints the whole answer for programs, and the members of a part of it for people. A field is looked
    /// for in that part first.
    pub fn about(self, whole: &Value, part: &Value) -> Result<(), Failure> {
        match self.0.field {
            Some(name) if field(part, name).is_some() => self.0.json(part),
            _ => self.0.rows(whole, &["KEY", "VALUE"], pairs(part)),
        }
    }

    /// Says that something was done.
    pub fn done(self, text: &str) -> Result<(), Failure> {
        self.0.done(text)
    }
}

/// Members of an object as rows; lists of texts as people write them.
fn pairs(value: &Value) -> Vec<Vec<String>> {
    let cell = |value: &Value| match value {
        Value::Array(elements) if elements.iter().all(Value::is_string) => {
            elements.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        other => plain(other),
    };
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, member)| vec![printable(name), printable(&cell(member))]).collect()
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
        for format in [Format::Table, Format::Json, Format::Yaml] {
            assert!(Output::new(format).for_secrets().is_ok());
        }
    }

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
