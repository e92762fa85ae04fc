//! The compromise matrix of `docs/skb1.md` section 4, run: what an attacker has is taken from a real
//! deployment, he does with it the most that this project's own code can do, and what he reads is what the
//! matrix says.
//!
//! Rows that say *all* matter as much as those that say *none*: they show that the attacker is able.
//!
//! | Row of the matrix | Where |
//! |---|---|
//! | D, B, C, R, Q, M and their sums, reachable or revoked | [`TABLE`], one line each |
//! | R<t and R≥t of a key that several services hold | [`group`] |
//! | the remote key, or an old epoch of it, destroyed; a restored backup of the service | [`destroyed`] |
//! | N; N with TLS broken | [`network`] |
//! | copied store, unsealed too | `of_two_brokers_on_copies_of_a_store_only_the_first_is_served` |
//! | hypervisor snapshot of a live broker | `a_live_twin_is_served_until_one_of_the_two_unseals` |
//! | rows put back | `rows_that_are_put_back_read_as_they_were` |

pub mod attacker;
mod destroyed;
mod group;
mod network;
pub mod victim;

use std::collections::BTreeSet;

use attacker::Loot;
use victim::{CACHED, LATER, OTHER, Victim};

/// Something that an attacker has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Has {
    /// D: the store of the sealed broker.
    Disk,
    /// B: the same from before [`LATER`] was written.
    Backup,
    /// C<t: one share of the two that are needed.
    FewShares,
    /// C≥t.
    Shares,
    /// R≥t and Rm: the fragment service's state with what opens it.
    Remote,
    /// Q: k, which a quantum computer finds from the public y.
    Quantum,
    /// M for an instant: purpose keys and the KEKs that were cached.
    Memory,
    /// The service answers whoever comes with the broker's keys.
    Reachable,
}
use Has::{Backup, Disk, FewShares, Memory, Quantum, Reachable, Remote, Shares};

/// What he reads.
type Reads = &'static [&'static str];
const NONE: Reads = &[];
const ALL: Reads = &[CACHED, OTHER, LATER];
/// What was there when the backup was made.
const BACKED_UP: Reads = &[CACHED, OTHER];
/// The bucket whose KEK was in memory.
const WHAT_WAS_CACHED: Reads = &[CACHED, LATER];

/// Without [`Reachable`] the remote is revoked or gone, as in the matrix.
const TABLE: [(&str, &[Has], Reads); 23] = [
    ("D + C>=t, remote reachable", &[Disk, Shares, Reachable], ALL),
    ("D, remote reachable", &[Disk, Reachable], NONE),
    ("D + C<t, remote reachable", &[Disk, FewShares, Reachable], NONE),
    ("D", &[Disk], NONE),
    ("B", &[Backup], NONE),
    ("D + Q", &[Disk, Quantum], NONE),
    ("C>=t", &[Shares], NONE),
    ("C<t + D", &[FewShares, Disk], NONE),
    ("C<t + D + Q", &[FewShares, Disk, Quantum], NONE),
    ("D + C>=t, remote revoked", &[Disk, Shares], NONE),
    ("D + C>=t + Q", &[Disk, Shares, Quantum], ALL),
    ("R>=t", &[Remote], NONE),
    ("R>=t + D", &[Remote, Disk], NONE),
    ("R>=t + B", &[Remote, Backup], NONE),
    ("R>=t + C>=t", &[Remote, Shares], NONE),
    ("R>=t + D + C<t", &[Remote, Disk, FewShares], NONE),
    ("R>=t + D + C>=t", &[Remote, Disk, Shares], ALL),
    ("M once, then D, remote revoked", &[Memory, Disk], WHAT_WAS_CACHED),
    ("M once, then B, remote revoked", &[Memory, Backup], &[CACHED]),
    ("M + R>=t + D", &[Memory, Remote, Disk], ALL),
    ("M + C>=t + D, remote revoked", &[Memory, Shares, Disk], WHAT_WAS_CACHED),
    ("B + C>=t, old remote key destroyed", &[Backup, Shares], NONE),
    ("B + C>=t + old remote key retained", &[Backup, Shares, Remote], BACKED_UP),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_exposes_what_the_matrix_says() {
    let victim = Victim::robbed().await;
    let (reachable, revoked): (Vec<_>, Vec<_>) =
        TABLE.into_iter().partition(|(_, has, _)| has.contains(&Reachable));
    for row in reachable {
        check(&victim, row).await;
    }
    victim.site.world.service().unwrap().suspend(None).unwrap();
    for row in revoked {
        check(&victim, row).await;
    }
}

async fn check(victim: &Victim, (row, has, expected): (&str, &[Has], Reads)) {
    let found = loot(victim, has).secrets().await;
    let expected: BTreeSet<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(found, expected, "{row}");
}

/// Exactly what a row names; what it does not name the attacker never sees.
fn loot<'a>(victim: &'a Victim, has: &[Has]) -> Loot<'a> {
    let mut loot = Loot::nothing(&victim.remote_config);
    for thing in has {
        match thing {
            Disk => loot.disk = Some(&victim.disk),
            Backup => loot.disk = Some(&victim.backup),
            FewShares => loot.shares = &victim.site.shares[..1],
            Shares => loot.shares = &victim.site.shares[..2],
            Remote => loot.remote = vec![&victim.stolen_service],
            Quantum => loot.quantum = Some(&victim.broken_key),
            Memory => loot.memory = Some(&victim.memory),
            Reachable => {}
        }
    }
    loot
}

/// D + C≥t with the remote revoked exposes no secret, but more than nothing: what K_index alone protects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_need_no_remote() {
    let victim = Victim::robbed().await;
    victim.site.world.service().unwrap().suspend(None).unwrap();
    let thief = loot(&victim, &[Disk, Shares]);
    // Names first: his tool is the broker's own code, which leaves an anchor and then finds the same loot too
    // old.
    assert!(thief.mounts().await.contains(&"other".to_owned()));
    assert!(thief.secrets().await.is_empty());
    assert!(loot(&victim, &[Disk, FewShares]).mounts().await.is_empty());
}
