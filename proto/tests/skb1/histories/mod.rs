//! A thousand random histories (`docs/skb1.md` sections 6.7, 8 and 15.9): simulated nodes that keep real
//! shares and answer with real proofs, a model of a broker, and a network that loses, doubles, delays and
//! mixes up messages, while keys are made, refreshed, reshared, rotated and suspended, and nodes and broker
//! crash. After every step the rules are checked:
//!
//! * every secret that was written opens with any t nodes; fewer than t are never enough
//! * y does not change when shares do
//! * shares of different epochs are worth nothing together, and older ones are gone once the new ones were
//!   acknowledged
//! * with fewer than t willing nodes nothing opens
//! * a node that refuses has not changed
//! * when everything is repaired, everything can be read
//!
//! A failure prints its seed and what happened. `SYMBOLON_HISTORY=<seed>` runs that one alone and tells it.

#![allow(clippy::print_stdout)]

mod algebra;
mod broker;
mod history;
mod node;

use std::sync::Mutex;

use rand_core::CryptoRng;
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::frame::{EvaluateOutcome, EvaluateRequest, EvaluateResponse};
use symbolon_proto::id::NodeId;
use symbolon_proto::lease::{KeyState, Lease, LeaseHolder, LeaseTerms};
use symbolon_proto::manifest::ManifestNode;
use symbolon_proto::signing::SigningSeed;

use self::history::History;

const HISTORIES: u64 = 1000;
/// Histories within which a mistake must be found.
const PATIENCE: u64 = 400;

/// Mistakes that one could make, to see that they would be found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bug {
    /// A node forgets its old share when it has the new one, and does not wait for the others.
    OldShareErasedAtCommit,
    /// The broker takes new shares into use when t nodes have them, and does not wait for all.
    UsedBeforeAllCommitted,
    /// The broker retires a key without looking whether a capsule still needs it.
    RetiredWhileInUse,
}

/// What an honest node with this key would answer, and how a manifest would describe it.
fn own_answer(
    request: &EvaluateRequest,
    holder: &LeaseHolder,
    key: &RemoteKey,
    seed: &SigningSeed,
    rng: &mut dyn CryptoRng,
) -> (ManifestNode, Vec<u8>) {
    let evaluation = key.evaluate(request, rng);
    let terms = LeaseTerms {
        deployment: holder.deployment,
        broker: holder.broker,
        key: holder.key,
        generation: holder.generation,
        seq: 1,
        issued_secs: 0,
        ttl_secs: 60,
        status: KeyState::Active,
        node: 1,
    };
    let lease = Lease::sign(terms, seed);
    let response = EvaluateResponse {
        target: *request.target(),
        node_index: 1,
        request_hash: *request.hash(),
        quota_left: 1,
        time_secs: 0,
        outcome: EvaluateOutcome::Done { points: evaluation.points, proof: evaluation.proof, lease },
    };
    let node = ManifestNode {
        index: 1,
        node: NodeId::from_bytes([0; 16]),
        public: *key.public_key(),
        signing: seed.public_key(),
        spki_sha256: [0; 32],
    };
    (node, response.to_bytes())
}

/// The seed that was asked for.
#[allow(clippy::disallowed_methods, reason = "how a person repeats a failure")]
fn wanted() -> Option<u64> {
    std::env::var("SYMBOLON_HISTORY").ok().map(|seed| seed.parse().unwrap())
}

/// A seed, the rule that was broken, and what had happened.
type Failure = (u64, String, Vec<String>);

/// The first failure among these seeds, searched by two threads; and what happened in the histories that kept
/// the rules.
fn first_failure(seeds: u64, bug: Option<Bug>) -> (Option<Failure>, Vec<String>) {
    let (found, told_by_all): (Mutex<Option<Failure>>, Mutex<Vec<String>>) = Default::default();
    std::thread::scope(|scope| {
        for half in 0..2 {
            let (found, told_by_all) = (&found, &told_by_all);
            scope.spawn(move || {
                for seed in (half..seeds).step_by(2) {
                    if found.lock().unwrap().is_some() {
                        return;
                    }
                    match History::run(seed, bug) {
                        Ok(history) => told_by_all.lock().unwrap().extend(history.told),
                        Err((broken, told)) => *found.lock().unwrap() = Some((seed, broken, told)),
                    }
                }
            });
        }
    });
    (found.into_inner().unwrap(), told_by_all.into_inner().unwrap())
}

#[test]
fn a_thousand_histories_keep_the_rules() {
    let (failure, told) = match wanted() {
        Some(seed) => match History::run(seed, None) {
            Ok(history) => (None, history.told),
            Err((broken, told)) => (Some((seed, broken, told)), Vec::new()),
        },
        None => first_failure(HISTORIES, None),
    };
    if let Some((seed, broken, told)) = failure {
        panic!("{broken}\nSYMBOLON_HISTORY={seed}\n{}", told.join("\n"));
    }
    match wanted() {
        Some(_) => println!("{}", told.join("\n")),
        None => all_of_it_happened(&told),
    }
}

/// Rules are easily kept where nothing happens.
fn all_of_it_happened(told: &[String]) {
    let least = [
        ("written", 500),
        ("Refresh", 50),
        ("Reshare", 50),
        ("Generate", 1050),
        ("now at share epoch 2", 50),
        ("moved to key epoch", 20),
        ("retires", 20),
        ("suspended: true", 200),
        ("up: false", 200),
        ("broker restarted", 200),
    ];
    let happened = least.map(|(what, _)| (what, told.iter().filter(|line| line.contains(what)).count()));
    println!("{happened:?}");
    for ((what, times), (_, least)) in happened.into_iter().zip(least) {
        assert!(times >= least, "\"{what}\" happened {times} times only");
    }
}

#[test]
fn mistakes_are_found() {
    for (bug, rule) in [
        (Bug::OldShareErasedAtCommit, "any t healthy nodes"),
        (Bug::UsedBeforeAllCommitted, "any t healthy nodes"),
        (Bug::RetiredWhileInUse, "a secret's key epoch"),
    ] {
        let failure = first_failure(PATIENCE, Some(bug)).0;
        let (seed, broken, _) = failure.unwrap_or_else(|| panic!("{bug:?} was not found"));
        println!("{bug:?}: found with seed {seed}: {broken}");
        assert!(broken.starts_with(rule), "{bug:?}: {broken}");
    }
}
