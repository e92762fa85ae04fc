//! The only module with `unsafe`: an arena of 64-byte slots over secret pages.
//!
//! ```text
//!  chunk:  | guard page, no access | data pages: slot slot slot … | guard page, no access |
//! ```
//!
//! Chunks are mapped when needed and stay until the process ends, so a slot's address is valid forever. A
//! slot is owned by exactly one [`Slot`] or stands in the free list; it is zero whenever it stands there. The
//! free list and the counters are behind one mutex; the bytes of a slot belong to its owner and need no lock.
//!
//! Best pages first: `memfd_secret` (unmapped from the kernel's direct map, unreadable by other processes,
//! counted against RLIMIT_MEMLOCK, shared mappings, therefore not inherited by a forked child); else
//! anonymous pages with `mlock`, `MADV_DONTDUMP` and `MADV_WIPEONFORK`; else, if allowed, plain anonymous
//! pages. A chunk that does not fit the limit is retried at a smaller size, down to one page.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::{MemlockLimit, MemoryError, MemoryMode, SPARE};

/// Bytes of a slot; also its alignment, so that no two secrets share a cache line.
pub(super) const SLOT_BYTES: usize = 64;
/// Most slots of a process: 64 MiB. 65,536 cached KEKs are 4 MiB.
pub(super) const SLOTS_MAX: usize = 1 << 20;
/// Data bytes of a chunk that is tried first. A multiple of every page size in use (4, 16 and 64 KiB).
const CHUNK_BYTES: usize = 64 * 1024;

static ARENA: Mutex<Arena> = Mutex::new(Arena::new(SLOTS_MAX));

struct Arena {
    /// Slots that nobody owns, all zero.
    free: Vec<Address>,
    /// Where all slots lie.
    chunks: Vec<Chunk>,
    /// Slots that exist, owned or free.
    slots: usize,
    /// Slots that may exist.
    slots_max: usize,
    /// Weakest protection of any chunk so far.
    mode: Option<MemoryMode>,
    allow_insecure: bool,
}

/// Address of a slot within a chunk.
type SlotPointer = NonNull<[u8; SLOT_BYTES]>;

struct Address(SlotPointer);

// SAFETY: the address points into a chunk that is never unmapped; it is reached only by whoever holds this
// value, which is one thread at a time.
unsafe impl Send for Address {}

/// Data pages of one mapping.
struct Chunk {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the address of a mapping that is never unmapped; it is used for nothing but the last wipe.
unsafe impl Send for Chunk {}

/// The one owner of a slot.
pub(super) struct Slot(SlotPointer);

// SAFETY: a slot is plain memory owned by this value alone, like the contents of a Box<[u8; 64]>.
unsafe impl Send for Slot {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for Slot {}

impl Slot {
    /// Takes a free slot, growing the arena if there is none.
    ///
    /// # Panics
    /// If no page can be had: in a process that did not reserve what it needs.
    pub(super) fn take() -> Self {
        // Taken first, so that the lock is free again should this panic: whoever reports it may need a
        // secret.
        let taken = arena().take();
        match taken {
            Ok(slot) => slot,
            Err(error) => panic!("secret memory was reserved when the process started: {error}"),
        }
    }

    /// Takes a slot of those that are not spare.
    pub(super) fn take_kept() -> Result<Self, MemoryError> {
        arena().take_kept()
    }

