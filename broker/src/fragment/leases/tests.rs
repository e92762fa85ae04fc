#![allow(clippy::unwrap_used)]

use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, NodeId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::signing::SigningSeed;

use super::*;
use crate::random::os_rng;

const WALL_SECS: u64 = 1_760_000_000;
const HOLDER: LeaseHolder = LeaseHolder {
    deployment: DeploymentId::from_bytes([1; 16]),
    broker: BrokerId::from_bytes([2; 16]),
    key: KeyId::from_bytes([3; 16]),
    generation: 5,
};

/// Both clocks `ms` after the beginning.
fn at(ms: u64) -> Now {
    Now { unix_ms: WALL_SECS * 1000 + ms, boot_ms: 10_000 + ms }
}

fn lease(seq: u64, change: impl FnOnce(&mut LeaseTerms)) -> VerifiedLease {
    let seed = SigningSeed::random(&mut os_rng());
    let node = ManifestNode {
        index: 1,
        node: NodeId::from_bytes([4; 16]),
        public: *RemoteKey::generate(&mut os_rng()).public_key(),
        signing: seed.public_key(),
        spki_sha256: [0; 32],
    };
    let LeaseHolder { deployment, broker, key, generation } = HOLDER;
    let status = KeyState::Active;
    let mut terms = LeaseTerms {
        deployment,
        broker,
        key,
        generation,
        seq,
        issued_secs: WALL_SECS,
        ttl_secs: 60,
        status,
        node: 1,
    };
    change(&mut terms);
    Lease::sign(terms, &seed).verify(&HOLDER, &node).unwrap()
}

/// A holder of an active lease of 60 s, and how often it has called for a flush.
fn holding() -> (Leases, watch::Receiver<u64>) {
    let leases = Leases::default();
    leases.accept(&lease(1, |_| ()), at(0), at(100));
    let flushes = leases.flushes();
    (leases, flushes)
}

fn assert_flushed(flushes: &mut watch::Receiver<u64>) {
    assert!(flushes.has_changed().unwrap(), "cached keys must be wiped");
    flushes.mark_unchanged();
}

#[test]
fn nothing_is_usable_without_a_lease() {
    let leases = Leases::default();
    assert_eq!(leases.usable_until(at(0)), 0);
    assert_eq!(leases.state(at(0)).to_string(), "unknown");
}

#[test]
fn a_lease_counts_from_the_question_on_the_boot_clock() {
    let (leases, _) = holding();
    assert_eq!(leases.usable_until(at(200)), at(60_000).boot_ms);
    assert_eq!(leases.state(at(59_999)), LeaseState::Active);
}

#[test]
fn expiry_flushes_once() {
    let (leases, mut flushes) = holding();
    assert_eq!(leases.usable_until(at(60_000)), 0);
    assert_flushed(&mut flushes);
    assert_eq!(leases.state(at(60_001)), LeaseState::Expired);
    assert!(!flushes.has_changed().unwrap());
}

#[test]
fn a_renewal_prolongs_and_an_overtaken_answer_does_not() {
    let (leases, flushes) = holding();
    leases.accept(&lease(3, |_| ()), at(30_000), at(30_010));
    assert_eq!(leases.usable_until(at(30_020)), at(90_000).boot_ms);
    leases.accept(&lease(2, |terms| terms.ttl_secs = 86_400), at(31_000), at(31_000));
    assert_eq!(leases.usable_until(at(31_000)), at(90_000).boot_ms);
    assert!(!flushes.has_changed().unwrap());
}

#[test]
fn suspension_destruction_and_fencing_flush_at_once() {
    type Change = fn(&mut LeaseTerms);
    let cases: [(Change, LeaseState); 4] = [
        (|terms| terms.status = KeyState::Suspended, LeaseState::Suspended),
        (|terms| terms.status = KeyState::PendingDestroy, LeaseState::Suspended),
        (|terms| terms.status = KeyState::Destroyed, LeaseState::Destroyed),
        (|terms| terms.generation = 6, LeaseState::Fenced),
    ];
    for (change, expected) in cases {
        let (leases, mut flushes) = holding();
        leases.accept(&lease(2, change), at(1000), at(1010));
        assert_eq!(leases.state(at(1020)), expected);
        assert_eq!(leases.usable_until(at(1020)), 0);
        assert_flushed(&mut flushes);
        leases.accept(&lease(1, |_| ()), at(1030), at(1040));
        assert_eq!(leases.state(at(1050)), expected, "an older lease must not bring keys back");
        leases.accept(&lease(3, |_| ()), at(1060), at(1070));
        assert_eq!(leases.state(at(1080)), LeaseState::Active, "a newer one may");
    }
}

#[test]
fn a_wall_clock_that_moves_back_flushes_and_never_extends() {
    let (leases, mut flushes) = holding();
    let back = Now { unix_ms: at(5000).unix_ms - 3_000, boot_ms: at(5000).boot_ms };
    assert_eq!(leases.usable_until(back), 0);
    assert_eq!(leases.state(at(5100)), LeaseState::Clock, "correcting it does not bring keys back");
    assert_flushed(&mut flushes);
    leases.accept(&lease(2, |_| ()), at(6000), at(6010));
    assert_eq!(leases.state(at(6020)), LeaseState::Active, "a fresh lease that agrees does");
}

#[test]
fn a_wall_clock_that_jumps_ahead_ends_a_lease_only_at_its_end() {
    let (leases, mut flushes) = holding();
    let ahead = |ms| Now { unix_ms: at(5000).unix_ms + ms, boot_ms: at(5000).boot_ms };
    assert_eq!(leases.usable_until(ahead(54_999)), at(60_000).boot_ms);
    assert!(!flushes.has_changed().unwrap());
    // A machine that was paused for an hour: its boot clock stood still.
    assert_eq!(leases.usable_until(ahead(3_600_000)), 0);
    assert_eq!(leases.state(at(5001)), LeaseState::Expired);
    assert_flushed(&mut flushes);
}

#[test]
fn a_lease_of_another_time_is_not_believed() {
    for off_secs in [-301_i64, 301] {
        let (leases, mut flushes) = holding();
        let issued = WALL_SECS.checked_add_signed(off_secs).unwrap();
        leases.accept(&lease(2, |terms| terms.issued_secs = issued), at(0), at(10));
        assert_eq!(leases.state(at(20)), LeaseState::Clock);
        assert_flushed(&mut flushes);
    }
    let (leases, _) = holding();
    leases.accept(&lease(2, |terms| terms.issued_secs = WALL_SECS + 300), at(0), at(10));
    assert_eq!(leases.state(at(20)), LeaseState::Active);
}
