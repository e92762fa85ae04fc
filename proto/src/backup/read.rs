//! Bytes to rows, as they come: from a file, a pipe or a bucket.
//!
//! With a recipient's key the rows come out; without one only the frame and the signature are checked. Rows
//! are given out before the end has been seen. Whoever restores must not put them into use before
//! [`BackupReader::finish`] has said that the backup is whole.

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::head::{HEAD_BYTES_MAX, Head, HeadError};
use super::shape::{
    Binding, KEY_BYTES_MAX, PIECE_BYTES, PREFIX, SEALED_PIECE_BYTES_MAX, VALUE_BYTES_MAX, signed_bytes,
};
use crate::codec::{DecodeError, Reader};
use crate::sealedbox;
use crate::secret::Secret;
use crate::signing::SIGNATURE_BYTES;
use crate::xwing::XWingSeed;

/// Key and value of a stored row.
pub type Row = (Vec<u8>, Vec<u8>);

/// Why bytes are no backup, not a whole one, or not one for this key.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum BackupError {
    /// It begins otherwise.
    #[error("this is not a backup: it does not begin with \"symbolon backup\"")]
    Foreign,
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A length that no part has.
    #[error("the backup is damaged: a part says that it has {found} bytes, and at most {max} are possible")]
    Length {
        /// What it says.
        found: usize,
        /// The most.
        max: usize,
    },
    /// The key opens it not.
    #[error("the backup is not sealed to this key; its recipients are {recipients}")]
    NotForThisKey {
        /// Names, joined by commas.
        recipients: String,
    },
    /// Something was changed, taken away, put in or moved.
    #[error("the backup is damaged: piece {number} does not open at its place")]
    Piece {
        /// Its number from 0.
        number: u64,
    },
    /// Plaintext that is not rows.
    #[error("the backup is damaged: what is sealed in it is not a list of rows")]
    Rows,
    /// It ends too early.
    #[error("the backup is cut off after {found} bytes")]
    Cut {
        /// Bytes that there are.
        found: u64,
    },
    /// It goes on after its end.
    #[error("the backup is damaged: something follows its signature")]
    Trailing,
    /// The signature does not fit.
    #[error(
        "the backup was changed, or not made by the broker whose key it names: its signature does not fit"
    )]
    Signature,
}

/// A backup that is whole, and signed by the key that its head names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Whole {
    /// What everybody can read of it.
    pub head: Head,
    /// Rows; `None` if it was checked without a recipient's key.
    pub rows: Option<u64>,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Reads one backup.
pub struct BackupReader<'a> {
    seed: Option<&'a XWingSeed>,
    /// Not consumed yet; at most one part and what came with its end.
    rest: Vec<u8>,
    all: Sha256,
    bytes: u64,
    at: At,
}

enum At {
    Prefix,
    Head,
    Pieces(Box<Pieces>),
    Signature(Box<Pieces>),
    End(Box<Pieces>),
}

struct Pieces {
    head: Head,
    binding: Binding,
    key: Option<Secret<32>>,
    number: u64,
    /// The last piece that was read, until it is known whether one follows.
    held: Option<Vec<u8>>,
    plaintext: Vec<u8>,
    last_key: Vec<u8>,
    rows: u64,
}

impl<'a> BackupReader<'a> {
    /// With the key of a recipient, or without.
    #[must_use]
    pub fn new(seed: Option<&'a XWingSeed>) -> Self {
        Self { seed, rest: Vec::new(), all: Sha256::new(), bytes: 0, at: At::Prefix }
    }

    /// The head, once it has been read.
    #[must_use]
    pub fn head(&self) -> Option<&Head> {
        match &self.at {
            At::Prefix | At::Head => None,
            At::Pieces(pieces) | At::Signature(pieces) | At::End(pieces) => Some(&pieces.head),
        }
    }

