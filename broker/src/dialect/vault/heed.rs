//! What of a request was heeded, so that no request is answered as if it had said less.
//!
//! Every name that is read leaves a mark, at the level of the body where it stands. When the answer is there,
//! what has no mark is named in a warning, and so is what is known and has no effect here. That happens in
//! one place for all routes (`faces/vault`), so no handler can forget it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Most names that a warning lists.
const WARNED_NAMES_MAX: usize = 16;

/// Marks in one object of a request.
#[derive(Default)]
pub(super) struct Marks {
    /// Whether what nobody knows has been told already.
    pub(super) told: bool,
    whole: bool,
    read: BTreeSet<&'static str>,
    idle: BTreeSet<&'static str>,
    replaced: BTreeSet<&'static str>,
    inside: BTreeMap<&'static str, Marks>,
}

/// Names that are to be told, by what became of them.
#[derive(Default)]
pub(super) struct Told {
    /// Nobody knows them.
    pub(super) unknown: Vec<String>,
    /// They are known, ask for something, and have no effect here.
    pub(super) idle: Vec<String>,
    /// The path said something else.
    pub(super) replaced: Vec<String>,
}

impl Marks {
    /// Those of an object further inside.
    pub(super) fn at(&mut self, path: &[&'static str]) -> &mut Self {
        path.iter().fold(self, |marks, name| marks.inside.entry(name).or_default())
    }

    /// All names, whatever they are.
    pub(super) fn take_whole(&mut self) {
        self.whole = true;
    }

    /// A name that somebody has asked for.
    pub(super) fn take(&mut self, name: &'static str) {
        self.read.insert(name);
    }

    /// A name that is known and has no effect here.
    pub(super) fn set_idle(&mut self, name: &'static str) {
        self.idle.insert(name);
    }

    /// A name that says something else than the path, which counts.
    pub(super) fn set_replaced(&mut self, name: &'static str) {
        self.replaced.insert(name);
    }

    /// Sorts the names of the request by what became of them.
    pub(super) fn tell(&self, map: &Map<String, Value>) -> Told {
        let mut told = Told::default();
        self.sort(map, "", &mut told);
        if self.told {
            told.unknown.clear();
        }
        told
    }

    fn sort(&self, map: &Map<String, Value>, prefix: &str, told: &mut Told) {
        if self.whole {
            return;
        }
        for (name, value) in map {
            let name = name.as_str();
            let full = || format!("{prefix}{name}");
            if self.replaced.contains(name) {
                told.replaced.push(full());
            } else if self.read.contains(name) {
            } else if self.idle.contains(name) {
                told.idle.extend(asks(value).then(full));
            } else {
                match (self.inside.get(name), value) {
                    (Some(inside), Value::Object(map)) => inside.sort(map, &format!("{prefix}{name}."), told),
                    (Some(_), _) => {}
                    (None, _) => told.unknown.push(full()),
                }
            }
        }
    }
}

/// Whether a value asks for anything. Clients send along what their users left alone.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0" | "false"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

impl Told {
    /// The warnings, the first and the last as Vault words them.
    pub(super) fn warnings(self) -> Vec<String> {
        let leads = [
            ("Endpoint ignored these unrecognized parameters:", self.unknown),
            ("These parameters are known and have no effect here:", self.idle),
            (
                "Endpoint replaced the value of these parameters with the values captured from the endpoint's path:",
                self.replaced,
            ),
        ];
        leads.into_iter().filter_map(|(lead, names)| warning(lead, names)).collect()
    }
}

/// Names that do not look like names are counted, not repeated.
fn warning(lead: &str, mut names: Vec<String>) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    names.sort_unstable();
    let total = names.len();
    let shown: Vec<String> = names.into_iter().filter(|name| is_name(name)).take(WARNED_NAMES_MAX).collect();
    let more = match total - shown.len() {
        0 => String::new(),
        hidden => format!(" and {hidden} more"),
    };
    Some(format!("{lead} [{}]{more}", shown.join(" ")))
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_asks_for_nothing_needs_no_warning() {
        for nothing in [json!(null), json!(false), json!(""), json!("false"), json!(0), json!([]), json!({})]
        {
            assert!(!asks(&nothing), "{nothing}");
        }
        for something in [json!(true), json!("x"), json!(1), json!(-0.5), json!([0]), json!({"a": null})] {
            assert!(asks(&something), "{something}");
        }
    }
}
