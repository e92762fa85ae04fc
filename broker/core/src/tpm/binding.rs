//! What is kept of a key that a TPM has sealed. A thief may read it: without the TPM, in a state that the
//! policy lets through, it opens nothing.
//!
//! ```text
//! 01           the format
//! 34 bytes     name of the storage root key
//! 00 | 01      with 01: 64 bytes, the key of who signs policies
//! n            n PCRs: a byte of its number, 32 bytes of its value when this was made
//! private      what the TPM encrypted, after its length in two bytes
//! public       likewise
//! 32 bytes     SHA-256 of all that, against accidents
//! ```

use super::objects::{NAME_BYTES, Name, Point};
use super::wire::{Malformed, Reader, sized};
use super::{HASH, PcrValues, hash};

const FORMAT: u8 = 1;
/// Longest part of an object.
const PART_BYTES_MAX: usize = 1024;

/// A key that is sealed in a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmBinding {
    /// Name of the storage root key.
    pub storage: Name,
    /// Whose signed policies are followed; without, the PCRs must be as they were.
    pub signer: Option<Point>,
    /// PCRs when it was made.
    pub pcrs: PcrValues,
    /// What the TPM encrypted.
    pub private: Vec<u8>,
    /// What anyone may know of the object.
    pub public: Vec<u8>,
}

impl TpmBinding {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut all = [&[FORMAT], self.storage.as_slice(), &[u8::from(self.signer.is_some())]].concat();
        if let Some(Point { x, y }) = &self.signer {
            all.extend([*x, *y].concat());
        }
        all.push(u8::try_from(self.pcrs.iter().count()).unwrap_or_default()); // 24 at most
        self.pcrs.iter().for_each(|(number, value)| all.extend([&[number], value.as_slice()].concat()));
        all.extend([sized(&self.private), sized(&self.public)].concat());
        let sum = hash(&[&all]);
        all.extend(sum);
        all
    }

    /// From its bytes, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (all, sum) = bytes.split_last_chunk::<HASH>().ok_or(Malformed)?;
        let mut reader = Reader::new(all);
        if hash(&[all]) != *sum || reader.u8()? != FORMAT {
            return Err(Malformed);
        }
        let storage = reader.array::<NAME_BYTES>()?;
        let signer = signer(&mut reader)?;
        let pcrs = pcrs(&mut reader)?;
        let (private, public) = (part(&mut reader)?, part(&mut reader)?);
        reader.end()?;
        Ok(Self { storage, signer, pcrs, private, public })
    }
}

fn signer(reader: &mut Reader<'_>) -> Result<Option<Point>, Malformed> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(Point { x: reader.array()?, y: reader.array()? })),
        _ => Err(Malformed),
    }
}

fn pcrs(reader: &mut Reader<'_>) -> Result<PcrValues, Malformed> {
    let one = |reader: &mut Reader<'_>| Ok((reader.u8()?, reader.array()?));
    let count = reader.u8()?;
    let values = (0..count).map(|_| one(reader)).collect::<Result<Vec<_>, Malformed>>()?;
    let is_sorted = values.is_sorted_by(|(first, _), (second, _)| first < second);
    PcrValues::new(&values).filter(|_| is_sorted).ok_or(Malformed)
}

fn part(reader: &mut Reader<'_>) -> Result<Vec<u8>, Malformed> {
    let part = reader.sized()?;
    if part.len() > PART_BYTES_MAX { Err(Malformed) } else { Ok(part.to_owned()) }
}
