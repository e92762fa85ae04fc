//! Keys in memory: where they live, how they are made, and that nothing copies them by accident.
//!
//! [`Secret`] holds up to 64 bytes in a slot of secret pages (see `pages.rs`): pages that other processes,
//! core dumps and swap cannot see, or, where the kernel has no such pages, locked pages. It is filled in
//! place by a closure, so that no copy passes through the caller's stack on the way in; it has no `Clone`,
//! `Copy`, `Debug`, `Display`, `Serialize` or `==`; it is wiped on drop (docs/skb1.md section 12.2).
//!
//! What this does not do: ciphers and hash functions still spread key schedules over the stack while they
//! work. Whoever uses a key does it within [`wiping`], which overwrites what the work left.
//!
//! ```
//! use symbolon_proto::secret::Secret;
//! let key = Secret::<32>::filled_by(|bytes| bytes.fill(7));
//! let same = Secret::<32>::filled_by(|bytes| bytes.fill(7));
//! assert!(key.same_as(&same));
//! ```
//!
//! These do not compile, on purpose:
//!
//! ```compile_fail,E0277
//! println!("{:?}", symbolon_proto::secret::Secret::<32>::zeroed());
//! ```
//! ```compile_fail,E0277
//! println!("{}", symbolon_proto::secret::Secret::<32>::zeroed());
//! ```
//! ```compile_fail,E0599
//! let copy = symbolon_proto::secret::Secret::<32>::zeroed().clone();
//! ```
//! ```compile_fail,E0382
//! let key = symbolon_proto::secret::Secret::<32>::zeroed();
//! let moved = key;
//! key.expose();
//! ```
//! ```compile_fail,E0369
//! use symbolon_proto::secret::Secret;
//! let _ = Secret::<32>::zeroed() == Secret::<32>::zeroed();
//! ```
//! ```compile_fail,E0080
//! let too_long = symbolon_proto::secret::Secret::<65>::zeroed();
//! ```

#[cfg(any(test, feature = "gauge"))]
#[doc(hidden)]
pub mod gauge;
mod pages;
mod stack;

use core::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

pub use self::stack::{wiping, wiping_deep};

/// Bytes of the longest [`Secret`].
pub const SECRET_BYTES_MAX: usize = pages::SLOT_BYTES;

/// `N` secret bytes (`1 <= N <= 64`) in secret pages, wiped on drop.
///
/// Making one takes a slot of the process-wide arena. Secrets whose number grows with load are made by
/// [`Secret::kept_by`], which answers with an error while [`SPARE`] slots are still there. All others live
/// for one operation, or are as many as a process has keys of its own: they take from the spare, which
/// [`reserve`] made sure of at the start. Only where nobody did can taking one of them panic.
pub struct Secret<const N: usize> {
    slot: pages::Slot,
}

impl<const N: usize> Secret<N> {
    const FITS: () = assert!(N >= 1 && N <= SECRET_BYTES_MAX, "a Secret holds 1 to 64 bytes");

    /// All zeros; the start of in-place arithmetic.
    #[must_use]
    pub fn zeroed() -> Self {
        const { Self::FITS };
        Self { slot: pages::Slot::take() }
    }

    /// Filled in place by `fill`, which receives zeros.
    pub fn filled_by(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self::zeroed();
        fill(secret.expose_mut());
        secret
    }

    /// Like [`Secret::filled_by`], for a source that can fail; what it wrote before failing is wiped.
    pub fn try_filled_by<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self::zeroed();
        fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// Like [`Secret::try_filled_by`], for secrets that are as many as others want: a key that is cached, or
    /// that a request holds while it waits. Fails while there are still [`SPARE`] slots for everything else.
    pub fn kept_by<E: From<MemoryError>>(
        fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>,
    ) -> Result<Self, E> {
        const { Self::FITS };
        let mut secret = Self { slot: pages::Slot::take_kept()? };
        fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// Uniformly random bytes from `rng`.
    pub fn random(rng: &mut dyn CryptoRng) -> Self {
        Self::filled_by(|bytes| rng.fill_bytes(bytes))
    }

    /// A second copy in secret memory, for a key that two owners wipe at different times.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::filled_by(|out| out.copy_from_slice(self.expose()))
    }

    /// The bytes. Do not copy them into anything that outlives the call they are needed for.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        self.slot.bytes().first_chunk().expect("N is at most the slot size, checked when the type was built")
    }

    /// The bytes, for in-place arithmetic.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        self.slot
            .bytes_mut()
            .first_chunk_mut()
            .expect("N is at most the slot size, checked when the type was built")
    }

    /// Whether both hold the same bytes, in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

