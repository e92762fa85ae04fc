//! Who may spend the evaluations of the deployment.
//!
//! ```text
//! quota ─┬─ reserve: KEKs of buckets, canaries           (what the standard tier lives on)
//!        └─ the rest: keys of versions ─┬─ each mount a share of it
//!                                       └─ each reader a smaller one
//! ```
//!
//! A key of a version costs an evaluation for each read and is never kept, so whoever may read one secret of
//! the high tier could spend everything in a minute. A reader beyond its share waits alone, a mount beyond
//! its share leaves the others theirs, and nobody but KEKs and canaries gets at the reserve. Shares refill
//! like the quota that they are shares of.
//!
//! The reserve is judged by what the nodes say is left, so it holds for all brokers of a deployment together;
//! shares are counted in memory, by each broker for itself, and are full after an unseal.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError, RwLock};

use symbolon_proto::id::MountId;

use crate::config::HighTier;
use crate::error::{Busy, OpError, Text};
use crate::remote::Quota;

const HOUR_MS: u64 = 3_600_000;
/// Readers, and mounts, whose shares are counted singly. Those beyond share one share.
const COUNTED_MAX: usize = 4096;

/// Who is charged for keys of versions: somebody in a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer {
    /// Stands for the reader.
    pub reader: [u8; 16],
    /// What is read.
    pub mount: MountId,
}

/// What is spent. Seconds until one more key may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    /// The share of a reader.
    #[error(
        "this caller has used its share of the evaluations that reads of the high tier need; retry in {secs} seconds, or ask the broker's operator for larger shares ([high_tier] in its configuration)"
    )]
    Reader {
        /// From now.
        secs: u32,
    },
    /// The share of a mount.
    #[error(
        "the readers of this mount have used its share of the evaluations that reads of the high tier need; retry in {secs} seconds, or ask the broker's operator for larger shares ([high_tier] in its configuration)"
    )]
    Mount {
        /// From now.
        secs: u32,
    },
    /// Everything but the reserve.
    #[error(
        "what is left of the evaluation quota is kept for keys of the standard tier; retry in {secs} seconds, or ask the operator of the fragment service for a larger quota"
    )]
    Reserve {
        /// From now.
        secs: u32,
    },
}

impl From<Spent> for OpError {
    fn from(spent: Spent) -> Self {
        let text = Text::of(&spent);
        Self::Busy(match spent {
            Spent::Reader { secs } | Spent::Mount { secs } => Busy::Until { text, secs, all: false },
            Spent::Reserve { secs } => Busy::Until { text, secs, all: true },
        })
    }
}

/// How much of something there may be, in elements.
#[derive(Clone, Copy)]
struct Rate {
    burst: u32,
    per_hour: u32,
}

impl Rate {
    /// At least one: a share that is rounded to nothing would never be refilled.
    fn percent(self, percent: u8) -> Self {
        let of = |whole: u32| (u64::from(whole) * u64::from(percent) / 100).max(1);
        let of = |whole| u32::try_from(of(whole)).unwrap_or(u32::MAX);
        Self { burst: of(self.burst), per_hour: of(self.per_hour) }
    }

    fn capacity(self) -> u64 {
        u64::from(self.burst) * HOUR_MS
    }

    /// Seconds until `missing` element-milliseconds have come.
    fn secs(self, missing: u64) -> u32 {
        u32::try_from(missing.div_ceil(u64::from(self.per_hour.max(1)) * 1000)).unwrap_or(u32::MAX).max(1)
    }
}

/// What somebody has left of a share, in elements times [`HOUR_MS`], so that nothing is rounded away.
#[derive(Clone, Copy, Default)]
struct Share {
    spent: u64,
    at_ms: u64,
}

impl Share {
    fn refill(&mut self, rate: Rate, now_ms: u64) {
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(u64::from(rate.per_hour));
        self.spent = self.spent.saturating_sub(gained);
        self.at_ms = self.at_ms.max(now_ms);
    }

    /// What is missing for one more element.
    fn missing(self, rate: Rate) -> u64 {
        (self.spent + HOUR_MS).saturating_sub(rate.capacity())
    }
}

/// Shares of many, a bounded number of them. A share that is full is as good as none and makes room.
struct Shares<K> {
    counted: HashMap<K, Share>,
    others: Share,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self { counted: HashMap::new(), others: Share::default() }
    }
}

