//! Another process's memory, searched for byte strings that must not be there.
//!
//! Reads what a debugger, a core dump or root would: every readable mapping in `/proc/<pid>/maps`, through
//! `/proc/<pid>/mem`. Pages of `memfd_secret` cannot be read that way, which is their point. Where the kernel
//! has none, keys live in pages that are locked and left out of core dumps; those are told apart by their
//! flags in `/proc/<pid>/smaps` and skipped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Half a key is as bad as a whole one.
pub const WINDOW_BYTES: usize = 16;
const CHUNK_BYTES: usize = 1 << 20;

/// The process, opened before it makes itself undumpable: after that only root may open it.
pub struct Process {
    memory: File,
    mappings: File,
}

/// What was read and what was found, by name of the needle and kind of mapping.
#[derive(Debug, Default)]
pub struct Scan {
    pub read_bytes: u64,
    pub hidden_bytes: u64,
    pub found: BTreeMap<String, usize>,
}

/// Byte strings and what they are.
#[derive(Default)]
pub struct Needles(Vec<(String, Vec<u8>)>);

impl Needles {
    /// A secret, in every window of 16 bytes; and as HMAC keeps a key while it works.
    pub fn key(&mut self, name: &str, secret: &[u8]) {
        self.text(name, secret);
        let padded = |pad: u8| secret.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
        self.text(&format!("{name}, as HMAC pads it"), &padded(0x36));
        self.text(&format!("{name}, as HMAC pads it"), &padded(0x5c));
    }

    /// A byte string, in every window of 16 bytes.
    pub fn text(&mut self, name: &str, text: &[u8]) {
        assert!(text.len() >= WINDOW_BYTES, "{name} is too short to be looked for");
        self.0.extend(text.windows(WINDOW_BYTES).map(|window| (name.to_owned(), window.to_vec())));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

struct Mapping {
    begin: u64,
    end: u64,
    kind: String,
    /// Locked and left out of dumps: where keys live if the kernel has no `memfd_secret`.
    is_vault: bool,
}

impl Process {
    pub fn open(pid: u32) -> Self {
        let open = |name: &str| File::open(format!("/proc/{pid}/{name}")).unwrap();
        Self { memory: open("mem"), mappings: open("smaps") }
    }

    /// Searches everything that can be read.
    pub fn scan(&mut self, needles: &Needles) -> Scan {
        let beginning = |bytes: &[u8]| usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let mut by_beginning: BTreeMap<usize, Vec<&(String, Vec<u8>)>> = BTreeMap::new();
        let mut begins = vec![false; 1 << 16];
        for needle in &needles.0 {
            begins[beginning(&needle.1)] = true;
            by_beginning.entry(beginning(&needle.1)).or_default().push(needle);
        }
        let mut scan = Scan::default();
        let mut chunk = vec![0_u8; CHUNK_BYTES + WINDOW_BYTES];
        for mapping in self.mappings() {
            let mut at = mapping.begin;
            while at < mapping.end {
                // Chunks overlap by a window, so that nothing hides at their border.
                let want = usize::try_from(mapping.end - at).unwrap().min(chunk.len());
                let read = if mapping.is_vault {
                    0
                } else {
                    self.memory.read_at(&mut chunk[..want], at).unwrap_or(0)
                };
                if read == 0 {
                    scan.hidden_bytes += mapping.end - at;
                    break;
                }
                let bytes = &chunk[..read];
                for (place, _) in bytes.windows(2).enumerate().filter(|(_, pair)| begins[beginning(pair)]) {
                    let here = &bytes[place..];
                    for (name, needle) in by_beginning[&beginning(here)].iter().copied() {
                        if here.starts_with(needle) {
                            *scan.found.entry(format!("{name} in {}", mapping.kind)).or_default() += 1;
                        }
                    }
                }
                let step = read.min(CHUNK_BYTES) as u64;
                scan.read_bytes += step;
                at += step;
            }
        }
        scan
    }

    /// Readable mappings that a process can write to, or that belong to no file: all places where a key could
    /// be.
    fn mappings(&mut self) -> Vec<Mapping> {
        let mut text = String::new();
        self.mappings.seek(SeekFrom::Start(0)).unwrap();
        self.mappings.read_to_string(&mut text).unwrap();
        let mut mappings: Vec<Mapping> = Vec::new();
        for line in text.lines() {
            if let Some(mapping) = mapping(line) {
                mappings.push(mapping);
            } else if let Some(flags) = line.strip_prefix("VmFlags:") {
                let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
                if let Some(last) = mappings.last_mut() {
                    last.is_vault = has("lo") && has("dd");
                }
            }
        }
        mappings.retain(|mapping| !mapping.kind.is_empty());
        mappings
    }
}

/// The first line of a mapping; its kind is empty if it is not worth reading.
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (begin, end) = words.next()?.split_once('-')?;
    let (begin, end) = (u64::from_str_radix(begin, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let rights = words.next()?;
    let name = words.nth(3).unwrap_or("anonymous");
    let fixed = name.starts_with('/') && !rights.contains('w');
    let kernels = matches!(name, "[vvar]" | "[vvar_vclock]" | "[vsyscall]");
    let skipped = !rights.starts_with('r') || fixed || kernels;
    let kind = if skipped { String::new() } else { name.rsplit('/').next().unwrap_or(name).to_owned() };
    Some(Mapping { begin, end, kind, is_vault: false })
}
