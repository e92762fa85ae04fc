//! The parameters of a request, with the loose typing that Vault clients rely on.
//!
//! The CLI sends everything as strings, others send JSON types; both must mean the same. A [`Reader`] hands
//! out typed values by name and remembers which names it was asked for, so that the rest becomes the warning
//! about unrecognised parameters. No error repeats what the caller sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::dialect::time;

/// Most elements of a list or map field.
const ELEMENTS_MAX: usize = 4096;
/// Most names that a warning lists.
const WARNED_NAMES_MAX: usize = 16;

/// Why a parameter could not be read: its name, which is ours, and what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Field validation failed: error converting input for field \"{name}\": expected {expected}")]
pub struct FieldError {
    /// Name of the field, from our own tables.
    pub name: &'static str,
    /// What would have been right.
    pub expected: &'static str,
}

/// Parameters of one request, body or query, as they will also be shown to the policy.
#[derive(Clone, Default)]
pub struct Fields(Map<String, Value>);

/// They may be secrets, shares or tokens, so texts are wiped.
impl Drop for Fields {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Fields {
    /// Takes parsed parameters.
    #[must_use]
    pub fn new(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// What the policy's parameter rules look at.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Starts reading typed values.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { map: &self.0, asked: Mutex::default() }
    }
}

/// Reads typed values out of [`Fields`]. An absent field and a JSON `null` are both `None`.
pub struct Reader<'a> {
    map: &'a Map<String, Value>,
    // A lock only because readers live across awaits, and those must be `Sync`.
    asked: Mutex<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    fn asked(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.asked().insert(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        self.value(name).map(|value| convert(value).ok_or(FieldError { name, expected })).transpose()
    }

    /// Declares names that are accepted and have no effect here.
    pub fn accept(&self, names: &[&'static str]) {
        self.asked().extend(names);
    }

    /// Whether the field is present, `null` included.
    #[must_use]
    pub fn has(&self, name: &'static str) -> bool {
        self.asked().insert(name);
        self.map.contains_key(name)
    }

    /// Whether the field is there as `null`, which clears what it stands for.
    #[must_use]
    pub fn is_null(&self, name: &'static str) -> bool {
        self.asked().insert(name);
        self.map.get(name).is_some_and(Value::is_null)
    }

    /// What `read` reads of a field, or nothing of the kind, zero or empty, where `null` clears it. `None`
    /// only if the field is not there: for writes that change what they name.
    pub fn or_cleared<T: Default>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Self, &'static str) -> Result<Option<T>, FieldError>,
    ) -> Result<Option<T>, FieldError> {
        if self.is_null(name) { Ok(Some(T::default())) } else { read(self, name) }
    }

    /// How much is wanted at most; zero and less, as some clients write it, is no limit.
    pub fn limit(&self, name: &'static str) -> Result<Option<usize>, FieldError> {
        let limit = self.int(name)?.filter(|limit| *limit > 0);
        Ok(limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// Text; numbers and booleans become their text.
    pub fn string(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        self.read(name, "a string", scalar_text)
    }

    /// `true`, `"true"`, `1`, `"1"` and their opposites.
    pub fn bool(&self, name: &'static str) -> Result<Option<bool>, FieldError> {
        self.read(name, "a boolean", to_bool)
    }

    /// An integer or its text.
    pub fn int(&self, name: &'static str) -> Result<Option<i64>, FieldError> {
        self.read(name, "an integer", to_int)
    }

    /// An integer of at least zero, or its text.
    pub fn count(&self, name: &'static str) -> Result<Option<u64>, FieldError> {
        self.read(name, "an integer of at least 0", |value| u64::try_from(to_int(value)?).ok())
    }

    /// A duration of at least zero, in whole seconds.
    pub fn duration_secs(&self, name: &'static str) -> Result<Option<u64>, FieldError> {
        self.read(name, "a duration of at least 0, such as 30, \"90s\", \"1h30m\" or \"1d\"", |value| {
            u64::try_from(to_duration_ms(value)?).ok().map(|ms| ms / 1000)
        })
    }

    /// A duration in milliseconds that may be negative.
    pub fn signed_duration_ms(&self, name: &'static str) -> Result<Option<i64>, FieldError> {
        self.read(name, "a duration such as 30, \"90s\", \"1h30m\" or \"-1s\"", to_duration_ms)
    }

    /// A list of strings, or one string with commas; trimmed, empty ones dropped.
    pub fn comma_list(&self, name: &'static str) -> Result<Option<Vec<String>>, FieldError> {
        self.read(name, "a list of strings, or one string with commas", |value| {
            let texts = match value {
                Value::Array(items) => texts(items)?,
                single => scalar_text(single)?.split(',').map(str::to_owned).collect(),
            };
            let named: Vec<String> =
                texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
            (named.len() <= ELEMENTS_MAX).then_some(named)
        })
    }

    /// A list of strings; a single string is a list of one.
    pub fn string_list(&self, name: &'static str) -> Result<Option<Vec<String>>, FieldError> {
        self.read(name, "a list of strings", |value| match value {
            Value::Array(items) => texts(items),
            single => scalar_text(single).map(|text| vec![text]),
        })
    }

    /// A list of whole numbers, or one string with commas.
    pub fn count_list(&self, name: &'static str) -> Result<Option<Vec<u64>>, FieldError> {
        let expected = "a list of whole numbers";
        let Some(list) = self.comma_list(name)? else { return Ok(None) };
        let numbers: Result<_, _> = list.iter().map(|text| text.parse()).collect();
        numbers.map(Some).map_err(|_| FieldError { name, expected })
    }

    /// A map of scalars, or a list of `key=value`.
    pub fn pairs(&self, name: &'static str) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        self.read(name, "a map of strings, or a list of \"key=value\"", |value| match value {
            Value::Object(map) => scalar_map(map),
            Value::Array(items) => texts(items)?.iter().map(|item| pair(item)).collect(),
            Value::String(text) if text.is_empty() => Some(BTreeMap::new()),
            Value::String(text) => pair(text).map(|pair| BTreeMap::from([pair])),
            _ => None,
        })
    }

    /// A map whose values are strings already.
    pub fn string_map(&self, name: &'static str) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        self.read(name, "a map with string values", |value| {
            let map = value.as_object().filter(|map| map.len() <= ELEMENTS_MAX)?;
            map.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        })
    }

    /// A map whose values are strings, numbers or booleans, as texts: a boolean is `1` or `0`.
    pub fn weak_map(&self, name: &'static str) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        self.read(name, "a map with values that are strings, numbers or booleans", |value| {
            let map = value.as_object().filter(|map| map.len() <= ELEMENTS_MAX)?;
            map.iter().map(|(key, value)| Some((key.clone(), weak_text(value)?))).collect()
        })
    }

    /// A merge patch of such a map: `None` removes a key.
    pub fn weak_patch(
        &self,
        name: &'static str,
    ) -> Result<Option<BTreeMap<String, Option<String>>>, FieldError> {
        self.read(name, "a map with values that are strings, numbers, booleans or null", |value| {
            let map = value.as_object().filter(|map| map.len() <= ELEMENTS_MAX)?;
            let change =
                |value: &Value| if value.is_null() { Some(None) } else { weak_text(value).map(Some) };
            map.iter().map(|(key, value)| Some((key.clone(), change(value)?))).collect()
        })
    }

    /// A JSON object, untouched.
    pub fn object(&self, name: &'static str) -> Result<Option<&'a Map<String, Value>>, FieldError> {
        self.read(name, "an object", Value::as_object)
    }

    /// Unix milliseconds of an RFC 3339 time or of unix seconds.
    pub fn time_ms(&self, name: &'static str) -> Result<Option<u64>, FieldError> {
        self.read(name, "an RFC 3339 time or unix seconds", |value| match value {
            Value::String(text) => {
                time::parse_rfc3339(text).or_else(|| text.parse::<u64>().ok()?.checked_mul(1000))
            }
            number => u64::try_from(to_int(number)?).ok()?.checked_mul(1000),
        })
    }

    /// The warning about names that nobody asked for, as Vault words it. Names that do not look like names
    /// are counted, not repeated.
    #[must_use]
    pub fn unrecognised(&self) -> Option<String> {
        let asked = self.asked();
        let mut unknown: Vec<&str> =
            self.map.keys().map(String::as_str).filter(|key| !asked.contains(key)).collect();
        if unknown.is_empty() {
            return None;
        }
        unknown.sort_unstable();
        let total = unknown.len();
        let shown: Vec<&str> =
            unknown.into_iter().filter(|key| is_name(key)).take(WARNED_NAMES_MAX).collect();
        let more = match total - shown.len() {
            0 => String::new(),
            hidden => format!(" and {hidden} more"),
        };
        Some(format!("Endpoint ignored these unrecognized parameters: [{}]{more}", shown.join(" ")))
    }

    /// The warning about body fields whose value the path decides.
    #[must_use]
    pub fn replaced(&self, captured: &[&'static str]) -> Option<String> {
        let both: Vec<&str> = captured.iter().copied().filter(|name| self.map.contains_key(*name)).collect();
        self.accept(captured);
        let lead = "Endpoint replaced the value of these parameters with the values captured from the endpoint's path:";
        (!both.is_empty()).then(|| format!("{lead} [{}]", both.join(" ")))
    }
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// As Go's weak decoding makes a text of a value.
fn weak_text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        other => scalar_text(other),
    }
}

