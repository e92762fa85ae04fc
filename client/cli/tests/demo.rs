//! The demonstration holds, says so by its exit code, and prints what the README promises.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

use std::process::Command;

const UNITS: [&str; 4] = ["ns", "µs", "ms", "s"];

#[test]
fn every_step_of_the_demonstration_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_symbolon")).arg("demo").env_clear().output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!told.contains('✗'), "{told}");
    for number in 1..=12 {
        assert!(told.contains(&format!("✓{number:>3} ")), "step {number} is not in the table:\n{told}");
    }
    let readme = std::fs::read_to_string(symbolon_repository::root().join("README.md")).unwrap();
    let promised: Vec<&str> = transcript(&readme).collect();
    assert!(promised.len() > 30, "the README has no transcript of the demonstration");
    assert_eq!(
        broken(&promised, &told),
        None,
        "the README promises a line that was not printed here:\n{told}"
    );
}

/// The lines of its first block of text.
fn transcript(readme: &str) -> impl Iterator<Item = &str> {
    let lines = readme.lines().skip_while(|line| *line != "```text").skip(1);
    lines.take_while(|line| *line != "```").filter(|line| !line.trim().is_empty())
}

/// The first line that was not printed, or not in this order.
fn broken<'a>(promised: &[&'a str], told: &str) -> Option<&'a str> {
    let mut printed = told.lines().map(masked);
    promised.iter().find(|line| !printed.any(|other| other == masked(line))).copied()
}

/// A line without what differs from run to run: numbers, units of time, padding.
fn masked(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(without_numbers).collect();
    for at in 1..words.len() {
        if words[at - 1].ends_with('#') && UNITS.contains(&words[at].as_str()) {
            "t".clone_into(&mut words[at]);
        }
    }
    words.join(" ")
}

/// `6/6` is `#/#`, `34.5` is `#`.
fn without_numbers(word: &str) -> String {
    let digits_as_one = |c: char| if c.is_ascii_digit() { '#' } else { c };
    let mut masked: String = word.chars().map(digits_as_one).collect();
    for doubled in ["##", "#.#"] {
        while masked.contains(doubled) {
            masked = masked.replace(doubled, "#");
        }
    }
    masked
}

#[test]
fn a_readme_that_promises_another_line_or_order_is_found() {
    let told = "✓ reads answer 503 1.02 s later\n✓  4 A homelab   2/2   0.30 s\n";
    assert_eq!(broken(&["✓ reads answer 503 9 ms later", "✓ 4 A homelab 12/2 1 s"], told), None);
    assert_eq!(
        broken(&["✓ 4 A homelab 2/2 1 s", "✓ reads answer 503 1 s later"], told),
        Some("✓ reads answer 503 1 s later")
    );
    assert_eq!(broken(&["✓ reads answer 503 soon"], told), Some("✓ reads answer 503 soon"));
}
