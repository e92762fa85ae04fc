//! The broker's side of the connection to a fragment service (`docs/skb1.md` 6.10), on the TLS that both
//! share.
//!
//! The server is whoever holds the key whose SPKI hash the manifest names: its name, issuer and dates say
//! nothing.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error};
use symbolon_net::tls::{self, Admission, TlsError};

use super::identity::BrokerIdentity;

pub use symbolon_net::tls::SpkiHash;

/// The key of one server, as the newest manifest names it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pinned(Arc<RwLock<SpkiHash>>);

impl Pinned {
    pub(crate) fn new(spki: SpkiHash) -> Self {
        Self(Arc::new(RwLock::new(spki)))
    }

    pub(crate) fn get(&self) -> SpkiHash {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, spki: SpkiHash) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = spki;
    }
}

/// Which server keys are let in.
#[derive(Clone, Debug)]
pub(crate) enum Pin {
    /// This one, from a verified manifest.
    Exactly(Pinned),
    /// Any, noted down for the caller to compare: enrolment, before there is a manifest.
    Noted(Arc<Mutex<Option<SpkiHash>>>),
}

impl Admission for Pin {
    fn admits(&self, spki: SpkiHash) -> bool {
        match self {
            Self::Exactly(known) => known.get() == spki,
            Self::Noted(seen) => {
                // Two different keys under one enrolment would be two different servers.
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                *seen.get_or_insert(spki) == spki
            }
        }
    }
}

/// Who the broker is in a handshake. Clones share the key.
#[derive(Clone, Debug)]
pub(crate) struct ClientKey(CertifiedKey);

impl ClientKey {
    pub(crate) fn new(identity: &BrokerIdentity) -> Result<Self, TlsError> {
        identity.certified_key().map(Self)
    }
}

/// The client's half of the handshake.
pub(crate) fn client_config(client: &ClientKey, pin: Pin) -> Result<ClientConfig, Error> {
    tls::client_config(&client.0, pin)
}
