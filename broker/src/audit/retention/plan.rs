//! How far the log may be cut, and what keeps it from it. Pure.

use symbolon_proto::log::Segment;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;

use super::reserve::Reserve;
use super::segments::{Known, PlaceId};

/// Bytes of an entry before any was counted.
const ENTRY_BYTES: u64 = 600;
/// Where pruning at a full budget ends, so that it does not begin again with the next entry: in percent.
const LOW_WATER_PERCENT: u64 = 90;
/// What may be entered beyond a budget that is used up: thousands of entries that free space or protect.
const RESERVE_BYTES: u64 = 8 << 20;
/// From here on what sinks have not had is pruned, too: they must not be what fills a disk. In percent.
const HELD_PERCENT: u64 = 90;
/// From here on it is told that the budget will be used up.
const ALARM_PERCENT: u64 = 80;

/// What the configuration allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Entries older than this go.
    pub keep_ms: Option<u64>,
    /// What is beyond so many bytes goes, the oldest first.
    pub keep_bytes: Option<u64>,
    /// Bytes that the log may take.
    pub budget_bytes: Option<u64>,
    /// Whether the oldest go when the budget is used up; otherwise nothing is written but
    /// what has a reserve.
    pub prunes_when_full: bool,
    /// Where everything that goes must lie; `None` if nothing is exported.
    pub place: Option<PlaceId>,
}

/// The log as it is.
#[derive(Clone, Copy, Debug)]
pub struct Stock<'a> {
    /// Its first kept entry.
    pub minimum: u64,
    /// What is known of its whole segments, from there on.
    pub segments: &'a [(Segment, Known)],
    /// Entries after those.
    pub loose: u64,
    /// What time it is at least, milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// No cut may lie beyond: what is not signed, not anchored, or needed to find the end of the log.
    pub floor: u64,
    /// No cut by age or size lies beyond while there is space: what sinks have not had.
    pub held: u64,
}

impl Stock<'_> {
    /// Bytes that the log takes, about.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let whole = self.segments.iter().fold(0_u64, |sum, (_, known)| sum.saturating_add(known.bytes));
        whole.saturating_add(self.loose.saturating_mul(self.each()))
    }

    /// Bytes of an entry.
    fn each(&self) -> u64 {
        self.segments.last().map_or(ENTRY_BYTES, |(_, known)| known.bytes / SEGMENT_ENTRIES).max(1)
    }

    /// Days until `budget` is used up at the pace of the known segments; `None` if no pace can be told.
    #[must_use]
    pub fn days_left(&self, budget: u64) -> Option<u64> {
        let ((_, first), (_, last)) = (self.segments.first()?, self.segments.last()?);
        let ms = last.last_ms.checked_sub(first.last_ms).filter(|ms| *ms > 0)?;
        let later = self.segments.iter().skip(1);
        let grown = later.fold(0_u64, |sum, (_, known)| sum.saturating_add(known.bytes));
        let left = u128::from(budget.saturating_sub(self.bytes()));
        let days = left * u128::from(ms) / u128::from(grown.max(1)) / 86_400_000;
        u64::try_from(days).ok()
    }
}

