//! A block out of the entries of a segment and their details, bounded whatever these say: what finds no place
//! is not known to the index, and the entry is then opened by whoever searches.

use std::collections::HashMap;
use std::hash::Hash;

use sha2::{Digest as _, Sha256};
use symbolon_core::audit::Detail;
use symbolon_proto::log::Entry;

use super::block::{ANY, AS_HEAD, Block, Column, Kind};

/// Most kinds.
const KINDS_MAX: usize = 255;
/// Most bytes of the names of callers.
const CALLERS_BYTES_MAX: usize = 32 << 10;
/// Most bytes of paths.
const PATHS_BYTES_MAX: usize = 128 << 10;
/// Longest name or path in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// A list of different things, and which of them each entry has.
struct Names<T> {
    places: HashMap<T, u16>,
    column: Column,
}

impl<T: Eq + Hash + Ord + Clone> Names<T> {
    fn new() -> Self {
        Self { places: HashMap::new(), column: Column::new() }
    }

    /// What the next entry has; nothing known without a name, or if `has_room` says that there is none.
    fn push(&mut self, name: Option<T>, has_room: impl FnOnce(&T, usize) -> bool) {
        let place = name.and_then(|name| match self.places.get(&name) {
            Some(place) => Some(*place),
            None if has_room(&name, self.places.len()) => {
                let place = u16::try_from(self.places.len() + 1).ok()?;
                self.places.insert(name, place);
                Some(place)
            }
            None => None,
        });
        self.column.push(place.unwrap_or(0));
    }

    /// The list in order, and the column with the places there.
    fn sorted(self) -> (Vec<T>, Column) {
        let mut all: Vec<(T, u16)> = self.places.into_iter().collect();
        all.sort_unstable();
        let moved: HashMap<u16, u16> = all.iter().map(|(_, old)| *old).zip(1..).collect();
        let column = self.column.iter().map(|place| moved.get(place).copied().unwrap_or(0)).collect();
        (all.into_iter().map(|(name, _)| name).collect(), column)
    }
}

/// Entries of a segment, one after the other.
pub(super) struct Gathering {
    times: Option<(u64, u64)>,
    kinds: Names<(u8, u8, u8)>,
    callers: Names<String>,
    caller_bytes: usize,
    paths: Names<PathName>,
    path_bytes: usize,
    accessors: Names<u32>,
    request: Vec<u16>,
}

impl Gathering {
    pub(super) fn new() -> Self {
        Self {
            times: None,
            kinds: Names::new(),
            callers: Names::new(),
            caller_bytes: 0,
            paths: Names::new(),
            path_bytes: 0,
            accessors: Names::new(),
            request: Vec::new(),
        }
    }

    /// The next entry. Of one whose detail does not open nothing is known but its head, and of one that
    /// stands for many requests neither what was asked for nor the path.
    pub(super) fn add(&mut self, entry: &Entry, detail: Option<&Detail>) {
        let (first, last) = self.times.unwrap_or((entry.time_ms, entry.time_ms));
        self.times = Some((first.min(entry.time_ms), last.max(entry.time_ms)));
        let single = detail.filter(|detail| detail.counts.is_none());
        let asked = match (single, single.and_then(|detail| detail.asked)) {
            (None, _) => ANY,
            (Some(_), asked) => asked.map_or(AS_HEAD, |asked| asked.as_u8()),
        };
        let kind = (entry.action.as_u8(), asked, entry.outcome.as_u8());
        self.kinds.push(Some(kind), |_, held| held < KINDS_MAX);
        let caller = detail.map(|detail| &detail.caller).filter(|name| name.len() <= TEXT_BYTES_MAX);
        self.callers.push(caller.cloned(), room(&mut self.caller_bytes, CALLERS_BYTES_MAX, String::len));
        let path = single.and_then(path_name);
        self.paths.push(path, room(&mut self.path_bytes, PATHS_BYTES_MAX, |name: &PathName| name.path.len()));
        let accessor = detail.map(|detail| long_digest(&detail.accessor));
        self.accessors.push(accessor, |_, _| true); // of 4 bytes each, at most one for each entry
        self.request.push(single.map_or(0, |detail| short_digest(&detail.request_id)));
    }

    /// What is said of all of them.
    pub(super) fn block(self) -> Block {
        let (first_ms, last_ms) = self.times.unwrap_or_default();
        let (kinds, kind) = self.kinds.sorted();
        let (callers, caller) = self.callers.sorted();
        let (paths, path) = self.paths.sorted();
        let (accessors, accessor) = self.accessors.sorted();
        let kinds = kinds.into_iter().map(|(action, asked, outcome)| Kind { action, asked, outcome });
        Block {
            first_ms,
            last_ms,
            kinds: kinds.collect(),
            callers: callers.iter().map(String::as_str).collect(),
            paths: paths.iter().map(|name| name.path.as_str()).collect(),
            mounts: paths.iter().map(|name| name.mount_bytes).collect(),
            accessors,
            kind,
            caller,
            path,
            accessor,
            request: self.request,
        }
    }
}

/// A path, and how many bytes of it are the mount's own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct PathName {
    path: String,
    mount_bytes: u8,
}

/// Whether a name fits into what is left of `bytes_max`, of which it then takes its part.
fn room<T>(
    used: &mut usize,
    bytes_max: usize,
    bytes: impl FnOnce(&T) -> usize,
) -> impl FnOnce(&T, usize) -> bool {
    move |name, _| {
        let more = *used + bytes(name);
        let has_room = more <= bytes_max;
        if has_room {
            *used = more;
        }
        has_room
    }
}

fn path_name(detail: &Detail) -> Option<PathName> {
    let mount_bytes = u8::try_from(detail.mount_bytes).ok()?;
    let path = Some(&detail.path).filter(|path| path.len() <= TEXT_BYTES_MAX)?;
    Some(PathName { path: path.clone(), mount_bytes })
}

/// Of an accessor. Digests can be equal by chance; whoever searches opens the entry.
pub(super) fn long_digest(text: &str) -> u32 {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(text).into();
    u32::from_be_bytes([a, b, c, d])
}

/// Of the identifier of a request; never 0.
pub(super) fn short_digest(text: &str) -> u16 {
    let [a, b, ..]: [u8; 32] = Sha256::digest(text).into();
    u16::from_be_bytes([a, b]).max(1)
}
