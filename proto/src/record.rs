//! Records: one version of one secret at rest (`docs/skb1.md` section 6.5).
//!
//! ```text
//! format(1) ‖ suite(1) ‖ capsule_id(16) ‖ SealedBox(KEK, ctx_wrap, DEK)(112)
//! ‖ SealedBox(DEK, ctx_rec, value)
//! ```
//!
//! The header says which capsule's KEK wraps the record's own key, so that a reader knows which KEK to fetch.
//! It proves nothing: contexts come from where the caller looked, and the capsule id is part of them.

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::capsule::Kek;
use crate::codec::{DecodeError, Reader};
use crate::context::{RecordContext, wrap_context};
use crate::group::Suite;
use crate::id::CapsuleId;
use crate::sealedbox::{self, OVERHEAD_BYTES, OpenError, SealError};
use crate::secret::{self, Secret};

/// Bytes that a record adds to its value.
pub const RECORD_OVERHEAD_BYTES: usize = HEADER_BYTES + WRAP_BYTES + OVERHEAD_BYTES;

const FORMAT: u8 = 0x01;
const HEADER_BYTES: usize = 18;
const WRAP_BYTES: usize = 32 + OVERHEAD_BYTES;

/// Why bytes are not a record, or a record does not open.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RecordError {
    /// Too short to be one.
    #[error("not a record: {0}")]
    Layout(#[from] DecodeError),
    /// A format byte that this version does not know.
    #[error("record format {found}, this version reads 1")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// A suite that this version does not know.
    #[error("record suite {found}, this version knows 1")]
    Suite {
        /// The suite byte.
        found: u8,
    },
    /// The record's own key does not open.
    #[error("the record's key does not open: {0}")]
    Key(OpenError),
    /// The value does not open.
    #[error("the record's value does not open: {0}")]
    Value(OpenError),
}

/// Seals `value` with a fresh key of its own, wrapped by `kek`, the KEK in capsule `capsule`.
pub fn seal(
    kek: &Kek,
    context: &RecordContext,
    capsule: &CapsuleId,
    value: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let mut record = Vec::with_capacity(value.len() + RECORD_OVERHEAD_BYTES);
    secret::wiping(|| {
        let dek = Secret::random(rng);
        push_header_and_wrap(&mut record, kek, context, capsule, &dek, rng)?;
        sealedbox::seal_onto(&mut record, &dek, &context.encode(), value, rng)
    })?;
    Ok(record)
}

/// Opens what [`seal`] made, with the context of where the caller looked and the KEK that the caller holds.
pub fn open(
    kek: &Kek,
    context: &RecordContext,
    capsule: &CapsuleId,
    record: &[u8],
) -> Result<Zeroizing<Vec<u8>>, RecordError> {
    let (_, wrap, payload) = split(record)?;
    secret::wiping(|| {
        let dek = sealedbox::open_key(kek.secret(), &wrap_context(context, capsule), wrap)
            .map_err(RecordError::Key)?;
        sealedbox::open_vec(&dek, &context.encode(), payload).map_err(RecordError::Value)
    })
}

/// The capsule whose KEK opens this record, as its header claims.
pub fn capsule_of(record: &[u8]) -> Result<CapsuleId, RecordError> {
    split(record).map(|(capsule, ..)| capsule)
}

/// Wraps the record's key under another KEK; the sealed value stays as it is.
pub fn rewrap(
    (old_kek, old_capsule): (&Kek, &CapsuleId),
    (new_kek, new_capsule): (&Kek, &CapsuleId),
    context: &RecordContext,
    record: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, RecordError> {
    let (_, wrap, payload) = split(record)?;
    secret::wiping(|| {
        let dek = sealedbox::open_key(old_kek.secret(), &wrap_context(context, old_capsule), wrap)
            .map_err(RecordError::Key)?;
        let mut out = Vec::with_capacity(record.len());
        push_header_and_wrap(&mut out, new_kek, context, new_capsule, &dek, rng)
            .expect("a key is shorter than the longest plaintext");
        out.extend_from_slice(payload);
        Ok(out)
    })
}

fn push_header_and_wrap(
    out: &mut Vec<u8>,
    kek: &Kek,
    context: &RecordContext,
    capsule: &CapsuleId,
    dek: &Secret<32>,
    rng: &mut dyn CryptoRng,
) -> Result<(), SealError> {
    out.extend_from_slice(&[FORMAT, Suite::Ristretto255.byte()]);
    out.extend_from_slice(capsule.as_bytes());
    sealedbox::seal_onto(out, kek.secret(), &wrap_context(context, capsule), dek.expose(), rng)
}

fn split(record: &[u8]) -> Result<(CapsuleId, &[u8], &[u8]), RecordError> {
    let mut reader = Reader::new(record);
    let format = reader.u8()?;
    if format != FORMAT {
        return Err(RecordError::Format { found: format });
    }
    let suite = reader.u8()?;
    if Suite::from_byte(suite).is_none() {
        return Err(RecordError::Suite { found: suite });
    }
    let capsule = CapsuleId::from_bytes(reader.array()?);
    Ok((capsule, reader.take(WRAP_BYTES)?, reader.rest()))
}
