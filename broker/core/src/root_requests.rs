//! What is remembered of custodians' requests for a root token, so that none counts twice and no card keeps
//! everybody else waiting.
//!
//! One number for each card instead of a list of nonces: a request counts only if it was signed later than
//! the one before it. So what is remembered is as small as a share set, and a clock that is set back makes
//! nothing new of something old. After an unseal the generation is another, and requests of before say
//! nothing.
//!
//! There is one ceremony at a time. Whoever has one card could begin one after the other and give no share:
//! so a card whose ceremony came to nothing waits for as long as that one lasted. One card alone has the
//! place for at most half of the time, and never for longer than [`ROOT_MS_MAX`] at once.

use std::collections::BTreeMap;

use symbolon_proto::custody::RootAsker;
use symbolon_proto::share::ShareSetManifest;

use crate::clock::Now;
use crate::seal::CEREMONY_MS_MAX;

/// A ceremony for which nobody gives a share ends after so long; with a share it has [`CEREMONY_MS_MAX`] from
/// then on.
pub const ROOT_IDLE_MS_MAX: u64 = 30 * 60 * 1000;
/// Longest life of such a ceremony.
pub const ROOT_MS_MAX: u64 = ROOT_IDLE_MS_MAX + CEREMONY_MS_MAX;
/// Least time that a card waits after a ceremony that came to nothing.
const WAIT_MS_MIN: u64 = 60 * 1000;

/// Why a request of a custodian does not count. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootRequestRefusal {
    /// Seen before, or older than one that was.
    #[error(
        "the request, or a later one of the same card, was taken before; sign a new one with the same command"
    )]
    Known,
    /// The card's last ceremony came to nothing.
    #[error(
        "the last ceremony that this card began came to nothing; wait {secs} seconds, or let another custodian ask, who need not wait"
    )]
    Waits {
        /// Seconds left.
        secs: u64,
    },
}

/// Requests that were taken. Bounded by the cards of one share set.
#[derive(Debug, Default)]
pub struct RootRequests {
    cards: BTreeMap<[u8; 32], Card>,
}

#[derive(Debug, Default)]
struct Card {
    /// When its newest request was signed, Unix milliseconds.
    newest_ms: u64,
    /// It may begin again from then on, on the boot clock.
    free_boot_ms: u64,
}

impl RootRequests {
    /// Takes a request that begins a ceremony, once.
    pub fn take(
        &mut self,
        asker: &RootAsker,
        set: &ShareSetManifest,
        now: Now,
    ) -> Result<(), RootRequestRefusal> {
        self.forget_all_but(set);
        let request = asker.request().request();
        let card = self.cards.entry(request.card).or_default();
        if request.at_ms <= card.newest_ms {
            return Err(RootRequestRefusal::Known);
        }
        let left_ms = card.free_boot_ms.saturating_sub(now.boot_ms);
        if left_ms > 0 {
            return Err(RootRequestRefusal::Waits { secs: left_ms.div_ceil(1000) });
        }
        card.newest_ms = request.at_ms;
        Ok(())
    }

    /// The ceremony of a request came to nothing.
    pub fn came_to_nothing(&mut self, asker: &RootAsker, begun_boot_ms: u64, now: Now) {
        let lasted = now.boot_ms.saturating_sub(begun_boot_ms).clamp(WAIT_MS_MIN, ROOT_MS_MAX);
        let card = self.cards.entry(asker.request().request().card).or_default();
        card.free_boot_ms = now.boot_ms.saturating_add(lasted);
    }

