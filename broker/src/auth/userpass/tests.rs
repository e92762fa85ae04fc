//! What is hashed for whom, and whom the lock keeps out.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use symbolon_core::clock::{Clock, Now};
use symbolon_core::identity::userpass::{FAILURES_MAX, LOCKED_MS, PasswordCost, PasswordHash};
use symbolon_core::path::MountPath;
use symbolon_core::token::TokenParams;

use super::gate::Refusal;
use super::*;

const PASSWORD: &str = "correct horse";
const HERE: &str = "10.0.0.1";
const ELSEWHERE: &str = "10.0.0.2";

fn alice(cost: PasswordCost) -> User {
    let password = PasswordHash::with_salt(PASSWORD, [7; 16], cost).unwrap();
    User { name: UserName::parse("alice").unwrap(), password, token: TokenParams::default() }
}

/// Milliseconds since the start.
#[derive(Default)]
struct BootClock(AtomicU64);

impl Clock for BootClock {
    fn now(&self) -> Now {
        Now { unix_ms: 0, boot_ms: self.0.load(Ordering::Relaxed) }
    }
}

struct World {
    gate: Gate,
    clock: BootClock,
    mount: MountPath,
    alice: User,
}

impl World {
    fn new() -> Self {
        Self {
            gate: Gate::default(),
            clock: BootClock::default(),
            mount: MountPath::parse("userpass").unwrap(),
            alice: alice(PasswordCost::default()),
        }
    }

    fn hashes(&self) -> usize {
        self.gate.hashes.load(Ordering::Relaxed)
    }

    async fn guess(&self, name: &str, password: &str, from: &str) -> Result<(), Refusal> {
        let user = UserName::parse(name).unwrap();
        let remote: Option<IpAddr> = Some(from.parse().unwrap());
        let password = Zeroizing::new(password.to_owned());
        let found = (user == self.alice.name).then(|| self.alice.clone());
        let attempt = Attempt { mount: &self.mount, user: &user, password, remote };
        self.gate.judge(attempt, &self.clock, || async { Ok(found.clone()) }).await.unwrap().map(drop)
    }
}

const UNKNOWN: Result<(), Refusal> = Err(Refusal::User(UserRefusal::UnknownUser));
const WRONG: Result<(), Refusal> = Err(Refusal::User(UserRefusal::WrongPassword));

#[tokio::test]
async fn an_unknown_user_costs_as_many_hashes_as_a_known_one() {
    let world = World::new();
    for (name, password, answer) in
        [("alice", PASSWORD, Ok(())), ("alice", "wrong", WRONG), ("nobody", PASSWORD, UNKNOWN)]
    {
        let before = world.hashes();
        assert_eq!(world.guess(name, password, HERE).await, answer);
        assert_eq!(world.hashes(), before + 1, "{name}");
    }
}

#[tokio::test]
async fn a_locked_source_is_refused_with_the_right_password_and_without_a_hash() {
    for name in ["alice", "nobody"] {
        let world = World::new();
        for _ in 0..FAILURES_MAX {
            assert!(matches!(world.guess(name, "wrong", HERE).await, Err(Refusal::User(_))));
        }
        let before = world.hashes();
        assert_eq!(world.guess(name, PASSWORD, HERE).await, Err(Refusal::Locked), "{name}");
        assert_eq!(world.hashes(), before);
    }
}

#[tokio::test]
async fn the_lock_ends_by_itself_by_an_operator_and_elsewhere() {
    let world = World::new();
    let lock = async || {
        for _ in 0..FAILURES_MAX {
            assert_eq!(world.guess("alice", "wrong", HERE).await, WRONG);
        }
        assert_eq!(world.guess("alice", PASSWORD, HERE).await, Err(Refusal::Locked));
    };
    lock().await;
    assert_eq!(world.guess("alice", PASSWORD, ELSEWHERE).await, Ok(()));
    assert_eq!(world.guess("alice", PASSWORD, HERE).await, Err(Refusal::Locked), "that was somebody else");
    world.gate.forget(&world.mount, &world.alice.name);
    assert_eq!(world.guess("alice", PASSWORD, HERE).await, Ok(()));
    lock().await;
    world.clock.0.fetch_add(LOCKED_MS, Ordering::Relaxed);
    assert_eq!(world.guess("alice", PASSWORD, HERE).await, Ok(()));
}

/// More guesses at once than the lock allows: those that wait meet the lock when their turn comes.
#[tokio::test]
async fn guesses_at_once_do_not_get_past_the_lock() {
    let world = World::new();
    let guesses: [_; 10] = std::array::from_fn(|_| world.guess("alice", "wrong", HERE));
    let [a, b, c, d, e, f, g, h, i, j] = guesses;
    let answers = tokio::join!(a, b, c, d, e, f, g, h, i, j);
    let answers: [_; 10] = answers.into();
    let looked_at = answers.iter().filter(|answer| **answer == WRONG).count();
    let most = FAILURES_MAX as usize + queue::AT_ONCE - 1;
    assert!((FAILURES_MAX as usize..=most).contains(&looked_at), "{looked_at}");
    assert_eq!(world.hashes(), looked_at);
    assert_eq!(world.guess("alice", PASSWORD, HERE).await, Err(Refusal::Locked));
}

/// Removed, or given another password, between the first look at the user and the end of the hash.
#[tokio::test]
async fn a_user_who_is_changed_during_the_login_is_not_let_in() {
    let world = World::new();
    let renewed = User {
        password: PasswordHash::with_salt("new", [7; 16], PasswordCost::default()).unwrap(),
        ..world.alice.clone()
    };
    for then in [None, Some(renewed)] {
        let looked = AtomicU64::new(0);
        let find = || async {
            let first = looked.fetch_add(1, Ordering::Relaxed) == 0;
            Ok(if first { Some(world.alice.clone()) } else { then.clone() })
        };
        let password = Zeroizing::new(PASSWORD.to_owned());
        let attempt = Attempt { mount: &world.mount, user: &world.alice.name, password, remote: None };
        let judged = world.gate.judge(attempt, &world.clock, find).await.unwrap();
        assert_eq!(judged.map(drop), Err(Refusal::Changed));
    }
}

#[tokio::test]
async fn a_hash_of_other_parameters_still_lets_its_user_in() {
    let mut world = World::new();
    world.alice = alice(PasswordCost::new(7 << 10, 5, 1).unwrap());
    assert_eq!(world.guess("alice", "wrong", HERE).await, WRONG);
    assert_eq!(world.guess("alice", PASSWORD, HERE).await, Ok(()));
}

#[tokio::test]
async fn a_new_password_is_hashed_in_the_same_queue_and_has_bounds() {
    let gate = Gate::default();
    let hash = gate.hash(Zeroizing::new(PASSWORD.to_owned()), None).await.unwrap();
    assert!(hash.verify(PASSWORD).unwrap());
    let long = gate.hash(Zeroizing::new("x".repeat(1025)), None).await;
    assert!(matches!(long, Err(OpError::Invalid(_))));
    assert_eq!(gate.hashes.load(Ordering::Relaxed), 2);
}
