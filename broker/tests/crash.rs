//! Kills a writing process 200 times and looks at what it left behind.
//!
//! Each round starts this test binary again as a child that opens the store, lets many callers commit at once
//! and tells every receipt over its standard output. The parent kills it (SIGKILL) at a random moment,
//! sometimes while it is still opening, and then checks, on the store as the child left it:
//!
//! * no acknowledged change and no acknowledged entry is lost,
//! * changes and entries are there in pairs: no half commit, in either direction,
//! * the log continues its signed checkpoint and verifies from the first entry to the last.
//!
//! The seed is printed; `SYMBOLON_CRASH_SEED` and `SYMBOLON_CRASH_ROUNDS` set it and the number of rounds. A
//! kill leaves the kernel's cache alive, so power cuts are another test (`store/embedded/power_tests.rs`).

// a test with processes and timing
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use symbolon_broker::audit::log::{Filter, LogReader, Range};
use symbolon_broker::audit::writer::{LogKeys, Writer};
use symbolon_broker::store::embedded::EmbeddedStore;
use symbolon_broker::store::{Expect, Scan, Store, Write};
use symbolon_core::audit::{Action, Detail, Draft, Outcome};
use symbolon_core::clock::{Clock, Now};
use symbolon_proto::hierarchy::AuditKey;
use symbolon_proto::id::{BrokerId, DeploymentId};
use symbolon_proto::log::NoteSigner;
use symbolon_proto::secret::Secret;
use symbolon_proto::signing::SigningSeed;

const ROUNDS: u64 = 200;
/// Rounds on one store before a fresh one: logs of many restarts, and checks that stay quick.
const ROUNDS_PER_STORE: u64 = 8;
const CALLERS: u64 = 32;
const VALUE_BYTES: usize = 40_000;
const CACHE_BYTES: usize = 4 << 20;
const CHILD: &str = "SYMBOLON_CRASH_CHILD";
const ACK: &str = "ack ";

#[test]
fn nothing_acknowledged_is_lost_to_a_kill() {
    let seed = number_from("SYMBOLON_CRASH_SEED").unwrap_or_else(|| RealClock.now().unix_ms);
    let rounds = number_from("SYMBOLON_CRASH_ROUNDS").unwrap_or(ROUNDS);
    println!("SYMBOLON_CRASH_SEED={seed}");
    let mut random = Random(seed | 1);
    let (mut acknowledged, mut idle_rounds) = (0, 0);
    let mut round = 0;
    while round < rounds {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("crash.redb");
        drop(EmbeddedStore::create(&path, CACHE_BYTES).unwrap());
        let mut acks = BTreeSet::new();
        for _ in 0..ROUNDS_PER_STORE.min(rounds - round) {
            let new = run_and_kill(&path, round, &mut random);
            idle_rounds += u64::from(new.is_empty());
            acks.extend(new);
            check(&path, &acks, round);
            round += 1;
        }
        acknowledged += acks.len();
    }
    println!(
        "{rounds} kills, {acknowledged} acknowledged commits, none lost; {idle_rounds} kills came before any"
    );
    assert!(idle_rounds < rounds / 2 + 1, "most kills must come under load");
    assert!(acknowledged as u64 > rounds, "the load was too small to mean anything");
}

/// What the parent was told: the caller's own name for the commit, and the receipt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ack {
    name: String,
    index: u64,
}

/// Starts a child and kills it a random time after its start, or after its first receipt.
fn run_and_kill(path: &Path, round: u64, random: &mut Random) -> Vec<Ack> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env(CHILD, path)
        .env("SYMBOLON_CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (lines, reading) = read_acks(child.stdout.take().unwrap());
    let mut acks = Vec::new();
    if random.below(4) > 0 {
        acks.extend(lines.recv_timeout(Duration::from_secs(60)).ok());
        thread::sleep(Duration::from_micros(random.below(60_000)));
    } else {
        thread::sleep(Duration::from_micros(random.below(40_000)));
    }
    kill(&mut child);
    reading.join().unwrap();
    acks.extend(lines.iter());
    acks
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.code().is_none(), "the child ended by itself: {status}");
}

fn read_acks(stdout: ChildStdout) -> (Receiver<Ack>, thread::JoinHandle<()>) {
    let (sender, receiver) = channel();
    let read = move || {
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        while stdout.read_line(&mut line).unwrap() > 0 {
            // A line cut off by the kill was not told.
            if let Some(ack) = line.strip_suffix('\n').and_then(parse_ack) {
                sender.send(ack).unwrap();
            }
            line.clear();
        }
    };
    (receiver, thread::Builder::new().spawn(read).unwrap())
}

/// libtest prints on the same line, so the mark may stand anywhere in it.
fn parse_ack(line: &str) -> Option<Ack> {
    let (name, index) = line[line.find(ACK)? + ACK.len()..].split_once(' ')?;
    Some(Ack { name: name.to_owned(), index: index.parse().ok()? })
}

fn check(path: &Path, acks: &BTreeSet<Ack>, round: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(check_store(path, acks, round));
}

