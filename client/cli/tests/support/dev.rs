//! `symbolon dev` on a free port, as a test's own deployment.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Done, command, run};

/// A deployment, and what it printed about itself.
pub struct Dev {
    process: Child,
    pub home: tempfile::TempDir,
    pub address: String,
    pub ca_file: PathBuf,
    pub token: String,
    pub log_key: String,
    pub role_id: String,
    pub secret_id: String,
    pub shares: Vec<String>,
}

impl Dev {
    pub fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = command(&["dev", "--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = Vec::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let is_last = line.starts_with("Ctrl-C stops");
            lines.push(line);
            if is_last {
                break;
            }
        }
        let fact = |name: &str| {
            let line = lines.iter().map(|line| line.trim()).find(|line| line.starts_with(name));
            let line = line.unwrap_or_else(|| panic!("no {name} in {lines:#?}"));
            line[name.len()..].trim().trim_matches('"').to_owned()
        };
        let shares = lines.iter().filter_map(|line| line.trim().strip_prefix("share"));
        Self {
            home: tempfile::tempdir().unwrap(),
            address: fact("address"),
            ca_file: fact("CA file").into(),
            token: fact("token"),
            log_key: fact("log key"),
            role_id: fact("roleId:"),
            secret_id: fact(
                "kubectl -n external-secrets create secret generic symbolon-approle --from-literal=secret-id=",
            ),
            shares: shares.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect(),
            process,
        }
    }

    pub fn run_as(&self, token: Option<&str>, args: &[&str], stdin: &str) -> Done {
        let mut command = command(args);
        command.env("HOME", self.home.path()).current_dir(self.home.path());
        command.env("SYMBOLON_ADDR", &self.address).env("SYMBOLON_CACERT", &self.ca_file);
        if let Some(token) = token {
            command.env("SYMBOLON_TOKEN", token);
        }
        run(&mut command, stdin)
    }

    #[track_caller]
    pub fn check(&self, args: &[&str], stdin: &str, code: i32) -> Done {
        self.run_as(Some(&self.token), args, stdin).expect(code)
    }

    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        self.check(args, "", 0).stdout
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let all = [args, &["--output", "json"]].concat();
        serde_json::from_str(&self.ok(&all)).unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // SIGTERM, so that it deletes what it made.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