    pub(super) fn bytes(&self) -> &[u8; SLOT_BYTES] {
        // SAFETY: the pointer is non-null, aligned to 64, points to 64 initialised bytes that stay mapped
        // readable and writable until the process ends, and only this value owns them, so no one writes while
        // `self` is borrowed.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; SLOT_BYTES] {
        // SAFETY: as in `bytes`, and `&mut self` makes the borrow exclusive.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        wipe(self.bytes_mut());
        arena().free.push(Address(self.0));
    }
}

/// Volatile zeros in whole words: the compiler may not drop them, and a slot is wiped in eight stores.
fn wipe(bytes: &mut [u8; SLOT_BYTES]) {
    let words = bytes.as_mut_ptr().cast::<u64>();
    for word in 0..SLOT_BYTES / 8 {
        // SAFETY: slots are 64-byte aligned and 64 bytes long, so the eight words lie inside and are aligned.
        unsafe { words.add(word).write_volatile(0) };
    }
    compiler_fence(Ordering::SeqCst);
}

pub(super) fn prepare(allow_insecure: bool) -> Result<MemoryMode, MemoryError> {
    let mut arena = arena();
    arena.allow_insecure = allow_insecure;
    if arena.free.is_empty() {
        arena.grow()?;
    }
    match arena.mode {
        Some(mode) if mode != MemoryMode::Insecure || allow_insecure => Ok(mode),
        _ => Err(arena.too_little(1)),
    }
}

pub(super) fn reserve(count: usize) -> Result<(), MemoryError> {
    arena().reserve(count)
}

pub(super) fn mode() -> Option<MemoryMode> {
    arena().mode
}

/// Overwrites every slot of every chunk, whoever owns it.
///
/// Only for a process that is about to abort: other threads may be reading their keys, and what they read
/// from now on is worthless. The race is on plain bytes that nobody will use any more.
pub(super) fn wipe_all() {
    // Not `lock`: the panicking thread may hold the arena, and waiting for it would keep the process alive.
    let arena = match ARENA.try_lock() {
        Ok(arena) => arena,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for chunk in &arena.chunks {
        for word in 0..chunk.bytes / 8 {
            // SAFETY: chunks are never unmapped, are aligned to a page and hold `bytes` writable bytes.
            unsafe { chunk.start.cast::<u64>().add(word).write_volatile(0) };
        }
    }
    compiler_fence(Ordering::SeqCst);
}

/// Keeps the calling thread's stack out of swap and core dumps. Answers whether the kernel agreed to both.
#[cfg(target_os = "linux")]
pub(super) fn protect_stack() -> bool {
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut lowest, mut bytes) = (core::ptr::null_mut(), 0);
    // SAFETY: the attributes are written before they are read, and destroyed once; the other pointers are to
    // locals.
    let known = unsafe {
        libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) == 0 && {
            let got = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut bytes) == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            got
        }
    };
    if !known || lowest.is_null() {
        return false;
    }
    // On fault: the guard page of a stack cannot be made present, and the rest is as it is used. SAFETY: the
    // range is this thread's own stack; locking and the advice change nothing that the program sees.
    let locked = unsafe { libc::mlock2(lowest, bytes, libc::MLOCK_ONFAULT) == 0 };
    let hidden = advise(lowest.cast(), bytes, libc::MADV_DONTDUMP);
    locked && hidden
}

#[cfg(not(target_os = "linux"))]
pub(super) fn protect_stack() -> bool {
    false
}

/// Has glibc's allocator keep ordinary memory in at most two heaps. Answers whether it will; other allocators
/// have one anyway.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn keep_two_heaps() -> bool {
    // SAFETY: sets a number of the allocator; there is one thread yet, as the caller's contract says.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) == 1 }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn keep_two_heaps() -> bool {
    true
}

/// The arena. A panic under the lock happens only before anything was changed, so a poisoned lock is still
/// sound.
fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arena {
    const fn new(slots_max: usize) -> Self {
        Self { free: Vec::new(), chunks: Vec::new(), slots: 0, slots_max, mode: None, allow_insecure: false }
    }

    fn reserve(&mut self, count: usize) -> Result<(), MemoryError> {
        while self.free.len() < count {
            let missing = count - self.free.len();
            self.grow().map_err(|error| match error {
                MemoryError::Locked { .. } => self.too_little(missing),
                full => full,
            })?;
        }
        Ok(())
    }

    /// What is missing if `missing` more slots cannot be had.
    fn too_little(&self, missing: usize) -> MemoryError {
        let kib = |slots: usize| (slots * SLOT_BYTES).div_ceil(1024);
        let (needed_kib, had_kib) = (kib(self.slots + missing), kib(self.slots));
        MemoryError::Locked { needed_kib, had_kib, limit: memlock_limit() }
    }

    fn take_kept(&mut self) -> Result<Slot, MemoryError> {
        while self.free.len() <= SPARE {
            self.grow()?;
        }
        self.take()
    }

    fn take(&mut self) -> Result<Slot, MemoryError> {
        if self.free.is_empty() {
            self.grow()?;
        }
        self.free.pop().map(|address| Slot(address.0)).ok_or(MemoryError::Full)
    }

    /// Adds a chunk of the best kind that can be had, at the largest size that fits the limit.
    fn grow(&mut self) -> Result<(), MemoryError> {
        let kinds: &[MemoryMode] = if self.allow_insecure {
            &[MemoryMode::MemfdSecret, MemoryMode::Locked, MemoryMode::Insecure]
        } else {
            &[MemoryMode::MemfdSecret, MemoryMode::Locked]
        };
        if self.slots >= self.slots_max {
            return Err(MemoryError::Full);
        }
        let page = page_bytes();
        for &kind in kinds {
            let mut size = CHUNK_BYTES.max(page);
            while size >= page {
                if let Some(data) = map_chunk(kind, size, page) {
                    self.adopt(data, size);
                    self.mode = self.mode.max(Some(kind));
                    return Ok(());
                }
                size /= 2;
            }
        }
        Err(self.too_little(1))
    }

    /// Cuts fresh zero pages into slots. Lowest address on top of the free list.
    fn adopt(&mut self, data: NonNull<u8>, size: usize) {
        let count = size / SLOT_BYTES;
        self.chunks.push(Chunk { start: data, bytes: size });
        self.slots += count;
        // Room for every slot that exists, so that returning one never allocates.
        self.free.reserve(self.slots.saturating_sub(self.free.len()));
        for index in (0..count).rev() {
            // SAFETY: index * 64 + 64 <= size, so the slot lies inside the mapping that starts at `data`.
            let slot = unsafe { data.add(index * SLOT_BYTES) };
            self.free.push(Address(slot.cast()));
        }
    }
}

