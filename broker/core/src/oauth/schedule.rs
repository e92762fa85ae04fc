//! When a signing key is published, signs, retires and disappears.
//!
//! ```text
//! key 1   ├─publish=sign──────────────────────────┤retire ─ max token life + skew ─┤drop
//! key 2                        ├─publish ── wait ──┤sign ───────────────────────────────── …
//!         0                   L/2              5L/6 or later
//! ```
//!
//! A key is published long before it signs, because many verifiers cache and few refetch on an unknown `kid`;
//! a retired one stays until the last token it signed has ended. Each key carries its two times from birth,
//! so everything else is a function of the keys and of now: no state to go wrong, the same answer on every
//! broker. There is always a key that signs: an old one goes on until its successor's time has come.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::TOKEN_SECS_MAX;

/// Lives of keys. Seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPolicy {
    /// Life of a key. The next one is made at half of it and signs from five sixths on.
    pub life_secs: u64,
    /// Least time between publication and first signature: more than any cache keeps the old set.
    pub wait_secs: u64,
    /// How far verifiers' clocks may be off.
    pub skew_secs: u64,
}

impl KeyPolicy {
    /// Twice the max-age of the published set.
    pub const WAIT_SECS_MIN: u64 = 600;

    /// Brings every number into the range where the schedule holds: whatever an operator writes, a successor
    /// is published for at least ten minutes before it signs.
    #[must_use]
    pub fn sane(self) -> Self {
        let wait_secs = self.wait_secs.clamp(Self::WAIT_SECS_MIN, 30 * 86_400);
        Self {
            wait_secs,
            life_secs: self.life_secs.clamp(3 * wait_secs, 10 * 365 * 86_400),
            skew_secs: self.skew_secs.min(3600),
        }
    }
}

impl Default for KeyPolicy {
    /// Thirty days, a day of publication ahead, a minute of skew.
    fn default() -> Self {
        Self { life_secs: 30 * 86_400, wait_secs: 86_400, skew_secs: 60 }
    }
}

/// The public half of a P-256 signing key and its times (unix seconds). Wire type; the private half is kept
/// apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKey {
    kid: String,
    x: String,
    y: String,
    published_at: u64,
    signs_from: u64,
}

impl SigningKey {
    /// The first key of an issuer: nobody has a cache yet, so it signs at once.
    #[must_use]
    pub fn first(coordinates: (&[u8; 32], &[u8; 32]), now_secs: u64) -> Self {
        Self::at(coordinates, now_secs, now_secs)
    }

    /// The successor of `keys`, in its turn.
    #[must_use]
    pub fn next(
        coordinates: (&[u8; 32], &[u8; 32]),
        keys: &[Self],
        policy: &KeyPolicy,
        now_secs: u64,
    ) -> Self {
        let policy = policy.sane();
        let turn = keys.iter().map(|key| key.signs_from.saturating_add(policy.life_secs / 6 * 5)).max();
        let earliest = now_secs.saturating_add(policy.wait_secs);
        Self::at(coordinates, now_secs, turn.unwrap_or(now_secs).max(earliest))
    }

    /// The successor of a key that an operator wants out of use: signs after the shortest wait that caches
    /// allow.
    #[must_use]
    pub fn urgent(coordinates: (&[u8; 32], &[u8; 32]), now_secs: u64) -> Self {
        Self::at(coordinates, now_secs, now_secs.saturating_add(KeyPolicy::WAIT_SECS_MIN))
    }

    fn at((x, y): (&[u8; 32], &[u8; 32]), published_at: u64, signs_from: u64) -> Self {
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the required members in lexicographic order, without blanks.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        Self { kid, x, y, published_at, signs_from }
    }

    /// RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// When it began or will begin to sign.
    #[must_use]
    pub fn signs_from(&self) -> u64 {
        self.signs_from
    }

    /// As published.
    #[must_use]
    pub fn jwk(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.kid, "x": self.x, "y": self.y,
        })
    }
}

/// The key that signs now: the one whose time came last. `None` only if there is no key at all.
#[must_use]
pub fn signer(keys: &[SigningKey], now_secs: u64) -> Option<&SigningKey> {
    let begun = keys.iter().filter(|key| key.signs_from <= now_secs);
    // A clock that went back before every key still needs one: the oldest, which verifiers know longest.
    begun.max_by_key(|key| key.signs_from).or_else(|| keys.iter().min_by_key(|key| key.signs_from))
}

/// Whether it is time to make the next key: the signer is past half its life and no successor waits.
#[must_use]
pub fn wants_new_key(keys: &[SigningKey], policy: &KeyPolicy, now_secs: u64) -> bool {
    let Some(current) = signer(keys, now_secs) else { return true };
    let waits = keys.iter().any(|key| key.signs_from > now_secs);
    !waits && now_secs >= current.signs_from.saturating_add(policy.sane().life_secs / 2)
}

/// The keys that verifiers may still or soon need. Others can be deleted.
pub fn published<'a>(
    keys: &'a [SigningKey],
    policy: &KeyPolicy,
    now_secs: u64,
) -> impl Iterator<Item = &'a SigningKey> {
    let lingers = TOKEN_SECS_MAX + policy.sane().skew_secs;
    let current = signer(keys, now_secs);
    keys.iter().filter(move |key| {
        let retired_at =
            keys.iter().filter(|other| other.signs_from > key.signs_from).map(|other| other.signs_from).min();
        let needed = retired_at.is_none_or(|retired_at| retired_at.saturating_add(lingers) > now_secs);
        current == Some(*key) || needed && key.published_at <= now_secs
    })
}
