//! Verification keys of login mounts: configured, or fetched from an issuer and kept for a while.
//!
//! The operator who configures a mount chooses where keys come from; a caller never does, and a discovery
//! document only within bounds (`crate::fetch`). Fetches are bounded in rate: neither tokens with made-up key
//! ids nor an issuer that fails can make the broker a hammer, and an issuer that is slow keeps only its own
//! logins waiting.

use std::collections::HashMap;
use std::sync::Arc;

use symbolon_core::clock::Now;
use symbolon_core::identity::keys::{KeySet, KeySetError};
use symbolon_core::json::{self, Limits};
use symbolon_proto::id::MountId;
use tokio::sync::Mutex;

use crate::fetch::{self, Address, FetchError};

/// How long fetched keys are used before they are fetched again.
const FRESH_MS: u64 = 5 * 60 * 1000;
/// Least time between two fetches for one mount.
const FETCH_GAP_MS: u64 = 10 * 1000;

/// Where the keys of a mount come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration itself.
    Configured {
        /// PEM public keys or certificates.
        pem: Vec<String>,
        /// A JWK set; empty if none.
        jwks: String,
    },
    /// A JWK set at an address.
    Jwks {
        /// The address.
        url: String,
        /// PEM of its authority; empty takes the system's.
        ca_pem: String,
    },
    /// The JWK set of a Kubernetes API server.
    Cluster {
        /// Its address.
        host: String,
        /// PEM of its authority; empty takes the system's.
        ca_pem: String,
        /// The `iss` that its tokens must have; empty if that does not count.
        issuer: String,
    },
    /// The JWK set that an issuer's discovery document names.
    Discovery {
        /// The issuer.
        issuer: String,
        /// PEM of its authority; empty takes the system's.
        ca_pem: String,
    },
}

/// Why an issuer's keys are unavailable.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The document cannot be fetched.
    #[error("the issuer's keys cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    /// A discovery document for somebody else.
    #[error(
        "the discovery document does not name the configured issuer; expected the same text in both, with or without a slash at the end"
    )]
    Issuer,
    /// A discovery document that is none, or without keys.
    #[error("the discovery document does not name an https:// address of its keys")]
    Discovery,
    /// Nothing could be verified with what was found.
    #[error(
        "there is no usable key: expected RSA of 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519, for signatures"
    )]
    NoKeys,
    /// Keys that cannot be used.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The last request failed a moment ago.
    #[error(
        "the issuer's keys could not be fetched a moment ago; the next login after ten seconds tries again"
    )]
    JustFailed,
}

/// Keys of all mounts of one session.
#[derive(Default)]
pub struct LoginKeys {
    held: Mutex<HashMap<MountId, Arc<Mutex<Option<Held>>>>>,
    /// How often somebody began to verify something.
    #[cfg(test)]
    pub(super) asked: std::sync::atomic::AtomicUsize,
}

struct Held {
    source: Source,
    keys: Option<Arc<KeySet>>,
    fetched_ms: u64,
    /// Boot clock of an request that has not succeeded, failed or given up.
    tried_ms: Option<u64>,
}

impl Source {
    /// Keys that stand in the configuration.
    pub fn parse(&self) -> Result<KeySet, KeySetError> {
        let Self::Configured { pem, jwks } = self else { return Ok(KeySet::default()) };
        let set = if jwks.is_empty() { KeySet::default() } else { KeySet::from_jwks(jwks.as_bytes())? };
        if pem.is_empty() { Ok(set) } else { Ok(KeySet::from_pem(pem)?.joined(set)) }
    }

    async fn fetch(&self) -> Result<KeySet, KeysError> {
        let (document, ca_pem) = match self {
            Self::Configured { .. } => return Ok(self.parse()?),
            Self::Jwks { url, ca_pem } => (Address::configured(url)?, ca_pem),
            Self::Cluster { host, ca_pem, .. } => {
                (Address::configured(&below(host, "openid/v1/jwks"))?, ca_pem)
            }
            Self::Discovery { issuer, ca_pem } => {
                let (at, document) = discovery(issuer, ca_pem).await?;
                (keys_address(&document, issuer, &at)?, ca_pem)
            }
        };
        Ok(KeySet::from_jwks(&fetch::document(&document, ca_pem).await?)?)
    }

    /// Shows that there are keys, and that they are the issuer's, before anybody depends on it. Fetches what
    /// logins would fetch.
    pub async fn prove(&self) -> Result<(), KeysError> {
        if self.fetch().await?.is_empty() {
            return Err(KeysError::NoKeys);
        }
        match self {
            Self::Cluster { host, ca_pem, issuer } if !issuer.is_empty() => {
                let (_, document) = discovery(host, ca_pem).await?;
                names_issuer(&document, issuer)
            }
            _ => Ok(()),
        }
    }

    /// Whether keys stand in the configuration itself.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        matches!(self, Self::Configured { .. })
    }
}

impl KeysError {
    /// Whether the same configuration may be right tomorrow.
    #[must_use]
    pub fn is_of_today(&self) -> bool {
        matches!(
            self,
            Self::Fetch(FetchError::Unreachable { .. } | FetchError::Status { .. }) | Self::JustFailed
        )
    }
}

fn below(host: &str, path: &str) -> String {
    format!("{}/{path}", host.trim_end_matches('/'))
}

/// The discovery document of an issuer, and where it was.
async fn discovery(issuer: &str, ca_pem: &str) -> Result<(Address, Vec<u8>), KeysError> {
    let at = Address::configured(&below(issuer, ".well-known/openid-configuration"))?;
    let document = fetch::document(&at, ca_pem).await?;
    Ok((at, document))
}

