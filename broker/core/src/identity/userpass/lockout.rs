//! Who guessed too often: five failures of one user name from one source, and it must wait fifteen minutes.
//!
//! Vault's numbers, counted more narrowly: Vault locks the user for everybody, so that whoever knows a name
//! can lock its owner out. Here the source that guessed is locked. Unknown names are counted like known ones,
//! so that a lock does not tell which exist. Kept in memory: a restart forgets.
//!
//! A source that has failed with very many names must wait with any other: else it could guess four times,
//! and push the count out of the memory with failures of names that nobody has.
//!
//! Ask [`Lockouts::is_locked`] at the moment when the hash is about to be computed, not when the request
//! arrives: then as many guesses as run at once are all that a source can have beyond the five.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::clock::Now;
use crate::path::{MountPath, UserName};
use symbolon_proto::source::Source;

/// Failures after which a source is locked.
pub const FAILURES_MAX: u32 = 5;
/// How long a source stays locked, and how long a failure counts, in milliseconds.
pub const LOCKED_MS: u64 = 15 * 60_000;
/// Names with which one source may have failed at a time. More than the people behind one address mistype.
pub const NAMES_MAX: usize = 256;
/// What is remembered in total. Beyond it the count that is closest to its end is forgotten, locks after all
/// others.
const ENTRIES_MAX: usize = 4096;

/// Who failed, where, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Guesser {
    mount: MountPath,
    user: UserName,
    source: Source,
}

/// Failures in a row, and when they are forgotten, locked or not: [`LOCKED_MS`] after the last.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    until_boot_ms: u64,
}

impl Failures {
    fn lock(&self) -> bool {
        self.count >= FAILURES_MAX
    }

    /// Whether they are not forgotten yet.
    fn count_at(&self, now: Now) -> bool {
        now.boot_ms < self.until_boot_ms
    }
}

/// Failed logins of one broker.
#[derive(Debug, Default)]
pub struct Lockouts {
    failures: HashMap<Guesser, Failures>,
}

impl Lockouts {
    /// Whether this source must not try this name now. Then the password is not even looked at.
    #[must_use]
    pub fn is_locked(&self, mount: &MountPath, user: &UserName, remote: Option<IpAddr>, now: Now) -> bool {
        let guesser = guesser(mount, user, remote);
        match self.failures.get(&guesser).filter(|failures| failures.count_at(now)) {
            Some(failures) => failures.lock(),
            None => self.names_of(&guesser.source, now) >= NAMES_MAX,
        }
    }

    fn names_of(&self, source: &Source, now: Now) -> usize {
        let of_source =
            |(guesser, failures): &(&Guesser, &Failures)| guesser.source == *source && failures.count_at(now);
        self.failures.iter().filter(of_source).count()
    }

    /// Counts a failure. One that ran while the source was being locked does not lengthen the lock.
    pub fn failed(&mut self, mount: &MountPath, user: &UserName, remote: Option<IpAddr>, now: Now) {
        let guesser = guesser(mount, user, remote);
        let before = self.failures.get(&guesser).filter(|failures| failures.count_at(now));
        if before.is_some_and(Failures::lock) {
            return;
        }
        let count = before.map_or(0, |failures| failures.count) + 1;
        if !self.failures.contains_key(&guesser) {
            self.make_room(now);
        }
        let until_boot_ms = now.boot_ms.saturating_add(LOCKED_MS);
        self.failures.insert(guesser, Failures { count, until_boot_ms });
    }

    /// The right password came: what this source failed before no longer counts.
    pub fn succeeded(&mut self, mount: &MountPath, user: &UserName, remote: Option<IpAddr>) {
        self.failures.remove(&guesser(mount, user, remote));
    }

    /// Forgets all failures of a user, from wherever: an operator gave out a new password, or removed the
    /// user.
    pub fn forget(&mut self, mount: &MountPath, user: &UserName) {
        self.failures.retain(|guesser, _| guesser.mount != *mount || guesser.user != *user);
    }

    fn make_room(&mut self, now: Now) {
        if self.failures.len() < ENTRIES_MAX {
            return;
        }
        self.failures.retain(|_, failures| failures.count_at(now));
        if self.failures.len() < ENTRIES_MAX {
            return;
        }
        let first =
            self.failures.iter().min_by_key(|(_, failures)| (failures.lock(), failures.until_boot_ms));
        if let Some(guesser) = first.map(|(guesser, _)| guesser.clone()) {
            self.failures.remove(&guesser);
        }
    }
}

