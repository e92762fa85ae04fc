//! A search that passes over what cannot fit, by the indices of whole segments. Where there is none, or one
//! that does not open, it looks at every entry.

use symbolon_core::audit::Detail;
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::{Entry, Frontier, Segment};

use super::block::Block;
use super::choosing::Fit;
use super::known::Known;
use super::sealing;
use super::trust::Trust;
use crate::audit::log::rows::{StoredEntry, decode_one};
use crate::audit::log::{Filter, LogError, LogReader, Looking, Page, Range, open_detail};

/// What reading a block costs, in entries that could have been looked at meanwhile.
const BLOCK_COST: u64 = 16;

/// Reads blocks, and entries by their index.
pub struct Searcher<'a> {
    log: LogReader,
    keys: (&'a AuditKey, DeploymentId),
    known: &'a Known,
    trust: Trust,
    /// Entries under the tree in memory.
    size: u64,
    /// The last segment that was found to have no block.
    without: Option<u64>,
    bundle: Option<(u64, Vec<u8>)>,
}

impl<'a> Searcher<'a> {
    /// A searcher of a log that `tree` is over, in memory.
    #[must_use]
    pub fn new(log: LogReader, tree: Frontier, keys: (&'a AuditKey, DeploymentId), known: &'a Known) -> Self {
        let size = tree.size();
        Self { trust: Trust::new(log.clone(), tree), size, log, keys, known, without: None, bundle: None }
    }

    /// Entries of `range` that fit `filter`, the same that looking at all of them finds.
    pub async fn search(&mut self, filter: &Filter, range: Range) -> Result<Page, LogError> {
        let log = self.log.clone();
        let range = Range { until: range.until.min(self.end().await?), ..range };
        let mut looking = Looking::begin(&log, self.keys, filter, range).await?;
        if filter.is_open() {
            while !looking.is_done() {
                looking.scan(SEGMENT_ENTRIES).await?;
            }
            return Ok(looking.into_page());
        }
        self.pass_by_time(filter, &mut looking.rest).await?;
        while !looking.is_done() {
            self.go_on(filter, &mut looking).await?;
        }
        Ok(looking.into_page())
    }

    /// Where the log ends, as this broker knows; an error if the store has less. Rows say by themselves where
    /// they end, and nobody signs that before the next checkpoint.
    async fn end(&self) -> Result<u64, LogError> {
        let (expected, found) = (self.size, self.log.size().await?);
        if found < expected { Err(LogError::Short { expected, found }) } else { Ok(expected) }
    }

    /// As far as the end of the segment that is next, or a step.
    async fn go_on(&mut self, filter: &Filter, looking: &mut Looking<'_>) -> Result<(), LogError> {
        let number = looking.next() / SEGMENT_ENTRIES;
        let block = if self.without == Some(number) { None } else { self.block(number).await? };
        self.without = block.is_none().then_some(number);
        match block {
            Some(block) => {
                looking.spend(BLOCK_COST);
                self.by_block(filter, &block, looking).await
            }
            None => {
                // several steps of one segment, and the row is looked at once
                let first = number * SEGMENT_ENTRIES;
                let left = match looking.rest.newest_first {
                    true => looking.rest.until - first,
                    false => first + SEGMENT_ENTRIES - looking.rest.from,
                };
                looking.scan(left).await
            }
        }
    }

    /// The block of a segment; `None` if there is none that can be believed.
    pub async fn block(&mut self, number: u64) -> Result<Option<Block>, LogError> {
        let Some(segment) = Segment::new(number) else { return Ok(None) };
        let Some(row) = self.log.index_row(number).await? else {
            if number < self.known.made_until() {
                self.known.suspect(number);
            }
            return Ok(None);
        };
        let root = match self.trust.root(segment).await {
            Ok(Some(root)) => root,
            Ok(None) | Err(LogError::Tile { .. } | LogError::Bundle { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (audit, deployment) = self.keys;
        let block = sealing::open(audit, deployment, (segment, root), &row);
        if block.is_none() {
            self.known.suspect(number);
        }
        Ok(block)
    }

    async fn by_block(
        &mut self,
        filter: &Filter,
        block: &Block,
        looking: &mut Looking<'_>,
    ) -> Result<(), LogError> {
        let (first, newest_first) =
            (looking.next() / SEGMENT_ENTRIES * SEGMENT_ENTRIES, looking.rest.newest_first);
        let last = first + SEGMENT_ENTRIES - 1;
        let (begin, end) = (looking.rest.from.max(first), looking.rest.until.min(last + 1));
        let edge = if newest_first { begin } else { end - 1 };
        if let Some(fits) = block.choose(filter) {
            let fit_of = |index: &u64| {
                let place = usize::try_from(index - first).unwrap_or(usize::MAX);
                fits.get(place).copied().unwrap_or(Fit::Maybe)
            };
            let mut chosen: Vec<u64> = (begin..end).filter(|index| fit_of(index) != Fit::No).collect();
            if newest_first {
                chosen.reverse();
            }
            for index in chosen {
                if looking.is_done() {
                    return Ok(());
                }
                if looking.rest.counts_only && fit_of(&index) == Fit::Sure {
                    looking.pass(index);
                    looking.count();
                } else {
                    looking.look(index, &self.entry(index).await?)?;
                }
            }
        }
        if !looking.is_done() {
            looking.pass(edge);
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// An entry by its index. Its neighbours in the same bundle are read with it.
    async fn entry(&mut self, index: u64) -> Result<StoredEntry, LogError> {
        let held = |(first, bundle): &(u64, Vec<u8>)| {
            decode_one(bundle, usize::try_from(index.checked_sub(*first)?).ok()?)
        };
        if let Some(entry) = self.bundle.as_ref().and_then(held) {
            return Ok(entry);
        }
        let bundle = self.bundle.insert(self.log.bundle_of(index).await?);
        held(bundle).ok_or(LogError::Bundle { index })
    }

    /// An entry with its detail, if that opens.
    pub(super) async fn opened(&mut self, index: u64) -> Result<(Entry, Option<Detail>), LogError> {
        let stored = self.entry(index).await?;
        let entry = Entry::decode(&stored.bytes).map_err(|_| LogError::Bundle { index })?;
        let (audit, deployment) = self.keys;
        let detail = open_detail(audit, deployment, &entry);
        Ok((entry, detail))
    }

    /// The first entry that was not pruned, and what of a range is there and can be of the asked time.
    pub(super) async fn of_time(
        &mut self,
        filter: &Filter,
        (from, until): (u64, u64),
    ) -> Result<(u64, (u64, u64)), LogError> {
        let minimum = self.log.pruned().await?.minimum;
        let (from, until) = (from.max(minimum), until.min(self.end().await?));
        let mut rest = Range { from, until, newest_first: false, limit: 0, counts_only: true };
        self.pass_by_time(filter, &mut rest).await?;
        Ok((minimum, (rest.from, rest.until)))
    }

    /// Leaves out whole segments before and after the asked time. Times never go back within a log, so their
    /// blocks can be searched by halves.
    async fn pass_by_time(&mut self, filter: &Filter, rest: &mut Range) -> Result<(), LogError> {
        let first = rest.from.div_ceil(SEGMENT_ENTRIES);
        let whole = (first, (rest.until / SEGMENT_ENTRIES).max(first));
        if let Some(since) = filter.since_ms {
            // what comes before the first whole segment is as old as that
            let begin = self.first_with(whole, |block| block.last_ms >= since).await?;
            let begin = begin.filter(|number| *number > whole.0);
            rest.from = rest.from.max(begin.map_or(0, |number| number * SEGMENT_ENTRIES));
        }
        if let Some(until) = filter.until_ms {
            let end = self.first_with(whole, |block| block.first_ms >= until).await?;
            let end = end.filter(|number| *number < whole.1);
            rest.until = rest.until.min(end.map_or(u64::MAX, |number| number * SEGMENT_ENTRIES));
        }
        Ok(())
    }

    /// The first segment with a block that `is` so, as all after it are, or the end; `None` if a block on the
    /// way cannot be believed.
    async fn first_with(
        &mut self,
        (mut low, mut high): (u64, u64),
        is: impl Fn(&Block) -> bool,
    ) -> Result<Option<u64>, LogError> {
        while low < high {
            let middle = low.midpoint(high);
            let Some(block) = self.block(middle).await? else { return Ok(None) };
            if is(&block) { high = middle } else { low = middle + 1 }
        }
        Ok(Some(low))
    }
}
