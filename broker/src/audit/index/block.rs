//! What an index says of a segment (`docs/skb1.md` 16.83).
//!
//! ```text
//! format(1)=1 ‖ first time(8) ‖ last time(8) ‖ count(2)
//! kinds      n(1) ‖ n × { action(1) asked(1) outcome(1) }
//! callers    n(2) ‖ n × { shared(1) length(1) rest }            in order, each without what it shares
//! paths      n(2) ‖ n × { mount(1) shared(1) length(1) rest }   with the path before
//! accessors  n(2) ‖ n × digest(4)
//! columns    kinds, callers, paths, accessors: count × place, of 1 byte if n ≤ 255, else of 2
//! requests   count × digest(2)
//! zeros      to a length of one of four classes
//! ```
//!
//! Places begin with 1; 0 says that the index does not know, and so does a digest of 0.

use symbolon_proto::codec::{DecodeError, Reader, Writer};
use symbolon_proto::log::segment::SEGMENT_ENTRIES;

use super::texts::Texts;

const FORMAT: u8 = 1;
/// Entries of a block.
pub const ENTRIES: usize = 4096;
const _: () = assert!(ENTRIES as u64 == SEGMENT_ENTRIES);
/// Lengths of a block, so that the length of a row says little: only the smallest that holds it. With what
/// its box and its page add, each fills a power of two of pages, which is what the store gives a row.
pub const CLASSES: [usize; 4] =
    [(32 << 10) - ROOM, (64 << 10) - ROOM, (128 << 10) - ROOM, (256 << 10) - ROOM];
/// For what the box and the page add.
const ROOM: usize = 256;
/// In place of what was asked for: as the head says.
pub const AS_HEAD: u8 = 0;
/// In place of what was asked for: not known, or several things.
pub const ANY: u8 = 255;

/// What an entry was about, as numbers of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The head's action.
    pub action: u8,
    /// What was asked for: an action, [`AS_HEAD`] or [`ANY`].
    pub asked: u8,
    /// How it ended.
    pub outcome: u8,
}

/// What is said of each entry: places from 1 in a list, 0 for not known.
pub type Column = Vec<u16>;

/// An index of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Time of its earliest entry, milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// Time of its latest.
    pub last_ms: u64,
    /// What its entries are about.
    pub kinds: Vec<Kind>,
    /// Who asked.
    pub callers: Texts,
    /// For what.
    pub paths: Texts,
    /// Of each path, how many bytes are the mount's own; 0 if nothing is mounted there.
    pub mounts: Vec<u8>,
    /// Digests of the accessors of their tokens.
    pub accessors: Vec<u32>,
    /// For each entry, which kind.
    pub kind: Column,
    /// Which caller.
    pub caller: Column,
    /// Which path.
    pub path: Column,
    /// Which accessor.
    pub accessor: Column,
    /// For each entry a digest of the identifier of its request.
    pub request: Vec<u16>,
}

impl Block {
    /// Its bytes, in the smallest class that holds them. The lists are bounded where they are gathered;
    /// `None` if they were not.
    #[must_use]
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Writer::with_capacity(64 << 10);
        out.u8(FORMAT).u64(self.first_ms).u64(self.last_ms).u16(u16::try_from(self.kind.len()).ok()?);
        out.u8(u8::try_from(self.kinds.len()).ok()?);
        for Kind { action, asked, outcome } in &self.kinds {
            out.u8(*action).u8(*asked).u8(*outcome);
        }
        out.u16(u16::try_from(self.callers.len()).ok()?);
        self.callers.write(&mut out, |_, _| {})?;
        out.u16(u16::try_from(self.paths.len()).ok()?);
        let mount = |out: &mut Writer, place: usize| {
            out.u8(self.mounts.get(place).copied().unwrap_or(0));
        };
        self.paths.write(&mut out, mount)?;
        out.u16(u16::try_from(self.accessors.len()).ok()?);
        for digest in &self.accessors {
            out.u32(*digest);
        }
        for (column, names) in self.columns() {
            write_column(&mut out, column, names);
        }
        for digest in &self.request {
            out.u16(*digest);
        }
        let mut bytes = out.finish();
        let class = CLASSES.into_iter().find(|class| bytes.len() <= *class)?;
        bytes.resize(class, 0);
        Some(bytes)
    }

    fn columns(&self) -> [(&Column, usize); 4] {
        [
            (&self.kind, self.kinds.len()),
            (&self.caller, self.callers.len()),
            (&self.path, self.paths.len()),
            (&self.accessor, self.accessors.len()),
        ]
    }

    /// Reads them. `None` for what this version did not write.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        Self::read(bytes).ok().flatten()
    }

    fn read(bytes: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut reader = Reader::new(bytes);
        if !CLASSES.contains(&bytes.len()) || reader.u8()? != FORMAT {
            return Ok(None);
        }
        let (first_ms, last_ms, count) = (reader.u64()?, reader.u64()?, usize::from(reader.u16()?));
        let kinds = (0..reader.u8()?).map(|_| read_kind(&mut reader)).collect::<Result<Vec<_>, _>>()?;
        let names = reader.u16()?.into();
        let Some(callers) = Texts::read(&mut reader, names, |_| Ok(()))? else { return Ok(None) };
        let (names, mut mounts) = (reader.u16()?.into(), Vec::new());
        let mount = |reader: &mut Reader<'_>| reader.u8().map(|mount_bytes| mounts.push(mount_bytes));
        let Some(paths) = Texts::read(&mut reader, names, mount)? else { return Ok(None) };
        let digests = reader.u16()?;
        let accessors = (0..digests).map(|_| reader.u32()).collect::<Result<Vec<_>, _>>()?;
        let mut column = |names: usize| read_column(&mut reader, count, names);
        let columns = [kinds.len(), callers.len(), paths.len(), accessors.len()].map(&mut column);
        let [Some(kind), Some(caller), Some(path), Some(accessor)] = columns else { return Ok(None) };
        let request = (0..count).map(|_| reader.u16()).collect::<Result<Vec<_>, _>>()?;
        if count != ENTRIES || reader.rest().iter().any(|byte| *byte != 0) {
            return Ok(None);
        }
        let block = Self {
            first_ms,
            last_ms,
            kinds,
            callers,
            paths,
            mounts,
            accessors,
            kind,
            caller,
            path,
            accessor,
            request,
        };
        Ok(Some(block))
    }
}

fn read_kind(reader: &mut Reader<'_>) -> Result<Kind, DecodeError> {
    Ok(Kind { action: reader.u8()?, asked: reader.u8()?, outcome: reader.u8()? })
}

fn write_column(out: &mut Writer, column: &Column, names: usize) {
    for place in column {
        match names {
            0..=255 => out.u8(u8::try_from(*place).unwrap_or(0)),
            _ => out.u16(*place),
        };
    }
}

/// Places in a list of so many; `None` if one is beyond it.
fn read_column(reader: &mut Reader<'_>, count: usize, names: usize) -> Option<Column> {
    let column: Column = match names {
        0..=255 => reader.take(count).ok()?.iter().map(|place| u16::from(*place)).collect(),
        _ => {
            let bytes = reader.take(count * 2).ok()?;
            bytes.as_chunks::<2>().0.iter().map(|place| u16::from_be_bytes(*place)).collect()
        }
    };
    column.iter().all(|place| usize::from(*place) <= names).then_some(column)
}
