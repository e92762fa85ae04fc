//! Where things go, and how they get there: folders that nobody else can write to, files that appear whole or
//! not at all and never over another.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use symbolon_proto::Zeroizing;

use super::{Deed, SetupError, Step};

/// Files that everybody may read.
pub(super) const PUBLIC: u32 = 0o644;
/// Files that their owner may read.
pub(super) const SECRET: u32 = 0o600;
/// Folders in which programs do not outlive a sitting.
const UNFIT: [&str; 4] = ["/home", "/root", "/tmp", "/var/tmp"];

/// Whom files of a service belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, for the unit.
    pub name: String,
    uid: u32,
    gid: u32,
}

/// Where the files of one side go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Configuration, certificates, keys.
    pub config_dir: PathBuf,
    /// What the service writes.
    pub state_dir: PathBuf,
    /// The systemd unit.
    pub unit: PathBuf,
    /// Whether it is a service of the whole machine.
    pub is_system: bool,
}

impl Layout {
    /// As packages have it, for a service of the whole machine: needs root.
    #[must_use]
    pub fn system(service: &str, state: &str) -> Self {
        Self {
            config_dir: "/etc/symbolon".into(),
            state_dir: Path::new("/var/lib").join(state),
            unit: Path::new("/etc/systemd/system").join(format!("{service}.service")),
            is_system: true,
        }
    }

    /// Everything in one folder, which is made absolute, as whoever runs this.
    pub fn home(folder: &Path, service: &str) -> Result<Self, SetupError> {
        let io = |source| SetupError::Io { path: folder.to_owned(), source };
        let folder = std::path::absolute(folder).map_err(io)?;
        let (state_dir, unit) = (folder.join("state"), folder.join(format!("{service}.service")));
        Ok(Self { config_dir: folder, state_dir, unit, is_system: false })
    }

    /// A file beside the configuration.
    #[must_use]
    pub fn config(&self, name: &str) -> PathBuf {
        self.config_dir.join(name)
    }

    /// Of the folder with the configuration: on a machine with other users they need the certificate in it.
    pub(super) const fn config_mode(&self) -> u32 {
        if self.is_system { 0o755 } else { 0o700 }
    }

    /// The program that the unit starts: this one.
    pub(super) fn program(&self) -> Result<PathBuf, SetupError> {
        let failed = |source| SetupError::Io { path: "/proc/self/exe".into(), source };
        let path = std::env::current_exe().map_err(failed)?;
        let is_unfit = UNFIT.iter().any(|unfit| path.starts_with(unfit));
        if self.is_system && is_unfit { Err(SetupError::Program { path }) } else { Ok(path) }
    }

    /// Whom the service runs as: in a system layout a user of its own, which is made if it is not there.
    pub(super) fn account(&self, name: &str) -> Result<Account, SetupError> {
        let failed = || SetupError::User { name: name.to_owned() };
        if !self.is_system {
            let (uid, gid) = own();
            let name = said("id", &["-un"]).unwrap_or_else(|| uid.to_string());
            return Ok(Account { name, uid, gid });
        }
        let ids =
            || Some((said("id", &["-u", name])?.parse().ok()?, said("id", &["-g", name])?.parse().ok()?));
        let found = ids().or_else(|| {
            said(
                "useradd",
                &["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name],
            )?;
            ids()
        });
        found.map(|(uid, gid)| Account { name: name.to_owned(), uid, gid }).ok_or_else(failed)
    }
}

fn own() -> (u32, u32) {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or((0, 0), |own| (own.uid(), own.gid()))
}

/// What a program prints, if it succeeds.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes a folder with this mode; one that exists must be its owner's alone to change.
pub(super) fn folder(path: &Path, mode: u32, what: &'static str) -> Result<Step, SetupError> {
    let io = |source| SetupError::Io { path: path.to_owned(), source };
    let deed = match std::fs::symlink_metadata(path) {
        Ok(_) => Deed::Kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.ancestors().skip(1).find(|above| above.exists()).map_or(Ok(()), sound)?;
            DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io)?;
            Deed::Made
        }
        Err(error) => return Err(io(error)),
    };
    sound(path)?;
    Ok(Step { deed, path: path.to_owned(), what })
}

