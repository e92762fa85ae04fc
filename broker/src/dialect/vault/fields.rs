//! The parameters of a request, with the loose typing that Vault clients rely on.
//!
//! The CLI sends everything as strings, others send JSON types; both must mean the same. A [`Reader`] hands
//! out typed values by name and marks which names it was asked for, at every level, so that the rest becomes
//! the warnings of the answer ([`Fields::warnings`]). No error repeats what the caller sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use super::heed::{Marks, Told};
use crate::dialect::time;

/// Most elements of a list or map field.
const ELEMENTS_MAX: usize = 4096;
/// What is read as pairs.
const PAIRS: &str = "a map of strings, or a list of \"key=value\"";
/// A body of a method that has none.
const UNREAD_BODY: &str =
    "The body of this request was not read: parameters of a GET, LIST or DELETE stand in the query.";

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
#[derive(Default)]
pub struct Fields {
    map: Map<String, Value>,
    // A lock only because readers live across awaits, and those must be `Sync`.
    marks: Mutex<Marks>,
    beside: Vec<String>,
    has_unread_body: bool,
}

/// They may be secrets, shares or tokens, so texts are wiped.
impl Drop for Fields {
    fn drop(&mut self) {
        self.map.values_mut().for_each(wipe);
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
        Self { map, marks: Mutex::default(), beside: Vec::new(), has_unread_body: false }
    }

    /// The same of a request whose query says something too, beside a body in which the parameters stand.
    #[must_use]
    pub fn beside(mut self, query: &Map<String, Value>) -> Self {
        self.beside = query.keys().cloned().collect();
        self
    }

    /// Says whether the request has a body that nobody reads.
    pub fn set_unread_body(&mut self, is_there: bool) {
        self.has_unread_body = is_there;
    }

    /// What the policy's parameter rules look at.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// All of it, for whoever keeps it as it is.
    #[must_use]
    pub fn whole(&self) -> &Map<String, Value> {
        self.reader().take_whole();
        &self.map
    }

    /// Starts reading typed values.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader { map: Some(&self.map), fields: self, path: Vec::new() }
    }

    /// What the answer must still tell: names that nobody has read so far at any level, those that have no
    /// effect, and those that the path overrules.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut told = self.untold();
        told.unknown.extend(self.beside.iter().cloned());
        let mut warnings = told.warnings();
        warnings.extend(self.has_unread_body.then(|| UNREAD_BODY.to_owned()));
        warnings
    }

    fn untold(&self) -> Told {
        self.marks().tell(&self.map)
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads typed values out of [`Fields`], or out of an object in them. An absent field and a JSON `null` are
/// both `None`.
pub struct Reader<'a> {
    map: Option<&'a Map<String, Value>>,
    fields: &'a Fields,
    path: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn mark(&self, mark: impl FnOnce(&mut Marks)) {
        mark(self.fields.marks().at(&self.path));
    }

    fn take_whole(&self) {
        self.mark(Marks::take_whole);
    }

    fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.mark(|marks| marks.take(name));
        self.given(name)
    }

    fn given(&self, name: &str) -> Option<&'a Value> {
        self.map?.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        convert: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, FieldError> {
        self.value(name).map(|value| convert(value).ok_or(FieldError { name, expected })).transpose()
    }

    /// Declares names whose wish is fulfilled whatever they say, or that mean nothing to anybody.
    pub fn accept(&self, names: &[&'static str]) {
        self.mark(|marks| names.iter().for_each(|name| marks.take(name)));
    }

    /// Declares names that are known and have no effect here: the answer says so if they ask for something.
    pub fn idle(&self, names: &[&'static str]) {
        self.mark(|marks| names.iter().for_each(|name| marks.set_idle(name)));
    }

    /// Declares names of something that is known already, such as what the path names: the answer says so if
    /// they mean another one.
    pub fn captured(&self, names: &[&'static str], known: &str) {
        for &name in names {
            let is_other = self
                .given(name)
                .is_some_and(|value| !value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(known)));
            self.mark(|marks| if is_other { marks.set_replaced(name) } else { marks.take(name) });
        }
    }

    /// A reader of an object in this one; of nothing if it is absent.
    pub fn inside(&self, name: &'static str) -> Result<Self, FieldError> {
        let map =
            self.given(name).map(|value| value.as_object().ok_or(FieldError { name, expected: "an object" }));
        let path = self.path.iter().copied().chain([name]).collect();
        let inside = Self { map: map.transpose()?, fields: self.fields, path };
        inside.mark(|_| {}); // it has been opened, whatever is read of it
        Ok(inside)
    }

    /// Whether the field is present, `null` included.
    #[must_use]
    pub fn has(&self, name: &'static str) -> bool {
        self.mark(|marks| marks.take(name));
        self.map.is_some_and(|map| map.contains_key(name))
    }

    /// Whether the field is there as `null`, which clears what it stands for.
    #[must_use]
    pub fn is_null(&self, name: &'static str) -> bool {
        self.mark(|marks| marks.take(name));
        self.map.is_some_and(|map| map.get(name).is_some_and(Value::is_null))
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
        self.read(name, PAIRS, to_pairs)
    }

    /// The same where only some names are known; the others are in the map too, and the answer tells them.
    pub fn pairs_knowing(
        &self,
        name: &'static str,
        known: &[&'static str],
    ) -> Result<Option<BTreeMap<String, String>>, FieldError> {
        match self.given(name) {
            Some(Value::Object(_)) => self.inside(name)?.accept(known),
            _ => self.accept(&[name]),
        }
        self.given(name).map(|value| to_pairs(value).ok_or(FieldError { name, expected: PAIRS })).transpose()
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

    /// The warning about names that nobody has read, told here and not once more where every answer passes.
    #[must_use]
    pub fn unrecognised(&self) -> Option<String> {
        let told = Told { unknown: self.fields.untold().unknown, ..Told::default() };
        self.fields.marks().told = true;
        told.warnings().pop()
    }
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

fn to_pairs(value: &Value) -> Option<BTreeMap<String, String>> {
    match value {
        Value::Object(map) => scalar_map(map),
        Value::Array(items) => texts(items)?.iter().map(|item| pair(item)).collect(),
        Value::String(text) if text.is_empty() => Some(BTreeMap::new()),
        Value::String(text) => pair(text).map(|pair| BTreeMap::from([pair])),
        _ => None,
    }
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
mod tests;
