//! Customer escrow as the broker keeps it: the public escrow key, and the sealed remote shares of every node
//! (`docs/skb1.md` 8, `docs/recovery.md`).
//!
//! The nodes seal their shares themselves, when they make them and at each refresh; the broker only keeps
//! what it was given. Everything here is public by nature; the rows are under the index key so that whoever
//! can write the store still cannot plant another escrow key.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use symbolon_proto::custody::escrow::{EscrowEnvelope, EscrowError, EscrowKey, EscrowKeyError};
use symbolon_proto::manifest::Manifest;

use super::places::GENERATION;
use crate::error::{OpError, Text};
use crate::remote::group::escrow::{collect, fits};
use crate::remote::{EnrolError, Remote};
use crate::rows::{Place, Rows};
use crate::store::{Expect, Write};

/// Where the escrow key is kept.
pub const ESCROW_KEY: Place<'static> = Place { name: "escrow key", ..GENERATION };
/// Where the envelopes are kept.
pub const ESCROW_ENVELOPES: Place<'static> = Place { name: "escrow envelopes", ..GENERATION };

/// Most envelopes kept: 16 nodes, two key epochs, two share epochs.
pub const ENVELOPES_MAX: usize = 64;

/// The escrow key with its share set. Wire type, hex of [`EscrowKey::encode`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredEscrowKey(String);

impl From<&EscrowKey> for StoredEscrowKey {
    fn from(key: &EscrowKey) -> Self {
        Self(HEXLOWER.encode(&key.encode()))
    }
}

impl StoredEscrowKey {
    /// Reads it back.
    pub fn decode(&self) -> Result<EscrowKey, EscrowKeyError> {
        EscrowKey::decode(&HEXLOWER.decode(self.0.as_bytes()).unwrap_or_default())
    }
}

/// The envelopes of the share epochs that are still needed. Wire type, each hex of
/// [`EscrowEnvelope::encode`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StoredEnvelopes(Vec<String>);

/// More envelopes than a deployment has nodes and epochs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {ENVELOPES_MAX} escrow envelopes; acknowledge or retire old epochs first")]
pub struct TooManyEnvelopes;

impl From<TooManyEnvelopes> for OpError {
    fn from(error: TooManyEnvelopes) -> Self {
        Self::Refused(Text::of(&error))
    }
}

impl StoredEnvelopes {
    /// Reads them back.
    pub fn decode(&self) -> Result<Vec<EscrowEnvelope>, EscrowError> {
        let decode =
            |text: &String| EscrowEnvelope::decode(&HEXLOWER.decode(text.as_bytes()).unwrap_or_default());
        self.0.iter().map(decode).collect()
    }

    /// Adds an envelope in place of one for the same share.
    pub fn put(&mut self, envelope: &EscrowEnvelope) -> Result<(), TooManyEnvelopes> {
        let place = *envelope.place();
        self.retain(|other| {
            (other.key, other.key_epoch, other.share_epoch, other.node)
                != (place.key, place.key_epoch, place.share_epoch, place.node)
        });
        if self.0.len() >= ENVELOPES_MAX {
            return Err(TooManyEnvelopes);
        }
        self.0.push(HEXLOWER.encode(&envelope.encode()));
        Ok(())
    }

    /// Drops the envelopes of this key epoch that are of an older sharing: after it was acknowledged.
    pub fn keep_sharing(&mut self, manifest: &Manifest) {
        self.retain(|place| {
            (place.key, place.key_epoch) != (manifest.key, manifest.key_epoch)
                || place.share_epoch >= manifest.share_epoch
        });
    }

    /// Indices of the nodes of `manifest` whose envelope is missing. Recovery works with t of n, but the
    /// status should say what is missing before that matters.
    #[must_use]
    pub fn missing(&self, manifest: &Manifest) -> Vec<u16> {
        let envelopes = self.decode().unwrap_or_default();
        let there = |index: u16| envelopes.iter().any(|envelope| fits(envelope, manifest, index));
        manifest.nodes.iter().map(|node| node.index).filter(|index| !there(*index)).collect()
    }

    /// Drops the envelopes of key epochs that are no more.
    pub fn keep_epochs(&mut self, living: &[u32]) {
        self.retain(|place| living.contains(&place.key_epoch));
    }

    fn retain(&mut self, keep: impl Fn(&symbolon_proto::custody::escrow::EscrowPlace) -> bool) {
        self.0.retain(|text| {
            let envelope = EscrowEnvelope::decode(&HEXLOWER.decode(text.as_bytes()).unwrap_or_default());
            envelope.is_ok_and(|envelope| keep(envelope.place()))
        });
    }
}

/// The rows of a new deployment: the key, and what every node has sealed to it.
pub(crate) async fn first_rows(rows: &Rows, remote: &Remote, key: &EscrowKey) -> Result<Vec<Write>, OpError> {
    let mut envelopes = StoredEnvelopes::default();
    for envelope in &collect(remote).await.map_err(EnrolError::Group)? {
        envelopes.put(envelope)?;
    }
    Ok(vec![
        rows.put(ESCROW_KEY, &StoredEscrowKey::from(key), Expect::Absent)?,
        rows.put(ESCROW_ENVELOPES, &envelopes, Expect::Absent)?,
    ])
}
