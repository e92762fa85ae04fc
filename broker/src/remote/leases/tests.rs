#![allow(clippy::unwrap_used)]

use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, NodeId};
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::{Manifest, ManifestNode};
use symbolon_proto::secret::Secret;
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

fn seed(index: u16) -> SigningSeed {
    SigningSeed::from_secret(Secret::filled_by(|out: &mut [u8; 32]| out[0] = index.to_be_bytes()[1]))
}

fn node(index: u16) -> ManifestNode {
    ManifestNode {
        index,
        node: NodeId::from_bytes([index.to_be_bytes()[1]; 16]),
        public: *RemoteKey::generate(&mut os_rng()).public_key(),
        signing: seed(index).public_key(),
        spki_sha256: [0; 32],
    }
}

/// What `govern` reads of a manifest: t, the nodes 1 to n, and the grace.
fn manifest(threshold: u16, nodes: u16, grace_secs: u32) -> Manifest {
    let public = *RemoteKey::generate(&mut os_rng()).public_key();
    Manifest {
        deployment: HOLDER.deployment,
        key: HOLDER.key,
        state: KeyState::Active,
        key_epoch: 1,
        share_epoch: 1,
        public,
        commitments: (1..threshold).map(|_| *public.point()).collect(),
        nodes: (1..=nodes).map(node).collect(),
        lease_ttl_secs: 60,
        quota_burst: 1,
        quota_per_hour: 1,
        grace_secs,
        not_before_secs: 0,
        not_after_secs: 1,
        seq: 1,
        prev_hash: [0; 32],
    }
}

fn governed(threshold: u16, nodes: u16, grace_secs: u32) -> Leases {
    let leases = Leases::default();
    leases.govern(&manifest(threshold, nodes, grace_secs));
    leases
}

fn of_one() -> Leases {
    governed(1, 1, 0)
}

fn lease(seq: u64, change: impl FnOnce(&mut LeaseTerms)) -> VerifiedLease {
    lease_of(1, seq, change)
}

fn lease_of(index: u16, seq: u64, change: impl FnOnce(&mut LeaseTerms)) -> VerifiedLease {
    let LeaseHolder { deployment, broker, key, generation } = HOLDER;
    let mut terms = LeaseTerms {
        deployment,
        broker,
        key,
        generation,
        seq,
        issued_secs: WALL_SECS,
        ttl_secs: 60,
        status: KeyState::Active,
        node: index,
    };
    change(&mut terms);
    Lease::sign(terms, &seed(index)).verify(&HOLDER, &node(index)).unwrap()
}

