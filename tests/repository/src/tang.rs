//! A real Tang server, on loopback, for tests of any crate.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::machine::needs;

/// Where Debian has its programs.
const FOLDER: &str = "/usr/libexec";

/// A running server with keys in a folder. It ends with this.
pub struct Tang {
    keys: PathBuf,
    port: u16,
    running: Option<Running>,
}

/// The process, and where it writes of its requests: nobody reads that, but it must be there.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The programs that tests with Tang take, all from Debian. `None` says that the test is skipped.
#[must_use]
pub fn programs() -> Option<()> {
    let all = ["/usr/libexec/tangd", "/usr/bin/socat", "/usr/bin/clevis", "/usr/bin/jose"];
    let found = all.iter().all(|program| Path::new(program).exists());
    needs("Tang", "apt-get install tang clevis jose socat", found.then_some(()))
}

impl Tang {
    /// With new keys in `folder`, which must be empty and outlive it. `None` where there is no Tang: the test
    /// has then said so, and ends.
    ///
    /// # Errors
    /// If a program does not run.
    pub fn start(folder: &Path) -> io::Result<Option<Self>> {
        if programs().is_none() {
            return Ok(None);
        }
        run(Command::new(format!("{FOLDER}/tangd-keygen")).arg(folder))?;
        let mut tang = Self { keys: folder.to_owned(), port: 0, running: None };
        tang.resume()?;
        Ok(Some(tang))
    }

    /// As settings and `clevis` take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Of the key that signs advertisements now.
    ///
    /// # Errors
    /// If there is none.
    pub fn thumbprint(&self) -> io::Result<String> {
        for (name, path) in self.files()?.into_iter().filter(|(name, _)| !name.starts_with('.')) {
            if std::fs::read_to_string(path)?.contains("\"verify\"") {
                return Ok(name.trim_end_matches(".jwk").to_owned());
            }
        }
        Err(io::Error::other("the server has no signing key"))
    }

    /// New keys; the ones before answer and are not advertised.
    ///
    /// # Errors
    /// If the program does not run.
    pub fn rotate(&self) -> io::Result<()> {
        run(Command::new(format!("{FOLDER}/tangd-rotate-keys")).arg("-d").arg(&self.keys))
    }

    /// Deletes what is not advertised.
    ///
    /// # Errors
    /// If a file cannot be deleted.
    pub fn forget(&self) -> io::Result<()> {
        let mut hidden = self.files()?.into_iter().filter(|(name, _)| name.starts_with('.'));
        hidden.try_for_each(|(_, path)| std::fs::remove_file(path))
    }

    /// Takes it off the network.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Puts it back, at the same address.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn resume(&mut self) -> io::Result<()> {
        let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", self.port);
        let serve = format!("EXEC:{FOLDER}/tangd {}", self.keys.display());
        let mut child = Command::new("socat");
        child.args(["-d", "-d", &listen, &serve]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn()?;
        let log = child.stderr.take().ok_or_else(|| io::Error::other("no log"))?;
        let mut running = Running { child, log: BufReader::new(log) };
        self.port = port(&mut running.log)?;
        self.running = Some(running);
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<(String, PathBuf)>> {
        let named = |entry: io::Result<std::fs::DirEntry>| {
            entry.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        };
        std::fs::read_dir(&self.keys)?.map(named).collect()
    }
}

/// The port that the kernel chose, from the line that says that it listens.
fn port(log: &mut impl io::BufRead) -> io::Result<u16> {
    let mut line = String::new();
    while log.read_line(&mut line)? > 0 {
        if line.contains(" listening on ") {
            let port = line.trim_end().rsplit(':').next().and_then(|port| port.parse().ok());
            return port.ok_or_else(|| io::Error::other("socat does not say its port"));
        }
        line.clear();
    }
    Err(io::Error::other("socat does not listen"))
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() { Ok(()) } else { Err(io::Error::other("a program of Tang failed")) }
}
