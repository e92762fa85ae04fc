//! What opens the state at rest: a key file, or a passphrase through Argon2id (`docs/skb1.md` 7.4).
//!
//! The state directory holds one public file, `sealing.toml`, that says which of the two it is and, for a
//! passphrase, the parameters. Everything else there is a SealedBox under the key that comes out of here. The
//! context of each box names its file, so boxes cannot be swapped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rand_core::Rng;
use serde::{Deserialize, Serialize};
use symbolon_proto::codec::{Reader, Writer};
pub use symbolon_proto::custody::PassphraseCost;
use symbolon_proto::custody::PassphraseError;
use symbolon_proto::custody::passphrase::SALT_BYTES;
use symbolon_proto::secret::Secret;
use symbolon_proto::{Zeroizing, label, sealedbox};

use crate::rng::os_rng;

/// Bytes of a key file.
pub const KEY_FILE_BYTES: usize = 32;

/// Content of one box; a SealedBox takes 1 MiB at most.
const CHUNK_BYTES: usize = 512 << 10;

/// How the state is sealed at rest, as the operator says it.
pub enum Sealing {
    /// 32 random bytes in a file that only the service's user may read. `init` creates it if it is absent.
    KeyFile(PathBuf),
    /// A passphrase, stretched with Argon2id.
    Passphrase {
        /// The words. Wiped on drop.
        phrase: Zeroizing<String>,
        /// What guessing one passphrase costs. Only `init` reads it; afterwards `sealing.toml` decides.
        cost: PassphraseCost,
    },
}

impl Sealing {
    /// Whether the key file can be read and is one. A passphrase is tried by opening the state only.
    pub fn check(&self) -> Result<(), SealingError> {
        match self {
            Self::KeyFile(path) => read_key_file(path).map(drop),
            Self::Passphrase { .. } => Ok(()),
        }
    }
}

/// `sealing.toml`. Public and versioned; a changed parameter gives another key, so tampering only fails to
/// open.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Header {
    /// Key file; its path stands in the configuration, not here.
    KeyFile {
        /// Version of this file.
        format: u32,
    },
    /// Passphrase.
    Passphrase {
        /// Version of this file.
        format: u32,
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// 16 bytes, hex.
        salt: String,
    },
}

impl Header {
    fn of_passphrase(cost: PassphraseCost, salt: &[u8; SALT_BYTES]) -> Self {
        let (memory_kib, passes, lanes) = (cost.memory_kib(), cost.passes(), cost.lanes());
        Self::Passphrase { format: 1, memory_kib, passes, lanes, salt: HEXLOWER.encode(salt) }
    }
}

/// Why the key that opens the state is unavailable, or does not open it.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The key file cannot be read.
    #[error("the key file {path} cannot be read; check that it exists and belongs to this user")]
    KeyFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key file of a new service cannot be made.
    #[error("the key file {path} cannot be made; check that its folder has room and belongs to this user")]
    KeyFileNotMade {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others could read the key file.
    #[error("the key file {path} is readable by others; run `chmod 600` on it and consider its key known")]
    KeyFileExposed {
        /// Which file.
        path: PathBuf,
    },
    /// Not a key file.
    #[error("the key file {path} must hold exactly 32 bytes")]
    KeyFileLength {
        /// Which file.
        path: PathBuf,
    },
    /// Key file given, passphrase needed, or the other way round.
    #[error("the state was sealed with a {expected}; configure that one")]
    OtherKind {
        /// What opens it.
        expected: &'static str,
    },
    /// `sealing.toml` is not what this version writes.
    #[error("sealing.toml in the state directory is not valid; restore it from a backup")]
    Header,
    /// The header of a new service cannot be written down.
    #[error("sealing.toml could not be made; nothing was changed, report this with the version")]
    HeaderNotMade,
    /// A passphrase or parameters outside the accepted bounds.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Wrong key, wrong passphrase, or an altered file.
    #[error(
        "{file} in the state directory does not open: wrong key file or passphrase, or the file was altered"
    )]
    DoesNotOpen {
        /// Name within the state directory.
        file: String,
    },
    /// It opens, and holds something else than this version writes.
    #[error("{file} in the state directory was written by another version; use the version that wrote it")]
    Foreign {
        /// Name within the state directory.
        file: &'static str,
    },
}

impl SealingError {
    pub(crate) const fn foreign(file: &'static str) -> Self {
        Self::Foreign { file }
    }
}

