//! Path patterns, what they match, and which of several matches wins.
//!
//! `*` is a wildcard only as the very last character and stands for any rest; `+` is one only as a whole
//! segment and stands for exactly one segment, also for the empty one after a trailing slash. Elsewhere both
//! are plain text.

use std::cmp::Reverse;

/// A pattern without its leading slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// Matches one text.
    Exact(String),
    /// `prefix*`, kept without the star.
    Prefix(String),
    /// Has `+` segments, and perhaps a `*` at its end.
    Segments(SegmentPattern),
}

/// A pattern with at least one `+`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SegmentPattern {
    /// As written, without leading slash, with the star.
    text: String,
}

/// Why a pattern was refused: `+*` means nothing in Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlusStar;

/// How well a wildcard pattern matches; the greatest wins. In this order: a first wildcard that comes later;
/// no star at the end; fewer `+`; a longer pattern; the lexicographically larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    first_wildcard: usize,
    starless: bool,
    pluses: Reverse<usize>,
    length: usize,
    text: &'a str,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PlusStar> {
        let text = text.strip_prefix('/').unwrap_or(text);
        if text.contains("+*") {
            return Err(PlusStar);
        }
        Ok(if text.split('/').any(|segment| segment == "+") {
            Self::Segments(SegmentPattern { text: text.to_owned() })
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else {
            Self::Exact(text.to_owned())
        })
    }

    /// As a policy would write it.
    pub(super) fn display(&self) -> String {
        match self {
            Self::Exact(text) => text.clone(),
            Self::Prefix(prefix) => format!("{prefix}*"),
            Self::Segments(pattern) => pattern.text.clone(),
        }
    }
}

/// The rank of `prefix*`.
pub(super) fn prefix_rank(prefix: &str) -> Rank<'_> {
    Rank {
        first_wildcard: prefix.len(),
        starless: false,
        pluses: Reverse(0),
        length: prefix.len() + 1,
        text: prefix,
    }
}

impl SegmentPattern {
    /// The segments, and whether the last one is a prefix only.
    fn parts(&self) -> (impl Iterator<Item = &str>, bool) {
        match self.text.strip_suffix('*') {
            Some(text) => (text.split('/'), true),
            None => (self.text.split('/'), false),
        }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let (parts, open) = self.parts();
        let mut parts = parts.peekable();
        let mut segments = path.split('/');
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            match segments.next() {
                Some(_) if part == "+" => {}
                Some(segment) if segment == part => {}
                Some(segment) if last && open => return segment.starts_with(part),
                _ => return false,
            }
        }
        open || segments.next().is_none()
    }

    /// Whether some path below `mount` (with its slash) could match.
    pub(super) fn may_match_below(&self, mount: &str) -> bool {
        let (parts, open) = self.parts();
        let mut parts = parts.peekable();
        for segment in mount.trim_end_matches('/').split('/') {
            let Some(part) = parts.next() else { return open };
            let last = parts.peek().is_none();
            match part {
                _ if last && open => return segment.starts_with(part) || part == "+",
                "+" => {}
                _ if part == segment => {}
                _ => return false,
            }
        }
        true
    }

    pub(super) fn rank(&self) -> Rank<'_> {
        let mut position = 0;
        let mut first_wildcard = None;
        let mut pluses = 0;
        for segment in self.text.split('/') {
            if segment == "+" {
                pluses += 1;
                first_wildcard.get_or_insert(position);
            }
            position += segment.len() + 1;
        }
        Rank {
            first_wildcard: first_wildcard.unwrap_or(self.text.len()),
            starless: !self.text.ends_with('*'),
            pluses: Reverse(pluses),
            length: self.text.len(),
            text: &self.text,
        }
    }
}
