//! Reading what people type or pipe: secrets without echo, everything bounded.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use symbolon_proto::Zeroizing;

use crate::failure::Failure;

/// Largest file or standard input, in bytes: a secret is at most 1 MiB.
pub const INPUT_BYTES_MAX: u64 = 1 << 20;

/// A secret: typed without echo on a terminal, else all of standard input without its last line feed.
pub fn secret(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password(format!("{prompt}: "))?;
        return Ok(Zeroizing::new(typed));
    }
    let mut text = bounded(io::stdin().lock(), "standard input")?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    Ok(text)
}

/// A text file, byte for byte; `-` is standard input.
pub fn file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    if path == Path::new("-") {
        return bounded(io::stdin().lock(), "standard input");
    }
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::general(format!("cannot read {}", path.display())).because(&error))?;
    bounded(file, &path.display().to_string())
}

/// The first line of a file such as a mounted token; `-` is [`secret`].
pub fn secret_file(path: &Path, prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if path == Path::new("-") {
        return secret(prompt);
    }
    let text = file(path)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

fn bounded(source: impl Read, name: &str) -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    source
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::general(format!("cannot read {name}")).because(&error))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(Failure::usage(format!("{name} is larger than {INPUT_BYTES_MAX} bytes")));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(Failure::usage(format!("{name} is not UTF-8 text"))
            .hint("encode binary values first, for example with `base64`, and set decodingStrategy in ESO")),
    }
}

/// Facts that are written NAME=VALUE with this option.
pub fn pairs(texts: &[String], option: &str) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| {
        let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
        parts.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let pairs: Option<_> = texts.iter().map(pair).collect();
    pairs.ok_or_else(|| Failure::usage(format!("{option} is written NAME=VALUE")))
}

/// Asks a question that is no secret. Only on a terminal: scripts give options instead.
pub fn ask(question: &str, option: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{option} is needed"))
            .hint("or run this on a terminal, which asks for it"));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().take(4096).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}
