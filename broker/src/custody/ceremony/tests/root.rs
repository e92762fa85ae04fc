//! A root token made of shares: its ceremony, and what leaves the broker when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::audit::{Action, Detail, Draft};
use symbolon_core::root_requests::ROOT_IDLE_MS_MAX;
use symbolon_core::seal::Unsealed;
use symbolon_proto::custody::transcript::{Event, EventKind};
use symbolon_proto::custody::{RootAsk, RootAsker, RootScope, SignedRootRequest};
use symbolon_proto::share::{Dealing, Holder, Threshold};

use super::super::root::{WaitingToken, issue};
use super::super::{Over, archive};
use super::*;
use crate::access::mounts::Mounts;
use crate::access::shape::Shape;
use crate::access::{Session, tokens};
use crate::audit::retention::reserve::Reserve;
use crate::audit::writer::tests::HandClock;
use crate::custody::deployment::Deployment;
use crate::error::OpError;
use crate::remote::Leases;
use crate::store::Store;
use crate::store::memory::{Failure, MemoryStore};
use crate::testing::{Away, Ground};

const NOW_MS: u64 = 1_790_000_000_000;
const TTL_SECS: u32 = 3600;

/// Ann and Bob hold a share each, with cards; both open it.
struct People {
    keys: Vec<KeyPair>,
    sealed: Sealed,
    shares: Vec<Share>,
    fragment: Fragment,
}

impl People {
    fn new() -> Self {
        let keys: Vec<_> = (0..2).map(|_| KeyPair::generate(KeyKind::Custodian, &mut os_rng())).collect();
        let cards = keys.iter().zip(["Ann", "Bob"]).map(|(keys, name)| keys.card(name).unwrap());
        let holders: Vec<_> = cards.map(|card| Holder::from(&card)).collect();
        let fragment = Fragment::random(&mut os_rng());
        let dealing = Dealing {
            kind: ShareKind::Fragment,
            deployment: DEPLOYMENT,
            frag_epoch: FIRST_EPOCH,
            created_ms: 1000,
            threshold: Threshold::new(2, 2).unwrap(),
            holders: &holders,
            previous: None,
        };
        let (set, shares) = dealing.deal(&fragment, &mut os_rng()).unwrap();
        Self { keys, sealed: Sealed::open(seal_record(&set)).unwrap(), shares, fragment }
    }

    fn asker(&self) -> RootAsker {
        let set = self.sealed.share_set();
        let scope = RootScope { deployment: DEPLOYMENT, generation: 1, set: set.hash() };
        let ask = RootAsk::begin(TTL_SECS, &mut os_rng());
        let signed = SignedRootRequest::sign(ask, scope, NOW_MS, &self.keys[0]).unwrap();
        signed.check(&scope, set, NOW_MS).unwrap()
    }

    fn desk(&self) -> ChangeDesk {
        ChangeDesk::open(Change::Root(Box::new(self.asker())), &self.sealed, at(0))
    }

    /// A ceremony in which everybody has given.
    async fn over(&self) -> (RootAsker, Over) {
        let mut desk = self.desk();
        for (share, enough) in self.shares.iter().zip([false, true]) {
            let given = sealed_for(&desk, share, Purpose::RootToken);
            assert_eq!(desk.take(&given, at(1)).unwrap(), enough);
        }
        let (_, over) = desk.advance(at(2)).await.unwrap();
        let over = over.unwrap();
        (over.asker.clone().unwrap(), over)
    }
}

/// An open broker whose remote is away.
struct Open {
    people: People,
    store: Arc<MemoryStore>,
    clock: Arc<HandClock>,
    session: Arc<Session>,
}

impl Open {
    async fn new() -> Self {
        let people = People::new();
        let store = Arc::new(MemoryStore::new());
        let clock = Arc::new(HandClock(AtomicU64::new(NOW_MS)));
        let unsealed = Arc::new(Unsealed::first(&people.fragment, &people.sealed));
        store.commit(Deployment::generate().unwrap().rows(&unsealed).unwrap()).await.unwrap();
        let ground = Ground {
            store: Arc::clone(&store) as _,
            clock: Arc::clone(&clock) as _,
            unsealed,
            shape: Arc::new(Shape::default()),
        };
        let keys = ground.keys(Arc::new(Away), Leases::default());
        let session = ground.session(keys, Mounts::default()).await;
        Self { people, store, clock, session }
    }

    async fn issue(&self) -> Result<WaitingToken, OpError> {
        let (asker, over) = self.people.over().await;
        issue(&self.session, asker, over).await
    }
}

