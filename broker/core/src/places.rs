//! What sources of shares may do together: whether one place, or no person, can open a deployment.
//!
//! A share set is judged before it is dealt, and again before sources give anything: shares are numbers, and
//! whoever has t of them needs no broker that counts. So how many people an unseal takes is a matter of how
//! many shares sources hold at all, and not of what a program asks for.

use std::collections::{BTreeMap, BTreeSet};

/// Whoever steals the machine takes what is here.
pub const BOX: &str = "box";
/// Whoever empties the whole place takes what is here, and what is in the machine.
pub const SITE: &str = "site";

/// What a deployment demands of its share sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// People that an unseal takes at least.
    pub people_min: u8,
    /// Places that may open it alone.
    pub accept_places: BTreeSet<String>,
}

/// A share set that is weaker than its deployment demands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Nobody could ever change it.
    #[error(
        "all shares are held by sources: nobody could reshare, or be asked; at least one person must hold a share"
    )]
    NoPerson,
    /// Too few people.
    #[error(
        "sources hold {sources} of the {threshold} shares that open the broker, so {people} people can do with them; custody.people_min demands {wanted}: raise the threshold, or give fewer sources a share"
    )]
    People {
        /// Shares of sources.
        sources: usize,
        /// Shares needed.
        threshold: u8,
        /// People needed beside them.
        people: usize,
        /// What was demanded.
        wanted: u8,
    },
    /// One place is enough.
    #[error(
        "{shares} of the {threshold} shares that open the broker can be had at one place ({place}): a thief of it needs nothing else; give a share to somebody elsewhere, raise the threshold, or accept it by naming the place in custody.accept_places"
    )]
    Place {
        /// Which.
        place: String,
        /// Shares there.
        shares: usize,
        /// Shares needed.
        threshold: u8,
    },
}

impl Terms {
    /// Whether a set of `people` and of sources at `places`, of which any `threshold` shares open the broker,
    /// is as strong as demanded.
    pub fn check(&self, threshold: u8, people: usize, places: &[&str]) -> Result<(), TermsError> {
        let (needed, sources) = (usize::from(threshold), places.len());
        if people == 0 {
            return Err(TermsError::NoPerson);
        }
        let beside = needed.saturating_sub(sources);
        if beside < usize::from(self.people_min) {
            let wanted = self.people_min;
            return Err(TermsError::People { sources, threshold, people: beside, wanted });
        }
        let weak = weak_places(threshold, places)
            .into_iter()
            .find(|(place, _)| !self.accept_places.contains(*place));
        weak.map_or(Ok(()), |(place, shares)| {
            Err(TermsError::Place { place: place.to_owned(), shares, threshold })
        })
    }
}

/// Places at which enough shares are held to open the broker, and how many. What is in the machine is also at
/// its site.
#[must_use]
pub fn weak_places<'a>(threshold: u8, places: &[&'a str]) -> BTreeMap<&'a str, usize> {
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for place in places {
        *held.entry(place).or_default() += 1;
    }
    let in_box = held.get(BOX).copied().unwrap_or(0);
    if in_box > 0 && in_box < usize::from(threshold) && held.contains_key(SITE) {
        *held.entry(SITE).or_default() += in_box;
    }
    held.retain(|_, shares| *shares >= usize::from(threshold));
    held
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn terms(people_min: u8, accepted: &[&str]) -> Terms {
        let accept_places = accepted.iter().map(|place| (*place).to_owned()).collect();
        Terms { people_min, accept_places }
    }

    #[test]
    fn no_place_opens_a_broker_alone_unless_it_is_named() {
        let weak = |places: &[&str]| match terms(0, &[]).check(2, 2, places) {
            Ok(()) => None,
            Err(TermsError::Place { place, .. }) => Some(place),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(weak(&[]), None);
        assert_eq!(weak(&["box", "office"]), None);
        assert_eq!(weak(&["site", "office"]), None);
        assert_eq!(weak(&["box", "box"]).unwrap(), "box");
        assert_eq!(weak(&["box", "site"]).unwrap(), "site", "a burglar takes the machine, too");
        assert_eq!(weak(&["office", "office"]).unwrap(), "office");
        assert_eq!(terms(0, &["site"]).check(2, 1, &["box", "site"]), Ok(()));
        assert!(terms(0, &["site"]).check(2, 1, &["box", "box"]).is_err(), "the machine alone was not named");
        assert_eq!(terms(0, &[]).check(3, 1, &["box", "site"]), Ok(()));
    }

    #[test]
    fn people_are_demanded_by_how_many_shares_sources_hold_at_all() {
        let places = ["office", "cellar"];
        assert_eq!(terms(0, &[]).check(2, 2, &places), Ok(()));
        let refused = terms(1, &[]).check(2, 2, &places);
        assert!(matches!(refused, Err(TermsError::People { people: 0, wanted: 1, .. })), "{refused:?}");
        assert_eq!(terms(1, &[]).check(3, 2, &places), Ok(()));
        assert_eq!(terms(1, &[]).check(2, 2, &["office"]), Ok(()), "an HSM and any one person");
        assert_eq!(terms(0, &[]).check(2, 0, &places), Err(TermsError::NoPerson));
    }
}