/// The key that seals everything in the state directory.
pub(crate) struct SealKey(Secret<32>);

impl SealKey {
    /// Makes a new key for a new state directory, and the header that finds it again.
    pub(crate) fn create(sealing: &Sealing) -> Result<(Self, Header), SealingError> {
        match sealing {
            Sealing::KeyFile(path) => {
                if !path.exists() {
                    create_key_file(path)?;
                }
                Ok((Self(read_key_file(path)?), Header::KeyFile { format: 1 }))
            }
            Sealing::Passphrase { phrase, cost } => {
                let mut salt = [0; SALT_BYTES];
                os_rng().fill_bytes(&mut salt);
                let key = cost.stretch(phrase, &salt)?;
                Ok((Self(key), Header::of_passphrase(*cost, &salt)))
            }
        }
    }

    /// Finds the key again.
    pub(crate) fn open(sealing: &Sealing, header: &Header) -> Result<Self, SealingError> {
        match (sealing, header) {
            (Sealing::KeyFile(path), Header::KeyFile { format: 1 }) => read_key_file(path).map(Self),
            (
                Sealing::Passphrase { phrase, .. },
                Header::Passphrase { format: 1, memory_kib, passes, lanes, salt },
            ) => {
                let salt = HEXLOWER.decode(salt.as_bytes()).map_err(|_| SealingError::Header)?;
                let salt = salt.as_slice().try_into().map_err(|_| SealingError::Header)?;
                let cost = PassphraseCost::new(*memory_kib, *passes, *lanes)?;
                Ok(Self(cost.stretch(phrase, salt)?))
            }
            (Sealing::KeyFile(_), Header::Passphrase { format: 1, .. }) => {
                Err(SealingError::OtherKind { expected: "passphrase" })
            }
            (Sealing::Passphrase { .. }, Header::KeyFile { format: 1 }) => {
                Err(SealingError::OtherKind { expected: "key file" })
            }
            _ => Err(SealingError::Header),
        }
    }

    /// Seals the content of file `name`: one SealedBox per [`CHUNK_BYTES`], each bound to its place and to
    /// the end.
    pub(crate) fn seal(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let count = content.len().div_ceil(CHUNK_BYTES).max(1);
        let mut file = Writer::with_capacity(content.len() + count * 128);
        for index in 0..count {
            let start = index * CHUNK_BYTES;
            let chunk = &content[start..content.len().min(start + CHUNK_BYTES)];
            let context = file_context(name, index, index + 1 == count);
            let boxed = sealedbox::seal(&self.0, &context, chunk, &mut os_rng());
            file.lp32(&boxed.expect("a chunk is shorter than the longest box"));
        }
        file.finish()
    }

    /// Opens what [`Self::seal`] made for the same name.
    pub(crate) fn open_file(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        self.open_chunks(name, sealed).ok_or_else(|| SealingError::DoesNotOpen { file: name.to_owned() })
    }

    fn open_chunks(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // Reserved in full, so that growing leaves no copies of keys behind.
        let mut content = Zeroizing::new(Vec::with_capacity(sealed.len()));
        let mut reader = Reader::new(sealed);
        let mut index = 0;
        while !reader.rest().is_empty() {
            let boxed = reader.lp32(2 * CHUNK_BYTES).ok()?;
            let context = file_context(name, index, reader.rest().is_empty());
            content.extend_from_slice(&sealedbox::open(&self.0, &context, boxed).ok()?);
            index += 1;
        }
        (index > 0).then_some(content)
    }
}

fn file_context(name: &str, index: usize, is_last: bool) -> Vec<u8> {
    let mut context = Writer::with_capacity(96);
    context.lp(label::CONTEXT_FRAGMENT_FILE).lp(name.as_bytes());
    context.u64(index as u64).u8(u8::from(is_last));
    context.finish()
}

