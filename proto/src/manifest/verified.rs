//! Manifests that were checked, and the chain that they form.

use sha2::{Digest, Sha256};

use super::{Manifest, ManifestError, ManifestNode};
use crate::capsule::EncapsulationKey;
use crate::id::DeploymentId;
use crate::key_state::KeyState;
use crate::signing::SigningPublicKey;

/// A manifest whose fields and signatures were all checked. Whether its time has come is asked for each use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedManifest {
    manifest: Manifest,
    bytes: Vec<u8>,
}

impl VerifiedManifest {
    /// Accepts a manifest without a predecessor: at enrolment, after its root key's fingerprint was compared,
    /// and from the broker's own authenticated storage.
    pub fn first(
        bytes: &[u8],
        root: &SigningPublicKey,
        deployment: &DeploymentId,
    ) -> Result<Self, ManifestError> {
        let (manifest, signed, signatures) = Manifest::parse(bytes)?;
        manifest.check(signed, signatures, root)?;
        match manifest.deployment == *deployment {
            true => Ok(Self { manifest, bytes: bytes.to_vec() }),
            false => Err(ManifestError::OtherDeployment),
        }
    }

    /// Accepts the successor of this one, or this one again. Never an older one, nor one of another history.
    pub fn next(&self, bytes: &[u8], root: &SigningPublicKey) -> Result<Self, ManifestError> {
        let next = Self::first(bytes, root, &self.manifest.deployment)?;
        let (found, accepted) = (next.manifest.seq, self.manifest.seq);
        if next.manifest.key != self.manifest.key {
            return Err(ManifestError::OtherKey);
        }
        match found.checked_sub(accepted) {
            None => return Err(ManifestError::Older { found, accepted }),
            Some(0) if next.bytes != self.bytes => return Err(ManifestError::Fork),
            Some(0) => return Ok(next),
            Some(1) if next.manifest.prev_hash != self.hash() => return Err(ManifestError::Fork),
            Some(1) => {}
            Some(_) => return Err(ManifestError::Gap { found, accepted }),
        }
        self.manifest.check_epochs(&next.manifest)?;
        Ok(next)
    }

    /// Its fields.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What its successor names as `prev_hash`.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    /// The node with this index.
    pub fn node(&self, index: u16) -> Option<&ManifestNode> {
        self.manifest.nodes.iter().find(|node| node.index == index)
    }

    /// Whether it is valid at `now_secs`.
    pub const fn check_time(&self, now_secs: u64) -> Result<(), ManifestError> {
        if now_secs < self.manifest.not_before_secs {
            return Err(ManifestError::NotYet);
        }
        if now_secs >= self.manifest.not_after_secs {
            return Err(ManifestError::Expired);
        }
        Ok(())
    }

    /// The key for new capsules: only while the manifest is valid and the key active.
    pub fn encapsulation_key(&self, now_secs: u64) -> Result<EncapsulationKey, ManifestError> {
        self.check_time(now_secs)?;
        match self.manifest.state {
            KeyState::Active => {
                Ok(EncapsulationKey { key_epoch: self.manifest.key_epoch, public: self.manifest.public })
            }
            other => Err(ManifestError::NotActive(other)),
        }
    }
}
