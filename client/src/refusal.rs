//! What the server said when it refused.

use std::fmt;
use std::time::Duration;

/// Messages kept of one refusal, and characters kept of each: enough for any of ours, little for a hostile
/// server.
const MESSAGES_MAX: usize = 8;
const MESSAGE_CHARS_MAX: usize = 500;

/// Status and messages of a refusal, bounded and free of control characters so that they can be printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: u16,
    is_ours: bool,
    messages: Vec<String>,
    retry_after: Option<Duration>,
}

/// Refusals of the API: Vault's form, and that of RFC 6749 5.2 from the token endpoint.
#[derive(serde::Deserialize)]
struct Body {
    errors: Option<Vec<String>>,
    error: Option<String>,
    error_description: Option<String>,
    /// A deleted version of a secret is refused with its metadata.
    data: Option<serde::de::IgnoredAny>,
}

impl Refusal {
    /// Reads a refusal; what is not of the API has no messages.
    pub(crate) fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let (is_ours, messages) = match serde_json::from_slice::<Body>(body) {
            Ok(body) => (body.is_ours(), body.messages()),
            Err(_) => (false, Vec::new()),
        };
        Self { status, is_ours, messages: printable(&messages), retry_after }
    }

    /// A refusal that this library words itself.
    pub(crate) fn absent(message: &str) -> Self {
        Self { status: 404, is_ours: true, messages: vec![message.to_owned()], retry_after: None }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What the server said.
    #[must_use]
    pub fn messages(&self) -> &[String] {
        &self.messages
    }

    /// How long the server asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether it has the form in which the API says that something is absent.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.messages.iter().any(|message| message.contains(text))
    }
}

impl Body {
    /// `error` alone does not count: web frameworks put it into pages of theirs, and the token endpoint has
    /// nothing that could be absent.
    fn is_ours(&self) -> bool {
        self.errors.is_some() || self.data.is_some()
    }

    fn messages(self) -> Vec<String> {
        let mut messages = self.errors.unwrap_or_default();
        match (self.error, self.error_description) {
            (Some(error), Some(text)) => messages.push(format!("{error}: {text}")),
            (Some(error), None) => messages.push(error),
            _ => {}
        }
        messages
    }
}

/// The first few texts on one line each, without anything that moves a terminal.
pub(crate) fn printable(texts: &[String]) -> Vec<String> {
    let clean = |text: &String| -> String {
        let one_line = text.replace(['\n', '\t'], " ");
        let shown = one_line.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX);
        shown.collect::<String>().trim().to_owned()
    };
    texts.iter().take(MESSAGES_MAX).map(clean).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.messages.is_empty() {
            return write!(out, " (status {})", self.status);
        }
        write!(out, ": {}", self.messages.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_both_dialects_are_read() {
        let messages = |body: &str| Refusal::read(400, None, body.as_bytes()).messages;
        assert_eq!(messages(r#"{"errors":["a","b"]}"#), ["a", "b"]);
        assert_eq!(
            messages(r#"{"error":"invalid_request","error_description":"x"}"#),
            ["invalid_request: x"]
        );
        assert!(messages("<html>").is_empty());
    }
}
