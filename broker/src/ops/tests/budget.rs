//! The end of the log's disk budget, and pruning by hand.

use symbolon_core::audit::Action;
use symbolon_proto::log::NoteSigner;
use symbolon_proto::log::pruned::{Cut, Order};
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

use super::logins::{House, INSIDE};
use super::*;
use crate::alarms::Alarms;
use crate::audit::log::LogReader;
use crate::audit::retention::cutting;
use crate::audit::retention::journal::{Known, Retention};
use crate::audit::retention::reserve::Reserve;
use crate::backup::{Backups, Known as KnownBackups};
use crate::config::{AuditConfig, Config, Lives, Living, SMALL};
use crate::upkeep::retention::RoundError;
use crate::upkeep::retention::ledger::Ledger;
use crate::upkeep::retention::round::{Pace, round};

/// A budget that is used up, and a reserve that is not.
const RESERVE: Option<Reserve> = Some(Reserve { left: 1000, of: 1000 });
/// The same at its end.
const NOTHING_LEFT: Option<Reserve> = Some(Reserve { left: 0, of: 1000 });

/// A broker that keeps its log by a configuration.
struct Kept<'a> {
    bench: &'a Bench,
    living: Living,
    retention: Arc<Retention>,
}

impl<'a> Kept<'a> {
    fn of(bench: &'a Bench) -> Self {
        let living = Config::parse(SMALL).unwrap().lives;
        let retention = Arc::new(Retention::new(living.clone(), Arc::new(Alarms::default())));
        retention.is_anchored(u64::MAX);
        assert!(bench.session.of::<Known>().set(Arc::clone(&retention)).is_ok());
        Self { bench, living, retention }
    }

    fn configure(&self, change: impl FnOnce(&mut AuditConfig)) {
        let mut lives = Lives::clone(&self.living.now());
        change(&mut lives.audit);
        self.living.replace(Arc::new(lives));
    }

    async fn grow_to(&self, size: u64) {
        let session = &self.bench.session;
        while session.entries() < size {
            let some = (size - session.entries()).min(256);
            let draft = || Draft::by_broker(Action::SecretRead, "x".repeat(100));
            let all = (0..some).map(|_| session.record(draft()));
            for done in futures_util::future::join_all(all).await {
                done.unwrap();
            }
        }
        session.store_checkpoint().await.unwrap(); // nothing is cut that it does not cover
    }

    async fn round(&self) -> Result<(), RoundError> {
        let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
        let key = NoteSigner::new("symbolon/test", seed).unwrap().verifier().clone();
        round(&Arc::downgrade(&self.bench.session), &self.retention, &key, Pace::FULL).await
    }

    async fn prune(&self, before: u64) -> Result<u64, OpError> {
        let wanted = retention::Wanted { before, unexported: true };
        self.bench.as_root(async |who| retention::prune(&who, wanted).await).await
    }

    async fn reads(&self) -> Result<(), OpError> {
        let target = self.bench.target("x");
        self.bench.as_root(async |who| kv::read_metadata(&who, &target).await).await.map(drop)
    }
}

fn is_unlogged<T>(answer: &Result<T, OpError>) -> bool {
    matches!(answer, Err(OpError::Unlogged(_)))
}

#[tokio::test]
async fn at_the_end_of_the_budget_one_can_log_in_revoke_back_up_and_look() {
    let house = House::new().await;
    let kept = Kept::of(&house.bench);
    let backups = Arc::new(Backups::new(None, Arc::default()));
    assert!(kept.bench.session.of::<KnownBackups>().set(backups).is_ok());
    kept.bench.commit(kept.bench.secret_rows("x")).await;
    kept.reads().await.unwrap();
    let issued = house.log_in("userpass", Some(INSIDE)).await.unwrap();
    kept.bench.session.limit_entries(RESERVE);
    assert!(is_unlogged(&kept.reads().await));
    house.log_in("userpass", Some(INSIDE)).await.unwrap();
    house.log_in("approle", Some(INSIDE)).await.unwrap();
    let denied = house.log_in("userpass", None).await.map(|_| ());
    assert!(denied.is_err() && !is_unlogged(&denied), "{denied:?}");
    let which = token::Which::Token(&issued.token);
    kept.bench.as_root(async |who| token::revoke(&who, which).await).await.unwrap();
    kept.bench.as_root(async |who| backup::state(&who).await).await.unwrap();
    kept.bench.as_root(async |who| retention::state(&who).await).await.unwrap();
    let made = Draft::by_broker(Action::Backup, "a backup was made and read back");
    kept.bench.session.record(made).await.unwrap();
    assert!(is_unlogged(&kept.reads().await));
}