fn guesser(mount: &MountPath, user: &UserName, remote: Option<IpAddr>) -> Guesser {
    Guesser { mount: mount.clone(), user: user.clone(), source: Source::of(remote) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    struct World {
        lockouts: Lockouts,
        mount: MountPath,
    }

    impl World {
        fn new() -> Self {
            Self { lockouts: Lockouts::default(), mount: MountPath::parse("userpass").unwrap() }
        }

        fn fail(&mut self, user: &str, remote: &str, boot_ms: u64) {
            self.lockouts.failed(&self.mount, &name(user), address(remote), at(boot_ms));
        }

        fn locked(&self, user: &str, remote: &str, boot_ms: u64) -> bool {
            self.lockouts.is_locked(&self.mount, &name(user), address(remote), at(boot_ms))
        }

        fn lock(&mut self, user: &str, remote: &str, boot_ms: u64) {
            for _ in 0..FAILURES_MAX {
                assert!(!self.locked(user, remote, boot_ms));
                self.fail(user, remote, boot_ms);
            }
            assert!(self.locked(user, remote, boot_ms));
        }
    }

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn at(boot_ms: u64) -> Now {
        Now { unix_ms: 0, boot_ms }
    }

    #[test]
    fn five_failures_lock_this_name_from_this_source_for_fifteen_minutes() {
        let mut world = World::new();
        world.lock("alice", "10.0.0.1", 1000);
        assert!(world.locked(" ALICE ", "10.0.0.1", 1000), "another spelling is the same user");
        assert!(world.locked("alice", "::ffff:10.0.0.1", 1000), "another spelling is the same source");
        assert!(!world.locked("bob", "10.0.0.1", 1000));
        assert!(!world.locked("alice", "10.0.0.2", 1000), "its owner can log in from elsewhere");
        let other = MountPath::parse("other").unwrap();
        assert!(!world.lockouts.is_locked(&other, &name("alice"), address("10.0.0.1"), at(1000)));
        world.fail("alice", "10.0.0.1", 2000);
        assert!(world.locked("alice", "10.0.0.1", 999 + LOCKED_MS));
        assert!(!world.locked("alice", "10.0.0.1", 1000 + LOCKED_MS), "a failure meanwhile changes nothing");
        world.lock("alice", "10.0.0.1", 1000 + LOCKED_MS);
    }

    #[test]
    fn failures_are_forgotten_after_fifteen_minutes_and_after_a_success() {
        let mut world = World::new();
        for minute in 0..4 {
            world.fail("alice", "10.0.0.1", minute * 60_000);
        }
        world.fail("alice", "10.0.0.1", 3 * 60_000 + LOCKED_MS);
        assert!(!world.locked("alice", "10.0.0.1", 3 * 60_000 + LOCKED_MS));
        world.lockouts.succeeded(&world.mount, &name("alice"), address("10.0.0.1"));
        world.lock("alice", "10.0.0.1", 4 * 60_000 + LOCKED_MS);
        world.lockouts.forget(&world.mount, &name("bob"));
        assert!(world.locked("alice", "10.0.0.1", 4 * 60_000 + LOCKED_MS));
        world.lockouts.forget(&world.mount, &name("alice"));
        assert!(!world.locked("alice", "10.0.0.1", 4 * 60_000 + LOCKED_MS));
    }

    #[test]
    fn one_network_is_one_source() {
        let mut world = World::new();
        world.lock("alice", "2001:db8::1", 0);
        assert!(world.locked("alice", "2001:db8::2", 0) && !world.locked("alice", "2001:db8:0:1::1", 0));
    }

    /// Four guesses at a time, with as many other names in between as make the count forgotten.
    #[test]
    fn a_source_cannot_push_its_own_failures_out() {
        let mut world = World::new();
        let (mut guesses, mut others) = (0, 0);
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                if !world.locked("alice", "10.0.0.1", 0) {
                    world.fail("alice", "10.0.0.1", 0);
                    guesses += 1;
                }
            }
            for _ in 0..ENTRIES_MAX {
                others += 1;
                if !world.locked(&format!("user{others}"), "10.0.0.1", 0) {
                    world.fail(&format!("user{others}"), "10.0.0.1", 0);
                }
            }
        }
        assert_eq!(guesses, FAILURES_MAX);
        assert_eq!(world.lockouts.failures.len(), NAMES_MAX);
        assert!(!world.locked("user-of-elsewhere", "10.0.0.2", 0));
        assert!(!world.locked("user1", "10.0.0.1", LOCKED_MS), "it may go on when they are forgotten");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_locks_are_forgotten_last() {
        let mut world = World::new();
        world.lock("alice", "10.0.0.1", 0);
        for number in 0..2 * ENTRIES_MAX {
            world.fail(&format!("user{number}"), "10.0.0.1", 1 + number as u64);
        }
        assert_eq!(world.lockouts.failures.len(), ENTRIES_MAX);
        assert!(world.locked("alice", "10.0.0.1", 1));
        let last = 2 * ENTRIES_MAX - 1;
        for _ in 1..FAILURES_MAX {
            world.fail(&format!("user{last}"), "10.0.0.1", 1 + last as u64);
        }
        assert!(world.locked(&format!("user{last}"), "10.0.0.1", 1 + last as u64), "the newest were kept");
    }

    #[test]
    fn what_has_ended_makes_room_first() {
        let mut world = World::new();
        for number in 0..ENTRIES_MAX {
            world.fail(&format!("user{number}"), "10.0.0.1", 0);
        }
        world.fail("alice", "10.0.0.1", LOCKED_MS);
        assert_eq!(world.lockouts.failures.len(), 1);
    }
}
