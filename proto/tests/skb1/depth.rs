//! How deep every operation on keys writes into the stack, and that the wipe after it goes deeper
//! (`docs/skb1.md` 12.1). A wipe that is too shallow leaves a whole key behind.
//!
//! Every call of `wiping` in the sources must be reached here: a new operation that is not turns this red.

use std::path::Path;

use symbolon_proto::context::Scope;
use symbolon_proto::custody::escrow::{self, EscrowEnvelope, EscrowedShare};
use symbolon_proto::custody::{
    CeremonyKey, KeyFile, KeyKind, KeyPair, PassphraseCost, Purpose, ShareEnvelope, Submission,
};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::hierarchy::{Fragment, NameKey, SinkKey};
use symbolon_proto::id::CapsuleId;
use symbolon_proto::log::{Hash, Head, NoteSigner};
use symbolon_proto::possession::PossessionClaim;
use symbolon_proto::record;
use symbolon_proto::secret::gauge;
use symbolon_proto::share::{Ceremony, Dealing, Holder, Share, ShareKind, Threshold};
use symbolon_proto::signing::SigningSeed;
use symbolon_proto::xwing::XWingSeed;

use crate::group::Group;
use crate::world::World;

/// Sealing, opening and everything between, with the largest batch.
fn secrets(world: &mut World) {
    let context = world.capsule_context(Scope::Bucket);
    let (capsule, _) = world.close(&context);
    let shared = world.shared(&capsule);
    let kek = capsule.open(&context, &world.keys.capsule, shared).unwrap();
    let place = world.record_context();
    let id = CapsuleId::random(world.rng());
    let sealed = record::seal(&kek, &place, &id, &[7; 5000], world.rng()).unwrap();
    record::open(&kek, &place, &id, &sealed).unwrap();
    record::rewrap((&kek, &id), (&kek, &id), &place, &sealed, world.rng()).unwrap();
    let (_, blinded) = world.blinded(64);
    let frame = world.honest(blinded.request()).to_bytes();
    world.verify(blinded.request(), &frame).unwrap();
    let (_, blinded) = world.blinded(64);
    let remote = RemoteKey::generate(world.rng());
    blinded.finalize_locally(&remote, world.rng());
}

/// The keys that the fragment gives, and what they name and sign.
fn hierarchy(world: &mut World) {
    let root = Fragment::random(world.rng()).root(&world.holder.deployment);
    let keys = root.purposes(1);
    let _ = keys.state.anchor(5, &Hash::from_bytes([1; 32]));
    let _ = NameKey::of(&keys.index).name_hash(1, &world.capsule_context(Scope::Bucket).mount, b"a name");
    let _ = SinkKey::of(&keys.audit).name_hash(b"a name");
    let _ = world.node_seed.public_key();
    let log = NoteSigner::new("log", SigningSeed::random(world.rng())).unwrap();
    let _ = Head { size: 7, root: Hash::from_bytes([1; 32]) }.seal(&log);
    let claim = PossessionClaim { deployment: world.holder.deployment, key: world.holder.key, key_epoch: 1 };
    RemoteKey::generate(world.rng()).prove_possession(&claim, world.rng());
}

/// Shares: dealt, typed, sealed to people and to a ceremony, kept in key files, put together.
fn custody(world: &mut World) {
    let people: Vec<_> = (0..3).map(|_| KeyPair::generate(KeyKind::Custodian, world.rng())).collect();
    let names = ["Ann", "Bob", "Zoe"];
    let holders: Vec<_> =
        people.iter().zip(names).map(|(keys, name)| Holder::from(&keys.card(name).unwrap())).collect();
    let deployment = world.holder.deployment;
    let threshold = Threshold::new(2, 3).unwrap();
    let dealing = Dealing {
        kind: ShareKind::Fragment,
        deployment,
        frag_epoch: 1,
        created_ms: 1,
        threshold,
        holders: &holders,
        previous: None,
    };
    let fragment = Fragment::random(world.rng());
    let (manifest, shares) = dealing.deal(&fragment, world.rng()).unwrap();
    let mut ceremony = Ceremony::new(manifest.clone());
    for ((share, keys), x) in shares.iter().zip(&people).zip(1..) {
        let typed = Share::parse(&share.to_text()).unwrap();
        let envelope = ShareEnvelope::seal(&typed, &manifest, world.rng()).unwrap();
        let opened = envelope.open(&manifest, x, keys.sealing().unwrap()).unwrap();
        if x < 3 {
            ceremony.submit(opened, 0).unwrap();
        }
    }
    ceremony.recombine().unwrap();
    let cost = PassphraseCost::minimum();
    let file = KeyFile::seal(&people[0], "Ann", "a passphrase of some length", cost, world.rng()).unwrap();
    file.open("a passphrase of some length").unwrap();
    let key = CeremonyKey::generate(deployment, world.rng());
    let sent = Submission::seal(&shares[0], Purpose::Give, key.binding(), key.public(), world.rng());
    key.open(&sent).unwrap();
}

/// A remote key in escrow, and put together again.
fn escrowed(world: &mut World, group: &Group) {
    let seed = XWingSeed::random(world.rng());
    let shares = group.shares.iter().take(usize::from(group.threshold)).map(|held| {
        let share = EscrowedShare {
            deployment: world.holder.deployment,
            key: world.holder.key,
            key_epoch: 1,
            share_epoch: 1,
            node: held.index,
            share: &held.share,
        };
        (held.index, EscrowEnvelope::seal(&share, &seed.public_key(), world.rng()).open(&seed).unwrap())
    });
    let shares: Vec<_> = shares.collect();
    escrow::combine(&shares, &group.shares[0].key.public()).unwrap();
}

fn everything() {
    let world = &mut World::new(30);
    secrets(world);
    hierarchy(world);
    custody(world);
    let group = Group::of(world, 5);
    escrowed(world, &group);
}

#[test]
fn every_operation_on_keys_is_wiped_deeper_than_it_writes() {
    gauge::check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), 37, everything);
}

/// The gauge sees what it is there for: work that goes deeper than its wipe.
#[test]
fn work_that_goes_too_deep_is_seen() {
    #[inline(never)]
    fn deep() {
        std::hint::black_box(&mut [0x3a_u8; 48 * 1024]);
    }
    let within = || symbolon_proto::secret::wiping(deep);
    let measured = gauge::measure(|| symbolon_proto::secret::wiping(within));
    let depths: Vec<_> = measured.iter().map(|one| one.written >> 10).collect();
    assert!((48..64).contains(&depths[0]), "{depths:?}");
    assert!(depths[1] < 16, "work within answers for itself: {depths:?}");
}
