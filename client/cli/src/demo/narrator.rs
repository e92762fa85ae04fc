//! Tells a story in named steps: says what is done, checks it, and adds up what held.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use tokio::time::Instant;

/// Where results stand in a line.
const TIME_COLUMN: usize = 96;

/// A storyteller who keeps count.
pub struct Narrator {
    out: Box<dyn Write + Send>,
    begun: Instant,
    steps: Vec<Step>,
    figures: Vec<(String, String)>,
}

/// One step and how it went.
struct Step {
    title: String,
    begun: Instant,
    took: Option<Duration>,
    held: usize,
    failed: usize,
}

impl Narrator {
    /// Tells it to a writer.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self { out, begun: Instant::now(), steps: Vec::new(), figures: Vec::new() }
    }

    /// Tells it to standard output.
    #[must_use]
    pub fn to_stdout() -> Self {
        Self::new(Box::new(io::stdout()))
    }

    /// A free line, for instance before the first step.
    pub fn remark(&mut self, text: impl Display) {
        // Who stops listening does not stop the story: the exit code still counts.
        let _ = writeln!(self.out, "{text}");
    }

    /// Ends the step under way and begins the next.
    pub fn step(&mut self, title: &str) {
        self.end_step();
        let number = self.steps.len() + 1;
        let _ = writeln!(self.out, "\n{number:>2}. {title}");
        let now = Instant::now();
        self.steps.push(Step { title: title.to_owned(), begun: now, took: None, held: 0, failed: 0 });
    }

    /// Says something about the step under way.
    pub fn say(&mut self, text: impl Display) {
        let _ = writeln!(self.out, "      {text}");
    }

    /// States a claim and whether it holds.
    pub fn check(&mut self, holds: bool, claim: impl Display) -> bool {
        self.report(holds, &claim.to_string(), "");
        holds
    }

    /// States a claim about two values that should be equal; prints both if they are not.
    pub fn check_eq<T: PartialEq + std::fmt::Debug>(
        &mut self,
        found: &T,
        expected: &T,
        claim: impl Display,
    ) -> bool {
        let holds = found == expected;
        let more = if holds { String::new() } else { format!(" (expected {expected:?}, found {found:?})") };
        self.report(holds, &claim.to_string(), &more);
        holds
    }

    fn report(&mut self, holds: bool, claim: &str, more: &str) {
        let sign = if holds { '✓' } else { '✗' };
        let _ = writeln!(self.out, "    {sign} {claim}{more}");
        if let Some(step) = self.steps.last_mut() {
            if holds {
                step.held += 1;
            } else {
                step.failed += 1;
            }
        }
    }

    /// The step under way cannot go on.
    pub fn fail(&mut self, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        self.report(false, &text, "");
    }

    /// A measured figure for the summary.
    pub fn figure(&mut self, name: &str, value: impl Display) {
        self.figures.push((name.to_owned(), value.to_string()));
    }

    fn end_step(&mut self) {
        let Some(step) = self.steps.last_mut() else { return };
        if step.took.is_none() {
            let took = step.begun.elapsed();
            step.took = Some(took);
            let _ = writeln!(self.out, "{:>TIME_COLUMN$}", shown(took));
        }
    }

    /// Ends the story with a table of all steps. True if everything held.
    pub fn finish(&mut self) -> bool {
        self.end_step();
        let _ = writeln!(self.out, "\n{:>4} {:<68} {:>8} {:>12}", "", "step", "checks", "time");
        let (mut held, mut failed) = (0, 0);
        for (index, step) in self.steps.iter().enumerate() {
            let sign = if step.failed == 0 { '✓' } else { '✗' };
            let checks = format!("{}/{}", step.held, step.held + step.failed);
            let took = shown(step.took.unwrap_or_default());
            let _ = writeln!(self.out, "{sign}{:>3} {:<68} {checks:>8} {took:>12}", index + 1, step.title);
            held += step.held;
            failed += step.failed;
        }
        let checks = format!("{held}/{}", held + failed);
        let _ =
            writeln!(self.out, "{:>4} {:<68} {checks:>8} {:>12}", "", "in all", shown(self.begun.elapsed()));
        if !self.figures.is_empty() {
            let _ = writeln!(self.out, "\nMeasured here, now:");
            for (name, value) in &self.figures {
                let _ = writeln!(self.out, "     {name:<40} {value}");
            }
        }
        failed == 0 && held > 0
    }
}

/// A duration as people read it.
#[must_use]
pub fn shown(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{:.1} ms", duration.as_secs_f64() * 1e3),
        100_000..10_000_000 => format!("{:.2} s", duration.as_secs_f64()),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn one_failed_check_fails_the_story() {
        let page = Page::default();
        let mut narrator = Narrator::new(Box::new(page.clone()));
        narrator.step("first");
        assert!(narrator.check(true, "sound"));
        narrator.step("second");
        narrator.check_eq(&1, &2, "one is two");
        narrator.figure("reads", 311);
        assert!(!narrator.finish());
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("✓ sound"), "{text}");
        assert!(text.contains("✗ one is two (expected 2, found 1)"), "{text}");
        assert!(text.contains("✗  2 second") && text.contains("1/2"), "{text}");
        assert!(text.contains("reads") && text.contains("311"), "{text}");
    }

    #[tokio::test]
    async fn a_story_without_checks_proves_nothing() {
        assert!(!Narrator::new(Box::new(io::sink())).finish());
    }

    #[test]
    fn durations_have_units() {
        let show = |micros| shown(Duration::from_micros(micros));
        assert_eq!(
            [show(12), show(1_500), show(250_000), show(61_000_000)],
            ["12 µs", "1.5 ms", "0.25 s", "61.0 s"]
        );
    }
}