impl<K: Eq + Hash> Shares<K> {
    fn of(&mut self, key: K, rate: Rate, now_ms: u64) -> &mut Share {
        if self.counted.len() >= COUNTED_MAX && !self.counted.contains_key(&key) {
            self.counted.retain(|_, share| {
                share.refill(rate, now_ms);
                share.spent > 0
            });
        }
        let full = self.counted.len() >= COUNTED_MAX && !self.counted.contains_key(&key);
        let share = if full { &mut self.others } else { self.counted.entry(key).or_default() };
        share.refill(rate, now_ms);
        share
    }
}

#[derive(Default)]
struct Counted {
    readers: Shares<(MountId, [u8; 16])>,
    mounts: Shares<MountId>,
}

/// The shares of one session.
pub(super) struct Budget {
    settings: RwLock<HighTier>,
    counted: Mutex<Counted>,
}

impl Budget {
    pub(super) fn new(settings: HighTier) -> Self {
        Self { settings: RwLock::new(settings), counted: Mutex::default() }
    }

    /// Other shares from now on, for what is spent already as well.
    pub(super) fn share(&self, settings: HighTier) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> HighTier {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserve(&self, quota: Quota) -> u32 {
        Rate { burst: quota.burst, per_hour: 0 }.percent(self.settings().reserve_percent).burst
    }

    /// Takes what a request cost beyond one element. It is spent already, so it may become a debt.
    pub(super) fn surcharge(&self, payer: Payer, elements: u64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { readers, mounts } = &mut *counted;
        // Whoever is counted singly was just charged; the others' share was charged then, and gets it now.
        let reader = readers.counted.get_mut(&(payer.mount, payer.reader)).unwrap_or(&mut readers.others);
        reader.spent = reader.spent.saturating_add(elements * HOUR_MS);
        let mount = mounts.counted.get_mut(&payer.mount).unwrap_or(&mut mounts.others);
        mount.spent = mount.spent.saturating_add(elements * HOUR_MS);
    }

    /// Elements that keys of versions may cost before the reserve begins; as many as anybody likes while no
    /// quota is known.
    pub(super) fn spare(&self, quota: Option<Quota>) -> usize {
        let spare = |quota: Quota| quota.left.saturating_sub(self.reserve(quota)) as usize;
        quota.map_or(usize::MAX, spare)
    }

    /// Why there is nothing to spare.
    pub(super) fn reserved(&self, quota: Option<Quota>) -> Spent {
        let missing = |quota: Quota| {
            let short = u64::from((self.reserve(quota) + 1).saturating_sub(quota.left)) * HOUR_MS;
            Rate { burst: 0, per_hour: quota.per_hour }.secs(short)
        };
        Spent::Reserve { secs: quota.map_or(1, missing) }
    }

    /// Takes one element of the reader's share and one of the mount's, or none of either.
    pub(super) fn charge(&self, payer: Payer, quota: Quota, now_ms: u64) -> Result<(), Spent> {
        let rest = Rate { burst: quota.burst - self.reserve(quota).min(quota.burst), ..rate(quota) };
        let of_reader = rest.percent(self.settings().reader_percent);
        let of_mount = rest.percent(self.settings().mount_percent);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Counted { readers, mounts } = &mut *counted;
        let reader = readers.of((payer.mount, payer.reader), of_reader, now_ms);
        let mount = mounts.of(payer.mount, of_mount, now_ms);
        match (reader.missing(of_reader), mount.missing(of_mount)) {
            (0, 0) => {}
            (0, missing) => return Err(Spent::Mount { secs: of_mount.secs(missing) }),
            (missing, _) => return Err(Spent::Reader { secs: of_reader.secs(missing) }),
        }
        reader.spent += HOUR_MS;
        mount.spent += HOUR_MS;
        Ok(())
    }
}

const fn rate(quota: Quota) -> Rate {
    Rate { burst: quota.burst, per_hour: quota.per_hour }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { burst: 1000, per_hour: 3600, left: 1000 };
    /// Reserve 250; of the other 750 a mount may spend 375, and a reader 75.
    const SETTINGS: HighTier = HighTier { reserve_percent: 25, mount_percent: 50, reader_percent: 10 };

    fn payer(reader: u32, mount: u8) -> Payer {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&reader.to_be_bytes());
        Payer { reader: bytes, mount: MountId::from_bytes([mount; 16]) }
    }