impl LoginKeys {
    /// Keys as held, fetched first if there are none or they are old.
    pub async fn current(&self, mount: MountId, source: &Source, now: Now) -> Result<Arc<KeySet>, KeysError> {
        #[cfg(test)]
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.get(mount, source, now, FRESH_MS).await
    }

    /// Keys fetched again, unless that was done a moment ago.
    pub async fn refreshed(
        &self,
        mount: MountId,
        source: &Source,
        now: Now,
    ) -> Result<Arc<KeySet>, KeysError> {
        let age_max = if source.is_configured() { u64::MAX } else { FETCH_GAP_MS };
        self.get(mount, source, now, age_max).await
    }

    /// Forgets the keys of a mount whose configuration has changed.
    pub async fn forget(&self, mount: MountId) {
        self.held.lock().await.remove(&mount);
    }

    async fn get(
        &self,
        mount: MountId,
        source: &Source,
        now: Now,
        age_max: u64,
    ) -> Result<Arc<KeySet>, KeysError> {
        let of_mount = Arc::clone(self.held.lock().await.entry(mount).or_default());
        let mut held = of_mount.lock().await; // whoever waits here waits for this issuer only
        let held = match &mut *held {
            Some(held) if held.source == *source => held,
            other => other.insert(Held { source: source.clone(), keys: None, fetched_ms: 0, tried_ms: None }),
        };
        let age = |ms: u64| now.boot_ms.saturating_sub(ms);
        match &held.keys {
            Some(keys) if age(held.fetched_ms) < age_max => return Ok(Arc::clone(keys)),
            _ if held.tried_ms.is_some_and(|tried| age(tried) < FETCH_GAP_MS) => {
                return Err(KeysError::JustFailed);
            }
            _ => held.tried_ms = Some(now.boot_ms),
        }
        let keys = Arc::new(source.fetch().await?);
        (held.keys, held.fetched_ms, held.tried_ms) = (Some(Arc::clone(&keys)), now.boot_ms, None);
        Ok(keys)
    }
}

/// OpenID Connect Discovery, section 4.3: the document's issuer must be exactly the configured one.
fn names_issuer(document: &[u8], issuer: &str) -> Result<(), KeysError> {
    if text_of(document, "issuer")? == issuer { Ok(()) } else { Err(KeysError::Issuer) }
}

/// Where an issuer's keys are is its document's word, not the operator's.
fn keys_address(document: &[u8], issuer: &str, at: &Address) -> Result<Address, KeysError> {
    names_issuer(document, issuer)?;
    match at.named(&text_of(document, "jwks_uri")?) {
        Err(FetchError::Address) => Err(KeysError::Discovery),
        named => Ok(named?),
    }
}

fn text_of(document: &[u8], name: &str) -> Result<String, KeysError> {
    let document = json::parse(document, Limits::BODY).map_err(|_| KeysError::Discovery)?;
    let text = document.get(name).and_then(serde_json::Value::as_str);
    text.map(str::to_owned).ok_or(KeysError::Discovery)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_discovery_document_speaks_for_its_own_issuer_only() {
        let at = Address::configured("https://a.example/.well-known/openid-configuration").unwrap();
        let find = |issuer: &str, keys: &str| {
            let document = format!(r#"{{"issuer":"https://a.example","jwks_uri":"{keys}"}}"#);
            keys_address(document.as_bytes(), issuer, &at)
        };
        let keys = "https://a.example/keys";
        assert_eq!(find("https://a.example", keys).unwrap(), Address::configured(keys).unwrap());
        assert!(matches!(find("https://a.example/", keys), Err(KeysError::Issuer)));
        assert!(matches!(find("https://b.example", keys), Err(KeysError::Issuer)));
        let plain = find("https://a.example", "http://a.example/keys");
        assert!(matches!(plain, Err(KeysError::Discovery)));
        for inside in ["https://127.0.0.1/keys", "https://169.254.169.254/latest", "https://[::1]/keys"] {
            let found = find("https://a.example", inside);
            assert!(matches!(found, Err(KeysError::Fetch(FetchError::Inside))), "{inside}");
        }
    }

    #[tokio::test]
    async fn an_issuer_that_fails_is_asked_again_after_a_while_only() {
        let keys = LoginKeys::default();
        let (mount, now) = (MountId::from_bytes([1; 16]), |boot_ms| Now { unix_ms: 0, boot_ms });
        let source = Source::Jwks { url: "http://not-https.example".to_owned(), ca_pem: String::new() };
        let first = keys.current(mount, &source, now(0)).await;
        assert!(
            matches!(first, Err(KeysError::Fetch(FetchError::Address))),
            "plain http is refused without a connection"
        );
        assert!(matches!(keys.current(mount, &source, now(9_999)).await, Err(KeysError::JustFailed)));
        assert!(matches!(
            keys.current(mount, &source, now(10_000)).await,
            Err(KeysError::Fetch(FetchError::Address))
        ));
        let configured = Source::Configured { pem: Vec::new(), jwks: String::new() };
        assert!(
            keys.current(mount, &configured, now(10_001)).await.is_ok(),
            "another source is another matter"
        );
    }

    #[tokio::test]
    async fn one_issuer_does_not_wait_for_another() {
        let keys = LoginKeys::default();
        let slow = Arc::clone(keys.held.lock().await.entry(MountId::from_bytes([1; 16])).or_default());
        let _fetching = slow.lock().await;
        let configured = Source::Configured { pem: Vec::new(), jwks: String::new() };
        let now = Now { unix_ms: 0, boot_ms: 0 };
        assert!(keys.current(MountId::from_bytes([2; 16]), &configured, now).await.is_ok());
    }
}