fn texts(items: &[Value]) -> Option<Vec<String>> {
    if items.len() > ELEMENTS_MAX { None } else { items.iter().map(scalar_text).collect() }
}

fn scalar_map(map: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    if map.len() > ELEMENTS_MAX {
        return None;
    }
    map.iter().map(|(key, value)| Some((key.clone(), scalar_text(value)?))).collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
}

/// Go's `strconv.ParseBool`, plus JSON booleans and the numbers 0 and 1.
pub fn to_bool(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(flag) => return Some(*flag),
        other => scalar_text(other)?,
    };
    parse_bool(&text)
}

/// Go's `strconv.ParseBool`.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn to_duration_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64()?.checked_mul(1000),
        Value::String(text) if text.is_empty() => Some(0),
        Value::String(text) => time::parse_duration_ms(text),
        _ => None,
    }
}

/// A duration that may be negative, in whole seconds.
pub fn signed_secs(read: &Reader<'_>, name: &'static str) -> Result<Option<i64>, FieldError> {
    Ok(read.signed_duration_ms(name)?.map(|ms| ms / 1000))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn booleans_in_every_spelling() {
        let all = fields(json!({"a": true, "b": "true", "c": "0", "d": 1, "e": null, "f": 2, "g": "yes"}));
        let read = all.reader();
        assert_eq!(read.bool("a"), Ok(Some(true)));
        assert_eq!(read.bool("b"), Ok(Some(true)));
        assert_eq!(read.bool("c"), Ok(Some(false)));
        assert_eq!(read.bool("d"), Ok(Some(true)));
        assert_eq!(read.bool("e"), Ok(None));
        assert_eq!(read.bool("f"), Err(FieldError { name: "f", expected: "a boolean" }));
        assert!(read.bool("g").is_err());
        assert_eq!(read.bool("absent"), Ok(None));
    }

    #[test]
    fn durations_are_seconds_or_go_or_days() {
        let all = fields(json!({"a": 30, "b": "30", "c": "1h30m", "d": "1d", "e": -1, "f": "", "g": [1]}));
        let read = all.reader();
        assert_eq!(read.duration_secs("a"), Ok(Some(30)));
        assert_eq!(read.duration_secs("b"), Ok(Some(30)));
        assert_eq!(read.duration_secs("c"), Ok(Some(5400)));
        assert_eq!(read.duration_secs("d"), Ok(Some(86_400)));
        assert!(read.duration_secs("e").is_err());
        assert_eq!(read.signed_duration_ms("e"), Ok(Some(-1000)));
        assert_eq!(read.duration_secs("f"), Ok(Some(0)));
        assert!(read.duration_secs("g").is_err());
    }

    /// As a list they were refused, as a string cut.
    #[test]
    fn a_list_that_is_too_long_is_refused_in_either_form() {
        let names = vec!["x"; ELEMENTS_MAX + 1];
        for (long, longest) in
            [(json!(names), json!(names[1..])), (json!(names.join(",")), json!(names[1..].join(",")))]
        {
            assert!(fields(json!({ "a": long })).reader().comma_list("a").is_err());
            let longest = fields(json!({ "a": longest })).reader().comma_list("a").unwrap().unwrap();
            assert_eq!(longest.len(), ELEMENTS_MAX);
        }
    }

    #[test]
    fn lists_come_as_lists_or_with_commas() {
        let all =
            fields(json!({"a": "x, y,,z ", "b": ["x", " y", ""], "c": [1, "2"], "d": "1,2", "e": {"x": 1}}));
        let read = all.reader();
        assert_eq!(read.comma_list("a").unwrap().unwrap(), ["x", "y", "z"]);
        assert_eq!(read.comma_list("b").unwrap().unwrap(), ["x", "y"]);
        assert_eq!(read.count_list("c"), Ok(Some(vec![1, 2])));
        assert_eq!(read.count_list("d"), Ok(Some(vec![1, 2])));
        assert!(read.comma_list("e").is_err());
        assert_eq!(read.string_list("a").unwrap().unwrap(), ["x, y,,z "]);
    }

    #[test]
    fn maps_come_as_maps_or_pairs() {
        let all =
            fields(json!({"a": {"k": 1, "l": "v"}, "b": ["k=1", "l=v=w"], "c": ["k"], "d": {"k": [1]}}));
        let read = all.reader();
        assert_eq!(read.pairs("a").unwrap().unwrap()["k"], "1");
        assert_eq!(read.pairs("b").unwrap().unwrap()["l"], "v=w");
        assert!(read.pairs("c").is_err());
        assert!(read.pairs("d").is_err());
        assert!(read.string_map("a").is_err());
        let patch = fields(json!({"a": {"k": null, "l": "v", "m": true}, "b": {"k": [1]}}));
        let patched = patch.reader().weak_patch("a").unwrap().unwrap();
        assert_eq!((&patched["k"], &patched["l"]), (&None, &Some("v".to_owned())));
        assert_eq!(patched["m"].as_deref(), Some("1"));
        assert!(patch.reader().weak_patch("b").is_err());
    }

    #[test]
    fn null_clears_where_a_field_is_asked_so() {
        let all = fields(json!({"n": null, "s": "5"}));
        let read = all.reader();
        assert_eq!(read.or_cleared("n", Reader::count), Ok(Some(0)));
        assert_eq!(read.or_cleared("s", Reader::count), Ok(Some(5)));
        assert_eq!(read.or_cleared("absent", Reader::count), Ok(None));
        assert_eq!(read.count("n"), Ok(None), "elsewhere it is as good as absent");
    }

    #[test]
    fn a_limit_of_nothing_or_less_is_none() {
        let all = fields(json!({"a": -1, "b": "-1", "c": 0, "d": "3", "e": "x"}));
        let read = all.reader();
        for none in ["a", "b", "c", "absent"] {
            assert_eq!(read.limit(none), Ok(None), "{none}");
        }
        assert_eq!(read.limit("d"), Ok(Some(3)));
        assert!(read.limit("e").is_err());
    }

    #[test]
    fn numbers_and_times() {
        let all =
            fields(json!({"a": "12", "b": 1.5, "c": -1, "t": "2024-02-29T12:34:56Z", "u": 1_709_210_096}));
        let read = all.reader();
        assert_eq!(read.int("a"), Ok(Some(12)));
        assert!(read.int("b").is_err());
        assert_eq!(read.int("c"), Ok(Some(-1)));
        assert!(read.count("c").is_err());
        assert_eq!(read.time_ms("t"), Ok(Some(1_709_210_096_000)));
        assert_eq!(read.time_ms("u"), Ok(Some(1_709_210_096_000)));
    }

    #[test]
    fn the_rest_is_warned_about_without_repeating_odd_names() {
        let all = fields(json!({"policy": "x", "polciy": 1, "a b\nc": 2}));
        let read = all.reader();
        assert!(read.string("policy").unwrap().is_some());
        let warning = read.unrecognised().unwrap();
        assert_eq!(warning, "Endpoint ignored these unrecognized parameters: [polciy] and 1 more");
        assert!(read.replaced(&["policy"]).unwrap().ends_with("[policy]"));
    }

    #[test]
    fn wiping_reaches_every_text() {
        let mut value = json!({"a": "hunter2", "b": ["hunter2", {"c": "hunter2"}], "d": 1});
        wipe(&mut value);
        assert_eq!(value, json!({"a": "", "b": ["", {"c": ""}], "d": 1}));
    }

    #[test]
    fn errors_name_the_field_and_never_the_value() {
        let all = fields(json!({"ttl": "hunter2"}));
        let text = all.reader().duration_secs("ttl").unwrap_err().to_string();
        assert!(
            text.starts_with("Field validation failed: ")
                && text.contains("ttl")
                && !text.contains("hunter2")
        );
    }
}