fn memlock_limit() -> MemlockLimit {
    let mut limit = core::mem::MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the kernel writes the structure if it answers 0, and only then is it read.
    let known = unsafe {
        (libc::getrlimit(libc::RLIMIT_MEMLOCK, limit.as_mut_ptr()) == 0).then(|| limit.assume_init())
    };
    match known {
        Some(limit) if limit.rlim_cur == libc::RLIM_INFINITY => MemlockLimit::Unlimited,
        #[allow(clippy::useless_conversion, reason = "not on every system 64 bits")]
        Some(limit) => MemlockLimit::Bytes(limit.rlim_cur.into()),
        None => MemlockLimit::Unknown,
    }
}

fn page_bytes() -> usize {
    // SAFETY: sysconf has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
}

/// Maps `size` zeroed data bytes of this kind between two guard pages. `None` if the kernel refuses.
fn map_chunk(kind: MemoryMode, size: usize, page: usize) -> Option<NonNull<u8>> {
    let whole = size + 2 * page;
    // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice touches no existing
    // memory.
    let base = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            whole,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the data area [page, page + size) lies inside the mapping of `whole` bytes made above.
    let data = unsafe { base.cast::<u8>().add(page) };
    let ready = match kind {
        MemoryMode::MemfdSecret => put_memfd_secret(data, size),
        MemoryMode::Locked => open_anonymous(data, size) && lock(data, size),
        MemoryMode::Insecure => open_anonymous(data, size),
    };
    if !ready {
        // SAFETY: exactly the mapping made above, of which no address has left this function.
        unsafe { libc::munmap(base, whole) };
        return None;
    }
    // Touch every page now: a page that cannot be had should fail here, not at some later key.
    for offset in (0..size).step_by(page) {
        // SAFETY: inside the data area, which is mapped readable and writable.
        unsafe { data.add(offset).write_volatile(0) };
    }
    NonNull::new(data)
}