fn create_key_file(path: &Path) -> Result<(), SealingError> {
    let failed = |source| SealingError::KeyFileNotMade { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let mut key = Zeroizing::new([0; KEY_FILE_BYTES]);
    os_rng().fill_bytes(&mut *key);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(&*key).and_then(|()| file.sync_all()).map_err(failed)?;
    // Its name must survive a power cut too: without this file nothing in the state directory ever opens
    // again.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn read_key_file(path: &Path) -> Result<Secret<32>, SealingError> {
    let failed = |source| SealingError::KeyFile { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(SealingError::KeyFileExposed { path: path.to_owned() });
    }
    if !metadata.is_file() || metadata.len() != KEY_FILE_BYTES as u64 {
        return Err(SealingError::KeyFileLength { path: path.to_owned() });
    }
    let mut outcome = Ok(());
    let key = Secret::filled_by(|bytes| outcome = file.read_exact(bytes));
    outcome.map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Each text says what the person in front of it can do; what was never there cannot be restored.
    #[test]
    fn a_key_file_that_cannot_be_made_is_not_said_to_be_missing() {
        let sealing = Sealing::KeyFile("/proc/nowhere/key".into());
        let made = SealKey::create(&sealing).err().unwrap();
        assert!(matches!(made, SealingError::KeyFileNotMade { .. }), "{made}");
        let opened = SealKey::open(&sealing, &Header::KeyFile { format: 1 }).err().unwrap();
        assert!(matches!(opened, SealingError::KeyFile { .. }), "{opened}");
        assert!(made.to_string().contains("folder") && !made.to_string().contains("exists and belongs"));
    }

    #[test]
    fn a_key_file_is_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let sealing = Sealing::KeyFile(dir.path().join("key"));
        let (key, header) = SealKey::create(&sealing).unwrap();
        let boxed = key.seal("a", b"content");
        let again = SealKey::open(&sealing, &header).unwrap();
        assert_eq!(&**again.open_file("a", &boxed).unwrap(), b"content");
    }

    #[test]
    fn a_box_of_another_file_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SealKey::create(&Sealing::KeyFile(dir.path().join("key"))).unwrap();
        let boxed = key.seal("a", b"content");
        assert!(matches!(key.open_file("b", &boxed), Err(SealingError::DoesNotOpen { .. })));
    }

    #[test]
    fn long_files_are_boxed_in_chunks_that_keep_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SealKey::create(&Sealing::KeyFile(dir.path().join("key"))).unwrap();
        let content: Vec<u8> = (0..=250).cycle().take(CHUNK_BYTES + 1).collect();
        let sealed = key.seal("a", &content);
        assert_eq!(**key.open_file("a", &sealed).unwrap(), content);
        let first = CHUNK_BYTES + 80 + 4;
        assert!(key.open_file("a", &sealed[..first]).is_err(), "a file cut after a chunk must not open");
        let swapped = [&sealed[first..], &sealed[..first]].concat();
        assert!(key.open_file("a", &swapped).is_err());
        assert!(key.open_file("a", &[]).is_err());
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let sealing = Sealing::KeyFile(path.clone());
        let (_, header) = SealKey::create(&sealing).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(SealKey::open(&sealing, &header), Err(SealingError::KeyFileExposed { .. })));
    }

    #[test]
    fn a_passphrase_opens_and_another_does_not() {
        let phrase = |text: &str| Sealing::Passphrase {
            phrase: Zeroizing::new(text.to_owned()),
            cost: PassphraseCost::minimum(),
        };
        let (key, header) = SealKey::create(&phrase("one")).unwrap();
        let boxed = key.seal("a", b"content");
        let right = SealKey::open(&phrase("one"), &header).unwrap();
        let wrong = SealKey::open(&phrase("two"), &header).unwrap();
        assert!(right.open_file("a", &boxed).is_ok());
        assert!(wrong.open_file("a", &boxed).is_err());
    }

    #[test]
    fn a_header_with_weak_parameters_or_another_salt_is_refused() {
        let sealing =
            Sealing::Passphrase { phrase: Zeroizing::new("one".to_owned()), cost: PassphraseCost::minimum() };
        let open = |memory_kib, passes, salt: &str| {
            let header =
                Header::Passphrase { format: 1, memory_kib, passes, lanes: 1, salt: salt.to_owned() };
            SealKey::open(&sealing, &header).err()
        };
        let (least, salt) = (PassphraseCost::minimum(), "0a".repeat(SALT_BYTES));
        let cost = |error| matches!(error, Some(SealingError::Passphrase(PassphraseError::Cost)));
        assert!(cost(open(least.memory_kib() - 1, least.passes(), &salt)));
        assert!(cost(open(least.memory_kib(), least.passes() - 1, &salt)));
        let short = open(least.memory_kib(), least.passes(), &salt[2..]);
        assert!(matches!(short, Some(SealingError::Header)));
    }
}
