//! `allowed_parameters`, `denied_parameters` and `required_parameters`.
//!
//! Names are compared in lower case. Values of a denied list are compared as loosely as the handlers read
//! them (`"5"`, `5`; `"true"`, `1`; `["x"]`, `"x"`), so that a rule cannot be avoided by another spelling of
//! a value; values of an allowed list strictly.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Denial;
use crate::json::Map;
use crate::token::duration;

/// Parameter name in lower case, and the values that count; none means any value.
pub(super) type ParameterList = BTreeMap<String, Vec<Value>>;

/// The key that stands for every parameter.
const ANY: &str = "*";

/// The parameter rules of one block.
#[derive(Clone, Debug, Default)]
pub(super) struct ParameterRules {
    pub(super) allowed: Option<ParameterList>,
    pub(super) denied: Option<ParameterList>,
    pub(super) required: Vec<String>,
}

impl ParameterRules {
    pub(super) fn merge(&mut self, other: &Self) {
        merge_lists(&mut self.allowed, other.allowed.as_ref());
        merge_lists(&mut self.denied, other.denied.as_ref());
        for name in &other.required {
            if !self.required.contains(name) {
                self.required.push(name.clone());
            }
        }
    }

    pub(super) fn check(&self, params: &Map) -> Result<(), Denial> {
        let has = |name: &String| params.keys().any(|key| key.to_lowercase() == *name);
        if !self.required.iter().all(has) {
            return Err(Denial::RequiredParameter);
        }
        if params.is_empty() {
            return Ok(());
        }
        self.check_denied(params)?;
        self.check_allowed(params)
    }

    fn check_denied(&self, params: &Map) -> Result<(), Denial> {
        let Some(denied) = &self.denied else { return Ok(()) };
        if denied.contains_key(ANY) {
            return Err(Denial::DeniedParameter);
        }
        let is_denied = |(name, value): (&String, &Value)| {
            denied.get(&name.to_lowercase()).is_some_and(|values| {
                values.is_empty() || values.iter().any(|rule| loosely_equal(rule, value))
            })
        };
        if params.iter().any(is_denied) { Err(Denial::DeniedParameter) } else { Ok(()) }
    }

    fn check_allowed(&self, params: &Map) -> Result<(), Denial> {
        let Some(allowed) = self.allowed.as_ref().filter(|allowed| !allowed.is_empty()) else {
            return Ok(());
        };
        let any = allowed.contains_key(ANY);
        let is_allowed = |(name, value): (&String, &Value)| match allowed.get(&name.to_lowercase()) {
            Some(values) => values.is_empty() || values.iter().any(|rule| strictly_equal(rule, value)),
            None => any,
        };
        if params.iter().all(is_allowed) { Ok(()) } else { Err(Denial::ParameterNotAllowed) }
    }
}

/// Unites two lists; an empty list of values means any value and stays so.
fn merge_lists(mine: &mut Option<ParameterList>, theirs: Option<&ParameterList>) {
    let Some(theirs) = theirs else { return };
    let mine = mine.get_or_insert_default();
    for (name, values) in theirs {
        match mine.get_mut(name) {
            None => {
                mine.insert(name.clone(), values.clone());
            }
            Some(existing) if existing.is_empty() || values.is_empty() => existing.clear(),
            Some(existing) => existing.extend(values.iter().cloned()),
        }
    }
}

/// Equal values, where a string of the rule may have a star at its ends.
fn strictly_equal(rule: &Value, value: &Value) -> bool {
    match (rule, value) {
        (Value::String(rule), Value::String(value)) => glob_matches(rule, value),
        _ => rule == value,
    }
}

/// Equal for some reader of the value.
fn loosely_equal(rule: &Value, value: &Value) -> bool {
    if strictly_equal(rule, value) {
        return true;
    }
    if let Value::Array(items) = value
        && let [item] = items.as_slice()
    {
        return loosely_equal(rule, item);
    }
    let (Some(rule), Some(value)) = (scalar_text(rule), scalar_text(value)) else { return false };
    let (rule, value) = (rule.trim(), value.trim());
    glob_matches(rule, value)
        || matches!((as_bool(rule), as_bool(value)), (Some(a), Some(b)) if a == b)
        || matches!((duration::parse_secs(rule), duration::parse_secs(value)), (Ok(a), Ok(b)) if a == b)
        || matches!((rule.parse::<f64>(), value.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn as_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

/// Vault's value glob: a star at the start, the end, or both; a lone star is plain text.
fn glob_matches(rule: &str, value: &str) -> bool {
    if rule.len() < 2 {
        return rule == value;
    }
    match (rule.strip_prefix('*'), rule.strip_suffix('*')) {
        (Some(rest), Some(_)) => value.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(suffix), None) => value.ends_with(suffix),
        (None, Some(prefix)) => value.starts_with(prefix),
        (None, None) => rule == value,
    }
}
