//! What was pruned from a log, as everybody may read it: `/log/pruned`, and a row of the store.
//!
//! ```text
//! symbolon-pruned/1
//! minimum index, decimal
//! base64(root over the entries before it)
//! cut <first> <end> <milliseconds since the Unix epoch> policy|operator exported|dropped
//! …
//! ```
//!
//! Minimum and root are proven by the signed checkpoint: with another root, the kept entries do not lead to
//! the signed one. When, and by whose order, is what the broker says; names stand in the entries of the cuts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::parse_decimal;
use super::segment::SEGMENT_ENTRIES;
use super::tree::Hash;

/// Most cuts that are told apart; older ones are put together.
pub const CUTS_MAX: usize = 64;
/// Longest text in bytes.
pub const PRUNED_BYTES_MAX: usize = 16 << 10;
/// Cuts of one kind within so many milliseconds are told as one: a day.
const TOGETHER_MS: u64 = 86_400_000;

const HEADER: &str = "symbolon-pruned/1";

/// Who ordered a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The configuration: `audit.keep_days`, `audit.keep_bytes` or `audit.when_full`.
    Policy,
    /// Somebody who asked for it; the entry of the cut has the name.
    Operator,
}

impl Order {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Operator => "operator",
        }
    }
}

/// Entries that were pruned by one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// First entry.
    pub first: u64,
    /// The first entry after it.
    pub end: u64,
    /// When, milliseconds since the Unix epoch, by the broker's clock.
    pub time_ms: u64,
    /// By whose order.
    pub order: Order,
    /// Whether all of it had been exported, and read back, before.
    pub exported: bool,
}

/// Where a log begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The first entry that is kept; a whole number of segments.
    pub minimum: u64,
    /// Root of the tree over the entries before it.
    pub root: Hash,
    /// How it came to that, the oldest first.
    pub cuts: Vec<Cut>,
}

/// A text that says nothing of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected what was pruned: symbolon-pruned/1, a minimum index, a root, and cuts that lead to it")]
pub struct PrunedError;

impl Default for Pruned {
    /// Of a log that has all its entries.
    fn default() -> Self {
        Self { minimum: 0, root: Hash::EMPTY_ROOT, cuts: Vec::new() }
    }
}

impl Pruned {
    /// The same after one more cut, which begins where the log does now.
    #[must_use]
    pub fn after(mut self, cut: Cut, root: Hash) -> Self {
        (self.minimum, self.root) = (cut.end, root);
        match self.cuts.last_mut() {
            Some(last) if last.goes_on_with(&cut) => last.join(&cut),
            _ => self.cuts.push(cut),
        }
        while self.cuts.len() > CUTS_MAX {
            let second = self.cuts.remove(1);
            self.cuts.iter_mut().take(1).for_each(|first| first.join(&second));
        }
        self
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> String {
        let root = STANDARD.encode(self.root.as_bytes());
        let mut text = format!("{HEADER}\n{}\n{root}\n", self.minimum);
        self.cuts.iter().for_each(|cut| text.push_str(&cut.line()));
        text
    }

    /// Reads [`Pruned::text`]. Says nothing about who wrote it.
    pub fn parse(text: &str) -> Result<Self, PrunedError> {
        Self::parse_lines(text).filter(Self::is_sound).ok_or(PrunedError)
    }

    fn parse_lines(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let minimum = parse_decimal(lines.next()?)?;
        let root = Hash::from_bytes(STANDARD.decode(lines.next()?).ok()?.try_into().ok()?);
        let cuts = lines.take(CUTS_MAX + 1).map(Cut::parse).collect::<Option<_>>()?;
        Some(Self { minimum, root, cuts })
    }

    /// Whether the cuts lead from the first entry to the minimum without a gap.
    fn is_sound(&self) -> bool {
        let reached = self.cuts.iter().try_fold(0, |at, cut| {
            (cut.first == at && cut.end > at && cut.end.is_multiple_of(SEGMENT_ENTRIES)).then_some(cut.end)
        });
        self.cuts.len() <= CUTS_MAX && reached == Some(self.minimum)
    }
}

impl Cut {
    fn goes_on_with(&self, next: &Self) -> bool {
        (self.order, self.exported) == (next.order, next.exported)
            && next.time_ms.abs_diff(self.time_ms) < TOGETHER_MS
    }

    /// What was ordered by an operator in part is told as ordered by one, and what was dropped in part as
    /// dropped.
    fn join(&mut self, next: &Self) {
        self.end = next.end;
        self.exported &= next.exported;
        if self.order != next.order {
            self.order = Order::Operator;
        }
        if !self.goes_on_with(next) {
            self.time_ms = next.time_ms;
        }
    }

    fn line(&self) -> String {
        let Self { first, end, time_ms, order, exported } = self;
        let exported = if *exported { "exported" } else { "dropped" };
        format!("cut {first} {end} {time_ms} {} {exported}\n", order.as_str())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("cut ")?.split(' ');
        let (first, end) = (parse_decimal(words.next()?)?, parse_decimal(words.next()?)?);
        let time_ms = parse_decimal(words.next()?)?;
        let order = match words.next()? {
            "policy" => Order::Policy,
            "operator" => Order::Operator,
            _ => return None,
        };
        let exported = match words.next()? {
            "exported" => true,
            "dropped" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Self { first, end, time_ms, order, exported })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn cut(number: u64, time_ms: u64, order: Order) -> Cut {
        let first = number * SEGMENT_ENTRIES;
        Cut { first, end: first + SEGMENT_ENTRIES, time_ms, order, exported: true }
    }

    #[test]
    fn cuts_come_back_and_are_bounded() {
        let mut pruned = Pruned::default();
        for number in 0..500 {
            let order = if number % 2 == 0 { Order::Policy } else { Order::Operator };
            pruned = pruned.after(cut(number, number * 1000, order), Hash::from_bytes([7; 32]));
            assert_eq!(Pruned::parse(&pruned.text()), Ok(pruned.clone()));
            assert!(pruned.text().len() <= PRUNED_BYTES_MAX);
        }
        assert_eq!((pruned.minimum, pruned.cuts.len()), (500 * SEGMENT_ENTRIES, CUTS_MAX));
        assert_eq!((pruned.cuts[0].first, pruned.cuts[0].order), (0, Order::Operator));
        let daily = (0..3).fold(Pruned::default(), |all, number| {
            all.after(cut(number, 5, Order::Policy), Hash::EMPTY_ROOT)
        });
        assert_eq!(daily.cuts.len(), 1, "one order within a day");
    }

    #[test]
    fn what_does_not_lead_to_the_minimum_is_refused() {
        let good = Pruned::default().after(cut(0, 5, Order::Policy), Hash::from_bytes([1; 32])).text();
        for bad in [
            String::new(),
            good.replace("/1", "/2"),
            good.replace("cut 0 ", "cut 1 "),
            good.replace("\n4096\n", "\n8192\n"),
            good.replace("policy", "nobody"),
            good.replace("exported", "lost"),
            good.replace("exported\n", "exported more\n"),
            good.trim_end().to_owned(),
            [&good, "cut 4096 4096 5 policy exported\n"].concat(),
        ] {
            assert_eq!(Pruned::parse(&bad), Err(PrunedError), "{bad:?}");
        }
        assert!(Pruned::parse(&Pruned::default().text()).is_ok());
    }
}
