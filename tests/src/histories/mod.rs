//! Random histories of real services: a broker with its store, three fragment services of which it needs two,
//! each with its directory and socket, and lines between them that break. They crash, stop, start, suspend,
//! refresh, rotate and retire in an order that a seed makes. After every step the rules are checked:
//!
//! * what was written is read as it was written, or the answer is 503; it is never 404 and never another
//!   value
//! * what was never written is 404 or 503
//! * when fewer than two services answer, nothing is read once the leases of before have ended
//! * generations, key epochs and share epochs never go back, at the services and at the broker
//! * any two services' shares open what was written in the beginning: k, and with it y, stays when shares
//!   change
//! * when everything is repaired, everything can be read
//!
//! The thousand histories in `proto/tests/skb1/histories` are of simulated nodes and cover far more orders;
//! these show that disk, sockets and tasks keep what the simulation promises. Steps depend on the seed alone,
//! their outcome also on time.
//!
//! A failure prints its seed and what happened. `SYMBOLON_SITE_HISTORY=<seed>` runs that one alone and tells
//! it.

mod history;
mod link;
mod scene;

use std::sync::Mutex;

use self::history::History;

const HISTORIES: u64 = 40;
/// Much of a history is waiting for leases.
const AT_ONCE: u64 = 5;

/// The seed that was asked for.
fn wanted() -> Option<u64> {
    std::env::var("SYMBOLON_SITE_HISTORY").ok().map(|seed| seed.parse().unwrap())
}

fn run(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(History::run(seed))
}

#[test]
fn histories_of_real_services_keep_the_rules() {
    if let Some(seed) = wanted() {
        println!("{}", run(seed).join("\n"));
        return;
    }
    let told_by_all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for first in 0..AT_ONCE {
            let told_by_all = &told_by_all;
            scope.spawn(move || {
                for seed in (first..HISTORIES).step_by(AT_ONCE.try_into().unwrap()) {
                    let told = run(seed);
                    told_by_all.lock().unwrap().extend(told);
                }
            });
        }
    });
    all_of_it_happened(&told_by_all.into_inner().unwrap());
}

/// Rules are easily kept where nothing happens.
fn all_of_it_happened(told: &[String]) {
    let least = [
        ("writes: 200", 30),
        ("crashes", 15),
        ("line is cut", 7),
        ("suspends", 15),
        ("nothing opens", 8),
        ("refresh: 204", 8),
        ("remote: 200", 5),
        ("retire: 200", 1),
        ("broker crashed", 20),
        ("broker restarted", 5),
    ];
    let happened = least.map(|(what, _)| (what, told.iter().filter(|line| line.contains(what)).count()));
    println!("{happened:?}");
    for ((what, times), (_, least)) in happened.into_iter().zip(least) {
        assert!(times >= least, "\"{what}\" happened {times} times only");
    }
}
