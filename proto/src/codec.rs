//! Reading and writing the binary layouts: big-endian integers, fixed arrays and length-prefixed fields.
//!
//! Every read is bounded by the slice it reads from and ends in a [`DecodeError`], never in a panic; every
//! complete message ends with [`Reader::finish`], so trailing bytes are refused. Nothing here allocates for a
//! length that a peer claimed.

use thiserror::Error;

/// Why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum DecodeError {
    /// The message ends before its last field.
    #[error("the message ends {missing} bytes too early")]
    Truncated {
        /// Bytes that the field at the end still wanted.
        missing: usize,
    },
    /// Bytes follow the last field.
    #[error("{extra} bytes follow the end of the message")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A length field is above what this kind of field may have.
    #[error("a field of {found} bytes, where at most {max} are allowed")]
    TooLong {
        /// The claimed length in bytes.
        found: usize,
        /// The bound in bytes.
        max: usize,
    },
}

/// A cursor over a received message.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `message`.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The bytes not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Truncated { missing: count - self.rest.len() }),
        }
    }

    /// The next `N` bytes by value.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(DecodeError::Truncated { missing: N - self.rest.len() }),
        }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// A big-endian 16-bit integer.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A big-endian 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian 64-bit integer.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// LP(x) of section 6.1: a 16-bit length, then that many bytes, at most `max`.
    pub fn lp(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.u16()?);
        self.bounded(len, max)
    }

    /// A 32-bit length, then that many bytes, at most `max`.
    pub fn lp32(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        self.bounded(len, max)
    }

    /// Ends the message: nothing may follow.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { extra }),
        }
    }

    fn bounded(&mut self, len: usize, max: usize) -> Result<&'a [u8], DecodeError> {
        if len > max {
            return Err(DecodeError::TooLong { found: len, max });
        }
        self.take(len)
    }
}

/// A message being built.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty message with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends a big-endian 16-bit integer.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a big-endian 32-bit integer.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a big-endian 64-bit integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends LP(x): the length in 16 bits, then the bytes. Panics above 65,535 bytes, which the types of
    /// this crate exclude: every field written here is a fixed array or has its own smaller bound.
    pub fn lp(&mut self, field: &[u8]) -> &mut Self {
        let len = u16::try_from(field.len()).expect("fields written with lp are bounded below 64 KiB");
        self.u16(len).bytes(field)
    }

    /// Appends the length in 32 bits, then the bytes. Panics above 4 GiB, see [`Writer::lp`].
    pub fn lp32(&mut self, field: &[u8]) -> &mut Self {
        let len = u32::try_from(field.len()).expect("fields written with lp32 are bounded below 4 GiB");
        self.u32(len).bytes(field)
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished message.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// The two length bytes of LP(`field`), for hashing a field without copying it.
pub(crate) fn lp_len(field: &[u8]) -> [u8; 2] {
    u16::try_from(field.len()).expect("hashed fields are bounded below 64 KiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn fields_come_back_in_order() {
        let mut writer = Writer::with_capacity(64);
        writer.u8(1).u16(2).u32(3).u64(4).lp(b"five").lp32(b"six").bytes(&[7; 3]);
        let message = writer.finish();
        let mut reader = Reader::new(&message);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16(), Ok(2));
        assert_eq!(reader.u32(), Ok(3));
        assert_eq!(reader.u64(), Ok(4));
        assert_eq!(reader.lp(4), Ok(&b"five"[..]));
        assert_eq!(reader.lp32(3), Ok(&b"six"[..]));
        assert_eq!(reader.array::<3>(), Ok([7; 3]));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn short_long_and_oversized_are_told_apart() {
        assert_eq!(Reader::new(&[1]).u32(), Err(DecodeError::Truncated { missing: 3 }));
        assert_eq!(Reader::new(&[1]).finish(), Err(DecodeError::Trailing { extra: 1 }));
        assert_eq!(Reader::new(&[0, 9, 1]).lp(8), Err(DecodeError::TooLong { found: 9, max: 8 }));
        assert_eq!(Reader::new(&[0, 9, 1]).lp(9), Err(DecodeError::Truncated { missing: 8 }));
        assert_eq!(
            Reader::new(&[255; 4]).lp32(10),
            Err(DecodeError::TooLong { found: 0xffff_ffff, max: 10 })
        );
    }
}
