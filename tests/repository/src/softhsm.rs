//! SoftHSM2 for tests: tokens in a folder of their own. Its library finds them by an environment variable, so
//! whatever is to see them is a process that is started with [`SoftHsm::environment`].

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::machine::needs;

const CONF: &str = "SOFTHSM2_CONF";
const CONF_FILE: &str = "softhsm2.conf";
/// PIN of every security officer here.
const SO_PIN: &str = "87654321";
/// Where distributions put the library.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A folder of tokens.
#[derive(Clone, Debug)]
pub struct SoftHsm {
    folder: PathBuf,
    /// The PKCS#11 library.
    pub library: PathBuf,
}

impl SoftHsm {
    /// One without a token yet, in an existing folder. `None` if the machine has no SoftHSM2 or no
    /// `pkcs11-tool`: the test is then skipped.
    ///
    /// # Panics
    /// In CI, if it is missing. If the folder cannot be written.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Option<Self> {
        let install = "apt-get install softhsm2 opensc";
        let library = needs("SoftHSM2 and pkcs11-tool", install, installed())?;
        let made = Self { folder: folder.to_owned(), library };
        std::fs::create_dir_all(made.tokens()).expect("the folder can be written");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", made.tokens().display());
        std::fs::write(folder.join(CONF_FILE), text).expect("the folder can be written");
        Some(made)
    }

    /// The one that this process was started with.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // nobody configures a test
    pub fn of_this_process() -> Option<Self> {
        let conf = PathBuf::from(std::env::var_os(CONF)?);
        Some(Self { folder: conf.parent()?.to_owned(), library: installed()? })
    }

    /// What a process needs in its environment to see these tokens.
    #[must_use]
    pub fn environment(&self) -> (&'static str, PathBuf) {
        (CONF, self.folder.join(CONF_FILE))
    }

    /// Where the tokens are: moved away, they are gone.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    /// A new token. Two may have the same label.
    ///
    /// # Panics
    /// If SoftHSM2 does not make it.
    pub fn token(&self, label: &str, pin: &str) {
        let mut util = Command::new("softhsm2-util");
        util.args(["--init-token", "--free", "--label", label, "--so-pin", SO_PIN, "--pin", pin]);
        self.run(util);
    }

    /// A new AES key of 256 bits that stays inside, unless `more` says otherwise.
    ///
    /// # Panics
    /// If there is no such token, or it does not make it.
    pub fn aes(&self, (token, pin): (&str, &str), key: &str, more: &[&str]) {
        let made = ["--keygen", "--key-type", "AES:32", "--label", key, "--id", "a1"];
        self.tool((token, pin), &[&made, more].concat());
    }

    /// A new RSA key of 2048 bits that decrypts, unless `more` says otherwise.
    ///
    /// # Panics
    /// If there is no such token, or it does not make it.
    pub fn rsa(&self, (token, pin): (&str, &str), key: &str, more: &[&str]) {
        let made = ["--keypairgen", "--key-type", "rsa:2048", "--label", key, "--id", "b2"];
        let usage: &[&str] = if more.is_empty() { &["--usage-decrypt"] } else { more };
        self.tool((token, pin), &[&made, usage].concat());
    }

    /// What `pkcs11-tool` says to these arguments, logged in.
    ///
    /// # Panics
    /// If it fails.
    pub fn tool(&self, (token, pin): (&str, &str), arguments: &[&str]) -> String {
        let mut tool = Command::new("pkcs11-tool");
        tool.arg("--module").arg(&self.library).args(["--token-label", token, "--login", "--pin", pin]);
        tool.args(arguments);
        self.run(tool)
    }

    /// What `pkcs11-tool` says of all tokens, without a login.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn slots(&self) -> String {
        let mut tool = Command::new("pkcs11-tool");
        tool.arg("--module").arg(&self.library).arg("--list-token-slots");
        self.run(tool)
    }

    fn run(&self, mut command: Command) -> String {
        let (name, value) = self.environment();
        let Output { status, stdout, stderr } = command.env(name, value).output().expect("it is installed");
        let said = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&stderr));
        said
    }
}

/// The library, if the two programs are there, too.
fn installed() -> Option<PathBuf> {
    let answers = |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok();
    let programs = answers("softhsm2-util", "--version") && answers("pkcs11-tool", "--version");
    let library = LIBRARIES.iter().map(PathBuf::from).find(|path| path.exists());
    library.filter(|_| programs)
}
