//! How much is kept, so that nobody fills the store with answers that no one comes for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::stored::{ANSWER_BYTES_MAX, WRAPPED, Wrapping};
use crate::access::Session;
use crate::error::OpError;
use crate::rows::Cursor;

/// Wrapped answers that one deployment may keep at once.
pub const ANSWERS_MAX: u64 = 100_000;
/// Bytes of all of them together.
pub const BYTES_MAX: u64 = 1 << 30;

/// Rows looked at together when they are counted.
const PAGE_ROWS: usize = 512;

const FULL: OpError = OpError::refused(
    "too many wrapped answers are kept, 100,000 or 1 GiB at most; unwrap some or wait until they expire",
);

/// What is kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Sum {
    answers: u64,
    bytes: u64,
}

impl Sum {
    pub(super) fn add(&mut self, bytes: u64) {
        self.answers += 1;
        self.bytes += bytes;
    }

    /// For one more answer, whatever its length.
    const fn has_room(self) -> bool {
        self.answers < ANSWERS_MAX && self.bytes + ANSWER_BYTES_MAX as u64 <= BYTES_MAX
    }
}

/// The sum of this session: counted once, kept while it is open, and put right by each round of collection.
/// It is looked at before a request is carried out and raised when its answer is kept, so requests under way
/// may overshoot it by their number. Nothing is set aside for them: strangers ask for wrapped answers, too.
#[derive(Default)]
pub(super) struct Held {
    sum: Mutex<Option<Sum>>,
    /// What the round under way has met so far.
    met: Mutex<Sum>,
    /// Whoever counts. The others wait for what it finds.
    counting: tokio::sync::Mutex<()>,
}

impl Held {
    /// Whether there is room for one more answer, whatever its length.
    pub(super) async fn require_room(&self, session: &Session) -> Result<(), OpError> {
        if self.counted(session).await?.has_room() { Ok(()) } else { Err(FULL) }
    }

    async fn counted(&self, session: &Session) -> Result<Sum, OpError> {
        if let Some(sum) = self.known() {
            return Ok(sum);
        }
        let _counting = self.counting.lock().await;
        match self.known() {
            Some(sum) => Ok(sum),
            None => {
                let counted = count(session).await?;
                Ok(*self.sum().get_or_insert(counted))
            }
        }
    }

    fn known(&self) -> Option<Sum> {
        *self.sum()
    }

    pub(super) fn add(&self, bytes: u64) {
        if let Some(sum) = self.sum().as_mut() {
            sum.add(bytes);
        }
    }

    pub(super) fn remove(&self, bytes: u64) {
        if let Some(sum) = self.sum().as_mut() {
            sum.answers = sum.answers.saturating_sub(1);
            sum.bytes = sum.bytes.saturating_sub(bytes);
        }
    }

    pub(super) fn begin_recount(&self) {
        *self.met() = Sum::default();
    }

    pub(super) fn recount(&self, bytes: u64) {
        self.met().add(bytes);
    }

    pub(super) fn end_recount(&self) {
        let met = *self.met();
        self.replace(met);
    }

    fn replace(&self, counted: Sum) {
        *self.sum() = Some(counted);
    }

    fn met(&self) -> MutexGuard<'_, Sum> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sum(&self) -> MutexGuard<'_, Option<Sum>> {
        self.sum.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Page by page. Rows that do not open are passed over: nobody can unwrap them either.
async fn count(session: &Session) -> Result<Sum, OpError> {
    let (mut sum, mut cursor) = (Sum::default(), Cursor::of_table(WRAPPED));
    while let Some(page) = cursor.next(&session.rows, PAGE_ROWS).await? {
        let facts = page.iter().filter_map(|found| session.rows.open_found::<Wrapping>(found).ok());
        facts.for_each(|facts| sum.add(facts.bytes));
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold() {
        let held = Held::default();
        held.add(5); // nobody has counted yet
        assert_eq!(held.known(), None);
        held.replace(Sum { answers: ANSWERS_MAX - 1, bytes: 7 });
        assert!(held.known().is_some_and(Sum::has_room));
        held.add(1);
        assert!(!held.known().is_some_and(Sum::has_room));
        held.remove(8);
        assert_eq!(held.known(), Some(Sum { answers: ANSWERS_MAX - 1, bytes: 0 }));
    }

    /// What is found out after a request was carried out comes too late: its secret id is spent by then.
    #[test]
    fn there_is_room_while_the_longest_answer_fits() {
        let longest = ANSWER_BYTES_MAX as u64;
        assert!(Sum { answers: 1, bytes: BYTES_MAX - longest }.has_room());
        assert!(!Sum { answers: 1, bytes: BYTES_MAX - longest + 1 }.has_room());
    }
}
