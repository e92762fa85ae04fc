//! A software TPM (swtpm), on loopback, for tests of any crate.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::machine::needs;

/// How often it is tried whether it listens.
const TRIES: usize = 500;

/// A running TPM with its state in a folder. It ends with this.
pub struct SwTpm {
    state: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Drop for SwTpm {
    fn drop(&mut self) {
        self.stop();
    }
}

impl SwTpm {
    /// With its state in `folder`, which must exist and outlive it. `None` where there is no swtpm: the test
    /// has then said so, and ends.
    ///
    /// # Errors
    /// If it does not run.
    pub fn start(folder: &Path) -> io::Result<Option<Self>> {
        let answers = |program: &str| Command::new(program).arg("--version").output().is_ok();
        let found = answers("swtpm") && answers("tpm2_pcrread") && answers("openssl");
        if needs("swtpm", "apt-get install swtpm tpm2-tools openssl", found.then_some(())).is_none() {
            return Ok(None);
        }
        let mut tpm = Self { state: folder.to_owned(), port: two_ports()?, running: None };
        tpm.resume()?;
        Ok(Some(tpm))
    }

    /// As settings take it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Turns it off.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Turns it on, at the same address: PCRs begin anew.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn resume(&mut self) -> io::Result<()> {
        let (data, control) = (self.port, self.port.saturating_add(1));
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", self.state.display()));
        command.arg("--server").arg(format!("type=tcp,port={data},bindaddr=127.0.0.1"));
        command.arg("--ctrl").arg(format!("type=tcp,port={control},bindaddr=127.0.0.1"));
        self.running = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        (0..TRIES).find_map(|_| self.listens()).ok_or_else(|| io::Error::other("swtpm does not listen"))
    }

    #[allow(clippy::disallowed_methods)] // nothing to wait for
    fn listens(&self) -> Option<()> {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok().map(drop);
        if connected.is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        connected
    }

    /// What a program of tpm2-tools says, in a folder.
    ///
    /// # Errors
    /// If it fails: what it wrote.
    pub fn tool(&self, folder: &Path, line: &str) -> io::Result<String> {
        let mut words = line.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        let tcti = format!("swtpm:host=127.0.0.1,port={}", self.port);
        let done = command.args(words).current_dir(folder).env("TPM2TOOLS_TCTI", tcti).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(io::Error::other(format!("{line}: {}", text(&done.stderr)))),
        }
    }
}

/// Two free ports, one after the other: tpm2-tools look for the control there.
fn two_ports() -> io::Result<u16> {
    let two = |_| {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let port = first.local_addr().ok()?.port();
        TcpListener::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok().map(|_| port)
    };
    (0..TRIES).find_map(two).ok_or_else(|| io::Error::other("no two free ports"))
}
