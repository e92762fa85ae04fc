//! What came out, in words.

use std::fmt;
use std::time::Duration;

use super::Plan;
use super::machine::{Machine, Resident};

/// The result of a load.
#[derive(Debug)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// How much.
    pub plan: Plan,
    /// Writing the secrets.
    pub filled: Filled,
    /// What no read is faster than.
    pub floor: Floor,
    /// Reading them, round by round.
    pub rounds: Vec<Reads>,
}

/// Writing.
#[derive(Debug)]
pub struct Filled {
    /// Time for all.
    pub took: Duration,
    /// The broker afterwards.
    pub size: Size,
}

/// What any request costs, and any durable one.
#[derive(Debug)]
pub struct Floor {
    /// Requests for `sys/health` within the time that counts.
    pub counted: usize,
    /// That time.
    pub took: Duration,
    /// What half of them kept within.
    pub p50: Duration,
    /// What half of the writes of one block kept within, each with its sync, in the directory of the store.
    pub sync: Option<Duration>,
}

/// One round of reading.
#[derive(Debug)]
pub struct Reads {
    /// Reads asked and answered within the time that counts.
    pub counted: usize,
    /// That time.
    pub took: Duration,
    /// What half, 99 % and 99.9 % of them kept within.
    pub within: [Duration; 3],
    /// Reads before, during and after that time.
    pub all: u64,
    /// Of which another answer came than the secret.
    pub wrong: u64,
    /// Entries that the audit log has grown by meanwhile.
    pub entries: u64,
    /// Processor time of all of them.
    pub cost: Cost,
    /// The broker afterwards.
    pub size: Size,
}

/// How large a broker is, as far as it can be seen from here.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Its memory.
    pub resident: Option<Resident>,
    /// Length of its store.
    pub store_bytes: Option<u64>,
}

/// Processor time of a number of requests.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// How many.
    pub requests: u64,
    /// Time in which they were made.
    pub took: Duration,
    /// The broker's, if its process is known.
    pub broker: Option<Duration>,
    /// This process's.
    pub generator: Duration,
    /// Everybody else's on this machine: what disturbed the measurement. A broker that is not known is among
    /// them.
    pub others: Duration,
}

impl Reads {
    /// Answered reads a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.counted as f64 / self.took.as_secs_f64()
    }

    /// Every read gave its secret and left its entry. The broker may add entries of its own on top.
    #[must_use]
    pub fn held(&self) -> bool {
        self.wrong == 0 && self.counted > 0 && self.entries >= self.all
    }
}

impl Cost {
    /// The share of `cores` that others took, in percent.
    #[must_use]
    pub fn others_percent(&self, cores: usize) -> f64 {
        100.0 * self.others.as_secs_f64() / (self.took.as_secs_f64() * cores as f64)
    }

    /// Microseconds per request.
    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.requests.max(1) as f64
    }
}

impl Report {
    /// Every round held.
    #[must_use]
    pub fn held(&self) -> bool {
        !self.rounds.is_empty() && self.rounds.iter().all(Reads::held)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, plan, filled, floor, rounds } = self;
        let Machine { cpu, cores, memory_bytes, kernel } = machine;
        let Plan { secrets, value_bytes, connections, seconds, .. } = plan;
        writeln!(f, "machine  {cpu}, {cores} cores, {}, Linux {kernel}", mib(*memory_bytes))?;
        writeln!(
            f,
            "load     {secrets} secrets of {value_bytes} bytes, {connections} connections, {seconds} s a round"
        )?;
        let (took, rate) = (filled.took.as_secs_f64(), f64::from(*secrets) / filled.took.as_secs_f64());
        writeln!(f, "written  {rate:.0}/s, {took:.1} s for all; {}", filled.size)?;
        writeln!(f, "floor    {floor}\n")?;
        writeln!(
            f,
            "{:>8} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9}   µs of processor a read",
            "reads/s", "p50", "p99", "p99.9", "wrong", "reads", "entries"
        )?;
        for reads in rounds {
            write_round(f, reads, *cores)?;
        }
        let size = rounds.last().map_or(filled.size, |reads| reads.size);
        writeln!(f, "\nread     {size}")
    }
}

fn write_round(f: &mut fmt::Formatter<'_>, reads: &Reads, cores: usize) -> fmt::Result {
    let [p50, p99, p999] = reads.within.map(|time| format!("{:.2} ms", time.as_secs_f64() * 1e3));
    let Reads { cost, wrong, all, entries, .. } = reads;
    writeln!(
        f,
        "{:>8.0} {p50:>9} {p99:>9} {p999:>9} {wrong:>7} {all:>9} {entries:>9}   broker {}, generator {:.1}; others took {:.0} % of the machine",
        reads.rate(),
        cost.broker.map_or_else(|| "unknown".to_owned(), |broker| format!("{:.1}", cost.each(broker))),
        cost.each(cost.generator),
        cost.others_percent(cores),
    )
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counted, took, p50, sync } = self;
        let (rate, ms) = (*counted as f64 / took.as_secs_f64(), p50.as_secs_f64() * 1e3);
        write!(f, "sys/health {rate:.0}/s, p50 {ms:.2} ms")?;
        match sync {
            Some(sync) => {
                write!(
                    f,
                    "; a block written and synced beside the store: p50 {:.2} ms",
                    sync.as_secs_f64() * 1e3
                )
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.resident {
            Some(Resident { total, anonymous, highest }) => {
                write!(
                    f,
                    "broker {} resident ({} without files, {} at most)",
                    mib(*total),
                    mib(*anonymous),
                    mib(*highest)
                )?;
            }
            None => f.write_str("memory of the broker unknown")?,
        }
        match self.store_bytes {
            Some(bytes) => write!(f, ", store {}", mib(bytes)),
            None => Ok(()),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads() -> Reads {
        let second = Duration::from_secs(1);
        Reads {
            counted: 20_000,
            took: second,
            within: [Duration::from_micros(2900); 3],
            all: 22_000,
            wrong: 0,
            entries: 22_000,
            cost: Cost {
                requests: 22_000,
                took: second,
                broker: Some(second),
                generator: second / 10,
                others: second / 2,
            },
            size: Size { resident: None, store_bytes: None },
        }
    }

    #[test]
    fn a_read_without_its_secret_or_entry_does_not_hold() {
        assert!(reads().held());
        assert!(Reads { entries: 22_001, ..reads() }.held(), "a heartbeat may leave an entry, too");
        assert!(!Reads { entries: 21_999, ..reads() }.held());
        assert!(!Reads { wrong: 1, ..reads() }.held());
        assert!(!Reads { counted: 0, all: 0, ..reads() }.held());
    }

    #[test]
    fn shares_are_of_the_whole_machine() {
        assert_eq!(format!("{:.0}", reads().cost.others_percent(2)), "25");
        assert_eq!(format!("{:.1}", reads().cost.each(Duration::from_secs(1))), "45.5");
    }
}
