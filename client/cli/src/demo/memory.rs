//! Looks for keys in this process's own memory.
//!
//! Whoever may read a process (a debugger, a core dump, root) reads what the kernel shows in
//! `/proc/self/mem`. This reads the same and searches it for byte strings that must not be there. The strings
//! are kept masked, so that the search does not find itself; a planted marker shows that it finds what is
//! there.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Length of the windows that are searched for: half a key is as bad as a whole one.
pub const WINDOW_BYTES: usize = 16;

const MASK: u8 = 0xA5;

/// This process's memory, opened before the process makes itself undumpable; after that only root may open
/// it.
pub struct OwnMemory {
    mem: File,
    maps: File,
}

/// Something that must not be found, masked.
pub struct Needle {
    /// What it is.
    pub name: String,
    masked: [u8; WINDOW_BYTES],
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Bytes that could be read.
    pub read_bytes: u64,
    /// Names of what was found, once per place.
    pub found: Vec<String>,
}

impl Needle {
    /// Windows of 16 bytes that cover a secret.
    #[must_use]
    pub fn cover(name: &str, secret: &[u8]) -> Vec<Self> {
        let windows = secret.chunks_exact(WINDOW_BYTES).map(|window| {
            let mut masked = [0; WINDOW_BYTES];
            masked.iter_mut().zip(window).for_each(|(to, from)| *to = from ^ MASK);
            Self { name: name.to_owned(), masked }
        });
        windows.collect()
    }

    fn is_at(&self, window: &[u8]) -> bool {
        window.iter().zip(&self.masked).all(|(byte, masked)| byte ^ MASK == *masked)
    }
}

impl OwnMemory {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Ok(Self { mem: File::open("/proc/self/mem")?, maps: File::open("/proc/self/maps")? })
    }

    /// Searches everything that can be read.
    pub fn scan(&mut self, needles: &[Needle]) -> io::Result<Scan> {
        let first_bytes = first_bytes(needles);
        let mut scan = Scan::default();
        let mut chunk = vec![0_u8; CHUNK_BYTES + WINDOW_BYTES];
        for (begin, end) in self.regions()? {
            let mut at = begin;
            while at < end {
                // Chunks overlap by a window, so that nothing hides at their border.
                let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(chunk.len());
                let Ok(read) = self.mem.read_at(&mut chunk[..want], at) else { break };
                if read == 0 {
                    break;
                }
                search(&chunk[..read], &first_bytes, needles, &mut scan.found);
                let step = read.min(CHUNK_BYTES);
                scan.read_bytes += step as u64;
                at += step as u64;
            }
        }
        Ok(scan)
    }

    /// Readable regions. Pages of `memfd_secret` are listed but cannot be read this way, which is their
    /// point.
    fn regions(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut maps = String::new();
        self.maps.seek(SeekFrom::Start(0))?;
        self.maps.read_to_string(&mut maps)?;
        Ok(maps.lines().filter_map(region).collect())
    }
}

fn region(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    // Device memory and the kernel's own pages are not ours.
    if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
        return None;
    }
    let (begin, end) = range.split_once('-')?;
    Some((u64::from_str_radix(begin, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
}

/// Which first bytes any needle has: nearly every place is dismissed by this table.
fn first_bytes(needles: &[Needle]) -> [bool; 256] {
    let mut table = [false; 256];
    needles.iter().for_each(|needle| table[usize::from(needle.masked[0] ^ MASK)] = true);
    table
}

fn search(bytes: &[u8], first_bytes: &[bool; 256], needles: &[Needle], found: &mut Vec<String>) {
    for window in bytes.windows(WINDOW_BYTES).filter(|window| first_bytes[usize::from(window[0])]) {
        found.extend(needles.iter().filter(|needle| needle.is_at(window)).map(|needle| needle.name.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_is_not_is_not() {
        // Made at run time and inverted, so that no copy stands in the binary's constants.
        let planted: Vec<u8> = (0..32_u8).map(|byte| byte.wrapping_mul(37) ^ 0x5c).collect();
        let absent: Vec<u8> = (0..32_u8).map(|byte| byte.wrapping_mul(41) ^ 0x33).collect();
        let mut needles = Needle::cover("planted", &planted);
        needles.extend(Needle::cover("absent", &absent));
        drop(zeroize::Zeroizing::new(absent));
        let scan = OwnMemory::open().unwrap().scan(&needles).unwrap();
        assert!(scan.read_bytes > 1 << 20);
        assert!(scan.found.iter().any(|name| name == "planted"));
        assert!(!scan.found.iter().any(|name| name == "absent"));
        assert_eq!(planted.len(), 32);
    }
}
