//! What is kept of a password: an Argon2id hash with its salt and what it cost.

use std::fmt;

use data_encoding::HEXLOWER;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use symbolon_proto::secret::Secret;
use symbolon_proto::stretch::{SALT_BYTES, StretchError, argon2id};

/// Longest password in bytes.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Memory times passes below which a stolen hash is guessed too cheaply: the least of OWASP's choices (7 MiB,
/// 5 passes).
const WORK_KIB_MIN: u32 = 5 * MEMORY_KIB_MIN;
const MEMORY_KIB_MIN: u32 = 7 << 10;
/// What two logins at once may take is part of what the whole broker may take.
const MEMORY_KIB_MAX: u32 = 46 << 10;
const PASSES_MAX: u32 = 10;
const LANES_MAX: u32 = 4;

/// Why there is no hash, or no answer whether a password fits one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Empty or oversized.
    #[error("a password must have 1 to {PASSWORD_BYTES_MAX} bytes")]
    Length,
    /// Parameters that protect too little, or cost the broker too much.
    #[error(
        "a password hash needs 7 to 46 MiB of memory, at most {PASSES_MAX} passes and {LANES_MAX} lanes, and memory \
         times passes of at least 35 MiB"
    )]
    Cost,
    /// Argon2id could not get its memory.
    #[error("there is not enough memory to hash the password; try again later")]
    Memory,
}

/// Argon2id parameters within the accepted bounds: what guessing one password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Default for PasswordCost {
    /// 19 MiB, two passes, one lane: the first recommendation of OWASP that leaves room for others.
    fn default() -> Self {
        Self { memory_kib: 19 << 10, passes: 2, lanes: 1 }
    }
}

impl PasswordCost {
    /// Refused below what OWASP recommends and above what a broker can spare.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, PasswordError> {
        let fits = (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (1..=PASSES_MAX).contains(&passes)
            && memory_kib * passes >= WORK_KIB_MIN
            && (1..=LANES_MAX).contains(&lanes);
        if fits { Ok(Self { memory_kib, passes, lanes }) } else { Err(PasswordError::Cost) }
    }

    /// Memory that one hash takes, in KiB.
    #[must_use]
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }
}

/// An Argon2id hash. Wire type; comparing two of them takes constant time.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct PasswordHash {
    cost: PasswordCost,
    salt: [u8; SALT_BYTES],
    hash: [u8; 32],
}

/// A [`PasswordHash`] as it is stored: the parts of a PHC string, each under its name; bytes in hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    hash: String,
}

impl PasswordHash {
    /// The hash of a new password, with a salt of its own.
    pub fn of(password: &str, cost: PasswordCost, rng: &mut dyn CryptoRng) -> Result<Self, PasswordError> {
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        Self::with_salt(password, salt, cost)
    }

    /// The hash of `password` with this salt.
    pub fn with_salt(
        password: &str,
        salt: [u8; SALT_BYTES],
        cost: PasswordCost,
    ) -> Result<Self, PasswordError> {
        Ok(Self { cost, salt, hash: *stretch(password, &salt, cost)?.expose() })
    }

    /// What stands in for the hash of a user who does not exist. Nobody knows a password for it, and it costs
    /// what a fresh one costs.
    #[must_use]
    pub fn nobodys() -> Self {
        Self { cost: PasswordCost::default(), salt: [0; SALT_BYTES], hash: [0; 32] }
    }

    /// Whether this is the hash of `password`, compared in constant time.
    pub fn verify(&self, password: &str) -> Result<bool, PasswordError> {
        let found = stretch(password, &self.salt, self.cost)?;
        Ok(found.same_as(&Secret::filled_by(|bytes| bytes.copy_from_slice(&self.hash))))
    }

    /// What it cost.
    #[must_use]
    pub fn cost(&self) -> PasswordCost {
        self.cost
    }
}

fn stretch(
    password: &str,
    salt: &[u8; SALT_BYTES],
    PasswordCost { memory_kib, passes, lanes }: PasswordCost,
) -> Result<Secret<32>, PasswordError> {
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::Length);
    }
    argon2id((memory_kib, passes, lanes), password.as_bytes(), salt).map_err(|error| match error {
        StretchError::Parameters => PasswordError::Cost,
        StretchError::Memory => PasswordError::Memory,
    })
}

impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        let secret = |hash: &Self| Secret::<32>::filled_by(|bytes| bytes.copy_from_slice(&hash.hash));
        self.cost == other.cost && self.salt == other.salt && secret(self).same_as(&secret(other))
    }
}

impl Eq for PasswordHash {}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cost, salt: _, hash: _ } = self;
        f.debug_struct("PasswordHash").field("cost", cost).finish_non_exhaustive()
    }
}

/// A stored hash is no hash: the row was damaged, or written by other software.
#[derive(Debug, thiserror::Error)]
enum FieldsError {
    #[error(transparent)]
    Cost(#[from] PasswordError),
    #[error("salt and hash of a password must have 16 and 32 bytes in hex")]
    Bytes,
}

impl TryFrom<Fields> for PasswordHash {
    type Error = FieldsError;

    fn try_from(fields: Fields) -> Result<Self, FieldsError> {
        Ok(Self {
            cost: PasswordCost::new(fields.memory_kib, fields.passes, fields.lanes)?,
            salt: bytes(&fields.salt)?,
            hash: bytes(&fields.hash)?,
        })
    }
}

fn bytes<const N: usize>(text: &str) -> Result<[u8; N], FieldsError> {
    let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| FieldsError::Bytes)?;
    bytes.try_into().map_err(|_| FieldsError::Bytes)
}

impl From<PasswordHash> for Fields {
    fn from(PasswordHash { cost, salt, hash }: PasswordHash) -> Self {
        let PasswordCost { memory_kib, passes, lanes } = cost;
        Self { memory_kib, passes, lanes, salt: HEXLOWER.encode(&salt), hash: HEXLOWER.encode(&hash) }
    }
}
