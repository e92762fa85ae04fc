//! Fill a broker with secrets, then read them as fast as it answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::machine::{self, Machine};
use super::report::{Cost, Filled, Floor, Reads, Report, Size};
use super::requests::{self, Health, Question, Read};
use super::times::Times;
use super::{LoadError, Plan, log_size};
use crate::operator::Operator;
use symbolon::Token;

/// Time before the reads that count: every connection is up, every key is open.
const WARM_UP: Duration = Duration::from_secs(1);
/// Time of the requests that ask for nothing.
const FLOOR_TIME: Duration = Duration::from_secs(2);
/// Reads per connection and second that are remembered without growing a list.
const READS_EXPECTED: u64 = 1000;

/// A broker under load.
pub struct Target {
    /// Where it is.
    pub endpoint: Endpoint,
    /// For the calls around the load.
    pub client: Operator,
    /// Mount of the secrets; they lie below `load/`.
    pub mount: String,
    /// May write them.
    pub writer: Token,
    /// May read them; connections take these in turn.
    pub readers: Vec<Token>,
    /// The broker's process, if it runs here.
    pub pid: Option<u32>,
    /// The broker's store, if it lies here.
    pub store: Option<PathBuf>,
}

impl Target {
    /// How large the broker is now.
    fn size(&self) -> Size {
        Size {
            resident: self.pid.and_then(|pid| machine::resident(pid).ok()),
            store_bytes: self.store.as_ref().and_then(|path| path.metadata().ok()).map(|file| file.len()),
        }
    }
}

/// What the connections have in common.
struct Common {
    endpoint: Endpoint,
    mount: String,
    plan: Plan,
}

/// Writes every secret of the plan, then reads them; tells what it does meanwhile.
pub async fn run(plan: Plan, target: &Target, mut tell: impl FnMut(&str)) -> Result<Report, LoadError> {
    let common = Arc::new(Common { endpoint: target.endpoint.clone(), mount: target.mount.clone(), plan });
    tell("writing secrets");
    let filled = fill(&common, target).await?;
    tell("asking for nothing");
    let floor = floor(&common, target).await?;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        tell(&format!("reading secrets, round {round} of {}", plan.rounds));
        rounds.push(read(&common, target).await?);
    }
    Ok(Report { machine: Machine::here(), plan, filled, floor, rounds })
}

/// What no read is faster than: requests over as many connections that touch nothing, and a sync of the disk
/// below the store while nobody else writes.
async fn floor(common: &Arc<Common>, target: &Target) -> Result<Floor, LoadError> {
    let sync = target.store.as_deref().and_then(Path::parent).map(machine::sync_time).transpose()?;
    let shared = Arc::clone(common);
    let (totals, took) = on_one_thread(move || async move {
        let question = Health::new(&shared.endpoint);
        let connections = shared.plan.connections;
        ask_all(shared, FLOOR_TIME, std::iter::repeat_n(question, connections)).await
    })
    .await?;
    let counted = totals.times.count();
    let [p50, ..] = totals.times.within([500, 990, 999]);
    Ok(Floor { counted, took, p50, sync })
}

async fn fill(common: &Arc<Common>, target: &Target) -> Result<Filled, LoadError> {
    let (common, token) = (Arc::clone(common), target.writer.clone());
    let begun = Instant::now();
    on_one_thread(move || async move {
        let next = Arc::new(AtomicU32::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..common.plan.connections {
            tasks.spawn(write_all(Arc::clone(&common), token.clone(), Arc::clone(&next)));
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(std::io::Error::other)??;
        }
        Ok(())
    })
    .await?;
    Ok(Filled { took: begun.elapsed(), size: target.size() })
}

async fn write_all(common: Arc<Common>, token: Token, next: Arc<AtomicU32>) -> Result<(), LoadError> {
    let Common { endpoint, mount, plan } = &*common;
    let mut connection = endpoint.connect().await?;
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= plan.secrets {
            return Ok(());
        }
        let request = requests::write(endpoint, mount, token.expose(), index, plan.value_bytes);
        let answer = connection.ask(&request).await?;
        if answer.status != 200 {
            return Err(LoadError::Fill { index, status: answer.status });
        }
    }
}

async fn read(common: &Arc<Common>, target: &Target) -> Result<Reads, LoadError> {
    let (shared, readers) = (Arc::clone(common), target.readers.clone());
    let entries_before = log_size(&target.client).await?;
    let meter = CostMeter::start(target.pid);
    let (totals, took) = on_one_thread(move || async move {
        let (endpoint, mount, plan) = (shared.endpoint.clone(), shared.mount.clone(), shared.plan);
        let readers = readers.iter().cycle().take(plan.connections);
        let questions = readers.map(move |reader| Read::new(&endpoint, &mount, reader.expose()));
        ask_all(shared, Duration::from_secs(plan.seconds), questions).await
    })
    .await?;
    let cost = meter.stop(totals.all);
    let entries = log_size(&target.client).await? - entries_before;
    let counted = totals.times.count();
    let [p50, p99, p999] = totals.times.within([500, 990, 999]);
    Ok(Reads {
        counted,
        took,
        within: [p50, p99, p999],
        all: totals.all,
        wrong: totals.wrong,
        entries,
        cost,
        size: target.size(),
    })
}

