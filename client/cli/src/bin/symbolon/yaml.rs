//! A JSON value as YAML. Texts are quoted as JSON quotes them, which YAML 1.2 reads alike, so that no text
//! becomes a number or a boolean. Not by a library: numbers of secrets keep their literal, which the
//! serialisers of others do not know how to ask for.

use serde_json::Value;

/// The value as a document.
pub fn text(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0, false);
    text
}

/// Writes a value at this depth; `inline` says that something stands before it on its line.
fn write(text: &mut String, value: &Value, depth: usize, inline: bool) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push_str(if inline { "\n" } else { "" });
            for (name, member) in members {
                text.push_str(&format!("{}{}:", "  ".repeat(depth), key(name)));
                write(text, member, depth + 1, true);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            text.push_str(if inline { "\n" } else { "" });
            for element in elements {
                text.push_str(&format!("{}-", "  ".repeat(depth)));
                write(text, element, depth + 1, true);
            }
        }
        scalar => {
            text.push_str(if inline { " " } else { "" });
            text.push_str(&scalar.to_string());
            text.push('\n');
        }
    }
}

/// Bare where nothing but a text can be meant.
fn key(name: &str) -> String {
    let is_word = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-/".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&name);
    if is_word { name.to_owned() } else { Value::from(name).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_indented_and_texts_stay_texts() {
        let value = serde_json::json!({
            "a": { "b": [1, "yes", []], "no": null, "x: y": "line\n" }, "c": {}, "num": 1.50, "d": [{ "e": true }],
        });
        let want = "a:\n  b:\n    - 1\n    - \"yes\"\n    - []\n  \"no\": null\n  \"x: y\": \"line\\n\"\n\
                    c: {}\nnum: 1.5\nd:\n  -\n    e: true\n";
        assert_eq!(text(&value), want);
        assert_eq!(text(&Value::from("a")), "\"a\"\n");
        assert_eq!(text(&serde_json::json!(["k", 1])), "- \"k\"\n- 1\n");
    }

    #[test]
    fn numbers_keep_their_literal() {
        let value: Value = serde_json::from_str(r#"{"num": 12345678901234567890.10}"#).unwrap_or_default();
        assert_eq!(text(&value), "num: 12345678901234567890.10\n");
    }
}
