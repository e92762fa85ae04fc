//! Which secret has which path and value, and the requests that write and read it.
//!
//! Paths have a fixed width, so that aiming a prepared request at another secret is six digits written in
//! place. A value repeats its secret's number, so that every answer can be checked without remembering what
//! was written.

use std::fmt::Write as _;
use std::ops::Range;

use super::endpoint::{Answer, Endpoint};

/// Most secrets: what six digits can name.
pub const SECRETS_MAX: u32 = 1_000_000;
/// Digits of a path: three of the folder, three of the name.
const DIGITS: &str = "000000";

/// What a connection asks again and again.
pub(super) trait Question {
    /// The request about one secret.
    fn aim(&mut self, index: u32) -> &[u8];

    /// Whether this is the answer to the last one.
    fn is_answered_by(&self, answer: &Answer<'_>) -> bool;
}

#[derive(Clone)]
/// Asks for nothing: what any request costs, before it touches a token, a secret or the log.
pub(super) struct Health(Vec<u8>);

impl Health {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self(format!("GET /v1/sys/health HTTP/1.1\r\nHost: {}\r\n\r\n", endpoint.host()).into_bytes())
    }
}

impl Question for Health {
    fn aim(&mut self, _: u32) -> &[u8] {
        &self.0
    }

    fn is_answered_by(&self, answer: &Answer<'_>) -> bool {
        answer.status == 200
    }
}

/// Reads any of the secrets.
#[derive(Clone)]
pub(super) struct Read {
    bytes: Vec<u8>,
    folder: Range<usize>,
    name: Range<usize>,
    /// What the answer must contain.
    expected: Vec<u8>,
}

impl Read {
    /// A request of whoever holds `token`.
    pub(super) fn new(endpoint: &Endpoint, mount: &str, token: &str) -> Self {
        let line = format!("GET /v1/{mount}/data/load/f");
        let text =
            format!("{line}000/s000 HTTP/1.1\r\nHost: {}\r\nX-Vault-Token: {token}\r\n\r\n", endpoint.host());
        let folder = line.len()..line.len() + 3;
        let name = folder.end + 2..folder.end + 5;
        Self { bytes: text.into_bytes(), folder, name, expected: value_start(DIGITS.as_bytes()) }
    }
}

impl Question for Read {
    fn aim(&mut self, index: u32) -> &[u8] {
        let digits = digits(index);
        self.bytes[self.folder.clone()].copy_from_slice(&digits[..3]);
        self.bytes[self.name.clone()].copy_from_slice(&digits[3..]);
        let at = self.expected.len() - digits.len();
        self.expected[at..].copy_from_slice(&digits);
        &self.bytes
    }

    fn is_answered_by(&self, answer: &Answer<'_>) -> bool {
        // The value stands near the beginning: after the envelope's first members.
        let head = &answer.body[..answer.body.len().min(256)];
        answer.status == 200 && head.windows(self.expected.len()).any(|window| window == self.expected)
    }
}

/// The request that writes one secret.
pub(super) fn write(
    endpoint: &Endpoint,
    mount: &str,
    token: &str,
    index: u32,
    value_bytes: usize,
) -> Vec<u8> {
    let digits = digits(index);
    let digits = std::str::from_utf8(&digits).expect("digits are ASCII");
    let (folder, name) = digits.split_at(3);
    let value: String = digits.chars().cycle().take(value_bytes).collect();
    let body = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
    let mut text = String::with_capacity(body.len() + 512);
    // Writing into memory does not fail.
    let _ = write!(
        text,
        "POST /v1/{mount}/data/load/f{folder}/s{name} HTTP/1.1\r\nHost: {}\r\nX-Vault-Token: {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        endpoint.host(),
        body.len()
    );
    text.into_bytes()
}

fn value_start(digits: &[u8]) -> Vec<u8> {
    [br#""value":""#, digits].concat()
}

fn digits(index: u32) -> [u8; 6] {
    let mut digits = [b'0'; 6];
    let mut left = index;
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(left % 10).expect("below ten");
        left /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_aimed_in_place_and_knows_its_answer() {
        let endpoint = Endpoint::for_tests("broker:8200");
        let mut read = Read::new(&endpoint, "secret", "hvb.x");
        for (index, path) in [(0, "f000/s000"), (12_345, "f012/s345"), (999_999, "f999/s999")] {
            let text = String::from_utf8_lossy(read.aim(index)).into_owned();
            assert!(
                text.starts_with(&format!(
                    "GET /v1/secret/data/load/{path} HTTP/1.1\r\nHost: broker:8200\r\n"
                ))
            );
            assert!(text.ends_with("X-Vault-Token: hvb.x\r\n\r\n"));
        }
        let _ = read.aim(12_345);
        let good = Answer { status: 200, body: br#"{"data":{"data":{"value":"012345012345"}}}"# };
        assert!(read.is_answered_by(&good));
        assert!(!read.is_answered_by(&Answer { status: 503, ..good }));
        let _ = read.aim(12_346);
        assert!(!read.is_answered_by(&good));
    }

    #[test]
    fn a_write_says_its_length() {
        let text = write(&Endpoint::for_tests("h"), "secret", "t", 7, 8);
        let text = String::from_utf8_lossy(&text).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        assert_eq!(body, r#"{"data":{"value":"00000700"}}"#);
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert!(head.starts_with("POST /v1/secret/data/load/f000/s007 "));
    }
}
