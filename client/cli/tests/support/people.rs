//! Custodians of tests: key files and cards.

use std::path::Path;

use serde_json::Value;

use crate::support::{command, run};

/// A key file and a card, and the passphrase of all of them, in `phrase`.
pub fn keygen(home: &Path, name: &str) {
    std::fs::write(home.join("phrase"), "correct horse battery staple\n").unwrap();
    let key = format!("{name}.key");
    let args = ["custodian", "keygen", "--name", name, "--out", &key, "--passphrase-file", "phrase"];
    let mut command = command(&[&args[..], &["--memory", "64", "--output", "json"]].concat());
    let made: Value = serde_json::from_str(&run(command.current_dir(home), "").expect(0).stdout).unwrap();
    std::fs::write(home.join(format!("{name}.card")), made["card"].as_str().unwrap()).unwrap();
}
