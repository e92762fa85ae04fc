//! What a run of the group ceremony is for: the descriptor that all its messages are bound to.

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::GroupKey;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{KeyId, SessionId};
use crate::limits::NODES_MAX;
use crate::proposal::GroupId;

/// Bytes of a run descriptor.
pub const RUN_BYTES: usize = 1 + 16 + 16 + 4 + 4 + 3 * 32 + 2;

/// What a run does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum RunKind {
    /// Makes a key that no single party ever knows.
    Generate = 1,
    /// Changes the shares of a group, not its key.
    Refresh = 2,
    /// Gives the key to another group, or another threshold.
    Reshare = 3,
}

impl RunKind {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Generate,
            2 => Self::Refresh,
            3 => Self::Reshare,
            _ => return None,
        })
    }
}

/// The nodes that deal, by index; at least one, all between 1 and 16. In a resharing these are indices of the
/// old group, otherwise of the group itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Dealers(u16);

impl Dealers {
    /// These indices; `None` for none at all, or one that is not 1 to 16.
    pub fn new(indices: impl IntoIterator<Item = u16>) -> Option<Self> {
        let bit = |index: u16| (1..=NODES_MAX).contains(&index).then(|| 1 << (index - 1));
        let bits = indices.into_iter().try_fold(0, |bits, index| Some(bits | bit(index)?))?;
        Self::from_bits(bits)
    }

    /// 1 to `nodes`.
    pub fn all(nodes: u16) -> Option<Self> {
        Self::new(1..=nodes)
    }

    /// The indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (1..=NODES_MAX).filter(move |index| self.0 & (1 << (index - 1)) != 0)
    }

    /// Whether this node deals.
    pub fn contains(self, index: u16) -> bool {
        self.iter().any(|dealer| dealer == index)
    }

    /// How many they are, 1 to 16.
    pub fn count(self) -> u16 {
        u16::try_from(self.0.count_ones()).expect("at most 16 bits")
    }

    fn from_bits(bits: u16) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }
}

/// One run of the group ceremony. Its bytes are part of the context of every proof, key and signature of the
/// run, so nothing of one run has a meaning in another.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Run {
    /// What it does.
    pub kind: RunKind,
    /// Random: no two runs have the same.
    pub session: SessionId,
    /// The key.
    pub key: KeyId,
    /// Its epoch.
    pub key_epoch: u32,
    /// The epoch of the shares that the run makes.
    pub share_epoch: u32,
    /// The group that has the shares afterwards.
    pub group: GroupId,
    /// The group that has shares before; zeros when a key is generated.
    pub previous: GroupId,
    /// [`GroupKey::hash`] of the sharing before; zeros when a key is generated.
    pub base: [u8; 32],
    /// Who deals.
    pub dealers: Dealers,
}

/// Why bytes are not a run descriptor.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RunError {
    /// Too short, too long.
    #[error("not a run of the group ceremony: {0}")]
    Layout(#[from] DecodeError),
    /// A kind that this version does not know.
    #[error("unknown kind {found} of run")]
    Kind {
        /// The kind byte.
        found: u8,
    },
    /// Nobody deals.
    #[error("a run in which nobody deals")]
    Dealers,
    /// Its epochs do not go with its kind.
    #[error("the epochs of the run do not go with its kind")]
    Epochs,
    /// What it names as being there before does not go with its kind.
    #[error("the predecessor of the run does not go with its kind")]
    Previous,
}

