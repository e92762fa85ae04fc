//! Who may spend the evaluations: readers of the high tier have shares, and KEKs and canaries a reserve.

use std::sync::Arc;

use symbolon_core::path::MountPath;
use symbolon_core::token::TokenClaims;
use tokio::task::JoinSet;

use super::world::{NOW_MS, Site, World};
use crate::access::mounts::{Enable, Side, Tier};
use crate::access::tokens;
use crate::engines::kv;
use crate::error::{Busy, OpError};
use crate::ops::mount;
use crate::random::os_rng;
use crate::remote::Quota;
use crate::store::Write;

/// 100 are kept. Of the other 300 the readers of a mount have 150, and one of them 36.
const QUOTA: Quota = Quota { burst: 400, per_hour: 3600, left: 400 };

/// A deployment whose remote counts, with three mounts of the high tier and one secret in each.
async fn world() -> (World, Site) {
    let world = World::new().await;
    let site = world.open().await;
    for path in ["high/a", "high/b"] {
        let spec = Enable {
            kind: "kv".to_owned(),
            options: [(Tier::OPTION, "high"), ("version", "2")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Enable::default()
        };
        let path = MountPath::parse(path).unwrap();
        site.as_root(async |who| mount::enable(&who, Side::Secrets, path, spec).await).await.unwrap();
    }
    for mount in ["std", "top", "high/a", "high/b"] {
        site.write(mount, "s", "value").await.unwrap();
    }
    world.remote.count(QUOTA);
    (world, site)
}

/// A token as a login of this name gives one, or as another token makes one.
async fn log_in(site: &Site, name: &str, parent: Option<&str>) -> String {
    let parent = parent.map(|parent| tokens::hash(&site.session, parent));
    let path = if parent.is_some() { "auth/token/create" } else { "auth/jwt/login" };
    let claims = TokenClaims {
        display_name: format!("jwt-{name}"),
        path: path.to_owned(),
        orphan: parent.is_none(),
        parent,
        ..TokenClaims::root(NOW_MS / 1000)
    };
    let text = symbolon_core::token::new_service_token(&mut os_rng());
    let index = site.session.unsealed().names().secret();
    let changes: Vec<Write> = tokens::service_rows(&site.session.rows, index, &text, claims).unwrap().1;
    site.app.store.commit(changes).await.unwrap();
    text.to_string()
}

async fn read(site: &Site, token: &str, mount: &str) -> Result<(), OpError> {
    let target = site.target(mount, "s");
    site.as_one_with(token, async |who| kv::read(&who, &target, 0).await).await.map(drop)
}

/// Reads until there is a refusal: how often it went well, and whether everybody is refused then.
async fn read_on(site: &Site, token: &str, mount: &str) -> (usize, bool) {
    for count in 0..1000 {
        match read(site, token, mount).await {
            Ok(()) => {}
            Err(OpError::Busy(Busy::Until { all, secs, .. })) => {
                assert!((1..3600).contains(&secs), "{secs} seconds");
                return (count, all);
            }
            Err(error) => panic!("after {count} reads: {error:?}"),
        }
    }
    panic!("nobody is refused")
}

#[tokio::test]
async fn a_reader_has_a_share_that_no_other_token_of_its_own_makes_larger() {
    let (_world, site) = world().await;
    let alice = log_in(&site, "alice", None).await;
    assert_eq!(read_on(&site, &alice, "top").await, (36, false));
    let child = log_in(&site, "somebody else", Some(&alice)).await;
    let grandchild = log_in(&site, "yet another", Some(&child)).await;
    let again = log_in(&site, "alice", None).await;
    for token in [&alice, &child, &grandchild, &again] {
        assert_eq!(read_on(&site, token, "top").await, (0, false));
    }
    let bob = log_in(&site, "bob", None).await;
    assert_eq!(read_on(&site, &bob, "top").await, (36, false));
    assert_eq!(read_on(&site, &alice, "high/a").await, (36, false), "another mount is another share");
}

#[tokio::test]
async fn readers_of_the_high_tier_leave_the_standard_tier_what_it_needs() {
    let (world, site) = world().await;
    let mut total = Vec::new();
    for mount in ["top", "high/a", "high/b"] {
        let mut of_mount = 0;
        for name in 0..6 {
            let token = log_in(&site, &name.to_string(), None).await;
            let (count, all) = read_on(&site, &token, mount).await;
            of_mount += count;
            if all {
                break;
            }
        }
        total.push(of_mount);
    }
    assert_eq!(total[0], 150, "the share of a mount");
    assert_eq!(read_on(&site, &log_in(&site, "late", None).await, "high/b").await, (0, true));
    let left = world.remote.quota().unwrap().left;
    assert_eq!(left, 100, "the reserve is whole, and nothing else is left");

    site.session.keys.flush();
    let alice = log_in(&site, "alice", None).await;
    read(&site, &alice, "std").await.unwrap();
    site.session.keys.canary().await.unwrap();
    site.write("std", "new", "value").await.unwrap();
    assert!(world.remote.quota().unwrap().left < left);

    site.rotate_remote().await.unwrap();
    let waits = site.finish().await.unwrap_err();
    assert!(matches!(waits, OpError::Busy(Busy::Until { all: true, .. })), "a rotation can wait: {waits:?}");
    world.remote.count(QUOTA);
    site.finish().await.unwrap();
    site.all_newest("after the quota has refilled").await;
}

/// Nine keys at once go out in a frame of 64.
#[tokio::test]
async fn a_reader_pays_for_the_dummies_of_its_frames() {
    let (world, site) = world().await;
    for number in 0..9 {
        site.write("top", &format!("s{number}"), "value").await.unwrap();
    }
    world.remote.count(QUOTA);
    let alice = log_in(&site, "alice", None).await;
    let site = Arc::new(site);
    let mut refused = 0;
    for _ in 0..6 {
        let mut reads = JoinSet::new();
        for number in 0..9 {
            let (site, alice) = (Arc::clone(&site), alice.clone());
            reads.spawn(async move {
                let target = site.target("top", &format!("s{number}"));
                site.as_one_with(&alice, async |who| kv::read(&who, &target, 0).await).await.is_err()
            });
        }
        refused += reads.join_all().await.into_iter().filter(|refused| *refused).count();
    }
    let spent = QUOTA.left - world.remote.quota().unwrap().left;
    assert!(spent <= 36 + 64, "{spent} elements, of a share of 36 and what was on its way");
    assert!(refused >= 9, "{refused} of 54 reads");
}
