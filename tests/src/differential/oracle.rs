//! The Go program `tests/go/oracle`: questions in, answers out, all at once.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::tools::go;

/// A question: its name and arguments.
pub struct Question(String);

impl Question {
    pub fn new(name: &str, arguments: &[&[u8]]) -> Self {
        let words = arguments.iter().map(|bytes| hex(bytes));
        Self(std::iter::once(name.to_owned()).chain(words).collect::<Vec<_>>().join(" "))
    }
}

/// The program, built.
pub struct Oracle(PathBuf);

impl Oracle {
    /// Builds it, once for all tests of a run. `None` on a machine without Go.
    pub fn build() -> Option<Self> {
        static BUILT: OnceLock<PathBuf> = OnceLock::new();
        let go = go()?;
        Some(Self(BUILT.get_or_init(|| built_by(go)).clone()))
    }

    /// The answers in order; `None` where the program refused.
    pub fn ask(&self, questions: &[Question]) -> Vec<Option<Vec<u8>>> {
        let mut lines: String = questions.iter().map(|question| format!("{}\n", question.0)).collect();
        let mut program = Command::new(&self.0);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = program.spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        // It answers while it reads, so somebody else must write.
        let writing = std::thread::spawn(move || input.write_all(std::mem::take(&mut lines).as_bytes()));
        let output = running.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        assert!(output.status.success());
        let answers: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(unhex).collect();
        assert_eq!(answers.len(), questions.len());
        answers
    }
}

fn built_by(mut go: Command) -> PathBuf {
    let path = symbolon_repository::root().join("target/test-oracle");
    let output = go.args(["build", "-o"]).arg(&path).arg("./oracle").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    path
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(line: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
    (line != "-").then(|| (0..line.len()).step_by(2).map(byte).collect())
}
