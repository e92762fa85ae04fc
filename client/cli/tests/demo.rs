//! The demonstration holds, and says so by its exit code.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn every_step_of_the_demonstration_holds() {
    let output = Command::new(env!("CARGO_BIN_EXE_symbolon")).arg("demo").env_clear().output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!told.contains('✗'), "{told}");
    for number in 1..=12 {
        assert!(told.contains(&format!("✓{number:>3} ")), "step {number} is not in the table:\n{told}");
    }
}
