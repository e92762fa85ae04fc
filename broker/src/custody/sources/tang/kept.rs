//! The binding: a line for each server, with the thumbprint that was believed and the sealed key.
//!
//! The sealed key alone is what `clevis decrypt` takes: `cut -d' ' -f2`.

use symbolon_core::tang::{Jwe, Thumbprint};

use super::settings::Server;
use crate::custody::sources::SourceError;

/// What the first line says, so that a later form can be told from this one.
const FORM: &str = "tang-1";
/// Most lines that are read.
const LINES_MAX: usize = 8;

/// Sealed keys, and for whom.
#[derive(Default)]
pub(super) struct Kept {
    lines: Vec<Line>,
}

struct Line {
    thumbprint: Thumbprint,
    text: String,
    sealed: Jwe,
}

impl Kept {
    pub(super) fn add(&mut self, server: &Server, (text, sealed): (String, Jwe)) {
        self.lines.push(Line { thumbprint: server.thumbprint, text, sealed });
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let lines = self.lines.iter().map(|line| format!("{} {}\n", line.thumbprint, line.text));
        [format!("{FORM}\n")].into_iter().chain(lines).collect::<String>().into_bytes()
    }

    pub(super) fn read(binding: &[u8]) -> Result<Self, SourceError> {
        Self::parse(binding).ok_or(SourceError::Kept)
    }

    fn parse(binding: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(binding).ok()?.strip_prefix(FORM)?.strip_prefix('\n')?;
        let line = |line: &str| {
            let (thumbprint, text) = line.split_once(' ')?;
            let sealed = Jwe::parse(text).ok()?;
            Some(Line { thumbprint: thumbprint.parse().ok()?, text: text.to_owned(), sealed })
        };
        let lines: Vec<Line> = text.lines().take(LINES_MAX + 1).map(line).collect::<Option<_>>()?;
        (1..=LINES_MAX).contains(&lines.len()).then_some(Self { lines })
    }

    /// For this server: that of its address, or of its keys if it was moved. The thumbprint that is trusted
    /// now decides what is sealed; what was sealed opens with the key it was sealed to, or not at all.
    pub(super) fn of(&self, server: &Server) -> Option<&Jwe> {
        let here = self.lines.iter().find(|line| line.sealed.url() == server.url);
        let moved = || self.lines.iter().find(|line| line.thumbprint == server.thumbprint);
        here.or_else(moved).map(|line| &line.sealed)
    }

    /// Whether it was made for exactly these servers.
    pub(super) fn is_of(&self, servers: &[Server]) -> bool {
        let is_of = |line: &Line, server: &Server| {
            line.thumbprint == server.thumbprint && line.sealed.url() == server.url
        };
        self.lines.len() == servers.len()
            && servers.iter().all(|server| self.lines.iter().any(|line| is_of(line, server)))
    }
}