    /// Takes the bytes that follow; gives the rows that are complete with them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Row>, BackupError> {
        self.bytes += bytes.len() as u64;
        self.rest.extend_from_slice(bytes);
        let mut rows = Vec::new();
        while self.step(&mut rows)? {}
        Ok(rows)
    }

    /// Whether nothing is missing and the signature fits.
    pub fn finish(self) -> Result<Whole, BackupError> {
        let bytes = self.bytes;
        match self.at {
            At::End(pieces) if self.rest.is_empty() => {
                let rows = pieces.key.is_some().then_some(pieces.rows);
                Ok(Whole { head: pieces.head, rows, bytes })
            }
            At::End(_) => Err(BackupError::Trailing),
            _ => Err(BackupError::Cut { found: bytes }),
        }
    }

    /// One part, if it is there whole.
    fn step(&mut self, rows: &mut Vec<Row>) -> Result<bool, BackupError> {
        match core::mem::replace(&mut self.at, At::Prefix) {
            At::Prefix => self.prefix(),
            At::Head => self.read_head(),
            At::Pieces(pieces) => self.piece(pieces, rows),
            At::Signature(pieces) => self.signature(pieces),
            At::End(pieces) => {
                self.at = At::End(pieces);
                if self.rest.is_empty() { Ok(false) } else { Err(BackupError::Trailing) }
            }
        }
    }

    fn prefix(&mut self) -> Result<bool, BackupError> {
        if !PREFIX.starts_with(&self.rest) && !self.rest.starts_with(PREFIX) {
            return Err(BackupError::Foreign);
        }
        let is_whole = self.consume(PREFIX.len()).is_some();
        self.at = if is_whole { At::Head } else { At::Prefix };
        Ok(is_whole)
    }

    fn read_head(&mut self) -> Result<bool, BackupError> {
        self.at = At::Head;
        let Some(bytes) = self.part(HEAD_BYTES_MAX)? else { return Ok(false) };
        let head = Head::decode(&bytes)?;
        let key = self.seed.map(|seed| head.open(seed).ok_or_else(|| not_for_this_key(&head))).transpose()?;
        self.at = At::Pieces(Box::new(Pieces {
            binding: Binding::of(&bytes),
            head,
            key,
            number: 0,
            held: None,
            plaintext: Vec::new(),
            last_key: Vec::new(),
            rows: 0,
        }));
        Ok(true)
    }

    fn piece(&mut self, mut pieces: Box<Pieces>, rows: &mut Vec<Row>) -> Result<bool, BackupError> {
        let Some(part) = self.part(SEALED_PIECE_BYTES_MAX)? else {
            self.at = At::Pieces(pieces);
            return Ok(false);
        };
        let is_end = part.is_empty();
        pieces.open_held(is_end, rows)?;
        pieces.held = Some(part);
        self.at = if is_end { At::Signature(pieces) } else { At::Pieces(pieces) };
        Ok(true)
    }

    fn signature(&mut self, pieces: Box<Pieces>) -> Result<bool, BackupError> {
        let signed = self.all.clone();
        let Some(signature) = self.consume(SIGNATURE_BYTES) else {
            self.at = At::Signature(pieces);
            return Ok(false);
        };
        let signature = signature.as_slice().try_into().map_err(|_| BackupError::Signature)?;
        if !pieces.head.about().log_key.key().verifies(&signed_bytes(signed), signature) {
            return Err(BackupError::Signature);
        }
        self.at = At::End(pieces);
        Ok(true)
    }

    /// The next part with its length before it.
    fn part(&mut self, max: usize) -> Result<Option<Vec<u8>>, BackupError> {
        let Some(length) = self.rest.first_chunk() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > max {
            return Err(BackupError::Length { found: length, max });
        }
        Ok(self.consume(4 + length).map(|mut part| part.split_off(4)))
    }

    fn consume(&mut self, count: usize) -> Option<Vec<u8>> {
        if self.rest.len() < count {
            return None;
        }
        let later = self.rest.split_off(count);
        let now = core::mem::replace(&mut self.rest, later);
        self.all.update(&now);
        Some(now)
    }
}

impl Pieces {
    /// Opens the piece that waited to be known as the last one or not.
    fn open_held(&mut self, is_last: bool, rows: &mut Vec<Row>) -> Result<(), BackupError> {
        let Some(held) = self.held.take() else {
            return if is_last { Err(BackupError::Piece { number: 0 }) } else { Ok(()) };
        };
        let number = self.number;
        self.number += 1;
        let Some(key) = &self.key else { return Ok(()) };
        let opened = sealedbox::open(key, &self.binding.piece(number, is_last), &held);
        self.plaintext.extend_from_slice(&opened.map_err(|_| BackupError::Piece { number })?);
        self.take_rows(rows)?;
        if is_last && !self.plaintext.is_empty() { Err(BackupError::Rows) } else { Ok(()) }
    }

    fn take_rows(&mut self, rows: &mut Vec<Row>) -> Result<(), BackupError> {
        let mut reader = Reader::new(&self.plaintext);
        let mut consumed = 0;
        while let Some((key, value)) = next_row(&mut reader)? {
            if self.rows > 0 && key <= self.last_key {
                return Err(BackupError::Rows);
            }
            key.clone_into(&mut self.last_key);
            self.rows += 1;
            rows.push((key, value));
            consumed = self.plaintext.len() - reader.rest().len();
        }
        self.plaintext.drain(..consumed);
        Ok(())
    }
}

/// The next row, or `None` if it is not all there yet.
fn next_row(reader: &mut Reader<'_>) -> Result<Option<Row>, BackupError> {
    let mut row = || Ok((reader.lp(KEY_BYTES_MAX)?.to_vec(), reader.lp32(VALUE_BYTES_MAX)?.to_vec()));
    match row() {
        Ok(row) => Ok(Some(row)),
        Err(DecodeError::Truncated { .. }) => Ok(None),
        Err(_) => Err(BackupError::Rows),
    }
}

fn not_for_this_key(head: &Head) -> BackupError {
    let recipients: Vec<&str> = head.recipients().collect();
    BackupError::NotForThisKey { recipients: recipients.join(", ") }
}

const _: () = assert!(PIECE_BYTES <= sealedbox::PLAINTEXT_BYTES_MAX);
