//! Fields of a request, as people type them: `name=value`, `name=@file`, `name=-`, or a whole JSON object.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::input;
use crate::output::printable;

/// What a field may look like, for `--help`.
pub const FIELDS_HELP: &str = "\
Fields:
  name=value      a text (it shows in the shell's history and in process lists)
  name=@file      the content of a file, byte for byte
  name=-          typed without echo, or standard input without its last line feed
  @file.json, -   a whole JSON object";

/// Names of fields that hold secrets in requests of every engine and method.
const SECRET_NAMES: [&str; 11] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secret_id",
    "token",
    "jwt",
    "private_key",
    "api_key",
    "access_key",
    "token_reviewer_jwt",
];

/// Reads the fields. Says on standard error which values other users of the machine may have seen.
pub fn read(arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    if let [whole] = arguments
        && (whole == "-" || whole.starts_with('@'))
    {
        return object(whole);
    }
    let from_input = arguments.iter().filter(|argument| argument.ends_with("=-")).count();
    if from_input > 1 && !std::io::stdin().is_terminal() {
        return Err(Failure::usage("only one field can come from standard input")
            .hint("use name=@file for the others"));
    }
    let mut object = Map::new();
    for argument in arguments {
        let (name, text) = field(argument)?;
        if object.insert(name.to_owned(), Value::String(text)).is_some() {
            return Err(Failure::usage(format!("the field {} is given twice", printable(name))));
        }
    }
    Ok(object)
}

/// A whole object, from `-` or `@file`.
fn object(whole: &str) -> Result<Map<String, Value>, Failure> {
    let text = match whole.strip_prefix('@') {
        Some(path) => input::file(path.as_ref())?,
        None => input::secret("JSON object")?,
    };
    serde_json::from_str(&text)
        .map_err(|_| Failure::usage("the input is not a JSON object").hint(r#"such as {"password": "…"}"#))
}

fn field(argument: &str) -> Result<(&str, String), Failure> {
    let Some((name, value)) = argument.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(Failure::usage("a field is written name=value")
            .hint("or name=@file, or name=- to type it; a whole JSON object is @file.json or -"));
    };
    let text = match value {
        "-" => input::secret(name)?.to_string(),
        _ => match value.strip_prefix('@') {
            Some(path) => input::file(path.as_ref())?.to_string(),
            None => {
                warn(name)?;
                value.to_owned()
            }
        },
    };
    Ok((name, text))
}

/// The value stands in the shell's history and in process lists.
fn warn(name: &str) -> Result<(), Failure> {
    if !SECRET_NAMES.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        return Ok(());
    }
    let mut stderr = std::io::stderr().lock();
    Ok(writeln!(
        stderr,
        "warning: the value of {name} stands in the shell's history and in process lists; \
         give it as {name}=- or {name}=@FILE"
    )?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_come_from_arguments_and_files() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "line\n").unwrap();
        let data = read(&["a=b=c".to_owned(), format!("f=@{}", file.path().display())]).unwrap();
        assert_eq!((&data["a"], &data["f"]), (&"b=c".into(), &"line\n".into()));
        assert!(read(&["novalue".to_owned()]).is_err());
        assert!(read(&["a=1".to_owned(), "a=2".to_owned()]).is_err());
    }

    #[test]
    fn a_whole_object_comes_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"n": 12345678901234567890.5, "s": "x"}"#).unwrap();
        let data = read(&[format!("@{}", file.path().display())]).unwrap();
        assert_eq!(data["n"].to_string(), "12345678901234567890.5");
        std::fs::write(file.path(), "[1]").unwrap();
        assert!(read(&[format!("@{}", file.path().display())]).is_err());
    }
}