/// Puts `memfd_secret` pages over `[data, data + size)`.
#[cfg(target_os = "linux")]
fn put_memfd_secret(data: *mut u8, size: usize) -> bool {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    let Ok(length) = libc::off_t::try_from(size) else { return false };
    // SAFETY: memfd_secret takes one flags argument and returns a new descriptor or -1.
    let raw = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let Some(raw) = i32::try_from(raw).ok().filter(|raw| *raw >= 0) else { return false };
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it. Closing it keeps the mapping.
    let file = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: an open descriptor of ours and a length that is not negative.
    if unsafe { libc::ftruncate(file.as_raw_fd(), length) } != 0 {
        return false;
    }
    // SAFETY: MAP_FIXED replaces only the inaccessible pages of our own reservation in `map_chunk`.
    let mapped = unsafe {
        libc::mmap(
            data.cast(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_FIXED,
            file.as_raw_fd(),
            0,
        )
    };
    // A shared mapping would be visible in a forked child, so it must not be inherited.
    mapped == data.cast() && advise(data, size, libc::MADV_DONTFORK)
}

#[cfg(not(target_os = "linux"))]
fn put_memfd_secret(_data: *mut u8, _size: usize) -> bool {
    false
}

/// Makes the reserved anonymous pages accessible and keeps them out of core dumps and forked children. An old
/// kernel may not know the advice; the pages are then still usable, and core dumps are off process-wide
/// anyway.
fn open_anonymous(data: *mut u8, size: usize) -> bool {
    // SAFETY: pages of our own reservation, page-aligned.
    let opened = unsafe { libc::mprotect(data.cast(), size, libc::PROT_READ | libc::PROT_WRITE) } == 0;
    #[cfg(target_os = "linux")]
    if opened {
        let _ = advise(data, size, libc::MADV_DONTDUMP);
        let _ = advise(data, size, libc::MADV_WIPEONFORK);
    }
    opened
}

/// Keeps the pages out of swap. `mlock` is `mlock2` without flags: the pages are present when it returns.
fn lock(data: *mut u8, size: usize) -> bool {
    // SAFETY: pages of our own reservation.
    unsafe { libc::mlock(data.cast(), size) == 0 }
}

#[cfg(target_os = "linux")]
fn advise(data: *mut u8, size: usize, advice: libc::c_int) -> bool {
    // SAFETY: pages of our own reservation; none of the advice used here frees or moves pages in this
    // process.
    unsafe { libc::madvise(data.cast(), size, advice) == 0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_kind_of_page_is_zero_writable_and_guarded() {
        let page = page_bytes();
        for kind in [MemoryMode::MemfdSecret, MemoryMode::Locked, MemoryMode::Insecure] {
            let Some(data) = map_chunk(kind, 2 * page, page) else {
                assert_ne!(kind, MemoryMode::Insecure, "plain pages can always be had");
                continue;
            };
            // SAFETY: the mapping has 2 * page bytes and nobody else knows it.
            let bytes = unsafe { core::slice::from_raw_parts_mut(data.as_ptr(), 2 * page) };
            assert!(bytes.iter().all(|byte| *byte == 0), "{kind}");
            bytes.fill(0xA5);
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
            let start = data.as_ptr() as usize;
            let guard = |from: usize| maps.lines().any(|line| covers(line, from) && line.contains(" ---p "));
            assert!(guard(start - page) && guard(start + 2 * page), "{kind}: no guard pages");
        }
    }

    fn covers(line: &str, address: usize) -> bool {
        let Some((from, rest)) = line.split_once('-') else { return false };
        let until = rest.split(' ').next().unwrap_or_default();
        let parse = |text| usize::from_str_radix(text, 16).unwrap_or(0);
        (parse(from)..parse(until)).contains(&address)
    }

    #[test]
    fn what_load_asks_for_leaves_the_spare_to_everybody_else() {
        let mut arena = Arena::new(SPARE + 1024);
        arena.allow_insecure = true;
        arena.reserve(SPARE + 1024).unwrap();
        let kept: Vec<_> = (0..1024).map(|_| arena.take_kept().unwrap()).collect();
        assert_eq!(arena.take_kept().err(), Some(MemoryError::Full));
        let others: Vec<_> = (0..SPARE).map(|_| arena.take().unwrap()).collect();
        assert_eq!(arena.take().err(), Some(MemoryError::Full));
        assert_eq!(arena.reserve(1), Err(MemoryError::Full));
        // They would go back to the arena of the process.
        kept.into_iter().chain(others).for_each(core::mem::forget);
    }

    #[test]
    fn the_error_says_what_is_needed_what_there_is_and_what_to_do() {
        let mut arena = Arena::new(SLOTS_MAX);
        arena.slots = 1024;
        let MemoryError::Locked { needed_kib, had_kib, limit } = arena.too_little(1024) else { panic!() };
        assert_eq!((needed_kib, had_kib), (128, 64));
        assert_ne!(limit, MemlockLimit::Unknown);
        let text = arena.too_little(1024).to_string();
        for word in ["128 KiB", "64 KiB", "ulimit -l", "LimitMEMLOCK=", "container"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn wiping_reaches_every_byte() {
        let mut slot = Slot::take();
        slot.bytes_mut().fill(0xFF);
        wipe(slot.bytes_mut());
        assert!(slot.bytes().iter().all(|byte| *byte == 0));
    }
}
