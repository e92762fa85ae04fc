//! Which entries of a block can fit a filter. What the block does not know may fit; whether it does, the
//! entry itself says (`log::search`).

use symbolon_core::audit::{Action, Outcome};

use super::block::{ANY, AS_HEAD, Block, Column, Kind};
use super::gathering::{long_digest, short_digest};
use crate::audit::log::Filter;

/// Whether something fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It does not.
    No,
    /// The entry has to be opened.
    Maybe,
    /// It does.
    Sure,
}

impl Fit {
    const fn is(fits: bool) -> Self {
        if fits { Self::Sure } else { Self::No }
    }

    const fn may(fits: bool) -> Self {
        if fits { Self::Maybe } else { Self::No }
    }
}

impl Block {
    /// For each entry, whether it fits; `None` if none does.
    #[must_use]
    pub fn choose(&self, filter: &Filter) -> Option<Vec<Fit>> {
        let of_time = self.choose_time(filter)?;
        let mut fits = vec![of_time; self.kind.len()];
        let kinds = self.kinds.iter().map(|kind| fit_kind(filter, kind));
        narrow(&mut fits, &self.kind, kinds)?;
        if let Some(wanted) = &filter.caller {
            narrow(&mut fits, &self.caller, self.callers.iter().map(|caller| Fit::is(caller == wanted)))?;
        }
        if filter.path.is_some() || filter.path_prefix.is_some() {
            let names = self.paths.iter().zip(&self.mounts);
            let takes = |(path, mount): (&str, &u8)| Fit::is(filter.takes_path(path, u64::from(*mount)));
            narrow(&mut fits, &self.path, names.map(takes))?;
        }
        if let Some(accessor) = filter.accessor.as_deref().map(long_digest) {
            narrow(&mut fits, &self.accessor, self.accessors.iter().map(|it| Fit::may(*it == accessor)))?;
        }
        if let Some(request) = filter.request_id.as_deref().map(short_digest) {
            for (fit, digest) in fits.iter_mut().zip(&self.request) {
                *fit = Fit::may(*digest == request || *digest == 0).min(*fit);
            }
        }
        fits.iter().any(|fit| *fit != Fit::No).then_some(fits)
    }

    fn choose_time(&self, filter: &Filter) -> Option<Fit> {
        let (since, until) = (filter.since_ms.unwrap_or(0), filter.until_ms.unwrap_or(u64::MAX));
        if self.last_ms < since || self.first_ms >= until {
            return None;
        }
        let is_within = self.first_ms >= since && self.last_ms < until;
        Some(if is_within { Fit::Sure } else { Fit::Maybe })
    }
}

/// Takes what is said of each name for the entries that have it; `None` if no name fits and all are known.
fn narrow(fits: &mut [Fit], column: &Column, names: impl Iterator<Item = Fit>) -> Option<()> {
    let by_place: Vec<Fit> = std::iter::once(Fit::Maybe).chain(names).collect();
    let mut is_left = false;
    for (fit, place) in fits.iter_mut().zip(column) {
        *fit = by_place.get(usize::from(*place)).copied().unwrap_or(Fit::Maybe).min(*fit);
        is_left |= *fit != Fit::No;
    }
    is_left.then_some(())
}

fn fit_kind(filter: &Filter, kind: &Kind) -> Fit {
    let takes = |number: u8| Action::from_u8(number).is_none_or(|action| filter.takes(action));
    let is_outcome = |outcome: Outcome| outcome.as_u8() == kind.outcome;
    if !filter.outcome.is_none_or(is_outcome) {
        return Fit::No;
    }
    if takes(kind.action) {
        return Fit::Sure;
    }
    // what was refused says in its detail what it was
    let is_veiled = kind.action == Action::Refused.as_u8();
    match kind.asked {
        ANY => Fit::may(is_veiled),
        AS_HEAD => Fit::No,
        asked => Fit::is(is_veiled && takes(asked)),
    }
}
