//! What somebody with the disk has noted, removed or put in the way: nothing goes that is not there.

use std::sync::Arc;

use symbolon_proto::log::pruned::Order;
use symbolon_proto::log::segment::SEGMENT_ENTRIES;
use symbolon_proto::log::{Hash, Segment};

use super::{DAY_MS, World, key};
use crate::audit::log::rows::tile_key;
use crate::audit::retention::journal::{Fault, place_id};
use crate::audit::retention::plan::Limits;
use crate::audit::retention::segments::{Exported, Known};
use crate::store::{Expect, Store as _, Write};
use crate::upkeep::retention::error::RoundError;
use crate::upkeep::retention::judging::{Judge, Judged, READ_BACK_MAX};
use crate::upkeep::retention::round::{Ordering, Pace, look, prepare};

impl World {
    /// With two whole segments of a hundred days ago, of which nothing is old yet.
    async fn aged(exports: bool) -> Self {
        let world = Self::new().await;
        world.retention.is_anchored(u64::MAX);
        world.grow_to(2 * SEGMENT_ENTRIES + 300).await;
        world.configure(|audit| {
            audit.keep_days = Some(400);
            audit.export = if exports { world.exporting() } else { Some("none".to_owned()) };
        });
        world.round().await.unwrap();
        world.pass(100 * DAY_MS);
        world
    }

    async fn note(&self, number: u64, known: Known) {
        let changes = known.put(Segment::new(number).unwrap());
        self.store.commit(changes.into_writes()).await.unwrap();
    }

    async fn by_hand(&self, end: u64) -> Judged {
        let (session, plan) = (&Arc::downgrade(&self.session), &self.retention.plan());
        let (retention, key) = (&self.retention, &key());
        let (_, rows) = look(&self.session).await.unwrap();
        Judge { session, retention, key, plan, pace: Pace::FULL }.by_hand(&rows, end).await
    }

    /// Nothing goes, by policy or by hand, and the round says why.
    async fn keeps_all(&self, fault: Fault) -> RoundError {
        let by_hand = self.by_hand(2 * SEGMENT_ENTRIES).await;
        assert_eq!(by_hand.end, None);
        assert_eq!(by_hand.strictly().unwrap_err().fault(), fault);
        let error = self.round().await.unwrap_err();
        assert_eq!((error.fault(), self.minimum().await), (fault, 0), "{error}");
        error
    }
}

#[tokio::test]
async fn rows_that_lie_about_age_size_and_export_prune_nothing() {
    let world = World::aged(true).await;
    world.configure(|audit| audit.keep_days = Some(365));
    for object in world.objects() {
        std::fs::remove_file(object).unwrap();
    }
    let place = place_id(&world.exporting().unwrap(), None);
    let exported = Some(Exported { place, sha256: [0; 32], bytes: 1 });
    for restarts in [false, true] {
        let mut world = World::aged(false).await;
        world.note(0, Known { bytes: 1, last_ms: 0, exported }).await;
        world.note(1, Known { bytes: 1 << 60, last_ms: 0, exported }).await;
        if restarts {
            world.restart().await;
        }
        world.configure(|audit| audit.keep_mib = Some(32));
        world.round().await.unwrap();
        assert_eq!(world.minimum().await, 0, "it is neither old nor large");
    }
    world.note(0, Known { bytes: 1, last_ms: 0, exported }).await;
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, 0, "it is not old");
    world.configure(|audit| audit.keep_days = Some(7));
    let error = world.keeps_all_but_exports().await;
    assert!(error.to_string().contains("was exported and read back, and is missing"), "{error}");
}

impl World {
    /// What is missing is exported again, and goes only then.
    async fn keeps_all_but_exports(&self) -> RoundError {
        let error = self.round().await.unwrap_err();
        assert_eq!((error.fault(), self.minimum().await), (Fault::ReadBack, 0), "{error}");
        for _ in 0..4 {
            let _ = self.round().await;
        }
        assert_eq!((self.minimum().await, self.objects().len()), (2 * SEGMENT_ENTRIES, 2));
        error
    }
}

#[tokio::test]
async fn a_row_is_put_right_when_its_segment_was_read() {
    let mut world = World::aged(false).await;
    let (_, before) = look(&world.session).await.unwrap();
    world.note(1, Known { bytes: 1 << 60, last_ms: 0, exported: None }).await;
    world.restart().await;
    world.round().await.unwrap();
    assert_eq!(look(&world.session).await.unwrap().1, before);
    assert!(world.told().await.join("\n").contains("what was noted of entries 4096 to 8191 is corrected"));
}