/// A holder of an active lease of 60 s, and how often it has called for a flush.
fn holding() -> (Leases, watch::Receiver<u64>) {
    let leases = of_one();
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

/// t of n with an active lease of each node at the beginning.
fn all_active(threshold: u16, nodes: u16, grace_secs: u32) -> (Leases, watch::Receiver<u64>) {
    let leases = governed(threshold, nodes, grace_secs);
    (1..=nodes).for_each(|index| leases.accept(&lease_of(index, 1, |_| ()), at(0), at(10)));
    let flushes = leases.flushes();
    (leases, flushes)
}

fn suspend(leases: &Leases, index: u16, ms: u64) {
    leases.accept(&lease_of(index, 2, |terms| terms.status = KeyState::Suspended), at(ms), at(ms + 10));
}

#[test]
fn fewer_than_t_active_leases_open_nothing() {
    let leases = governed(2, 3, 0);
    leases.accept(&lease_of(1, 1, |_| ()), at(0), at(10));
    assert_eq!(leases.usable_until(at(20)), 0);
    assert_eq!(leases.summary(at(20)), "unknown 1/3");
    leases.accept(&lease_of(3, 1, |_| ()), at(500), at(510));
    assert_eq!(leases.usable_until(at(520)), at(60_000).boot_ms, "the shorter of the two counts");
    assert_eq!(leases.summary(at(520)), "active 2/3");
}

#[test]
fn one_hostile_node_can_neither_cut_off_nor_keep_alive() {
    type Change = fn(&mut LeaseTerms);
    let words: [Change; 5] = [
        |terms| terms.status = KeyState::Suspended,
        |terms| terms.status = KeyState::PendingDestroy,
        |terms| terms.status = KeyState::Destroyed,
        |terms| terms.generation = 6,
        |terms| terms.issued_secs += 3600,
    ];
    for word in words {
        let (leases, flushes) = all_active(2, 3, 0);
        leases.accept(&lease_of(2, 2, word), at(100), at(110));
        assert_eq!(leases.usable_until(at(120)), at(60_000).boot_ms);
        assert_eq!(leases.summary(at(120)), "active 2/3");
        assert!(!flushes.has_changed().unwrap(), "one node of three cannot cut off");
    }
    let (leases, mut flushes) = all_active(2, 3, 0);
    leases.accept(&lease_of(2, 9, |terms| terms.ttl_secs = 86_400), at(100), at(110));
    suspend(&leases, 1, 200);
    assert!(!flushes.has_changed().unwrap());
    suspend(&leases, 3, 300);
    assert_flushed(&mut flushes);
    assert_eq!(leases.usable_until(at(320)), 0, "one node of three cannot keep alive");
    assert_eq!(leases.summary(at(320)), "suspended 1/3");
}

#[test]
fn time_flushes_when_the_t_th_lease_ends() {
    let (leases, mut flushes) = all_active(2, 3, 0);
    leases.accept(&lease_of(1, 2, |_| ()), at(30_000), at(30_010));
    assert_eq!(leases.usable_until(at(30_020)), at(60_000).boot_ms);
    assert_eq!(leases.usable_until(at(60_000)), 0);
    assert_flushed(&mut flushes);
    assert_eq!(leases.summary(at(60_010)), "expired 1/3");
}

#[test]
fn the_word_is_that_of_the_t_th_best_node() {
    let (leases, _) = all_active(3, 5, 0);
    suspend(&leases, 1, 100);
    suspend(&leases, 2, 100);
    assert_eq!(leases.summary(at(200)), "active 3/5");
    assert_eq!(leases.summary(at(60_000)), "expired 0/5", "two cannot say what three have not");
    suspend(&leases, 3, 61_000);
    assert_eq!(leases.state(at(61_100)), LeaseState::Suspended);
}

#[test]
fn grace_outlives_silence_and_nothing_else() {
    let (leases, mut flushes) = all_active(2, 3, 30);
    assert_eq!(leases.usable_until(at(20)), at(90_000).boot_ms);
    assert_eq!(leases.summary(at(60_000)), "grace 0/3");
    assert_eq!(leases.usable_until(at(89_999)), at(90_000).boot_ms);
    assert!(!flushes.has_changed().unwrap());
    assert_eq!(leases.usable_until(at(90_000)), 0);
    assert_flushed(&mut flushes);

    let (leases, mut flushes) = all_active(2, 3, 30);
    suspend(&leases, 1, 61_000);
    suspend(&leases, 2, 61_000);
    assert_eq!(leases.usable_until(at(61_020)), 0, "whoever was told to stop has no grace");
    assert_flushed(&mut flushes);
}

#[test]
fn another_manifest_counts_its_own_nodes() {
    let (leases, mut flushes) = all_active(2, 3, 0);
    leases.accept(&lease_of(9, 1, |_| ()), at(0), at(10));
    assert_eq!(leases.nodes(at(20)).len(), 3, "a stranger's lease counts nowhere");
    leases.govern(&manifest(3, 4, 0));
    assert_eq!(leases.summary(at(20)), "active 3/4", "words of nodes that stay are kept");
    let mut other = manifest(3, 4, 0);
    other.nodes[0].node = NodeId::from_bytes([77; 16]);
    leases.govern(&other);
    assert_eq!(leases.usable_until(at(30)), 0, "a new node under an old index has said nothing yet");
    assert_flushed(&mut flushes);
}

#[test]
fn inactivity_is_counted_without_grace() {
    let (leases, _) = all_active(2, 3, 3600);
    assert_eq!(leases.inactive_ms(at(59_999)), 0);
    assert_eq!(leases.inactive_ms(at(70_000)), 10_001);
    assert_eq!(leases.state(at(70_000)), LeaseState::Grace);
    leases.accept(&lease_of(1, 2, |terms| terms.issued_secs += 80), at(80_000), at(80_010));
    assert_eq!(leases.inactive_ms(at(80_020)), 20_021, "one is fewer than two");
    leases.accept(&lease_of(2, 2, |terms| terms.issued_secs += 80), at(81_000), at(81_010));
    assert_eq!(leases.inactive_ms(at(81_020)), 0);
}
