//! A real Tang server on loopback: Debian's `tangd`, one process for each request, behind `socat`.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use symbolon_cli::demo::world::free_port;
use symbolon_repository::machine::needs;
use tempfile::TempDir;

const LIBEXEC: &str = "/usr/libexec";
const INSTALL: &str = "apt-get install tang jose socat";

/// Its keys, and the server while it runs.
pub struct Tang {
    keys: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Tang {
    /// One with fresh keys that runs; `None` where there is no Tang.
    pub fn start() -> Option<Self> {
        let is_there = ["/usr/libexec/tangd", "/usr/bin/jose", "/usr/bin/socat"].map(Path::new);
        let found = is_there.iter().all(|program| program.exists()).then_some(());
        needs("tang, jose and socat", INSTALL, found)?;
        let keys = tempfile::tempdir().unwrap();
        let made = Command::new(format!("{LIBEXEC}/tangd-keygen")).arg(keys.path()).status().unwrap();
        assert!(made.success(), "tangd-keygen");
        let mut tang = Self { keys, port: free_port().unwrap().port(), server: None };
        tang.resume();
        Some(tang)
    }

    /// Starts it, if it does not run.
    pub fn resume(&mut self) {
        let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", self.port);
        let serve = format!("EXEC:{LIBEXEC}/tangd {}", self.keys.path().display());
        let child = Command::new("socat").args([&listen, &serve]).stderr(Stdio::null()).spawn().unwrap();
        self.server = Some(child);
    }

    /// Stops it. Its keys stay.
    pub fn pause(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// A source of this name, at this place, as a configuration has it.
    pub fn source(&self, name: &str, place: &str) -> String {
        format!(
            "[[custody.sources]]\nname = \"{name}\"\nkind = \"tang\"\nplace = \"{place}\"\nservers = [ {{ url = \"http://127.0.0.1:{}\", thumbprint = \"{}\" }} ]\n",
            self.port,
            self.thumbprint()
        )
    }

    /// Of the key that signs its advertisement, S256, as `tang-show-keys` prints it.
    fn thumbprint(&self) -> String {
        let keys = std::fs::read_dir(self.keys.path()).unwrap().map(|entry| entry.unwrap().path());
        let signs = |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap().contains("ES512");
        let key = keys.into_iter().find(signs).unwrap();
        let thumbprint =
            Command::new("jose").args(["jwk", "thp", "-a", "S256", "-i"]).arg(key).output().unwrap();
        String::from_utf8(thumbprint.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Tang {
    fn drop(&mut self) {
        self.pause();
    }
}
