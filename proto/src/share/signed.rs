//! A share-set manifest with the signatures of the broker and the custodians beside it (docs/skb1.md section
//! 7.3).
//!
//! ```text
//! signed     = format(1)=1 ‖ LP32(manifest) ‖ count(1) × { x(1) ‖ signature(64) }
//!              ‖ broker key(32) ‖ broker signature(64)
//! signature  = Ed25519 over label ‖ SHA-256(manifest)
//! ```
//!
//! The signatures stand beside the manifest and not in it, because its hash goes into every envelope before
//! anybody could have signed. Signers stand in ascending order of x; key and signature of the broker are zero
//! until it signed.

use thiserror::Error;

use super::set::{SHARE_SET_BYTES_MAX, ShareSetError, ShareSetManifest};
use super::shamir::SHARES_MAX;
use crate::codec::{DecodeError, Reader, Writer};
use crate::custodian::Standing;
use crate::signing::{SIGNATURE_BYTES, SigningPublicKey, SigningSeed};

const FORMAT: u8 = 1;
/// Longest encoded manifest with signatures in bytes.
pub const SIGNED_SHARE_SET_BYTES_MAX: usize =
    1 + 4 + SHARE_SET_BYTES_MAX + 1 + 16 * (1 + SIGNATURE_BYTES) + 32 + SIGNATURE_BYTES;

/// A manifest and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedShareSet {
    manifest: ShareSetManifest,
    custodians: Vec<(u8, [u8; SIGNATURE_BYTES])>,
    broker: Option<(SigningPublicKey, [u8; SIGNATURE_BYTES])>,
}

/// Why bytes are no signed manifest, or a signature is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignedShareSetError {
    /// Not the layout.
    #[error("the signed share-set manifest is damaged: {0}")]
    Layout(#[from] DecodeError),
    /// Made by a version that does not exist yet.
    #[error("signed share-set manifest format {found} is not known to this version; only 1 is")]
    Format {
        /// The format number.
        found: u8,
    },
    /// The manifest inside is not valid.
    #[error(transparent)]
    Manifest(#[from] ShareSetError),
    /// Signers out of order, twice, or not of this set.
    #[error("the signatures under the share-set manifest are not those of its custodians")]
    Signers,
    /// The broker's key is none.
    #[error("the broker's key under the share-set manifest is not valid")]
    BrokerKey,
    /// A signature that does not verify, or of somebody without a key.
    #[error("the signature of {holder} under the share-set manifest does not verify")]
    Signature {
        /// Name of the custodian.
        holder: String,
    },
}

/// What the signatures under a manifest show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSetReport {
    /// The broker.
    pub broker: Standing,
    /// Every custodian by name, in the order of the share numbers.
    pub custodians: Vec<(String, Standing)>,
}

impl SignedShareSet {
    /// A manifest that nobody has signed yet.
    #[must_use]
    pub const fn new(manifest: ShareSetManifest) -> Self {
        Self { manifest, custodians: Vec::new(), broker: None }
    }

    /// The manifest.
    #[must_use]
    pub const fn manifest(&self) -> &ShareSetManifest {
        &self.manifest
    }

    /// The broker signs.
    pub fn sign_as_broker(&mut self, seed: &SigningSeed) {
        self.broker = Some((seed.public_key(), seed.sign(&self.manifest.signed_bytes())));
    }

    /// Adds the signature of custodian `x`, after checking it.
    pub fn add_signature(
        &mut self,
        x: u8,
        signature: [u8; SIGNATURE_BYTES],
    ) -> Result<(), SignedShareSetError> {
        let custodian = self.manifest.custodian(x).ok_or(SignedShareSetError::Signers)?;
        match self.standing(x, Some(&signature)) {
            Standing::Signed => {}
            _ => return Err(SignedShareSetError::Signature { holder: custodian.name.clone() }),
        }
        self.custodians.retain(|(earlier, _)| *earlier != x);
        let place = self.custodians.partition_point(|(earlier, _)| *earlier < x);
        self.custodians.insert(place, (x, signature));
        Ok(())
    }

    /// Checks every signature; `broker` is the key that the reader trusts.
    #[must_use]
    pub fn verify(&self, broker: &SigningPublicKey) -> ShareSetReport {
        let message = self.manifest.signed_bytes();
        let broker = match &self.broker {
            None => Standing::Missing,
            Some((key, signature)) if key == broker && key.verifies(&message, signature) => Standing::Signed,
            Some(_) => Standing::Wrong,
        };
        let signature_of =
            |x: u8| self.custodians.iter().find(|(signer, _)| *signer == x).map(|(_, found)| found);
        let custodians = self.manifest.custodians().iter();
        let custodians = custodians
            .map(|custodian| (custodian.name.clone(), self.standing(custodian.x, signature_of(custodian.x))));
        ShareSetReport { broker, custodians: custodians.collect() }
    }

    fn standing(&self, x: u8, signature: Option<&[u8; SIGNATURE_BYTES]>) -> Standing {
        let keys = self.manifest.custodian(x).and_then(|custodian| custodian.keys.as_ref());
        match (keys, signature) {
            (None, _) => Standing::NoKey,
            (Some(_), None) => Standing::Missing,
            (Some(keys), Some(found)) => match keys.signing.verifies(&self.manifest.signed_bytes(), found) {
                true => Standing::Signed,
                false => Standing::Wrong,
            },
        }
    }

    /// Its binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(2048);
        writer.u8(FORMAT).lp32(&self.manifest.encode());
        writer.u8(u8::try_from(self.custodians.len()).expect("at most 16 custodians"));
        for (x, signature) in &self.custodians {
            writer.u8(*x).bytes(signature);
        }
        match &self.broker {
            Some((key, signature)) => writer.bytes(key.as_bytes()).bytes(signature),
            None => writer.bytes(&[0; 32]).bytes(&[0; SIGNATURE_BYTES]),
        };
        writer.finish()
    }

    /// Reads the binary form. Signatures are for [`SignedShareSet::verify`].
    pub fn decode(bytes: &[u8]) -> Result<Self, SignedShareSetError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT {
            return Err(SignedShareSetError::Format { found: format });
        }
        let manifest = ShareSetManifest::decode(reader.lp32(SHARE_SET_BYTES_MAX)?)?;
        let count = reader.u8()?;
        if count > SHARES_MAX {
            return Err(SignedShareSetError::Signers);
        }
        let mut custodians: Vec<(u8, [u8; SIGNATURE_BYTES])> = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (x, signature) = (reader.u8()?, reader.array()?);
            let ascending = custodians.last().is_none_or(|(last, _)| *last < x);
            if !ascending || manifest.custodian(x).is_none() {
                return Err(SignedShareSetError::Signers);
            }
            custodians.push((x, signature));
        }
        let (key, signature) = (reader.array::<32>()?, reader.array::<SIGNATURE_BYTES>()?);
        reader.finish()?;
        let broker = if key == [0; 32] && signature == [0; SIGNATURE_BYTES] {
            None
        } else {
            let key = SigningPublicKey::from_bytes(&key).map_err(|_| SignedShareSetError::BrokerKey)?;
            Some((key, signature))
        };
        Ok(Self { manifest, custodians, broker })
    }
}