    fn taken(budget: &Budget, payer: Payer, now_ms: u64) -> (usize, Spent) {
        for count in 0.. {
            if let Err(spent) = budget.charge(payer, QUOTA, now_ms) {
                return (count, spent);
            }
        }
        unreachable!("shares are finite")
    }

    #[test]
    fn a_reader_and_a_mount_have_their_shares_and_leave_others_theirs() {
        let budget = Budget::new(SETTINGS);
        let (count, spent) = taken(&budget, payer(1, 1), 0);
        assert_eq!((count, spent), (75, Spent::Reader { secs: 10 }), "360 an hour");
        for reader in 2..=5 {
            assert_eq!(taken(&budget, payer(reader, 1), 0).0, 75);
        }
        assert_eq!(taken(&budget, payer(6, 1), 0), (0, Spent::Mount { secs: 2 }), "1800 an hour");
        assert_eq!(taken(&budget, payer(1, 2), 0).0, 75, "another mount");
        assert_eq!(taken(&budget, payer(6, 1), 1_999).0, 0);
        assert_eq!(taken(&budget, payer(6, 1), 2_000).0, 1);
        assert_eq!(taken(&budget, payer(1, 2), 10_000).0, 1);
        assert_eq!(taken(&budget, payer(1, 2), u64::MAX).0, 75);
    }

    #[test]
    fn other_shares_hold_for_what_is_spent_already() {
        let budget = Budget::new(SETTINGS);
        assert_eq!(taken(&budget, payer(1, 1), 0).0, 75);
        budget.share(HighTier { reader_percent: 20, ..SETTINGS });
        assert_eq!(taken(&budget, payer(1, 1), 0).0, 75);
        budget.share(SETTINGS);
        assert_eq!(taken(&budget, payer(1, 1), 0).0, 0);
    }

    #[test]
    fn who_comes_when_everybody_is_counted_shares_with_others_like_it() {
        let budget = Budget::new(HighTier { mount_percent: 100, ..SETTINGS });
        let huge = Quota { burst: 10_000_000, ..QUOTA };
        for reader in 0..u32::try_from(COUNTED_MAX).expect("a small number") {
            budget.charge(payer(reader, 1), huge, 0).expect("its first");
        }
        let counted = || budget.counted.lock().expect("not poisoned").readers.counted.len();
        let first = u32::MAX - 20;
        for reader in first..=u32::MAX {
            budget.charge(payer(reader, 1), huge, 0).expect("there is enough");
        }
        assert_eq!(counted(), COUNTED_MAX);
        assert_eq!(budget.counted.lock().expect("not poisoned").readers.others.spent, 21 * HOUR_MS);
        budget.charge(payer(first, 1), huge, HOUR_MS).expect("there is enough");
        assert_eq!(counted(), 1, "shares that are full again make room");
    }

    #[test]
    fn what_a_frame_cost_beyond_its_keys_is_a_debt() {
        let budget = Budget::new(SETTINGS);
        budget.charge(payer(1, 1), QUOTA, 0).expect("its first");
        budget.surcharge(payer(1, 1), 84);
        assert_eq!(budget.charge(payer(1, 1), QUOTA, 0), Err(Spent::Reader { secs: 110 }), "11 elements");
        assert_eq!(taken(&budget, payer(2, 1), 0).0, 75);
        let of_mount: usize = (3..8).map(|reader| taken(&budget, payer(reader, 1), 0).0).sum();
        assert_eq!(of_mount, 375 - 75 - 85);
    }

    #[test]
    fn what_is_left_decides_what_there_is_to_spare() {
        let budget = Budget::new(SETTINGS);
        let left = |left| Some(Quota { left, ..QUOTA });
        assert_eq!([1000, 260, 250, 0].map(|count| budget.spare(left(count))), [750, 10, 0, 0]);
        assert_eq!(budget.spare(None), usize::MAX);
        assert_eq!(budget.reserved(left(250)), Spent::Reserve { secs: 1 });
        assert_eq!(budget.reserved(left(151)), Spent::Reserve { secs: 100 }, "one in a second");
        let nothing = Some(Quota { burst: 0, per_hour: 0, left: 0 });
        assert_eq!(budget.reserved(nothing), Spent::Reserve { secs: 7200 }, "as if one came in an hour");
    }
}
