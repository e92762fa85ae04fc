#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const MOUNT: KvSettings = KvSettings { max_versions: 0, cas_required: false, delete_version_after: 0 };

fn empty() -> SecretMeta {
    SecretMeta::new(SecretId::from_bytes([7; 16]), 3, 100)
}

fn written(times: u64) -> SecretMeta {
    (0..times).fold(empty(), |meta, at| meta.write(None, &MOUNT, 1000 + at).unwrap().meta)
}

fn settings(settings: SettingsUpdate) -> MetadataUpdate {
    MetadataUpdate { settings, ..Default::default() }
}

#[test]
fn check_and_set() {
    let cas = |meta: &SecretMeta, cas| meta.write(cas, &MOUNT, 200).map(|write| write.version);
    assert_eq!(cas(&empty(), None), Ok(1));
    assert_eq!(cas(&empty(), Some(0)), Ok(1));
    assert_eq!(cas(&empty(), Some(1)), Err(KvError::CasMismatch));
    let two = written(2);
    assert_eq!(cas(&two, Some(0)), Err(KvError::CasMismatch));
    assert_eq!(cas(&two, Some(1)), Err(KvError::CasMismatch));
    assert_eq!(cas(&two, Some(2)), Ok(3));
    assert_eq!(cas(&two, Some(u64::MAX)), Err(KvError::CasMismatch));
    let strict = KvSettings { cas_required: true, ..MOUNT };
    assert_eq!(two.write(None, &strict, 200), Err(KvError::CasRequired));
    let own =
        two.update(&settings(SettingsUpdate { cas_required: Some(true), ..Default::default() }), 1).unwrap();
    assert_eq!(own.write(None, &MOUNT, 200), Err(KvError::CasRequired));
    assert!(own.write(Some(2), &MOUNT, 200).is_ok());
}

#[test]
fn eso_writes_metadata_before_data() {
    let custom = BTreeMap::from([("managed-by".to_owned(), "external-secrets".to_owned())]);
    let update =
        MetadataUpdate { custom_metadata: Some(CustomUpdate::Replace(custom.clone())), ..Default::default() };
    let meta = empty().update(&update, 200).unwrap();
    assert_eq!(meta.version(0), None);
    let write = meta.write(Some(0), &MOUNT, 300).unwrap();
    assert_eq!((write.version, write.meta.custom_metadata), (1, Some(custom)));
}

#[test]
fn old_versions_fall_out() {
    let ten = written(10);
    assert_eq!((ten.oldest, ten.versions.len()), (1, 10));
    let write = ten.write(None, &MOUNT, 5000).unwrap();
    assert_eq!((write.version, write.removed, write.meta.oldest), (11, vec![1], 2));
    assert_eq!(write.meta.version(1), None);

    let two = KvSettings { max_versions: 2, ..MOUNT };
    let mut own = ten.clone();
    own.max_versions = 3;
    let write = own.write(None, &two, 5000).unwrap();
    assert_eq!((write.removed.len(), write.meta.versions.len(), write.meta.oldest), (8, 3, 9));

    let destroyed = ten.destroy(&[1], 1).unwrap().unwrap().meta;
    assert_eq!(destroyed.write(None, &MOUNT, 5000).unwrap().removed, Vec::<u64>::new());
    assert_eq!(written(9).oldest, 0);
}

#[test]
fn deletion_is_soft_and_destruction_is_not() {
    let meta = written(3);
    let deleted = meta.delete_latest(2000).unwrap();
    assert!(!deleted.version(0).unwrap().1.is_live(2000));
    assert!(deleted.version(2).unwrap().1.is_live(2000));
    assert_eq!(deleted.delete_latest(3000), None);
    let back = deleted.undelete(&[3, 9], 2500).unwrap().unwrap();
    assert!(back.version(3).unwrap().1.is_live(2500));
    assert_eq!(back.undelete(&[3], 2500), Ok(None));

    let removal = back.destroy(&[1, 1, 3, 77], 2600).unwrap().unwrap();
    assert_eq!(removal.removed, [1, 3]);
    assert_eq!(removal.meta.payloads().collect::<Vec<_>>(), [2]);
    assert_eq!(removal.meta.undelete(&[1], 2700), Ok(None));
    assert_eq!(removal.meta.delete(&[1], 2700), Ok(None));
    assert_eq!(removal.meta.destroy(&[1], 2700), Ok(None));
    for refused in [meta.delete(&[], 1).err(), meta.undelete(&[], 1).err(), meta.destroy(&[], 1).err()] {
        assert_eq!(refused, Some(KvError::NoVersions));
    }
    assert_eq!(meta.delete(&vec![1; 2049], 1), Err(KvError::TooManyVersions));
    assert_eq!(empty().delete_latest(1), None);
}

#[test]
fn versions_expire() {
    let deletion = |own, mount| {
        let mut meta = empty();
        meta.delete_version_after = own;
        let mount = KvSettings { delete_version_after: mount, ..MOUNT };
        meta.write(None, &mount, 1000).unwrap().meta.versions[&1].deletion
    };
    assert_eq!(deletion(0, 0), None);
    assert_eq!(deletion(50, 0), Some(1050));
    assert_eq!(deletion(0, 60), Some(1060));
    assert_eq!(deletion(70, 60), Some(1060));
    assert_eq!(deletion(50, 60), Some(1050));
    assert_eq!(deletion(-1, 60), None);
    assert_eq!(deletion(50, -1), Some(1050));
    let version = VersionMeta { created: 1, deletion: Some(1050), destroyed: false, kek_epoch: 1 };
    assert!(version.is_live(1049) && !version.is_live(1050));
}