impl Run {
    /// Reads a descriptor from a message.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, RunError> {
        let kind = reader.u8()?;
        let run = Self {
            kind: RunKind::from_byte(kind).ok_or(RunError::Kind { found: kind })?,
            session: SessionId::from_bytes(reader.array()?),
            key: KeyId::from_bytes(reader.array()?),
            key_epoch: reader.u32()?,
            share_epoch: reader.u32()?,
            group: reader.array()?,
            previous: reader.array()?,
            base: reader.array()?,
            dealers: Dealers::from_bits(reader.u16()?).ok_or(RunError::Dealers)?,
        };
        run.check().map(|()| run)
    }

    /// Reads exactly one descriptor, from storage.
    pub fn parse(bytes: &[u8]) -> Result<Self, RunError> {
        let mut reader = Reader::new(bytes);
        let run = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(run)
    }

    /// The bytes.
    pub fn to_bytes(&self) -> [u8; RUN_BYTES] {
        let mut writer = Writer::with_capacity(RUN_BYTES);
        writer.u8(self.kind as u8).bytes(self.session.as_bytes()).bytes(self.key.as_bytes());
        writer.u32(self.key_epoch).u32(self.share_epoch);
        writer.bytes(&self.group).bytes(&self.previous).bytes(&self.base).u16(self.dealers.0);
        writer.finish().try_into().expect("every field of a run has a fixed length")
    }

    /// SHA-256 of the bytes, a short name for files and logs.
    pub fn id(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }

    /// Whether the sharing before is `base`.
    pub fn follows(&self, base: &GroupKey) -> bool {
        self.base == base.hash()
    }

    fn check(&self) -> Result<(), RunError> {
        let first = self.kind == RunKind::Generate;
        if self.key_epoch == 0 || self.share_epoch == 0 || first != (self.share_epoch == 1) {
            return Err(RunError::Epochs);
        }
        let before = (self.previous != [0; 32], self.base != [0; 32]);
        let fits = match self.kind {
            RunKind::Generate => before == (false, false),
            RunKind::Refresh => before == (true, true) && self.previous == self.group,
            RunKind::Reshare => before == (true, true) && self.previous != self.group,
        };
        fits.then_some(()).ok_or(RunError::Previous)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::test_run;

    #[test]
    fn comes_back() {
        for kind in [RunKind::Generate, RunKind::Refresh, RunKind::Reshare] {
            let bytes = test_run(kind).to_bytes();
            assert_eq!(Run::parse(&bytes), Ok(test_run(kind)));
            assert_eq!(bytes.len(), RUN_BYTES);
        }
    }

    #[test]
    fn refuses_what_does_not_go_together() {
        let check = |run: Run, expected| assert_eq!(Run::parse(&run.to_bytes()), Err(expected));
        let (generate, refresh, reshare) =
            (test_run(RunKind::Generate), test_run(RunKind::Refresh), test_run(RunKind::Reshare));
        check(Run { key_epoch: 0, ..generate }, RunError::Epochs);
        check(Run { share_epoch: 2, ..generate }, RunError::Epochs);
        check(Run { share_epoch: 1, ..refresh }, RunError::Epochs);
        check(Run { share_epoch: 0, ..reshare }, RunError::Epochs);
        check(Run { base: [1; 32], ..generate }, RunError::Previous);
        check(Run { previous: [1; 32], ..refresh }, RunError::Previous);
        check(Run { previous: [3; 32], ..reshare }, RunError::Previous);
        check(Run { base: [0; 32], ..reshare }, RunError::Previous);
        let mut bytes = generate.to_bytes();
        bytes[0] = 4;
        assert_eq!(Run::parse(&bytes), Err(RunError::Kind { found: 4 }));
        let mut bytes = generate.to_bytes();
        bytes[RUN_BYTES - 1] = 0;
        assert_eq!(Run::parse(&bytes), Err(RunError::Dealers));
    }

    #[test]
    fn dealers_are_a_set_of_indices() {
        let dealers = Dealers::new([16, 2, 2]).unwrap();
        assert_eq!(dealers.iter().collect::<Vec<_>>(), [2, 16]);
        assert_eq!(dealers.count(), 2);
        assert!(dealers.contains(16) && !dealers.contains(1) && !dealers.contains(0));
        assert_eq!(Dealers::new([0]), None);
        assert_eq!(Dealers::new([17]), None);
        assert_eq!(Dealers::new([]), None);
        assert_eq!(Dealers::all(16).unwrap().count(), 16);
    }
}
