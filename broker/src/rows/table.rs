//! What a table is. Each stands in the room that writes it; the list of all is put together in
//! `access::shape`.

/// How the rows of a table are kept, and so what a change of keys does to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Encrypted under K_index, names hashed: re-encrypted row by row when the fragment or its epoch changes.
    Row,
    /// SKB1 records under a KEK: unchanged while the KEK is, moved by the roll of their mount's KEKs.
    Record,
    /// SKB1 capsules: re-wrapped for the new epoch, and counted in the census.
    Capsule,
    /// Public rows, for a sealed broker: seal record, sources.
    Public,
    /// Of the log: its own format, under keys that outlive an epoch.
    Log,
}

/// How long the rows of a table are there. Nobody can declare a table without saying it, and a table of rows
/// that end needs somebody who collects them: a test holds every such table against the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Until somebody removes them, or what they belong to in the same commit, or their mount.
    Kept,
    /// Until an end of their own, which comes whether or not anybody asks for the row again.
    Ends,
}

/// A table of the store. Wire value: the number is part of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    number: u8,
    /// What it holds, for people.
    pub name: &'static str,
    /// How its rows are kept.
    pub layout: Layout,
    /// How long.
    pub life: Life,
}

impl Table {
    /// Declares one. A number belongs to one table for good.
    #[must_use]
    pub const fn new(number: u8, name: &'static str, layout: Layout, life: Life) -> Self {
        Self { number, name, layout, life }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.number
    }

    /// Whether its keys have the id of a mount as scope, so that rows can go with one.
    #[must_use]
    pub const fn holds_mounts(self) -> bool {
        !matches!(self.layout, Layout::Public | Layout::Log)
    }
}

/// The public seal record.
pub const SEAL: Table = Table::new(0x01, "seal record", Layout::Public, Life::Kept);
/// Sealed keys of the deployment itself. Rows of K_index and records under other keys lie side by side in it.
pub const SYSTEM: Table = Table::new(0x02, "system secrets", Layout::Row, Life::Kept);
/// Counters moved by compare-and-set, and single rows of a deployment.
pub const COUNTERS: Table = Table::new(0x0b, "counters", Layout::Row, Life::Kept);

/// Tables of no room in particular.
pub const TABLES: [Table; 3] = [SEAL, SYSTEM, COUNTERS];
