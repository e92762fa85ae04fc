//! What is configured of a token.

use std::path::PathBuf;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use symbolon_core::token_binding::OaepHash;

use crate::config::Raw;

/// Unless it is configured.
const TIMEOUT_MS: u64 = 10_000;
/// The frame waits for 60 s at most.
const TIMEOUTS_MS: std::ops::RangeInclusive<u64> = 100..=60_000;
/// What `CK_TOKEN_INFO` has place for, in bytes.
const LABEL_BYTES_MAX: usize = 32;
const SERIAL_BYTES_MAX: usize = 16;
/// Longest name of a key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Where a token is, and what of it is used.
pub(super) struct Settings {
    /// The vendor's library.
    pub module: PathBuf,
    pub token: Token,
    pub key: Key,
    pub cipher: Cipher,
    pub pin_file: PathBuf,
    /// For a whole call, waiting for a turn included.
    pub timeout: Duration,
}

/// What tells one token from another.
pub(super) enum Token {
    Label(String),
    Serial(String),
}

/// What tells one key from another.
pub(super) enum Key {
    Label(String),
    Id(Vec<u8>),
}

/// What new keys are bound with. A binding that is there says itself what it was made with.
#[derive(Clone, Copy)]
pub(super) enum Cipher {
    AesGcm,
    RsaOaep(OaepHash),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    module: PathBuf,
    token: Option<String>,
    serial: Option<String>,
    key: Option<String>,
    key_id: Option<String>,
    mechanism: String,
    oaep_hash: Option<String>,
    pin_file: PathBuf,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
}

const fn timeout_ms() -> u64 {
    TIMEOUT_MS
}

impl Settings {
    /// From a configuration. The text says what is wrong.
    pub fn parse(raw: &Raw) -> Result<Self, String> {
        let written: Written = raw.parse()?;
        let paths = [&written.module, &written.pin_file];
        if !paths.iter().all(|path| path.is_absolute()) || !TIMEOUTS_MS.contains(&written.timeout_ms) {
            return Err(
                "module and pin_file must be absolute paths, and timeout_ms from 100 to 60000".to_owned()
            );
        }
        Ok(Self {
            token: token(written.token, written.serial)?,
            key: key(written.key, written.key_id)?,
            cipher: cipher(&written.mechanism, written.oaep_hash.as_deref())?,
            module: written.module,
            pin_file: written.pin_file,
            timeout: Duration::from_millis(written.timeout_ms),
        })
    }
}

fn token(label: Option<String>, serial: Option<String>) -> Result<Token, String> {
    match (label, serial) {
        (Some(label), None) if (1..=LABEL_BYTES_MAX).contains(&label.len()) => Ok(Token::Label(label)),
        (None, Some(serial)) if (1..=SERIAL_BYTES_MAX).contains(&serial.len()) => Ok(Token::Serial(serial)),
        _ => {
            Err("either token (a label of at most 32 bytes) or serial (of at most 16) names the token".into())
        }
    }
}

fn key(label: Option<String>, id: Option<String>) -> Result<Key, String> {
    let fits = |length| (1..=KEY_BYTES_MAX).contains(&length);
    match (label, id) {
        (Some(label), None) if fits(label.len()) => Ok(Key::Label(label)),
        (None, Some(id)) => match HEXLOWER_PERMISSIVE.decode(id.as_bytes()) {
            Ok(id) if fits(id.len()) => Ok(Key::Id(id)),
            _ => Err("key_id must be hexadecimal, of at most 255 bytes".to_owned()),
        },
        _ => Err("either key (a label) or key_id (hexadecimal) names the key".to_owned()),
    }
}

fn cipher(mechanism: &str, hash: Option<&str>) -> Result<Cipher, String> {
    match (mechanism, hash) {
        ("aes-gcm", None) => Ok(Cipher::AesGcm),
        ("rsa-oaep", None | Some("sha256")) => Ok(Cipher::RsaOaep(OaepHash::Sha256)),
        ("rsa-oaep", Some("sha384")) => Ok(Cipher::RsaOaep(OaepHash::Sha384)),
        ("rsa-oaep", Some("sha512")) => Ok(Cipher::RsaOaep(OaepHash::Sha512)),
        ("rsa-oaep", Some("sha1")) => Ok(Cipher::RsaOaep(OaepHash::Sha1)),
        _ => {
            Err("mechanism must be aes-gcm, or rsa-oaep with an oaep_hash of sha256, sha384, sha512 or sha1"
                .into())
        }
    }
}