#[test]
fn a_share_says_itself_that_it_is_for_a_root_token() {
    let people = People::new();
    let mut desk = people.desk();
    let share = &people.shares[0];
    let text = |refused: Result<bool, OpError>| refused.unwrap_err().to_string();
    let given = sealed_for(&desk, share, Purpose::Give);
    assert!(text(desk.take(&given, at(1))).contains("this ceremony makes a root token"));
    let proof = sealed_for(&desk, share, Purpose::Prove);
    assert!(text(desk.take(&proof, at(1))).contains("no new share set awaits a proof"));
    let given = sealed_for(&desk, share, Purpose::RootToken);
    assert!(!desk.take(&given, at(1)).unwrap());
    for change in [Change::Drill, Change::Epoch] {
        let mut other = ChangeDesk::open(change, &people.sealed, at(0));
        let given = sealed_for(&other, share, Purpose::RootToken);
        assert!(text(other.take(&given, at(1))).contains("this ceremony makes none"));
    }
}

#[test]
fn it_shows_who_asks_and_ends_soon_without_a_share() {
    let people = People::new();
    let mut desk = people.desk();
    let notice = desk.notice(at(0));
    let wish = notice.root.unwrap();
    let asked = (wish.name.as_str(), wish.ttl_secs, wish.fingerprint);
    assert_eq!(asked, ("Ann", TTL_SECS, people.keys[0].fingerprint().to_string()));
    assert!(!desk.is_expired(at(ROOT_IDLE_MS_MAX)) && desk.is_expired(at(ROOT_IDLE_MS_MAX + 1)));
    let given = sealed_for(&desk, &people.shares[1], Purpose::RootToken);
    desk.take(&given, at(ROOT_IDLE_MS_MAX)).unwrap();
    let end = ROOT_IDLE_MS_MAX + CEREMONY_MS_MAX;
    assert!(!desk.is_expired(at(end)) && desk.is_expired(at(end + 1)));
}

#[tokio::test]
async fn a_root_token_is_sealed_to_who_asked_and_ends_by_itself() {
    let open = Open::new().await;
    let waiting = open.issue().await.unwrap();
    let token = waiting.sealed.open(waiting.asker.request(), &open.people.keys[0]).unwrap();
    waiting.sealed.open(waiting.asker.request(), &open.people.keys[1]).unwrap_err();
    let caller = tokens::authenticate(&open.session, Some(&token), None).await.unwrap();
    assert!(caller.is_root() && !caller.renewable && caller.parent.is_none());
    assert_eq!(caller.expires_at, Some(waiting.ends_secs));
    assert_eq!(waiting.ends_secs, NOW_MS / 1000 + u64::from(TTL_SECS));
    open.clock.0.store(waiting.ends_secs * 1000 - 1, Ordering::Relaxed);
    tokens::authenticate(&open.session, Some(&token), None).await.unwrap();
    open.clock.0.store(waiting.ends_secs * 1000, Ordering::Relaxed);
    let ended = tokens::authenticate(&open.session, Some(&token), None).await;
    assert_eq!(ended.unwrap_err(), OpError::BAD_TOKEN);
}

/// Whoever has lost every token needs one to prune.
#[tokio::test]
async fn a_root_token_is_made_at_the_end_of_the_disk_budget() {
    let open = Open::new().await;
    open.session.limit_entries(Some(Reserve { left: 0, of: 1000 }));
    let begun =
        super::super::root::draft(&open.people.asker(), "ceremony root begins".to_owned(), Detail::default());
    open.session.record(begun).await.unwrap();
    open.issue().await.unwrap();
    let read = Draft::by_broker(Action::SecretRead, "x");
    assert!(matches!(open.session.record(read).await, Err(OpError::Unlogged(_))));
}

#[tokio::test]
async fn nothing_of_a_root_token_leaves_without_its_entry() {
    for failure in [Failure::Full, Failure::LostRequest, Failure::LostAnswer] {
        let open = Open::new().await;
        let before = open.store.commits_begun();
        open.store.fail_commit(0, failure);
        assert!(open.issue().await.is_err(), "{failure:?}");
        assert!(open.store.commits_begun() > before);
    }
    let open = Open::new().await;
    let before = open.store.commits_begun();
    open.issue().await.unwrap();
    assert_eq!(open.store.commits_begun(), before + 1, "token, transcript and entry are one commit");
}

#[tokio::test]
async fn the_transcript_says_who_asked_who_gave_and_what_was_made() {
    let open = Open::new().await;
    open.issue().await.unwrap();
    let (record, _) = archive::last(&open.session.rows).await.unwrap().unwrap();
    let transcript = record.transcript();
    let events = transcript.events().iter();
    let told: Vec<_> = events.map(|Event { kind, name, .. }| (*kind, name.as_str())).collect();
    let expected = [
        (EventKind::Opened, ""),
        (EventKind::Requested, "Ann"),
        (EventKind::Given, "Ann"),
        (EventKind::Given, "Bob"),
        (EventKind::Passed, ""),
        (EventKind::Issued, ""),
    ];
    assert_eq!(told, expected);
    assert_eq!(transcript.participants(), ["Ann", "Bob"]);
    assert!(record.asked().is_some(), "the signed request is kept beside it");
}