async fn check_store(path: &Path, acks: &BTreeSet<Ack>, round: u64) {
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(path, CACHE_BYTES).unwrap());
    // Starting accepts only a log that ends where its checkpoint says.
    let writer = Writer::start(Arc::clone(&store), Arc::new(RealClock), keys()).await.unwrap();
    let size = writer.size();
    writer.stop().await;
    let reader = LogReader::new(Arc::clone(&store));
    if size > 0 {
        assert_eq!(reader.verify_all(keys().signer.verifier()).await.unwrap().size, size);
    }
    let names = entry_names(&reader, size).await;
    let (firsts, seconds) = (rows(store.as_ref(), 1).await, rows(store.as_ref(), 2).await);
    assert!(firsts == seconds, "round {round}: half a commit");
    let written: BTreeSet<String> = names.iter().filter(|name| name.ends_with('w')).cloned().collect();
    assert!(firsts == written, "round {round}: entries and changes do not match");
    for ack in acks {
        let entry = names.get(usize::try_from(ack.index).unwrap());
        assert_eq!(entry, Some(&ack.name), "round {round}: an acknowledged entry is lost");
        assert!(!ack.name.ends_with('w') || firsts.contains(&ack.name), "round {round}: {ack:?} is lost");
    }
}

/// The names that callers gave their commits, from the sealed details, in the order of the log.
async fn entry_names(reader: &LogReader, size: u64) -> Vec<String> {
    let keys = keys();
    let mut names = Vec::new();
    let mut range =
        Some(Range { from: 0, until: size, newest_first: false, limit: 1000, counts_only: false });
    while let Some(next) = range {
        let page = reader.search(&keys.audit, keys.deployment, &Filter::default(), next).await.unwrap();
        names.extend(page.found.into_iter().map(|found| found.detail.unwrap().request_id));
        range = page.rest;
    }
    names
}

/// Names in one of the two tables that every write touches.
async fn rows(store: &dyn Store, table: u8) -> BTreeSet<String> {
    let (from, until) = (row_key(table, ""), row_key(table + 1, ""));
    let scan = Scan { from: &from, until: &until, descending: false, limit: usize::MAX };
    let rows = store.scan(scan).await.unwrap();
    rows.into_iter()
        .map(|(key, row)| {
            assert!(key.ends_with(&row.value), "a value belongs to its key");
            String::from_utf8(row.value).unwrap()
        })
        .collect()
}

/// The child: many callers commit as fast as they get receipts, until somebody ends the process. Without the
/// variable that the parent sets, there is nothing to do.
#[test]
fn child() {
    let Some(path) = env::var_os(CHILD).map(PathBuf::from) else { return };
    let round = number_from("SYMBOLON_CRASH_ROUND").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(EmbeddedStore::open(&path, CACHE_BYTES).unwrap());
        let writer = Arc::new(Writer::start(store, Arc::new(RealClock), keys()).await.unwrap());
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| tokio::spawn(call(Arc::clone(&writer), format!("{round}-{caller}"))))
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
}

/// Two writes, then a read, and so on. Every fourth write has a value beside it that is large enough to bring
/// checkpoints about, and sometimes to go into the table at once.
async fn call(writer: Arc<Writer>, caller: String) {
    for number in 0_u64.. {
        let kind = if number % 3 == 2 { 'r' } else { 'w' };
        let name = format!("{caller}-{number}{kind}");
        let changes = if kind == 'w' { changes(&name, number) } else { Vec::new() };
        let detail = Detail { request_id: name.clone(), ..Detail::default() };
        let draft = Draft { action: Action::SecretWrite, outcome: Outcome::Allowed, detail };
        let receipt = writer.commit(changes, draft).await.unwrap();
        let line = format!("{ACK}{name} {}\n", receipt.index());
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

fn changes(name: &str, number: u64) -> Vec<Write> {
    let put = |table, value: &[u8]| Write::Put {
        key: row_key(table, name),
        value: value.to_vec(),
        expect: Expect::Absent,
    };
    let mut changes = vec![put(1, name.as_bytes()), put(2, name.as_bytes())];
    if number.is_multiple_of(4) {
        changes.push(put(9, &vec![7; VALUE_BYTES]));
    }
    changes
}

fn row_key(table: u8, name: &str) -> Vec<u8> {
    [&[9; 16], &[table][..], name.as_bytes()].concat()
}

fn keys() -> LogKeys {
    let seed = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(4)));
    LogKeys {
        audit: Arc::new(AuditKey::from_secret(Secret::filled_by(|out| out.fill(3)))),
        signer: NoteSigner::new("symbolon/crash", seed).unwrap(),
        deployment: DeploymentId::from_bytes([1; 16]),
        broker: BrokerId::from_bytes([2; 16]),
    }
}

fn number_from(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Now { unix_ms: u64::try_from(unix.as_millis()).unwrap(), boot_ms: 0 }
    }
}

/// xorshift64: repeatable, and good enough to choose moments.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
