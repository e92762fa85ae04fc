//! The splice matrix (section 15.4): every field of every context changed in turn is a commitment failure,
//! never a failure of the AEAD and never a panic.

use symbolon_proto::capsule::{CapsuleError, Kek};
use symbolon_proto::context::{CapsuleContext, RecordContext, RecordKind, Scope};
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::{CapsuleId, DeploymentId, KeyId, MountId, SecretId, TenantId};
use symbolon_proto::record::{self, RecordError};
use symbolon_proto::sealedbox::OpenError;

use crate::world::World;

fn other_capsule_contexts(context: &CapsuleContext) -> Vec<CapsuleContext> {
    let mut others = vec![
        CapsuleContext { deployment: DeploymentId::from_bytes([1; 16]), ..*context },
        CapsuleContext { tenant: TenantId::SYSTEM, ..*context },
        CapsuleContext { mount: MountId::from_bytes([1; 16]), ..*context },
        CapsuleContext { bucket: context.bucket + 1, ..*context },
        CapsuleContext { kek_epoch: context.kek_epoch - 1, ..*context },
        CapsuleContext { capsule: CapsuleId::from_bytes([1; 16]), ..*context },
        CapsuleContext { key: KeyId::from_bytes([1; 16]), ..*context },
        CapsuleContext { fragment_epoch: context.fragment_epoch + 1, ..*context },
    ];
    match context.scope {
        Scope::Bucket => {
            let scope = Scope::Version { secret: SecretId::from_bytes([0; 16]), version: 0 };
            others.push(CapsuleContext { scope, ..*context });
        }
        Scope::Version { secret, version } => {
            for scope in [
                Scope::Bucket,
                Scope::Version { secret: SecretId::from_bytes([1; 16]), version },
                Scope::Version { secret, version: version - 1 },
            ] {
                others.push(CapsuleContext { scope, ..*context });
            }
        }
    }
    // The two fields that swapping could confuse.
    others.push(CapsuleContext { bucket: context.kek_epoch, kek_epoch: context.bucket, ..*context });
    others
}

#[test]
fn capsules_open_in_their_own_place_only() {
    let mut world = World::new(10);
    let version = Scope::Version { secret: SecretId::from_bytes([2; 16]), version: 9 };
    for scope in [Scope::Bucket, version] {
        let context = world.capsule_context(scope);
        let (capsule, kek) = world.close(&context);
        for other in other_capsule_contexts(&context) {
            let shared = world.shared(&capsule);
            let opened = capsule.open(&other, &world.keys.capsule, shared);
            assert_eq!(opened.err(), Some(CapsuleError::Commitment), "{other:?}");
        }
        let shared = world.shared(&capsule);
        assert!(capsule.open(&context, &world.keys.capsule, shared).unwrap().same_as(&kek));
    }
}

#[test]
fn capsules_need_both_halves() {
    let mut world = World::new(11);
    let context = world.capsule_context(Scope::Bucket);
    let ((capsule, _), (other, _)) = (world.close(&context), world.close(&context));
    let stranger = Fragment::random(world.rng()).root(&context.deployment).purposes(1);
    let shared = world.shared(&capsule);
    assert_eq!(capsule.open(&context, &stranger.capsule, shared).err(), Some(CapsuleError::Commitment));
    let shared = world.shared(&other);
    assert_eq!(capsule.open(&context, &world.keys.capsule, shared).err(), Some(CapsuleError::Commitment));
}

