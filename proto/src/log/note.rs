//! Signed notes (C2SP signed-note): a text, then one line per signature.
//!
//! ```text
//! text, ending in a newline
//!
//! — name base64(key id(4) ‖ signature)
//! ```
//!
//! Only Ed25519 (type 0x01) is made and verified here. Lines of other keys, cosignatures of witnesses for
//! example, are kept and ignored: a note says nothing until [`SignedNote::verify`] has found the one key that
//! matters.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::codec::lp_len;
use crate::signing::{SIGNATURE_BYTES, SigningPublicKey, SigningSeed};
use crate::{label, primitives, secret};

/// Longest note in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Most signature lines of a note.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// Longest key name in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 255;

const ED25519: u8 = 0x01;
const LINE_START: &str = "\u{2014} ";

/// Why a text is no signed note, or not one of the key at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than any note.
    #[error("a note of {found} bytes; at most {NOTE_BYTES_MAX} are read")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// No blank line between text and signatures, no final newline, or a control character.
    #[error("this is not a signed note: a text, a blank line and signature lines are expected")]
    Layout,
    /// A line after the blank one that is no signature.
    #[error("signature line {line} of the note is malformed")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// More signatures than any note.
    #[error("a note with more than {NOTE_SIGNATURES_MAX} signatures")]
    TooMany,
    /// Nobody signed with this key.
    #[error("the note is not signed by the expected key; was another log's or an older key given?")]
    Unsigned,
    /// A line claims to be by this key and is not.
    #[error("the signature of the expected key is wrong: the note was changed")]
    Signature,
}

/// Why a text is no verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not `name+hash+key`.
    #[error("a verifier key has the form name+hash+key")]
    Layout,
    /// A name with a space or a plus sign, or none at all.
    #[error("the name of a verifier key has 1 to {KEY_NAME_BYTES_MAX} bytes, no spaces and no `+`")]
    Name,
    /// Not Ed25519.
    #[error("the verifier key is not an Ed25519 key")]
    Key,
    /// The hash is another key's.
    #[error("the verifier key is mistyped: its hash does not fit")]
    Hash,
}

/// Name and public key of whoever signs. Its text form is what auditors pass around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: SigningPublicKey,
}