/// Whether nobody but its owner, who is root or we, can change what a folder or one above it holds.
fn sound(path: &Path) -> Result<(), SetupError> {
    for (depth, folder) in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).enumerate() {
        let found =
            std::fs::metadata(folder).map_err(|source| SetupError::Io { path: folder.to_owned(), source })?;
        if !found.is_dir() {
            return Err(SetupError::Kind { path: folder.to_owned(), expected: "folder" });
        }
        check(folder, &found, depth == 0)?;
    }
    Ok(())
}

/// In a folder with the sticky bit, such as `/tmp`, others can add names and not change ours. Good enough
/// above our own folder only.
fn check(folder: &Path, found: &Metadata, is_own: bool) -> Result<(), SetupError> {
    const STICKY: u32 = 0o1000;
    let (own, _) = own();
    let is_shared = found.mode() & 0o022 != 0 && (is_own || found.mode() & STICKY == 0);
    if is_shared {
        return Err(SetupError::Writable { path: folder.to_owned() });
    }
    // Root may set up what belongs to the service.
    if own != 0 && found.uid() != own && found.uid() != 0 {
        return Err(SetupError::Foreign { path: folder.to_owned(), owner: found.uid(), own });
    }
    Ok(())
}

/// Gives a file, or a folder and all below it, to the account. Only what was made just now: a service could
/// have put somebody else's file into a folder of its own.
pub(super) fn give(path: &Path, account: &Account) -> Result<(), SetupError> {
    let io = |source| SetupError::Io { path: path.to_owned(), source };
    let found = std::fs::symlink_metadata(path).map_err(io)?;
    if (found.uid(), found.gid()) != (account.uid, account.gid) {
        std::os::unix::fs::lchown(path, Some(account.uid), Some(account.gid)).map_err(io)?;
    }
    if found.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io)? {
            give(&entry.map_err(io)?.path(), account)?;
        }
    }
    Ok(())
}

/// What a file holds; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, SetupError> {
    let io = |source| SetupError::Io { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(error)),
        Ok(found) if !found.is_file() => Err(SetupError::Kind { path: path.to_owned(), expected: "file" }),
        Ok(_) => std::fs::read_to_string(path).map(|text| Some(Zeroizing::new(text))).map_err(io),
    }
}

/// The same for a secret, which others may not be able to read.
pub(super) fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>, SetupError> {
    let text = read(path)?;
    let is_exposed = text.is_some() && std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0);
    if is_exposed { Err(SetupError::Exposed { path: path.to_owned() }) } else { Ok(text) }
}

/// Makes a file, unless there is one; then says whether it is the same.
pub(super) fn file(path: &Path, mode: u32, text: &str, what: &'static str) -> Result<Step, SetupError> {
    let step = |deed| Step { deed, path: path.to_owned(), what };
    match read(path)? {
        Some(found) if *found == text => Ok(step(Deed::Kept)),
        Some(_) => Ok(step(Deed::Differs)),
        None => write(path, mode, text, false).map(|()| step(Deed::Made)),
    }
}

/// Replaces a file that is ours, whole or not at all.
pub(super) fn replace(path: &Path, mode: u32, text: &str) -> Result<(), SetupError> {
    write(path, mode, text, true)
}

fn write(path: &Path, mode: u32, text: &str, replaces: bool) -> Result<(), SetupError> {
    let io = |source| SetupError::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    let named = if replaces { file.persist(path) } else { file.persist_noclobber(path) };
    named.map_err(|error| io(error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// A path as a TOML string.
pub(super) fn text(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}