#[tokio::test]
async fn what_is_missing_or_not_whole_in_its_place_is_exported_again_before_it_goes() {
    let damages: [fn(&std::path::Path); 4] = [
        |object| std::fs::remove_file(object).unwrap(),
        |object| std::fs::write(object, "half").unwrap(),
        |object| {
            let bytes = std::fs::read(object).unwrap();
            std::fs::write(object, &bytes[..bytes.len() - 1]).unwrap();
        },
        |object| {
            let mut bytes = std::fs::read(object).unwrap();
            let at = bytes.windows(11).position(|name| name == b"tile/0/000\0").unwrap();
            bytes[at + 512] ^= 1; // a hash
            std::fs::write(object, bytes).unwrap();
        },
    ];
    for damage in damages {
        let world = World::aged(true).await;
        world.configure(|audit| audit.keep_days = Some(7));
        damage(&world.objects()[0]);
        world.keeps_all_but_exports().await;
    }
    // The same by hand: what is whole goes, up to what is not.
    let world = World::aged(true).await;
    damages[0](&world.objects()[1]);
    let by_hand = world.by_hand(2 * SEGMENT_ENTRIES).await;
    assert_eq!((by_hand.end, by_hand.failed.unwrap().fault()), (Some(SEGMENT_ENTRIES), Fault::ReadBack));
}

#[tokio::test]
async fn a_whole_object_with_other_entries_is_never_replaced_and_nothing_goes() {
    let world = World::aged(true).await;
    let kept: Vec<_> = world.objects().iter().map(|object| std::fs::read(object).unwrap()).collect();
    // A copy of the deployment, or a backup of it, whose log went on otherwise.
    let other = World::new().await;
    other.retention.is_anchored(u64::MAX);
    other.pass(DAY_MS);
    other.grow_to(2 * SEGMENT_ENTRIES + 300).await;
    other.pass(100 * DAY_MS);
    other.configure(|audit| {
        audit.keep_days = Some(7);
        audit.export = world.exporting();
    });
    for _ in 0..2 {
        let error = other.round().await.unwrap_err();
        assert_eq!((error.fault(), other.minimum().await), (Fault::Occupied, 0), "{error}");
        assert!(
            error.to_string().contains("-log-000000000000-000000004095.tar holds other entries"),
            "{error}"
        );
    }
    assert_eq!(other.retention.journal().counted_until, 2 * SEGMENT_ENTRIES, "it is counted all the same");
    let left: Vec<_> = world.objects().iter().map(|object| std::fs::read(object).unwrap()).collect();
    assert!(left == kept, "an object was replaced");
    // Where such a copy has replaced the first one after all, the live broker does not prune behind it.
    other.configure(|audit| audit.export = other.exporting());
    let _ = other.round().await;
    std::fs::copy(&other.objects()[0], &world.objects()[0]).unwrap();
    world.configure(|audit| audit.keep_days = Some(7));
    world.keeps_all(Fault::Occupied).await;
}

#[tokio::test]
async fn no_cut_is_made_over_altered_hashes() {
    let world = World::aged(true).await;
    let tile = tile_key(0, 3);
    let right = world.store.get(&tile).await.unwrap().unwrap().value;
    let mut hashes = right.clone();
    hashes[70] ^= 1;
    let put = |value| vec![Write::Put { key: tile.clone(), value, expect: Expect::Any }];
    world.store.commit(put(hashes)).await.unwrap();
    let (plan, key) = (world.retention.plan(), key());
    let limits = Limits::from(&plan);
    let order = Ordering { order: Order::Operator, by: "somebody", limits: &limits, key: &key };
    let cut = |end| prepare(&world.session, &world.retention, &[], end, &order, &plan);
    let error = cut(SEGMENT_ENTRIES).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Log, "{error}");
    world.configure(|audit| audit.keep_days = Some(7));
    world.keeps_all(Fault::Log).await;
    world.store.commit(put(right)).await.unwrap();
    let (prepared, _) = cut(SEGMENT_ENTRIES).await.unwrap();
    assert!(prepared.pruned.root != Hash::EMPTY_ROOT);
    world.round().await.unwrap();
    assert_eq!(world.minimum().await, 2 * SEGMENT_ENTRIES);
}

#[tokio::test]
async fn no_more_is_read_back_at_once_than_a_round_has_time_for() {
    let world = World::new().await;
    let most = READ_BACK_MAX as u64;
    world.grow_to((most + 1) * SEGMENT_ENTRIES + 300).await;
    world.configure(|audit| {
        audit.keep_days = Some(7);
        audit.export = world.exporting();
    });
    while world.retention.journal().exported_until < (most + 1) * SEGMENT_ENTRIES {
        world.round().await.unwrap();
    }
    let by_hand = world.by_hand(u64::MAX).await;
    assert_eq!((by_hand.end, by_hand.failed.is_none()), (Some(most * SEGMENT_ENTRIES), true));
}

#[test]
fn a_place_on_another_server_is_another_place() {
    let bucket = |endpoint: &str| crate::config::Bucket {
        endpoint: Some(endpoint.to_owned()),
        ..crate::config::Bucket::default()
    };
    let (one, two) = (bucket("https://one.example"), bucket("https://two.example"));
    let id = |bucket| place_id("s3://log/x", bucket);
    assert_ne!(id(Some(&one)), id(Some(&two)));
    assert_ne!(id(Some(&one)), id(None));
    assert_eq!(place_id("/mnt/log", Some(&one)), place_id("/mnt/log", None), "a directory has no server");
    let limits = |bucket| {
        let export = Some("s3://log/x".to_owned());
        Limits::from(&crate::config::AuditConfig { export, bucket: Some(bucket), ..Default::default() })
    };
    assert_ne!(limits(one).place, limits(two).place);
}
