//! Everything that is wrong with a configuration file, for `--check-config`: a start would name the first
//! fault only.
//!
//! What a fault is about is left out and the rest is read again, until it is read whole. So the answer is
//! made by the same types as a start, and nothing is described twice.

use serde::de::DeserializeOwned;

/// Faults that are named at most.
const FAULTS_MAX: usize = 100;

/// A text and what was found in it.
pub struct Examined {
    lines: Vec<String>,
    /// What is wrong, in the order in which it was found.
    pub faults: Vec<String>,
    /// Names of settings that were left out. That they are missing then is no fault of their own.
    left_out: Vec<String>,
}

impl Examined {
    /// Reads a text as `T` until nothing is wrong, or nothing more can be left out. `required` are the
    /// settings and tables at the top that `T` cannot be without.
    #[must_use]
    pub fn new<T: DeserializeOwned>(text: &str, required: &[&str]) -> Self {
        let lines = text.lines().map(str::to_owned).collect();
        let mut examined = Self { lines, faults: Vec::new(), left_out: Vec::new() };
        while examined.faults.len() < FAULTS_MAX {
            match toml::from_str::<T>(&examined.rest()) {
                Ok(_) => break,
                Err(error) if !examined.leave_out(&error) => break,
                Err(_) => {}
            }
        }
        let known =
            |name: &&&str| !examined.says(name) && !examined.left_out.iter().any(|left| left == **name);
        let missing = required.iter().filter(known).map(|name| format!("missing field `{name}`"));
        let missing: Vec<_> = missing.filter(|fault| !examined.faults.contains(fault)).collect();
        examined.faults.extend(missing);
        examined
    }

    /// The text without what was wrong.
    #[must_use]
    pub fn rest(&self) -> String {
        self.lines.join("\n")
    }

    /// Notes a fault and takes what it is about out. False if that cannot be done.
    fn leave_out(&mut self, error: &toml::de::Error) -> bool {
        let missing = error.message().strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let text = self.rest();
        let span = error.span().filter(|span| span.start < span.end && span.end <= text.len());
        let span = span.filter(|span| missing.is_none() || span.end - span.start < text.len());
        let line_of = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let lines = span.map(|span| (line_of(span.start), line_of(span.end - 1)));
        let is_consequence = match (missing, lines) {
            (Some(name), _) => self.left_out.iter().any(|left| left == name),
            (None, Some((first, _))) => self.is_heading(first) && self.has_gap(first),
            (None, None) => false,
        };
        if !is_consequence {
            let fault = self.told(error.message().trim_end(), lines.map(|(first, _)| first));
            self.faults.push(fault);
        }
        match lines {
            None => false,
            Some((first, _)) if self.is_heading(first) => self.drop_lines(first, self.end_of_table(first)),
            Some((first, last)) => self.drop_lines(first, last + 1),
        }
    }

    /// A fault with the line that it is in, and the setting unless the message names it.
    fn told(&self, message: &str, line: Option<usize>) -> String {
        let Some(line) = line else { return message.to_owned() };
        let text = self.lines.get(line).map(String::as_str).unwrap_or_default();
        let name = text.split('=').next().unwrap_or_default().trim();
        let name = if message.contains(name.trim_matches(['[', ']'])) { "" } else { name };
        let colon = if name.is_empty() { "" } else { ": " };
        format!("line {}: {name}{colon}{message}", line + 1)
    }

    /// Whether a setting or table of this name stands at the top.
    fn says(&self, name: &str) -> bool {
        let names = |line: &String| {
            let line = line.trim_start_matches([' ', '[']);
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(['=', ']', '.']))
        };
        self.lines.iter().any(names)
    }

    fn is_heading(&self, line: usize) -> bool {
        self.lines.get(line).is_some_and(|text| text.trim_start().starts_with('['))
    }

    /// The line behind the table that begins here.
    fn end_of_table(&self, heading: usize) -> usize {
        (heading + 1..self.lines.len()).find(|line| self.is_heading(*line)).unwrap_or(self.lines.len())
    }

    /// Whether something of this table was left out before.
    fn has_gap(&self, heading: usize) -> bool {
        let table = heading..self.end_of_table(heading);
        table.into_iter().any(|line| self.lines.get(line).is_some_and(|text| text == LEFT_OUT))
    }

    /// Whether anything was there.
    fn drop_lines(&mut self, from: usize, until: usize) -> bool {
        let mut was_there = false;
        for line in self.lines.iter_mut().take(until).skip(from) {
            was_there |= !line.is_empty() && line != LEFT_OUT;
            let name = line.split('=').next().unwrap_or_default();
            self.left_out.push(name.trim().trim_matches(['[', ']', '"']).to_owned());
            *line = LEFT_OUT.to_owned();
        }
        was_there
    }
}

/// In place of a line that was left out, so that the others keep their numbers.
const LEFT_OUT: &str = "#";

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Whole {
        listen: std::net::SocketAddr,
        count: Option<u8>,
        store: Store,
        tls: Option<Tls>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Store {
        path: String,
        cache: Option<u32>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Tls {
        cert: String,
        key: String,
    }

    fn faults(text: &str) -> Vec<String> {
        Examined::new::<Whole>(text, &["listen", "store"]).faults
    }

    #[test]
    fn a_good_text_has_none() {
        assert!(faults("listen = '127.0.0.1:1'\n[store]\npath = 'x'\n").is_empty());
    }

    #[test]
    fn every_fault_is_named_with_its_line_and_no_consequence_of_one() {
        let text = "listen = 'nowhere'\nlisen = 1\ncount = 300\n\n[tls]\ncert = 'c'\n\n[store]\npath = 7\ncahce = 1\n\
                    cache = -1\n\n[metrics]\nopen = true\n";
        let found = faults(text);
        let has = |line: usize, words: &str| {
            let start = format!("line {line}: ");
            assert!(
                found.iter().any(|text| text.starts_with(&start) && text.contains(words)),
                "{line} {words}: {found:#?}"
            );
        };
        has(1, "listen: invalid socket address");
        has(2, "unknown field `lisen`");
        has(3, "300");
        has(5, "missing field `key`");
        has(9, "path: invalid type");
        has(10, "unknown field `cahce`");
        has(11, "-1");
        has(13, "unknown field `metrics`");
        assert_eq!(found.len(), 8, "{found:#?}");
    }

    #[test]
    fn what_is_no_toml_ends_soon() {
        assert!(!faults("[[[\n= = =\nlisten\n\u{0}").is_empty());
        let found = faults("");
        assert_eq!(found, ["missing field `listen`", "missing field `store`"]);
    }
}