/// What one connection saw, or all of them.
#[derive(Default)]
struct Totals {
    times: Times,
    all: u64,
    wrong: u64,
}

/// Has one connection for each question, and asks for so long.
async fn ask_all<Q: Question + Send + 'static>(
    common: Arc<Common>,
    time: Duration,
    questions: impl Iterator<Item = Q>,
) -> Result<(Totals, Duration), LoadError> {
    let begun = Instant::now() + WARM_UP;
    let until = begun + time;
    let mut tasks = JoinSet::new();
    for (number, question) in questions.enumerate() {
        tasks.spawn(ask_until(Arc::clone(&common), question, number, begun, until));
    }
    let mut totals = Totals::default();
    while let Some(done) = tasks.join_next().await {
        let one = done.map_err(std::io::Error::other)??;
        totals.times.merge(one.times);
        totals.all += one.all;
        totals.wrong += one.wrong;
    }
    Ok((totals, until - begun))
}

/// Asks about one secret after the other, in an order that looks random and repeats; counts what is answered
/// in time.
async fn ask_until(
    common: Arc<Common>,
    mut question: impl Question,
    number: usize,
    begun: Instant,
    until: Instant,
) -> Result<Totals, LoadError> {
    let mut connection = common.endpoint.connect().await?;
    let mut order = Order::new(number, common.plan.secrets);
    let expected = usize::try_from(common.plan.seconds * READS_EXPECTED).unwrap_or(0);
    let mut totals = Totals { times: Times::with_capacity(expected), ..Totals::default() };
    let mut asked = Instant::now();
    while asked < until {
        let answer = connection.ask(question.aim(order.next())).await?;
        let answered = Instant::now();
        totals.all += 1;
        if !question.is_answered_by(&answer) {
            totals.wrong += 1;
        } else if asked >= begun && answered <= until {
            totals.times.add(answered - asked);
        }
        asked = answered;
    }
    Ok(totals)
}

/// A xorshift generator: cheap, and different for every connection.
struct Order {
    state: u64,
    secrets: u32,
}

impl Order {
    fn new(connection: usize, secrets: u32) -> Self {
        let seed = u64::try_from(connection).unwrap_or(0) + 1;
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), secrets }
    }

    fn next(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        u32::try_from(((self.state >> 32) * u64::from(self.secrets)) >> 32)
            .expect("less than the number of secrets")
    }
}

/// Processor time from one moment to another.
struct CostMeter {
    pid: Option<u32>,
    begun: Instant,
    before: Used,
}

/// Processor time so far.
struct Used {
    broker: Option<Duration>,
    generator: Duration,
    all: Duration,
}

impl Used {
    fn now(pid: Option<u32>) -> Self {
        Self {
            broker: pid.and_then(|pid| machine::used_by(pid).ok()),
            generator: machine::used_by(std::process::id()).unwrap_or_default(),
            all: machine::used_by_all().unwrap_or_default(),
        }
    }
}

impl CostMeter {
    fn start(pid: Option<u32>) -> Self {
        Self { pid, begun: Instant::now(), before: Used::now(pid) }
    }

    fn stop(self, requests: u64) -> Cost {
        let (before, after) = (self.before, Used::now(self.pid));
        let broker = before.broker.zip(after.broker).map(|(before, after)| after.saturating_sub(before));
        let generator = after.generator.saturating_sub(before.generator);
        let all = after.all.saturating_sub(before.all);
        let others = all.saturating_sub(broker.unwrap_or_default() + generator);
        Cost { requests, took: self.begun.elapsed(), broker, generator, others }
    }
}

/// Runs on a thread with a runtime of its own: no task moves between cores, no core is woken in vain. Ends
/// early when nobody waits any more.
async fn on_one_thread<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, LoadError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, LoadError>>,
{
    let (_waiting, nobody_waits) = oneshot::channel::<()>();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                done = work() => done,
                _ = nobody_waits => Err(LoadError::Interrupted),
            }
        })
    };
    tokio::task::spawn_blocking(run).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_stay_within_and_differ() {
        let (mut one, mut other) = (Order::new(0, 1000), Order::new(1, 1000));
        let reads: Vec<(u32, u32)> = (0..1000).map(|_| (one.next(), other.next())).collect();
        assert!(reads.iter().all(|(a, b)| *a < 1000 && *b < 1000));
        assert!(reads.iter().filter(|(a, b)| a == b).count() < 20);
        let seen: std::collections::BTreeSet<u32> = reads.iter().map(|(a, _)| *a).collect();
        assert!(seen.len() > 500, "{}", seen.len());
    }
}