impl VerifierKey {
    /// A key with a name: 1 to 255 bytes without white space, control characters and `+`.
    pub fn new(name: &str, key: SigningPublicKey) -> Result<Self, VerifierKeyError> {
        if !is_key_name(name) {
            return Err(VerifierKeyError::Name);
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &SigningPublicKey {
        &self.key
    }

    /// `SHA-256(name ‖ '\n' ‖ 0x01 ‖ key)[..4]`: a hint which line to look at, not a proof of anything.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = [ED25519; 33];
        key[1..].copy_from_slice(self.key.as_bytes());
        write!(out, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.id()), STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let (name, rest) = text.split_once('+').ok_or(VerifierKeyError::Layout)?;
        let (hash, key) = rest.split_once('+').ok_or(VerifierKeyError::Layout)?;
        let key = STANDARD.decode(key).map_err(|_| VerifierKeyError::Key)?;
        let [ED25519, key @ ..] = key.as_slice() else { return Err(VerifierKeyError::Key) };
        let key = key.try_into().map_err(|_| VerifierKeyError::Key)?;
        let key = SigningPublicKey::from_bytes(key).map_err(|_| VerifierKeyError::Key)?;
        let verifier = Self::new(name, key)?;
        let expected = u32::from_be_bytes(verifier.id());
        if hash.len() != 8 || !hash.bytes().all(is_lower_hex) || u32::from_str_radix(hash, 16) != Ok(expected)
        {
            return Err(VerifierKeyError::Hash);
        }
        Ok(verifier)
    }
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn is_key_name(name: &str) -> bool {
    let plain = |character: char| !character.is_whitespace() && !character.is_control() && character != '+';
    !name.is_empty() && name.len() <= KEY_NAME_BYTES_MAX && name.chars().all(plain)
}

/// Signs notes under a name.
pub struct NoteSigner {
    verifier: VerifierKey,
    seed: SigningSeed,
}

impl NoteSigner {
    /// A signer with this name and key.
    pub fn new(name: &str, seed: SigningSeed) -> Result<Self, VerifierKeyError> {
        Ok(Self { verifier: VerifierKey::new(name, seed.public_key())?, seed })
    }

    /// What others need to verify.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The note of `text` with this signature. `text` ends in a newline and has no blank line at its end.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut signature = Vec::with_capacity(4 + SIGNATURE_BYTES);
        signature.extend_from_slice(&self.verifier.id());
        signature.extend_from_slice(&self.seed.sign(text.as_bytes()));
        [text, "\n", LINE_START, self.verifier.name(), " ", &STANDARD.encode(signature), "\n"].concat()
    }

    /// The tag of a head of this log ([`super::Head`]).
    pub(super) fn head_tag(&self, size: u64, root: &[u8; 32]) -> [u8; 32] {
        let name = self.verifier.name().as_bytes();
        let parts = [label::LOG_HEAD, &lp_len(name), name, &size.to_be_bytes(), root];
        let whole = secret::wiping(|| primitives::hmac(self.seed.secret().expose(), &parts));
        let mut tag = [0; 32];
        tag.iter_mut().zip(whole).for_each(|(tag, byte)| *tag = byte);
        tag
    }
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Hint which key.
    pub key_id: [u8; 4],
    /// The signature, whatever its type.
    pub signature: Vec<u8>,
}

/// A parsed note whose signatures nobody has looked at yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Takes a note apart.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::TooLong { found: note.len() });
        }
        let has_control = note.chars().any(|character| character.is_control() && character != '\n');
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Layout)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Layout)?;
        if has_control || text.is_empty() {
            return Err(NoteError::Layout);
        }
        if lines.split('\n').count() > NOTE_SIGNATURES_MAX {
            return Err(NoteError::TooMany);
        }
        let signatures = (1..)
            .zip(lines.split('\n'))
            .map(|(line, text)| parse_line(text).ok_or(NoteError::Line { line }))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: [text, "\n"].concat(), signatures })
    }

    /// The signature lines, unverified.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The text, if `key` signed it.
    pub fn verify(&self, key: &VerifierKey) -> Result<&str, NoteError> {
        let id = key.id();
        let mut lines = self.signatures.iter().filter(|line| line.name == key.name && line.key_id == id);
        let line = lines.next().ok_or(NoteError::Unsigned)?;
        let signature = line.signature.as_slice().try_into().map_err(|_| NoteError::Signature)?;
        // One line per key: a second one is either superfluous or forged.
        if lines.next().is_some() || !key.key.verifies(self.text.as_bytes(), signature) {
            return Err(NoteError::Signature);
        }
        Ok(&self.text)
    }

    /// The text without any assurance: for showing, never for deciding.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix(LINE_START)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, signature) = bytes.split_first_chunk()?;
    if !is_key_name(name) || signature.is_empty() {
        return None;
    }
    Some(NoteSignature { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::secret::Secret;

    // The example of the reference implementation, golang.org/x/mod/sumdb/note.
    const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PRIVATE: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn published_signer() -> NoteSigner {
        let private = STANDARD.decode(PRIVATE).unwrap();
        let seed = Secret::filled_by(|out| out.copy_from_slice(&private[1..]));
        NoteSigner::new("PeterNeumann", SigningSeed::from_secret(seed)).unwrap()
    }

    #[test]
    fn the_published_note_comes_out_and_verifies() {
        let signer = published_signer();
        assert_eq!(signer.verifier().to_string(), VERIFIER);
        let note = signer.sign(TEXT);
        assert_eq!(note, [TEXT, "\n", LINE].concat());
        let key: VerifierKey = VERIFIER.parse().unwrap();
        assert_eq!(SignedNote::parse(&note).unwrap().verify(&key), Ok(TEXT));
    }

    #[test]
    fn other_signatures_are_tolerated_and_ours_is_needed() {
        let key: VerifierKey = VERIFIER.parse().unwrap();
        let witness = "\u{2014} witness.example/w1 AAAAAQIDBAUGBwgJ\n";
        let both = [TEXT, "\n", witness, LINE].concat();
        assert_eq!(SignedNote::parse(&both).unwrap().verify(&key), Ok(TEXT));
        let without = [TEXT, "\n", witness].concat();
        assert_eq!(SignedNote::parse(&without).unwrap().verify(&key), Err(NoteError::Unsigned));
        let twice = [TEXT, "\n", LINE, LINE].concat();
        assert_eq!(SignedNote::parse(&twice).unwrap().verify(&key), Err(NoteError::Signature));
        let changed = both.replacen("answer", "Answer", 1);
        assert_eq!(SignedNote::parse(&changed).unwrap().verify(&key), Err(NoteError::Signature));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let line = |line| Err(NoteError::Line { line });
        let cases = [
            ("", Err(NoteError::Layout)),
            ("text\n", Err(NoteError::Layout)),
            ("text\n\n", Err(NoteError::Layout)),
            ("text\n\n\u{2014} name", Err(NoteError::Layout)),
            ("\n\n\u{2014} name AAAAAAA=\n", Err(NoteError::Layout)),
            ("te\rxt\n\n\u{2014} name AAAAAAA=\n", Err(NoteError::Layout)),
            ("text\n\n- name AAAAAAA=\n", line(1)),
            ("text\n\n\u{2014} na+me AAAAAAA=\n", line(1)),
            ("text\n\n\u{2014} name AAAAAAA\n", line(1)),
            ("text\n\n\u{2014} name AAAA\n", line(1)),
            ("text\n\n\u{2014} name AAAAAAA=\nmore\n", line(2)),
        ];
        for (note, expected) in cases {
            assert_eq!(SignedNote::parse(note).map(|_| ()), expected, "{note:?}");
        }
        let many = ["text\n\n", &"\u{2014} name AAAAAAA=\n".repeat(65)].concat();
        assert_eq!(SignedNote::parse(&many), Err(NoteError::TooMany));
        let found = NOTE_BYTES_MAX + 1;
        assert_eq!(SignedNote::parse(&"x".repeat(found)), Err(NoteError::TooLong { found }));
    }

    #[test]
    fn what_is_no_verifier_key_is_refused() {
        let parse = |text: &str| text.parse::<VerifierKey>().err();
        assert_eq!(parse("name"), Some(VerifierKeyError::Layout));
        assert_eq!(parse(&VERIFIER.replace("c74f20a3", "c74f20a4")), Some(VerifierKeyError::Hash));
        assert_eq!(parse(&VERIFIER.replace("c74f20a3", "C74F20A3")), Some(VerifierKeyError::Hash));
        assert_eq!(parse(&VERIFIER.replace("c74f20a3", "+74f20a3")), Some(VerifierKeyError::Key));
        assert_eq!(parse(&VERIFIER.replace("PeterNeumann", "Other")), Some(VerifierKeyError::Hash));
        assert_eq!(parse(&VERIFIER.replace("PeterNeumann", "")), Some(VerifierKeyError::Name));
        assert_eq!(parse(&VERIFIER.replace("PeterNeumann", "a b")), Some(VerifierKeyError::Name));
        assert_eq!(parse(&VERIFIER.replace("+ARpc", "+BRpc")), Some(VerifierKeyError::Key));
        assert_eq!(parse(&VERIFIER[..VERIFIER.len() - 4]), Some(VerifierKeyError::Key));
    }
}