#[test]
fn settings_have_bounds() {
    let update = |update: MetadataUpdate| empty().update(&update, 1).err();
    let max = |n| update(settings(SettingsUpdate { max_versions: Some(n), ..Default::default() }));
    assert_eq!(
        (max(2048), max(2049), max(u64::MAX)),
        (None, Some(KvError::MaxVersions), Some(KvError::MaxVersions))
    );
    let after = |n| update(settings(SettingsUpdate { delete_version_after: Some(n), ..Default::default() }));
    assert_eq!((after(-1), after(i64::MAX)), (None, Some(KvError::DeleteAfter)));
    let custom = |pairs: Vec<(String, String)>| check_custom_metadata(&pairs.into_iter().collect()).err();
    assert_eq!(
        custom((0..65).map(|n| (n.to_string(), String::new())).collect()),
        Some(KvError::CustomTooMany)
    );
    assert_eq!(custom(vec![(String::new(), "x".into())]), Some(KvError::CustomKey));
    assert_eq!(custom(vec![("k".repeat(129), "x".into())]), Some(KvError::CustomKey));
    assert_eq!(custom(vec![("k".into(), "x".repeat(513))]), Some(KvError::CustomValue));
    assert_eq!(custom(vec![("k".into(), "a\0".into())]), Some(KvError::CustomUnprintable));
    assert_eq!(custom(vec![("k".repeat(128), "x".repeat(512))]), None);
    let patch = BTreeMap::from([("a".to_owned(), None), ("b".to_owned(), Some("2".to_owned()))]);
    let before = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    let merged = CustomUpdate::Merge(patch).apply(Some(&before)).unwrap();
    assert_eq!(merged, Some(BTreeMap::from([("b".to_owned(), "2".to_owned())])));
    let removal = CustomUpdate::Merge(BTreeMap::from([("a".to_owned(), None)]));
    for cleared in [removal, CustomUpdate::Replace(BTreeMap::new())] {
        assert_eq!(cleared.apply(Some(&before)), Ok(None));
    }
}

#[test]
fn the_row_format_is_stable() {
    let text = serde_json::to_string(&written(1)).unwrap();
    assert_eq!(
        text,
        r#"{"format":1,"secret_id":"07070707070707070707070707070707","bucket":3,"current":1,"oldest":0,"versions":{"1":{"created":1000,"destroyed":false}},"max_versions":0,"cas_required":false,"delete_version_after":0,"created":100,"updated":1000}"#
    );
    assert_eq!(serde_json::from_str::<SecretMeta>(&text).unwrap(), written(1));
}

#[test]
fn each_version_remembers_its_kek_epoch() {
    let meta = written(2).write(None, &MOUNT, 5).unwrap().under(4).meta;
    assert_eq!((meta.kek_epoch(1), meta.kek_epoch(3), meta.kek_epoch(4)), (Some(1), Some(4), None));
    assert_eq!(meta.payloads_not_under(4).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    let text = serde_json::to_string(&meta).unwrap();
    assert!(text.contains(r#""3":{"created":5,"destroyed":false,"kek_epoch":4}"#), "{text}");
    let mut back: SecretMeta = serde_json::from_str(&text).unwrap();
    assert_eq!(back, meta, "a row without the number means the first epoch");
    back = back.destroy(&[1], 6).unwrap().unwrap().meta;
    back.moved(2, 4);
    assert_eq!(back.payloads_not_under(4).count(), 0, "what is destroyed has no payload");
}

proptest! {
    /// Whatever is done in whatever order: versions count up without gaps, the newest is always known, no
    /// more payloads are kept than allowed, and every payload that vanished was reported exactly once.
    #[test]
    fn payloads_are_accounted_for(steps in prop::collection::vec((0u8..4, 0u64..20), 1..60), keep in 1u64..6) {
        let mount = KvSettings { max_versions: keep, ..MOUNT };
        let mut meta = empty();
        let mut stored = std::collections::BTreeSet::new();
        for (now, (what, version)) in steps.into_iter().enumerate() {
            let now = now as u64;
            let removed = match what {
                0 => {
                    let write = meta.write(None, &mount, now).unwrap();
                    prop_assert_eq!(write.version, meta.current + 1);
                    stored.insert(write.version);
                    meta = write.meta;
                    write.removed
                }
                1 => { meta = meta.delete(&[version], now).unwrap().unwrap_or(meta); vec![] }
                2 => { meta = meta.undelete(&[version], now).unwrap().unwrap_or(meta); vec![] }
                _ => match meta.destroy(&[version], now).unwrap() {
                    Some(removal) => { meta = removal.meta; removal.removed }
                    None => vec![],
                },
            };
            for version in removed {
                prop_assert!(stored.remove(&version));
            }
            prop_assert_eq!(meta.payloads().collect::<Vec<_>>(), stored.iter().copied().collect::<Vec<_>>());
            prop_assert!(meta.versions.len() as u64 <= keep);
            prop_assert_eq!(meta.versions.keys().next_back().copied().unwrap_or(0), meta.current);
        }
    }
}