/// A flipped bit is an error, except in the header's hints (key, epochs, id), which the context repeats.
#[test]
fn damaged_capsules_say_what_is_damaged() {
    let mut world = World::new(12);
    let context = world.capsule_context(Scope::Bucket);
    let (capsule, kek) = world.close(&context);
    let bytes = capsule.to_bytes();
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 4;
        let opened = symbolon_proto::capsule::Capsule::parse(&damaged).and_then(|damaged| {
            let shared = world.shared(&capsule);
            damaged.open(&context, &world.keys.capsule, shared)
        });
        match position {
            0 => assert!(matches!(opened, Err(CapsuleError::Format { .. }))),
            1 => assert!(matches!(opened, Err(CapsuleError::Suite { .. }))),
            2..42 => assert!(opened.unwrap().same_as(&kek)),
            // Another w, if it is a point at all: its own shared secret would differ, see
            // capsules_need_both_halves.
            42..74 => {}
            74..106 => assert_eq!(opened.err(), Some(CapsuleError::Commitment)),
            _ => assert_eq!(opened.err(), Some(CapsuleError::Tag)),
        }
    }
}

fn other_record_contexts(context: &RecordContext) -> [RecordContext; 6] {
    [
        RecordContext { kind: RecordKind::Metadata, ..*context },
        RecordContext { deployment: DeploymentId::from_bytes([1; 16]), ..*context },
        RecordContext { tenant: TenantId::SYSTEM, ..*context },
        RecordContext { mount: MountId::from_bytes([1; 16]), ..*context },
        RecordContext { secret: SecretId::from_bytes([1; 16]), ..*context },
        RecordContext { version: context.version - 1, ..*context },
    ]
}

#[test]
fn records_open_in_their_own_place_only() {
    let mut world = World::new(13);
    let (kek, context) = (Kek::random(world.rng()), world.record_context());
    let capsule = CapsuleId::random(world.rng());
    let sealed = record::seal(&kek, &context, &capsule, b"value", world.rng()).unwrap();
    assert_eq!(record::capsule_of(&sealed), Ok(capsule));
    let misplaced = Some(RecordError::Key(OpenError::Commitment));
    for other in other_record_contexts(&context) {
        assert_eq!(record::open(&kek, &other, &capsule, &sealed).err(), misplaced, "{other:?}");
    }
    let other = CapsuleId::random(world.rng());
    assert_eq!(record::open(&kek, &context, &other, &sealed).err(), misplaced);
    assert_eq!(record::open(&Kek::random(world.rng()), &context, &capsule, &sealed).err(), misplaced);
    assert_eq!(*record::open(&kek, &context, &capsule, &sealed).unwrap(), b"value");
}

/// The key of one record with the value of another, both valid and of the same secret.
#[test]
fn records_are_not_put_together_from_two() {
    let mut world = World::new(14);
    let (kek, context) = (Kek::random(world.rng()), world.record_context());
    let capsule = CapsuleId::random(world.rng());
    let mut seal =
        |context: &RecordContext, value| record::seal(&kek, context, &capsule, value, world.rng()).unwrap();
    let first = seal(&context, b"first");
    for second in [seal(&context, b"second"), seal(&RecordContext { version: 8, ..context }, b"second")] {
        let spliced = [&first[..130], &second[130..]].concat();
        let error = record::open(&kek, &context, &capsule, &spliced).unwrap_err();
        assert_eq!(error, RecordError::Value(OpenError::Commitment));
    }
}

#[test]
fn rewrapped_records_open_under_the_new_key_only() {
    let mut world = World::new(15);
    let (old, new) = (Kek::random(world.rng()), Kek::random(world.rng()));
    let (old_id, new_id) = (CapsuleId::random(world.rng()), CapsuleId::random(world.rng()));
    let context = world.record_context();
    let sealed = record::seal(&old, &context, &old_id, b"value", world.rng()).unwrap();
    let rewrapped = record::rewrap((&old, &old_id), (&new, &new_id), &context, &sealed, world.rng()).unwrap();
    assert_eq!(rewrapped.len(), sealed.len());
    assert_eq!(record::capsule_of(&rewrapped), Ok(new_id));
    assert_eq!(*record::open(&new, &context, &new_id, &rewrapped).unwrap(), b"value");
    assert!(record::open(&old, &context, &old_id, &rewrapped).is_err());
}
