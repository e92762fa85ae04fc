//! Which part of a secret an ExternalSecret gets, as ESO's vault provider decides it.
//!
//! No property: the whole object as Go writes JSON. An exact field name wins, dots and all. Otherwise the
//! text is a gjson path, of which this knows names, indices, `#` and escaped dots; nothing else occurs in the
//! homelab.

use serde_json::{Map, Value};

/// The text that lands in the Kubernetes Secret; `None` if the property leads nowhere.
#[must_use]
pub fn select(data: &Map<String, Value>, property: Option<&str>) -> Option<String> {
    let Some(property) = property.filter(|property| !property.is_empty()) else {
        return Some(go_json(&Value::Object(data.clone())));
    };
    match data.get(property) {
        Some(value) => Some(text(value)),
        None => path(data, property).map(|value| text(&value)),
    }
}

fn path(data: &Map<String, Value>, path: &str) -> Option<Value> {
    let mut current = Value::Object(data.clone());
    for segment in segments(path) {
        current = match &current {
            Value::Object(fields) => fields.get(&segment)?.clone(),
            Value::Array(items) if segment == "#" => Value::from(items.len()),
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?.clone(),
            _ => return None,
        };
    }
    Some(current)
}

/// Splits at dots that no backslash escapes.
fn segments(path: &str) -> Vec<String> {
    let mut segments = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match (character, segments.last_mut()) {
            ('.', _) => segments.push(String::new()),
            ('\\', Some(last)) => last.extend(characters.next()),
            (other, Some(last)) => last.push(other),
            (_, None) => unreachable!("there is always a segment"),
        }
    }
    segments
}

/// Scalars bare, null empty, everything else as JSON.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => go_json(value),
    }
}

/// JSON as Go's encoder writes it: members sorted, `<`, `>` and `&` escaped.
fn go_json(value: &Value) -> String {
    let escaped =
        sorted(value).to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    escaped.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut members: Vec<_> = fields.iter().collect();
            members.sort_by_key(|(name, _)| name.as_bytes());
            Value::Object(members.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn get(property: Option<&str>) -> Option<String> {
        let data = r#"{"z":"<&>","a.b":"exact","a":{"b":"path","c":[10,{"d":true}],"e.f":1.50},"n":null}"#;
        select(&serde_json::from_str(data).unwrap(), property)
    }

    #[test]
    fn an_exact_name_wins_over_a_path() {
        assert_eq!(get(Some("a.b")).unwrap(), "exact");
        assert_eq!(get(Some("a.c.0")).unwrap(), "10");
        assert_eq!(get(Some("a.c.1.d")).unwrap(), "true");
        assert_eq!(get(Some("a.c.#")).unwrap(), "2");
        assert_eq!(get(Some(r"a.e\.f")).unwrap(), "1.50");
        assert_eq!(get(Some("n")).unwrap(), "");
        assert_eq!(get(Some("a.c")).unwrap(), r#"[10,{"d":true}]"#);
        assert_eq!(get(Some("a.x")), None);
    }

    #[test]
    fn the_whole_object_is_written_as_go_does() {
        let whole = get(None).unwrap();
        assert!(
            whole.starts_with(r#"{"a":{"b":"path""#) && whole.ends_with(r#""z":"\u003c\u0026\u003e"}"#),
            "{whole}"
        );
    }
}