/// How well the memory behind every [`Secret`] of this process is protected. Shown in status reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryMode {
    /// `memfd_secret` pages: outside the kernel's direct map, unreadable through `/proc/<pid>/mem`, ptrace
    /// and core dumps.
    MemfdSecret,
    /// Ordinary pages that are locked (never swapped), left out of core dumps and empty in a forked child.
    Locked,
    /// Ordinary pages. Only on explicit request (`--allow-insecure-memory`).
    Insecure,
}

impl fmt::Display for MemoryMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::MemfdSecret => "memfd_secret",
            Self::Locked => "locked",
            Self::Insecure => "insecure",
        })
    }
}

/// Why there is no safe memory for keys, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Neither secret nor locked pages can be had, or not as many as needed.
    #[error(
        "not enough memory for keys: {needed_kib} KiB that never reach the disk are needed, the kernel gave \
         {had_kib} KiB, and RLIMIT_MEMLOCK is {limit}; raise it (`ulimit -l` in a shell, LimitMEMLOCK= in a \
         systemd unit, `--ulimit memlock=` or the capability IPC_LOCK for a container), or allow insecure \
         memory explicitly"
    )]
    Locked {
        /// What the process needs in all, for keys.
        needed_kib: usize,
        /// What it has of that.
        had_kib: usize,
        /// The limit found.
        limit: MemlockLimit,
    },
    /// More secrets than the arena holds.
    #[error("no memory for keys: this process already holds {} secrets, its maximum", pages::SLOTS_MAX)]
    Full,
}

/// Called once at process start, before the first key: finds out which pages can be had and settles on the
/// best.
///
/// With `allow_insecure`, ordinary pages are accepted where nothing better exists, also later when the locked
/// ones run out. Without this call the first [`Secret`] settles it with `allow_insecure = false`.
pub fn prepare(allow_insecure: bool) -> Result<MemoryMode, MemoryError> {
    pages::prepare(allow_insecure)
}

/// Slots that [`Secret::kept_by`] leaves for all other secrets: for every worker thread a few dozen, for each
/// batch of 64 points that is under way 128, for the keys of sessions, ceremonies and groups a few hundred.
pub const SPARE: usize = 4096;

/// Makes sure, once at process start, that `kept` secrets can be made by [`Secret::kept_by`] and [`SPARE`]
/// others beside them.
///
/// # Errors
/// [`MemoryError`] says what is needed, what the limit is, and how to raise it. Then the process should not
/// start: it would run out under load.
pub fn reserve(kept: usize) -> Result<(), MemoryError> {
    pages::reserve(kept + SPARE)
}

/// RLIMIT_MEMLOCK of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemlockLimit {
    /// So many bytes.
    Bytes(u64),
    /// None.
    Unlimited,
    /// The kernel does not say.
    Unknown,
}

impl fmt::Display for MemlockLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(out, "{} KiB", bytes >> 10),
            Self::Unlimited => out.write_str("unlimited"),
            Self::Unknown => out.write_str("unknown"),
        }
    }
}

/// The weakest protection that any secret page of this process has. `Insecure` if there is no page at all
/// yet.
#[must_use]
pub fn memory_mode() -> MemoryMode {
    pages::mode().unwrap_or(MemoryMode::Insecure)
}

/// Keeps the calling thread's stack out of swap and core dumps, for a thread that works with keys. Answers
/// whether the kernel agreed; what key work left there is overwritten by [`wiping`] all the same.
#[must_use]
pub fn protect_stack() -> bool {
    pages::protect_stack()
}

/// Has ordinary memory kept in at most two heaps of the system's allocator; to be called before the process
/// has a second thread. Answers whether it will be. Otherwise each thread that waits for another's heap
/// makes its own, up to eight for a core: what one thread frees is then no use to the next, and a broker
/// under load holds ten MiB more (`docs/benchmarks.md`).
#[must_use]
pub fn keep_two_heaps() -> bool {
    pages::keep_two_heaps()
}

/// Where a panic ends the process, has it end every secret first; called once at process start. Where a panic
/// unwinds (in tests), the owners of secrets wipe them.
pub fn wipe_before_abort() {
    if cfg!(panic = "abort") {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            wipe_all_before_abort();
            report(panic);
        }));
    }
}

/// Overwrites every secret of the process. For the hook of a panic that aborts, and for nothing else: whoever
/// still uses a key finds zeros.
pub fn wipe_all_before_abort() {
    pages::wipe_all();
}

#[cfg(test)]
mod tests;
