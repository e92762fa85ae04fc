//! The newest events of a kind, and how many more there are: a list that was cut says so.

use serde_json::{Value, json};
use symbolon_cli::Operator;
use symbolon_cli::audit::{Page, Search};
use symbolon_core::event::Event;

use crate::failure::Failure;

/// Events of a list, the newest.
pub const LISTED_MAX: usize = 200;
/// Entries of one answer.
const PAGE: u64 = 1000;

/// Some events, newest first.
#[derive(Debug, Default)]
pub struct Listing {
    pub events: Vec<Event>,
    /// Older ones that fit as well.
    pub more: u64,
}

impl Listing {
    /// What fits `search`, and of that what `fits`, as far as the range goes.
    pub async fn gather(
        client: &Operator,
        search: Search,
        fits: Option<fn(&Event) -> bool>,
    ) -> Result<Self, Failure> {
        Self::of_pages(search, fits, async |search| Ok(client.search_audit(search).await?)).await
    }

    async fn of_pages(
        mut search: Search,
        fits: Option<fn(&Event) -> bool>,
        mut ask: impl AsyncFnMut(&Search) -> Result<Page, Failure>,
    ) -> Result<Self, Failure> {
        let mut all = Self::default();
        loop {
            let room = LISTED_MAX - all.events.len();
            // what the broker can judge alone is only counted when the list is full
            search.counts_only = room == 0 && fits.is_none();
            search.limit = Some(if fits.is_none() { (room as u64).max(1) } else { PAGE });
            let page = ask(&search).await?;
            if search.counts_only {
                all.more += page.fitting;
            }
            let fitting = page.events.into_iter().filter(|event| fits.is_none_or(|fits| fits(event)));
            for event in fitting {
                if all.events.len() < LISTED_MAX {
                    all.events.push(event);
                } else {
                    all.more += 1;
                }
            }
            let Some(rest) = page.next else { return Ok(all) };
            (search.from, search.until) = (Some(rest.from), Some(rest.until));
        }
    }

    /// The events as they are, and how many there are.
    pub fn value(&self) -> (Value, u64) {
        (json!(self.events), self.events.len() as u64 + self.more)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_cli::audit::Span;

    use super::*;

    /// A log of so many entries, of which every tenth says that something was pruned.
    fn page(entries: u64, search: &Search) -> Page {
        let until = search.until.unwrap_or(entries);
        let limit = search.limit.unwrap();
        let taken = if search.counts_only { 100 } else { limit.min(100) }.min(until);
        let event = |index: u64| {
            let what = if index.is_multiple_of(10) { "pruned" } else { "indexed" };
            let event = json!({
                "time": "", "type": "retention", "outcome": "allowed", "node": "", "index": index,
                "target": { "object": format!("entries were {what}") },
            });
            serde_json::from_value(event).unwrap()
        };
        let rest = until - taken;
        Page {
            events: (rest..until).rev().filter(|_| !search.counts_only).map(event).collect(),
            fitting: taken,
            next: (rest > 0).then_some(Span { from: 0, until: rest }),
        }
    }

    #[tokio::test]
    async fn a_list_goes_on_until_enough_fit_and_says_how_many_more_there_are() {
        let pruned: fn(&Event) -> bool = |event| event.target.object.contains("pruned");
        let gather = async |entries: u64, fits| {
            let ask = async |search: &Search| Ok(page(entries, search));
            Listing::of_pages(Search::default(), fits, ask).await.ok().unwrap()
        };
        let few = gather(1000, Some(pruned)).await;
        assert_eq!((few.events.len(), few.more), (100, 0), "those behind other events are found");
        let many = gather(3000, Some(pruned)).await;
        assert_eq!((many.events.len(), many.more, many.events[0].index), (LISTED_MAX, 100, 2990));
        let all = gather(1001, None).await;
        assert_eq!((all.events.len(), all.more, all.value().1), (LISTED_MAX, 801, 1001));
    }
}
