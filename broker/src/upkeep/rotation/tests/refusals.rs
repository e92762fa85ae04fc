//! What is refused, and what a refusal says.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use symbolon_core::token::{TokenClaims, TokenKind};

use super::world::{NOW_MS, World};
use crate::access::tokens;
use crate::error::OpError;
use crate::keys::{CAPSULES, VERSION_CAPSULES};
use crate::upkeep::rotation::{RotationRefusal, census};

#[tokio::test]
async fn an_epoch_is_not_retired_while_a_capsule_needs_it() {
    let world = World::filled(3).await;
    let site = Arc::new(world.open().await);
    let alone = site.retire().await;
    assert!(alone == Err(RotationRefusal::NothingOlder.into()), "{alone:?}");
    let before = census(&site.session).await.unwrap().by_epoch[&1];
    assert_eq!(site.rotate_remote().await.unwrap(), 2);
    let left = RotationRefusal::CapsulesLeft { capsules: before, key_epoch: 1 };
    assert_eq!(site.retire().await, Err(left.into()));
    assert_eq!(site.session.keys.key_epochs(), [1, 2], "a refusal changes nothing");
    assert_eq!(site.rotate_remote().await.unwrap(), 2, "the rotation that has not ended goes on");
    site.finish().await.unwrap();
    let another = site.rotate_remote().await;
    assert_eq!(another, Err(RotationRefusal::NotRetired { key_epoch: 1 }.into()));
    assert_eq!(site.retire().await.unwrap(), 1);
    assert_eq!(site.session.keys.key_epochs(), [2]);
    site.read_all(&world, "after the first epoch was retired").await;
}

#[tokio::test]
async fn a_damaged_capsule_stays_behind_and_keeps_the_epoch() {
    let world = World::filled(3).await;
    let site = Arc::new(world.open().await);
    site.rotate_remote().await.unwrap();
    let capsule = world.store.rows().into_iter().find(|(key, _)| key[16] == VERSION_CAPSULES.number());
    let (key, row) = capsule.unwrap();
    let mut bad = row.value.clone();
    bad[100] ^= 1;
    world.store.tamper(&key, Some(bad));
    site.finish().await.unwrap();
    let census = census(&site.session).await.unwrap();
    assert_eq!(census.below(2), 1, "the others are re-wrapped");
    let status = crate::upkeep::rotation::status(&site.session).await.unwrap();
    assert!(status.problem.as_deref().unwrap().contains("damaged"), "{status:?}");
    let left = RotationRefusal::CapsulesLeft { capsules: 1, key_epoch: 1 };
    assert_eq!(site.retire().await, Err(left.into()));
    world.store.tamper(&key, Some(row.value));
    site.finish().await.unwrap(); // as after the next unseal
    site.all_newest("after the capsule was restored").await;
    site.retire().await.unwrap();
    site.read_all(&world, "after the capsule was restored").await;
}

#[tokio::test]
async fn machine_tokens_outlive_a_roll_until_they_expire() {
    let world = World::new().await;
    let site = world.open().await;
    let claims = TokenClaims { ttl_secs: 86_400, ..TokenClaims::root(NOW_MS / 1000) };
    let made = tokens::make(&site.session, TokenKind::Batch, claims).await.unwrap().token;
    let made = made.transform(Clone::clone);
    let good = async || tokens::authenticate(&site.session, Some(&made), None).await;
    good().await.unwrap();
    site.rotate_keks().await.unwrap();
    site.finish().await.unwrap();
    good().await.unwrap();
    assert_eq!(site.session.keys.system_keks().older_tokens.len(), 1);
    site.all_settled("one roll").await;

    world.clock.0.fetch_add(86_399_000, Ordering::Relaxed);
    site.session.keys.canary().await.unwrap();
    site.finish().await.unwrap();
    good().await.unwrap();
    world.clock.0.fetch_add(2 * 3_600_000, Ordering::Relaxed);
    site.session.keys.canary().await.unwrap();
    assert!(matches!(good().await, Err(OpError::Unauthenticated(_))));
    site.finish().await.unwrap();
    assert_eq!(site.session.keys.system_keks().older_tokens.len(), 0, "nothing lives under the old KEK");
    assert_eq!(site.count(CAPSULES).await, 2, "one for records, one for tokens");
}

#[tokio::test]
async fn only_so_many_rolls_in_a_day() {
    let world = World::new().await;
    let site = world.open().await;
    for _ in 0..crate::keys::OLDER_TOKEN_KEKS_MAX {
        site.rotate_keks().await.unwrap();
        site.finish().await.unwrap();
    }
    assert!(
        matches!(site.rotate_keks().await, Err(OpError::Invalid(text)) if text.as_str().contains("wait"))
    );
}
