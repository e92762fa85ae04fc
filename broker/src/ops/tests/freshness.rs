//! Two brokers on one store: what one changes, the other sees.

use std::sync::atomic::Ordering;

use symbolon_core::clock::{Clock, Now};
use symbolon_core::policy::Capabilities;

use super::*;
use crate::access::{LOOK_MS, policies};

/// Both clocks go together.
struct Steps(AtomicU64);

impl Clock for Steps {
    fn now(&self) -> Now {
        let boot_ms = self.0.load(Ordering::Relaxed);
        Now { unix_ms: 1_709_210_096_000 + boot_ms, boot_ms }
    }
}

struct Pair {
    clock: Arc<Steps>,
    one: Bench,
    other: Bench,
}

impl Pair {
    async fn new() -> Self {
        let (store, unsealed) = (Arc::<Meddler>::default(), Arc::new(unsealed()));
        let clock = Arc::new(Steps(AtomicU64::new(1000)));
        let open = async || Bench::on(store.clone(), unsealed.clone(), clock.clone(), shape()).await;
        let (other, one) = (open().await, open().await); // the one opened last writes the log
        Self { clock, one, other }
    }

    /// What a request at the other broker begins with, after the interval.
    async fn later(&self) {
        self.clock.0.fetch_add(LOOK_MS, Ordering::Relaxed);
        self.other.session.refresh().await.unwrap();
    }

    fn may_read(&self, path: &str) -> bool {
        let acl = self.other.session.acl(&[PolicyName::parse("tested").unwrap()]);
        acl.capabilities(&api(path)) != Capabilities::NONE
    }
}

fn spec() -> Enable {
    let kind = "kv".to_owned();
    Enable { kind, ..Enable::default() }
}

#[tokio::test]
async fn a_policy_that_one_broker_changes_counts_at_the_other() {
    let pair = Pair::new().await;
    let name = PolicyName::parse("tested").unwrap();
    pair.later().await;
    assert!(!pair.may_read("secret/data/x"));
    let text = r#"path "secret/data/x" { capabilities = ["read"] }"#;
    let write = async |who: Asker<'_>| policy::write(&who, Spelling::Current, &name, text).await;
    pair.one.as_root(write).await.unwrap();
    pair.other.session.refresh().await.unwrap();
    assert!(!pair.may_read("secret/data/x"), "it looks at intervals");
    pair.later().await;
    assert!(pair.may_read("secret/data/x"));
    let delete = async |who: Asker<'_>| policy::delete(&who, Spelling::Current, &name).await;
    pair.one.as_root(delete).await.unwrap();
    pair.later().await;
    assert!(!pair.may_read("secret/data/x"), "a deleted policy gives nothing anywhere");
}

#[tokio::test]
async fn a_mount_that_one_broker_makes_or_removes_is_seen_by_the_other() {
    let pair = Pair::new().await;
    let path = MountPath::parse("team").unwrap();
    let there = || pair.other.session.mounts().secrets.at(&path).map(|mount| mount.id);
    let enable = async |who: Asker<'_>| mount::enable(&who, Side::Secrets, path.clone(), spec()).await;
    pair.one.as_root(enable).await.unwrap();
    assert_eq!(there(), None);
    pair.later().await;
    let made = pair.one.session.mounts().secrets.at(&path).map(|mount| mount.id);
    assert!(made.is_some() && there() == made);
    let disable = async |who: Asker<'_>| mount::disable(&who, Side::Secrets, &path).await;
    pair.one.as_root(disable).await.unwrap();
    pair.later().await;
    assert_eq!(there(), None);
}

#[tokio::test]
async fn what_has_not_changed_since_is_not_read_again() {
    let pair = Pair::new().await;
    let mounts = || pair.other.session.mounts();
    let first = mounts();
    pair.later().await;
    assert!(Arc::ptr_eq(&first, &mounts()), "there is no row yet: nothing ever changed");
    let path = MountPath::parse("team").unwrap();
    let enable = async |who: Asker<'_>| mount::enable(&who, Side::Secrets, path.clone(), spec()).await;
    pair.one.as_root(enable).await.unwrap();
    pair.later().await;
    let second = mounts();
    assert!(!Arc::ptr_eq(&first, &second));
    pair.later().await;
    assert!(Arc::ptr_eq(&second, &mounts()));
}

/// Two requests at once after a quiet time, one of which looks.
#[tokio::test]
async fn nobody_is_judged_by_the_old_while_one_looks() {
    let pair = Pair::new().await;
    pair.later().await;
    let name = PolicyName::parse("tested").unwrap();
    let text = r#"path "secret/data/x" { capabilities = ["read"] }"#;
    let write = async |who: Asker<'_>| policy::write(&who, Spelling::Current, &name, text).await;
    pair.one.as_root(write).await.unwrap();
    pair.clock.0.fetch_add(LOOK_MS, Ordering::Relaxed);
    let turn = pair.other.session.taking_turn().await; // the first gets no further than here
    let session = Arc::clone(&pair.other.session);
    let first = tokio::spawn(async move { session.refresh().await });
    tokio::task::yield_now().await;
    let second = async {
        pair.other.session.refresh().await.unwrap();
        assert!(pair.may_read("secret/data/x"));
    };
    let ((), ()) = tokio::join!(second, async { drop(turn) });
    first.await.unwrap().unwrap();
}

/// What cannot be read cannot be known to hold: every request meets it, and not one in each interval.
#[tokio::test]
async fn a_look_that_fails_lets_nobody_past() {
    let pair = Pair::new().await;
    pair.later().await;
    let name = PolicyName::parse("tested").unwrap();
    let write = async |who: Asker<'_>| policy::write(&who, Spelling::Current, &name, "").await;
    pair.one.as_root(write).await.unwrap();
    let damaged = pair.one.session.rows.delete(policies::place(&name), Expect::Any);
    let bad =
        vec![Write::Put { key: damaged.key().to_vec(), value: b"damaged".to_vec(), expect: Expect::Any }];
    pair.one.session.rows.store().commit(bad).await.unwrap();
    pair.clock.0.fetch_add(LOOK_MS, Ordering::Relaxed);
    for _ in 0..2 {
        assert!(matches!(pair.other.session.refresh().await, Err(OpError::Damaged(_))));
    }
}