/// A request that cannot be answered spends nothing.
#[tokio::test]
async fn at_the_end_of_the_budget_a_counted_token_keeps_its_uses() {
    let bench = Bench::new().await;
    let kept = Kept::of(&bench);
    bench.commit(bench.secret_rows("x")).await;
    let claims = TokenClaims { num_uses: 1, ttl_secs: 60, ..TokenClaims::root(1_709_210_096) };
    let counted = bench.token(claims).await;
    let target = bench.target("x");
    let read = async || bench.ask(&counted, async |who| kv::read_metadata(&who, &target).await).await;
    bench.session.limit_entries(RESERVE);
    assert!(is_unlogged(&read().await));
    bench.session.limit_entries(None);
    read().await.unwrap();
    assert!(read().await.is_err());
    drop(kept);
}

#[tokio::test]
async fn a_prune_that_is_refused_at_the_end_of_the_budget_says_why() {
    let bench = Bench::new().await;
    let kept = Kept::of(&bench);
    bench.session.limit_entries(NOTHING_LEFT);
    let refused = kept.prune(SEGMENT_ENTRIES).await.unwrap_err();
    assert!(refused.to_string().contains("nothing can be pruned before this entry"), "{refused:?}");
}

#[tokio::test]
async fn what_a_prune_by_hand_freed_can_be_used_at_once() {
    let bench = Bench::new().await;
    let kept = Kept::of(&bench);
    bench.commit(bench.secret_rows("x")).await;
    kept.grow_to(2 * SEGMENT_ENTRIES + 300).await;
    kept.configure(|audit| audit.disk_budget_mib = Some(2));
    kept.round().await.unwrap();
    assert!(is_unlogged(&kept.reads().await), "{:?}", kept.retention.journal());
    assert_eq!(kept.prune(2 * SEGMENT_ENTRIES).await.unwrap(), 2 * SEGMENT_ENTRIES);
    kept.reads().await.unwrap();
    assert!(!kept.retention.journal().is_full);
}

/// Its line in the ledger would make somebody else's beginning the broker's own, and rows below it garbage.
#[tokio::test]
async fn a_prune_by_hand_does_not_go_on_from_where_somebody_else_has_cut() {
    let bench = Bench::new().await;
    let kept = Kept::of(&bench);
    kept.grow_to(3 * SEGMENT_ENTRIES + 300).await;
    let cut = Cut { first: 0, end: SEGMENT_ENTRIES, time_ms: 5, order: Order::Policy, exported: true };
    let log = LogReader::new(Arc::clone(&bench.store) as _);
    let forged = cutting::prepare(bench.store.as_ref(), &log, cut).await.unwrap();
    bench.store.rows.commit(forged.changes.into_writes()).await.unwrap();
    let before = bench.store.rows.rows().len();
    let refused = kept.prune(2 * SEGMENT_ENTRIES).await.unwrap_err();
    assert!(refused.to_string().contains("somebody else wrote to the store"), "{refused:?}");
    assert_eq!(Ledger::read(&bench.session).await.unwrap(), Ledger::default());
    kept.configure(|audit| audit.disk_budget_mib = Some(1000));
    assert!(matches!(kept.round().await, Err(RoundError::Foreign { .. })));
    assert!(bench.store.rows.rows().len() >= before, "nothing is removed");
}
