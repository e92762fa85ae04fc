//! Runs `tests/cmd/*.toml`: what the command line answers without a server.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// One call of the binary and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Files to make in the working directory, which is also HOME.
    #[serde(default)]
    files: BTreeMap<String, String>,
    code: i32,
    /// The whole standard output.
    stdout: Option<String>,
    /// The whole standard error.
    stderr: Option<String>,
    #[serde(default)]
    stdout_has: Vec<String>,
    #[serde(default)]
    stderr_has: Vec<String>,
    /// What appears on neither stream.
    #[serde(default)]
    lacks: Vec<String>,
    /// Content of files afterwards.
    #[serde(default)]
    files_after: BTreeMap<String, String>,
}

#[test]
fn the_command_line_answers_as_written_down() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let text = std::fs::read_to_string(path).unwrap();
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.case {
            count += 1;
            let complaints = case.run();
            if !complaints.is_empty() {
                let name = path.file_name().unwrap().to_string_lossy();
                wrong.push(format!("{name}: {}\n  {}", case.name, complaints.join("\n  ")));
            }
        }
    }
    assert!(count > 0, "no cases found");
    assert!(wrong.is_empty(), "{} of {count} cases are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

impl Case {
    fn run(&self) -> Vec<String> {
        let home = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            std::fs::write(home.path().join(name), content).unwrap();
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .args(&self.args)
            .env_clear()
            .env("HOME", home.path())
            .env("COLUMNS", "100")
            .envs(&self.env)
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that fails early closes its input, which is no failure of the test.
        let _ = child.stdin.take().unwrap().write_all(self.stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        self.complaints(output.status.code(), &stdout, &stderr, home.path())
    }

    fn complaints(&self, code: Option<i32>, stdout: &str, stderr: &str, home: &Path) -> Vec<String> {
        let mut wrong = Vec::new();
        if code != Some(self.code) {
            wrong.push(format!("exit code {code:?} instead of {}; stderr: {stderr}", self.code));
            return wrong;
        }
        for (what, got, want) in [("stdout", stdout, &self.stdout), ("stderr", stderr, &self.stderr)] {
            if want.as_ref().is_some_and(|want| want != got) {
                wrong.push(format!("{what} is:\n{got}"));
            }
        }
        for (what, got, parts) in [("stdout", stdout, &self.stdout_has), ("stderr", stderr, &self.stderr_has)]
        {
            for part in parts.iter().filter(|part| !got.contains(part.as_str())) {
                wrong.push(format!("{what} lacks {part:?}; it is:\n{got}"));
            }
        }
        for part in self.lacks.iter().filter(|part| stdout.contains(*part) || stderr.contains(*part)) {
            wrong.push(format!("output contains {part:?}"));
        }
        for (name, want) in &self.files_after {
            let got = std::fs::read_to_string(home.join(name)).unwrap_or_default();
            if got != *want {
                wrong.push(format!("{name} is afterwards:\n{got}"));
            }
        }
        wrong
    }
}
