//! Rows to bytes. Holds one piece at a time.

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use super::head::{About, Head, HeadError};
use super::shape::{Binding, PIECE_BYTES, PREFIX, signed_bytes};
use crate::codec::Writer;
use crate::custodian::Card;
use crate::sealedbox;
use crate::secret::Secret;
use crate::signing::SigningSeed;

/// A backup being written. Every step appends to a buffer that the caller takes away and sends.
pub struct BackupWriter {
    key: Secret<32>,
    binding: Binding,
    /// Number of the piece that is being filled.
    number: u64,
    plaintext: Vec<u8>,
    all: Sha256,
    out: Vec<u8>,
}

impl BackupWriter {
    /// Begins a backup for the owners of `cards`.
    pub fn begin(about: About, cards: &[Card], rng: &mut dyn CryptoRng) -> Result<Self, HeadError> {
        let key = Secret::random(rng);
        let head = Head::seal(about, cards, &key, rng)?.encode();
        let binding = Binding::of(&head);
        let mut begun =
            Self { key, binding, number: 0, plaintext: Vec::new(), all: Sha256::new(), out: Vec::new() };
        begun.put(PREFIX);
        begun.put_lp32(&head);
        Ok(begun)
    }

    /// Adds a row, whose key must be larger than that of the row before.
    pub fn row(&mut self, key: &[u8], value: &[u8], rng: &mut dyn CryptoRng) {
        let mut row = Writer::with_capacity(key.len() + value.len() + 6);
        row.lp(key).lp32(value);
        let mut rest = row.as_bytes();
        while !rest.is_empty() {
            // A full piece waits for the next byte, because only then is it known not to be the last.
            if self.plaintext.len() == PIECE_BYTES {
                self.piece(false, rng);
            }
            let (now, later) = rest.split_at(rest.len().min(PIECE_BYTES - self.plaintext.len()));
            self.plaintext.extend_from_slice(now);
            rest = later;
        }
    }

    /// Takes away what is ready to be sent.
    pub fn take(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.out)
    }

    /// Ends the backup with the signature of the key that signs the log. The last bytes.
    pub fn finish(mut self, log: &SigningSeed, rng: &mut dyn CryptoRng) -> Vec<u8> {
        self.piece(true, rng);
        self.put(&[0; 4]);
        let signature = log.sign(&signed_bytes(self.all.clone()));
        self.put(&signature);
        self.out
    }

    fn piece(&mut self, is_last: bool, rng: &mut dyn CryptoRng) {
        let context = self.binding.piece(self.number, is_last);
        let sealed = sealedbox::seal(&self.key, &context, &self.plaintext, rng);
        self.put_lp32(&sealed.expect("a piece is shorter than the longest box"));
        self.plaintext.clear();
        self.number += 1;
    }

    fn put_lp32(&mut self, field: &[u8]) {
        let mut framed = Writer::with_capacity(4 + field.len());
        framed.lp32(field);
        self.put(framed.as_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.all.update(bytes);
        self.out.extend_from_slice(bytes);
    }
}
