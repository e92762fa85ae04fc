//! Which PCRs of the SHA-256 bank, and their values.

use std::collections::BTreeMap;

use super::wire::{Malformed, Reader};
use super::{Digest32, SHA256, hash};

/// PCRs 0 to 23: those that every TPM of a PC has.
pub const PCRS: u8 = 24;

/// Some PCRs, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcrSet(u32);

impl PcrSet {
    /// From their numbers. `None` if there are none, one twice, or one above 23.
    #[must_use]
    pub fn new(numbers: &[u8]) -> Option<Self> {
        let mask = numbers.iter().try_fold(0_u32, |mask, number| {
            let bit = (*number < PCRS).then(|| 1_u32 << number)?;
            (mask & bit == 0).then_some(mask | bit)
        })?;
        (mask != 0).then_some(Self(mask))
    }

    /// Their numbers, lowest first.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..PCRS).filter(move |number| self.0 & (1 << number) != 0)
    }

    /// All of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has all of the other.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What is not in the other. `None` if there is nothing.
    #[must_use]
    pub const fn without(self, mask: u32) -> Option<Self> {
        match self.0 & !mask {
            0 => None,
            left => Some(Self(left)),
        }
    }

    /// `TPML_PCR_SELECTION`.
    #[must_use]
    pub fn selection(self) -> Vec<u8> {
        let [a, b, c, _] = self.0.to_le_bytes();
        [1_u32.to_be_bytes().as_slice(), &SHA256.to_be_bytes(), &[3, a, b, c]].concat()
    }
}

/// Values of PCRs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PcrValues(BTreeMap<u8, Digest32>);

impl PcrValues {
    /// From numbers and values. `None` as [`PcrSet::new`].
    #[must_use]
    pub fn new(values: &[(u8, Digest32)]) -> Option<Self> {
        let numbers: Vec<u8> = values.iter().map(|(number, _)| *number).collect();
        PcrSet::new(&numbers).map(|_| Self(values.iter().copied().collect()))
    }

    /// Adds what one `PCR_Read` gave. Returns the bits of the PCRs that were in it.
    pub fn add_read(&mut self, params: &[u8]) -> Result<u32, Malformed> {
        let mut reader = Reader::new(params);
        reader.u32()?; // how often any PCR has changed
        if reader.u32()? != 1 || reader.u16()? != SHA256 {
            return Err(Malformed);
        }
        let select = usize::from(reader.u8()?);
        let mut bits = [0; 4];
        for (to, from) in bits.iter_mut().zip(reader.bytes(select)?) {
            *to = *from;
        }
        let mask = u32::from_le_bytes(bits);
        let numbers: Vec<u8> = (0..PCRS).filter(|number| mask & (1 << number) != 0).collect();
        if mask >> PCRS != 0 || usize::try_from(reader.u32()?) != Ok(numbers.len()) {
            return Err(Malformed);
        }
        for number in numbers {
            self.0.insert(number, reader.sized()?.try_into().map_err(|_| Malformed)?);
        }
        reader.end().map(|()| mask)
    }

    /// Of which PCRs. `None` if there are none.
    #[must_use]
    pub fn set(&self) -> Option<PcrSet> {
        PcrSet::new(&self.0.keys().copied().collect::<Vec<u8>>())
    }

    /// Those of a set. `None` if one is not there.
    #[must_use]
    pub fn only(&self, set: PcrSet) -> Option<Self> {
        set.numbers().map(|number| Some((number, *self.0.get(&number)?))).collect::<Option<_>>().map(Self)
    }

    /// PCRs of this that have another value there, or none.
    #[must_use]
    pub fn differing(&self, there: &Self) -> Vec<u8> {
        let differs = |(number, value): (&u8, &Digest32)| there.0.get(number) != Some(value);
        self.0.iter().filter(|pair| differs(*pair)).map(|(number, _)| *number).collect()
    }

    /// Each, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &Digest32)> {
        self.0.iter().map(|(number, value)| (*number, value))
    }

    /// Of all values, lowest PCR first.
    #[must_use]
    pub fn digest(&self) -> Digest32 {
        hash(&self.0.values().map(<[u8; 32]>::as_slice).collect::<Vec<_>>())
    }
}
