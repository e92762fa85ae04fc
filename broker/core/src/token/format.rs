//! How tokens look, and the hash under which a row keeps one.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha512;
use symbolon_proto::secret::{Secret, wiping};
use symbolon_proto::{Zeroizing, label};

use super::BadToken;

/// 142 bits.
const RANDOM_CHARS: usize = 24;
/// Longest token of any kind, in bytes; faces look at no longer ones.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

const SERVICE_PREFIX: &str = "hvs.";
pub(super) const BATCH_PREFIX: &str = "hvb.";

/// What a presented token claims to be, judged by its looks alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenShape {
    /// Look up its row.
    Service,
    /// Open it.
    Batch,
}

impl TokenShape {
    /// Tells the kinds apart, and refuses what cannot be a token before anything is computed with it.
    pub fn of(token: &str) -> Result<Self, BadToken> {
        if token.len() > TOKEN_BYTES_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken);
        }
        if token.starts_with(BATCH_PREFIX) {
            Ok(Self::Batch)
        } else if token.starts_with(SERVICE_PREFIX) {
            Ok(Self::Service)
        } else {
            Err(BadToken)
        }
    }
}

/// A fresh service token: `hvs.` and 24 base-62 characters, which secret scanners know.
pub fn new_service_token(rng: &mut dyn CryptoRng) -> Zeroizing<String> {
    let random = random_base62(RANDOM_CHARS, rng);
    Zeroizing::new(format!("{SERVICE_PREFIX}{}", *random))
}

/// A fresh accessor. Not secret: whoever has it may be allowed to look up or revoke, but cannot use the
/// token.
pub fn new_accessor(rng: &mut dyn CryptoRng) -> String {
    random_base62(RANDOM_CHARS, rng).to_string()
}

/// `count` characters of `[0-9A-Za-z]`, each equally likely.
pub fn random_base62(count: usize, rng: &mut dyn CryptoRng) -> Zeroizing<String> {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    /// The largest multiple of 62 in a byte; what lies above would favour some digits.
    const FAIR: u8 = 248;
    let mut text = Zeroizing::new(String::with_capacity(count));
    let mut pool = Zeroizing::new([0u8; 64]);
    while text.len() < count {
        rng.fill_bytes(&mut *pool);
        let fair = pool.iter().filter(|&&byte| byte < FAIR).take(count - text.len());
        for &byte in fair {
            text.push(char::from(DIGITS[usize::from(byte % 62)]));
        }
    }
    text
}

/// Names the row of a token without revealing it: HMAC-SHA-512 under the index key, cut to 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

/// The row name of `token`. Who reads the store cannot test guesses without the index key.
#[must_use]
pub fn hash_of(index_key: &Secret<32>, token: &str) -> TokenHash {
    TokenHash(keyed_hash(index_key, label::TOKEN, &[token.as_bytes()]))
}

/// `HMAC-SHA-512(key, label ‖ LP(field) ‖ …)[..32]`.
pub(crate) fn keyed_hash(key: &Secret<32>, label: &[u8], fields: &[&[u8]]) -> [u8; 32] {
    wiping(|| keyed_hash_unwiped(key, label, fields))
}

/// HMAC leaves the padded key and the fields on the stack.
fn keyed_hash_unwiped(key: &Secret<32>, label: &[u8], fields: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha512>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    mac.update(label);
    for field in fields {
        mac.update(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(field);
    }
    let tag = mac.finalize().into_bytes();
    std::array::from_fn(|index| tag[index])
}

impl TokenHash {
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl FromStr for TokenHash {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| BadToken)?;
        bytes.try_into().map(Self).map_err(|_| BadToken)
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