    fn forget_all_but(&mut self, set: &ShareSetManifest) {
        let keys = || set.custodians().iter().filter_map(|custodian| custodian.keys.as_ref());
        self.cards.retain(|card, _| keys().any(|keys| keys.hash() == *card));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_core::UnwrapErr;
    use symbolon_proto::custody::{KeyKind, KeyPair, RootAsk, RootScope, SignedRootRequest};
    use symbolon_proto::hierarchy::Fragment;
    use symbolon_proto::id::DeploymentId;
    use symbolon_proto::share::{Dealing, Holder, ShareKind, Threshold};

    use super::*;

    const DAY_MS: u64 = 1_790_000_000_000;

    struct World {
        people: Vec<KeyPair>,
        set: ShareSetManifest,
        scope: RootScope,
    }

    fn world() -> World {
        let mut rng = UnwrapErr(getrandom::SysRng);
        let people: Vec<_> = (0..2).map(|_| KeyPair::generate(KeyKind::Custodian, &mut rng)).collect();
        let cards = people.iter().zip(["Ann", "Bob"]).map(|(keys, name)| keys.card(name).unwrap());
        let holders: Vec<_> = cards.map(|card| Holder::from(&card)).collect();
        let deployment = DeploymentId::from_bytes([1; 16]);
        let dealing = Dealing {
            kind: ShareKind::Fragment,
            deployment,
            frag_epoch: 1,
            created_ms: 0,
            threshold: Threshold::new(2, 2).unwrap(),
            holders: &holders,
            previous: None,
        };
        let (set, _) = dealing.deal(&Fragment::random(&mut rng), &mut rng).unwrap();
        let scope = RootScope { deployment, generation: 1, set: set.hash() };
        World { people, set, scope }
    }

    fn at(boot_ms: u64) -> Now {
        Now { unix_ms: DAY_MS + boot_ms, boot_ms }
    }

    impl World {
        fn asker(&self, person: usize, boot_ms: u64) -> RootAsker {
            let ask = RootAsk::begin(3600, &mut UnwrapErr(getrandom::SysRng));
            let keys = &self.people[person];
            let signed = SignedRootRequest::sign(ask, self.scope, at(boot_ms).unix_ms, keys).unwrap();
            signed.check(&self.scope, &self.set, at(boot_ms).unix_ms).unwrap()
        }
    }

    #[test]
    fn a_request_counts_once_and_none_that_is_older_does() {
        let (world, mut requests) = (world(), RootRequests::default());
        let (older, newer) = (world.asker(0, 4), world.asker(0, 5));
        requests.take(&newer, &world.set, at(6)).unwrap();
        for known in [&newer, &older] {
            assert_eq!(requests.take(known, &world.set, at(7)), Err(RootRequestRefusal::Known));
        }
        requests.take(&world.asker(1, 4), &world.set, at(7)).unwrap(); // others have numbers of their own
        requests.take(&world.asker(0, 8), &world.set, at(8)).unwrap();
    }

    #[test]
    fn who_begins_for_nothing_waits_as_long_and_nobody_else_does() {
        let (world, mut requests) = (world(), RootRequests::default());
        let first = world.asker(0, 1000);
        requests.take(&first, &world.set, at(1000)).unwrap();
        requests.came_to_nothing(&first, 1000, at(1000 + ROOT_MS_MAX));
        let end = 1000 + 2 * ROOT_MS_MAX;
        let wait = requests.take(&world.asker(0, end - 1500), &world.set, at(end - 1500));
        assert_eq!(wait, Err(RootRequestRefusal::Waits { secs: 2 }));
        requests.take(&world.asker(1, end - 1500), &world.set, at(end - 1500)).unwrap();
        let second = world.asker(0, end);
        requests.take(&second, &world.set, at(end)).unwrap();
        // Whoever gives up at once waits a minute all the same: each beginning is an entry in the log.
        requests.came_to_nothing(&second, end, at(end + 1));
        let soon = requests.take(&world.asker(0, end + 2), &world.set, at(end + 2));
        assert_eq!(soon, Err(RootRequestRefusal::Waits { secs: 60 }));
    }

    #[test]
    fn no_more_is_remembered_than_a_set_has_cards() {
        let mut requests = RootRequests::default();
        for _ in 0..20 {
            let world = world();
            requests.take(&world.asker(0, 1), &world.set, at(1)).unwrap();
            requests.take(&world.asker(1, 1), &world.set, at(1)).unwrap();
        }
        assert_eq!(requests.cards.len(), 2);
    }
}