impl Limits {
    /// Whether anything has to be counted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        *self == Self::default()
    }

    /// Whether anything is ever pruned by them.
    #[must_use]
    pub const fn prunes(&self) -> bool {
        self.keep_ms.is_some() || self.keep_bytes.is_some() || self.prunes_when_full
    }

    /// Whether the budget is used up.
    #[must_use]
    pub fn is_full(&self, bytes: u64) -> bool {
        self.budget_bytes.is_some_and(|budget| bytes >= budget)
    }

    /// What is left beyond the budget for what frees space or protects; `None` if it is not used up.
    #[must_use]
    pub fn reserve(&self, stock: &Stock<'_>) -> Option<Reserve> {
        let bytes = stock.bytes();
        let budget = self.budget_bytes.filter(|_| self.is_full(bytes))?;
        let left = budget.saturating_add(RESERVE_BYTES).saturating_sub(bytes);
        Some(Reserve { left: left / stock.each(), of: RESERVE_BYTES / stock.each() })
    }

    /// Whether it soon will be.
    #[must_use]
    pub fn is_scarce(&self, bytes: u64) -> bool {
        self.budget_bytes.is_some_and(|budget| bytes >= budget / 100 * ALARM_PERCENT)
    }

    /// The minimum index that the log should have; `None` if it stays.
    #[must_use]
    pub fn cut(&self, stock: &Stock<'_>) -> Option<u64> {
        let mut left = stock.bytes();
        let room = self.budget_bytes.filter(|_| self.prunes_when_full && self.is_full(left));
        let room = room.map(|budget| budget / 100 * LOW_WATER_PERCENT);
        let mut end = None;
        for (segment, known) in stock.segments {
            let is_old = self.keep_ms.is_some_and(|keep| known.last_ms.saturating_add(keep) <= stock.now_ms);
            let is_much = [self.keep_bytes, room].into_iter().flatten().any(|most| left > most);
            // what sinks have not had goes as far as it must, and no further
            let is_pressed = self.budget_bytes.is_some_and(|budget| left >= budget / 100 * HELD_PERCENT);
            let floor = if is_pressed { stock.floor } else { stock.floor.min(stock.held) };
            if !(is_old || is_much) || segment.end() > floor || !self.may_go(known) {
                break;
            }
            left = left.saturating_sub(known.bytes);
            end = Some(segment.end());
        }
        end
    }

    /// How far a person may cut who asks for `until`: whole segments, and unless told otherwise nothing that
    /// was not exported.
    #[must_use]
    pub fn cut_by_hand(&self, stock: &Stock<'_>, until: u64, takes_unexported: bool) -> Option<u64> {
        let until = until.min(stock.floor);
        if takes_unexported {
            // also what sinks have not had: whoever says so has been asked
            let end = until / SEGMENT_ENTRIES * SEGMENT_ENTRIES;
            return (end > stock.minimum).then_some(end);
        }
        let until = until.min(stock.held);
        let is_exported = |known: &Known| self.place.is_some_and(|place| known.is_in(place));
        let goes = |(segment, known): &&(Segment, Known)| segment.end() <= until && is_exported(known);
        stock.segments.iter().take_while(goes).last().map(|(segment, _)| segment.end())
    }

    /// Whether everything from `first` to `end` lies in the place.
    #[must_use]
    pub fn is_exported(&self, stock: &[(Segment, Known)], first: u64, end: u64) -> bool {
        let is_there = |known: &Known| self.place.is_some_and(|place| known.is_in(place));
        let there = stock
            .iter()
            .filter(|(segment, known)| segment.first() >= first && segment.end() <= end && is_there(known));
        there.count() as u64 * SEGMENT_ENTRIES == end.saturating_sub(first)
    }

    fn may_go(&self, known: &Known) -> bool {
        self.place.is_none_or(|place| known.is_in(place))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::segments::Exported;
    use super::*;

    const HERE: PlaceId = [1; 32];

    /// Ten segments of 1,000 bytes, one for each day, of which the first `exported` are in their place.
    fn segments(exported: u64) -> Vec<(Segment, Known)> {
        let known = |number: u64| Known {
            bytes: 1000,
            last_ms: number * 86_400_000,
            exported: (number < exported).then_some(Exported { place: HERE, sha256: [0; 32], bytes: 1 }),
        };
        (0..10).map(|number| (Segment::new(number).unwrap(), known(number))).collect()
    }

    fn stock(segments: &[(Segment, Known)]) -> Stock<'_> {
        Stock {
            minimum: 0,
            segments,
            loose: 0,
            now_ms: 10 * 86_400_000,
            floor: 9 * SEGMENT_ENTRIES,
            held: u64::MAX,
        }
    }

    fn cut(limits: Limits, exported: u64) -> Option<u64> {
        let limits = Limits { place: Some(HERE), ..limits };
        limits.cut(&stock(&segments(exported))).map(|end| end / SEGMENT_ENTRIES)
    }

    #[test]
    fn what_is_old_or_too_much_goes_if_it_was_exported() {
        let by_age = |days: u64| Limits { keep_ms: Some(days * 86_400_000), ..Limits::default() };
        let by_size = |bytes: u64| Limits { keep_bytes: Some(bytes), ..Limits::default() };
        assert_eq!(cut(Limits::default(), 10), None);
        assert_eq!((cut(by_age(7), 10), cut(by_age(7), 2), cut(by_age(7), 0)), (Some(4), Some(2), None));
        assert_eq!((cut(by_size(3000), 10), cut(by_size(10_000), 10)), (Some(7), None));
        assert_eq!(cut(by_size(0), 10), Some(9), "nothing beyond the floor");
        let dropped = Limits { place: None, ..by_size(3000) };
        assert_eq!(dropped.cut(&stock(&segments(0))), Some(7 * SEGMENT_ENTRIES));
    }

    /// A sink that is away keeps entries from being pruned by age and size, and not by a budget.
    #[test]
    fn what_sinks_have_not_had_goes_only_when_the_budget_is_nearly_used_up() {
        let (all, held) = (segments(10), 2 * SEGMENT_ENTRIES + 1);
        let cut = |limits: Limits| {
            let limits = Limits { place: Some(HERE), ..limits };
            limits.cut(&Stock { held, ..stock(&all) }).map(|end| end / SEGMENT_ENTRIES)
        };
        let by_size = Limits { keep_bytes: Some(3000), ..Limits::default() };
        assert_eq!(cut(by_size), Some(2));
        assert_eq!(cut(Limits { budget_bytes: Some(11_200), ..by_size }), Some(2));
        // 10,000 bytes are 9/10 of it, and two segments may go that sinks have had
        assert_eq!(cut(Limits { budget_bytes: Some(11_100), ..by_size }), Some(2));
        let tight = |budget| cut(Limits { budget_bytes: Some(budget), ..by_size });
        assert_eq!((tight(8_800), tight(6_600)), (Some(3), Some(5)), "only what must");
        let limits = Limits { place: Some(HERE), ..Limits::default() };
        let by_hand = |unexported| limits.cut_by_hand(&Stock { held, ..stock(&all) }, u64::MAX, unexported);
        assert_eq!((by_hand(false), by_hand(true)), (Some(2 * SEGMENT_ENTRIES), Some(9 * SEGMENT_ENTRIES)));
    }

    #[test]
    fn at_the_budget_it_prunes_or_is_full() {
        let budget = |bytes, prunes_when_full| Limits {
            budget_bytes: Some(bytes),
            prunes_when_full,
            ..Limits::default()
        };
        assert_eq!((cut(budget(10_000, false), 10), cut(budget(10_001, true), 10)), (None, None));
        assert_eq!(cut(budget(10_000, true), 10), Some(1), "down to nine tenths");
        assert_eq!(cut(budget(10_000, true), 0), None, "nothing was exported");
        assert!(budget(10_000, false).is_full(10_000) && !budget(10_001, false).is_full(10_000));
        assert!(budget(12_500, false).is_scarce(10_000) && !budget(12_600, false).is_scarce(10_000));
        assert_eq!(budget(10_001, false).reserve(&stock(&segments(0))), None);
        let large = |bytes| {
            let mut all = segments(0);
            all.iter_mut().for_each(|(_, known)| known.bytes = bytes);
            budget(10 * SEGMENT_ENTRIES * 100, false).reserve(&stock(&all)).unwrap()
        };
        let whole = RESERVE_BYTES / 100;
        assert_eq!(large(100 * SEGMENT_ENTRIES), Reserve { left: whole, of: whole });
        assert_eq!(large(1000 * SEGMENT_ENTRIES).left, 0, "beyond the reserve");
        assert_eq!(stock(&segments(0)).days_left(15_000), Some(5));
    }

    #[test]
    fn a_person_gets_whole_segments_and_only_exported_ones_unless_told() {
        let limits = Limits { place: Some(HERE), ..Limits::default() };
        let (all, some) = (segments(10), segments(3));
        let until = 5 * SEGMENT_ENTRIES + 17;
        assert_eq!(limits.cut_by_hand(&stock(&all), until, false), Some(5 * SEGMENT_ENTRIES));
        assert_eq!(limits.cut_by_hand(&stock(&some), until, false), Some(3 * SEGMENT_ENTRIES));
        assert_eq!(limits.cut_by_hand(&stock(&some), until, true), Some(5 * SEGMENT_ENTRIES));
        assert_eq!(limits.cut_by_hand(&stock(&all), u64::MAX, false), Some(9 * SEGMENT_ENTRIES));
        assert_eq!(Limits::default().cut_by_hand(&stock(&all), until, false), None);
        let uncounted = Stock { minimum: SEGMENT_ENTRIES, ..stock(&[]) };
        assert_eq!(limits.cut_by_hand(&uncounted, until, true), Some(5 * SEGMENT_ENTRIES));
        assert_eq!(limits.cut_by_hand(&uncounted, 5000, true), None, "it begins there already");
        assert!(limits.is_exported(&all, SEGMENT_ENTRIES, 3 * SEGMENT_ENTRIES));
        assert!(!limits.is_exported(&some, 0, 4 * SEGMENT_ENTRIES) && !limits.is_exported(&[], 0, 4096));
    }
}
