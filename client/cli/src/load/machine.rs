//! What this runs on, and what a process costs it: read from `/proc`, which every user may.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

/// The kernel counts in hundredths of a second towards users, on every architecture that Rust's standard
/// library knows.
const TICK: Duration = Duration::from_millis(10);

/// The machine, for the head of a report.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Release of the kernel.
    pub kernel: String,
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Everything: `VmRSS`.
    pub total: u64,
    /// Of which heap, stacks and caches: `RssAnon`.
    pub anonymous: u64,
    /// The most there ever was: `VmHWM`.
    pub highest: u64,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown processor").to_owned();
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib(&read("/proc/meminfo"), "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// Resident memory of a process.
pub fn resident(pid: u32) -> io::Result<Resident> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(Resident {
        total: kib(&status, "VmRSS"),
        anonymous: kib(&status, "RssAnon"),
        highest: kib(&status, "VmHWM"),
    })
}

/// Writes of a block that [`sync_time`] makes.
const SYNCS: usize = 200;

/// What half of a number of writes in a directory kept within, each with its sync: a block of 4 KiB, again
/// and again at the same place of a file that has its space.
pub fn sync_time(directory: &Path) -> io::Result<Duration> {
    let file = tempfile::tempfile_in(directory)?;
    let mut times: Vec<Duration> = (0..=SYNCS)
        .map(|_| {
            let begun = Instant::now();
            file.write_all_at(&[1; 4096], 0).and_then(|()| file.sync_data()).map(|()| begun.elapsed())
        })
        .skip(1)
        .collect::<io::Result<_>>()?;
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Processor time of a process so far, in user and kernel mode.
pub fn used_by(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is a name in parentheses and may hold anything; utime and stime are the 12th and 13th
    // after it.
    let after = stat.rsplit(')').next().unwrap_or_default();
    Ok(ticks(after.split_whitespace().skip(11).take(2)))
}

/// Processor time that was used by everything on the machine so far.
pub fn used_by_all() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let all = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal
    let fields = all.split_whitespace().skip(1).take(8).enumerate();
    Ok(ticks(fields.filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, text)| text)))
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    let count: u64 = fields.filter_map(|text| text.parse::<u64>().ok()).sum();
    TICK * u32::try_from(count).unwrap_or(u32::MAX)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

fn kib(text: &str, name: &str) -> u64 {
    let kib = field(text, name).and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_has_memory_and_this_machine_has_cores() {
        let resident = resident(std::process::id()).unwrap();
        assert!(resident.total > 1 << 20 && resident.anonymous <= resident.total);
        assert!(resident.highest >= resident.total);
        let machine = Machine::here();
        assert!(machine.cores >= 1 && machine.memory_bytes > 1 << 20 && !machine.kernel.is_empty());
        assert!(used_by_all().unwrap() >= used_by(std::process::id()).unwrap());
    }
}
