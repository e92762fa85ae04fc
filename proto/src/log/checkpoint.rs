//! Checkpoints: the size and root of the log at one moment, signed (C2SP tlog-checkpoint).
//!
//! ```text
//! origin
//! size, decimal
//! base64(root)
//! extension lines, if any
//!
//! — origin base64(key id ‖ signature)
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::note::{NoteError, NoteSigner, SignedNote, VerifierKey};
use super::tree::{self, Hash, ProofError};

/// Most extension lines of a checkpoint.
pub const CHECKPOINT_EXTENSIONS_MAX: usize = 16;

/// A checkpoint's content. From [`Checkpoint::open`] it is authentic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Name of the log; the name of the key that signs it.
    pub origin: String,
    /// Entries in the log.
    pub size: u64,
    /// Root over all of them.
    pub root: Hash,
    /// Further lines. We write none.
    pub extensions: Vec<String>,
}

/// Why a text is no checkpoint of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The signed note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// No origin, size and root.
    #[error("a checkpoint has an origin, a size and a root on its first three lines")]
    Layout,
    /// Another log's.
    #[error("the checkpoint is of another log than the key")]
    Origin,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let size = self.size.to_string();
        let root = STANDARD.encode(self.root.as_bytes());
        let lines = [self.origin.as_str(), &size, &root].into_iter();
        lines.chain(self.extensions.iter().map(String::as_str)).flat_map(|line| [line, "\n"]).collect()
    }

    /// Reads [`Checkpoint::text`]. Says nothing about who wrote it.
    pub fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Layout)?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Layout);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size).ok_or(CheckpointError::Layout)?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = Hash::from_bytes(root.ok_or(CheckpointError::Layout)?);
        let extensions: Vec<_> = lines.take(CHECKPOINT_EXTENSIONS_MAX + 1).map(str::to_owned).collect();
        if extensions.len() > CHECKPOINT_EXTENSIONS_MAX || extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Layout);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }

    /// The signed checkpoint of a log whose origin is the signer's name.
    #[must_use]
    pub fn sign(size: u64, root: Hash, signer: &NoteSigner) -> String {
        let origin = signer.verifier().name().to_owned();
        signer.sign(&Self { origin, size, root, extensions: Vec::new() }.text())
    }

    /// The content of a signed checkpoint, if the log's `key` signed it. Further signatures are tolerated.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint = Self::parse_text(SignedNote::parse(note)?.verify(key)?)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::Origin);
        }
        Ok(checkpoint)
    }

    /// Checks that `newer` continues this log: nothing was taken out or changed between the two.
    pub fn verify_grown_to(&self, newer: &Self, proof: &[Hash]) -> Result<(), ProofError> {
        tree::verify_consistency(self.size, newer.size, &self.root, &newer.root, proof)
    }
}

/// A decimal number in its one form: no sign, no leading zero.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::signing::SigningSeed;
    use crate::testing;

    // The example of the C2SP text.
    const PUBLISHED: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer(name: &str) -> NoteSigner {
        NoteSigner::new(name, SigningSeed::random(&mut testing::rng())).unwrap()
    }

    #[test]
    fn the_published_text_is_read_and_written() {
        let checkpoint = Checkpoint::parse_text(PUBLISHED).unwrap();
        assert_eq!(
            (checkpoint.origin.as_str(), checkpoint.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert!(checkpoint.root.to_string().starts_with("0ac5186a91863e8e"));
        assert_eq!(checkpoint.text(), PUBLISHED);
        let extended = [PUBLISHED, "witnessed by moonlight\n"].concat();
        assert_eq!(Checkpoint::parse_text(&extended).unwrap().text(), extended);
    }

    #[test]
    fn a_signed_checkpoint_opens_with_its_key_only() {
        let ours = signer("symbolon.example/log");
        let note = Checkpoint::sign(5, Hash::EMPTY_ROOT, &ours);
        let checkpoint = Checkpoint::open(&note, ours.verifier()).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (5, Hash::EMPTY_ROOT));
        let stranger = signer("symbolon.example/log");
        let unsigned = Err(CheckpointError::Note(NoteError::Unsigned));
        assert_eq!(Checkpoint::open(&note, stranger.verifier()), unsigned);
        let grown = note.replacen("\n5\n", "\n6\n", 1);
        assert_eq!(
            Checkpoint::open(&grown, ours.verifier()),
            Err(CheckpointError::Note(NoteError::Signature))
        );
        let other_log = ours.sign(PUBLISHED);
        assert_eq!(Checkpoint::open(&other_log, ours.verifier()), Err(CheckpointError::Origin));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let cases = [
            String::new(),
            "log\n1\n".to_owned(),
            format!("log\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("log\n01\n{root}\n"),
            format!("log\n+1\n{root}\n"),
            format!("log\n\n{root}\n"),
            format!("log\n18446744073709551616\n{root}\n"),
            format!("log\n1\n{}\n", &root[..40]),
            format!("log\n1\n{}\n", &root[..43]),
            format!("log\n1\n{root}\n\n"),
            format!("log\n1\n{root}\n{}", "x\n".repeat(17)),
        ];
        for text in cases {
            assert_eq!(Checkpoint::parse_text(&text), Err(CheckpointError::Layout), "{text:?}");
        }
        assert!(Checkpoint::parse_text(&format!("log\n0\n{root}\n")).is_ok());
    }
}
