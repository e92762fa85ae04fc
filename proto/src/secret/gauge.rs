//! Measures how deep key work writes into the stack: for tests, in which every use of [`super::wiping`] must
//! turn out to be covered. Compiled into tests only, and inert there until [`measure`] is called.
//!
//! The stack below the work is painted before it and looked through after it. Work within work answers for
//! itself: what it left is painted over, as it would have been wiped.

use core::cell::RefCell;
use core::hint::black_box;
use core::panic::Location;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of stack below a piece of work that are looked at. The thread needs them, and more for its own.
pub const PAINTED_BYTES: usize = 1 << 20;
const PAINT: u8 = 0xC5;
const BLOCK: usize = 4096;

/// One use of `wiping` and how deep the work went.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Where `wiping` is called.
    pub place: &'static Location<'static>,
    /// Bytes below the frame of `wiping` that the work has written.
    pub written: usize,
    /// Bytes that are wiped.
    pub wiped: usize,
}

/// Work under way.
struct Running {
    place: &'static Location<'static>,
    wiped: usize,
    /// Address of a value in the frame of `wiping`.
    frame: usize,
    /// Lowest address written so far, as seen by work within it.
    lowest: usize,
}

#[derive(Default)]
struct Gauge {
    running: Vec<Running>,
    measured: Vec<Measured>,
}

thread_local! {
    static GAUGE: RefCell<Option<Gauge>> = const { RefCell::new(None) };
}

/// Runs `work` on a thread with room, and answers every use of `wiping` that it came to.
///
/// # Panics
/// If the work does, or the stack cannot be read.
pub fn measure(work: impl FnOnce() + Send) -> Vec<Measured> {
    let measuring = || {
        GAUGE.set(Some(Gauge::default()));
        work();
        GAUGE.take().map(|gauge| gauge.measured).unwrap_or_default()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(16 * PAINTED_BYTES);
        thread.spawn_scoped(scope, measuring).expect("a thread can be had").join().expect("the work ended")
    })
}

/// Measures `work`, which must come to every call of `wiping` in the sources below `src`, and asserts that
/// each wipe reaches a third further than the deepest that was written there.
///
/// # Panics
/// If one does not, if a call is not reached, or if hardly any is found.
pub fn check(src: &Path, calls_min: usize, work: impl FnOnce() + Send) {
    let mut all: BTreeMap<String, Measured> = BTreeMap::new();
    for one in measure(work) {
        let known = all.entry(format!("{}:{}", one.place.file(), one.place.line())).or_insert(one);
        known.written = known.written.max(one.written);
    }
    let mut expected = Vec::new();
    calls(src, &mut expected);
    assert!(expected.len() >= calls_min, "only {} calls are in the sources", expected.len());
    let missed: Vec<_> = expected.iter().filter(|call| !all.keys().any(|at| call.ends_with(at))).collect();
    assert!(missed.is_empty(), "key work that the test must come to: {missed:#?}");
    let shallow = all.iter().filter(|(_, one)| 4 * one.written > 3 * one.wiped);
    let shallow: Vec<_> =
        shallow.map(|(at, one)| format!("{at} writes {} of {} bytes", one.written, one.wiped)).collect();
    assert!(shallow.is_empty(), "wipes that are too shallow: {shallow:#?}");
}

/// `path:line` of every call of `wiping` and `wiping_deep` in the sources, but for this module's own.
fn calls(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("the sources are there") {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() && !path.ends_with("secret") {
            calls(&path, found);
        } else if path.is_file() {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let call = |line: &&str| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains("wiping(") || code.contains("wiping_deep(")
            };
            let lines = (1..).zip(text.lines()).filter(|(_, line)| call(line));
            found.extend(lines.map(|(number, _)| format!("{}:{number}", path.display())));
        }
    }
}

/// Before the work: paints. The answer is for [`end`].
#[inline(never)]
pub(super) fn begin(place: &'static Location<'static>, wiped: usize) -> bool {
    let here = 0_u8;
    let frame = black_box(&raw const here).addr();
    let active = GAUGE.with_borrow_mut(|gauge| {
        let Some(gauge) = gauge else { return false };
        if let Some(outer) = gauge.running.last_mut() {
            outer.lowest = outer.lowest.min(lowest_written(outer.frame, frame));
        }
        gauge.running.push(Running { place, wiped, frame, lowest: frame });
        true
    });
    if active {
        paint();
    }
    active
}

/// After the work: looks how deep it went and paints over it. Whether it did, and the wipe is not needed.
#[inline(never)]
pub(super) fn end(active: bool) -> bool {
    if !active {
        return false;
    }
    GAUGE.with_borrow_mut(|gauge| {
        let gauge = gauge.as_mut().expect("begun on this thread");
        let done = gauge.running.pop().expect("begun");
        let lowest = done.lowest.min(lowest_written(done.frame, done.frame));
        let Running { place, wiped, frame, .. } = done;
        gauge.measured.push(Measured { place, written: frame - lowest, wiped });
    });
    paint();
    true
}

#[inline(never)]
fn paint() {
    let mut frame = [PAINT; PAINTED_BYTES];
    black_box(&mut frame);
}

/// The lowest block that is no longer all paint, from [`PAINTED_BYTES`] below `painted` up to `frame`.
fn lowest_written(painted: usize, frame: usize) -> usize {
    let memory = File::open("/proc/self/mem").expect("a process may read its own memory");
    let (mut block, paint) = (vec![0; BLOCK], vec![PAINT; BLOCK]);
    let written = |at: &usize| {
        memory.read_exact_at(&mut block, *at as u64).expect("the painted stack is there");
        block != paint
    };
    (painted - PAINTED_BYTES + BLOCK..frame).step_by(BLOCK).find(written).unwrap_or(frame)
}
