//! Contexts: what a ciphertext is, in fixed-length fields (`docs/skb1.md` section 6.3).
//!
//! A context is *computed from where the reader looked* and never read from the ciphertext, so a capsule or
//! record that was moved, copied or rolled back fails its commitment. There are ids and numbers only, no
//! names. The remote's w, y and key epoch are deliberately absent: w is determined by the shared secret.

use std::ops::Deref;

use crate::codec::lp_len;
use crate::group::Suite;
use crate::id::{CapsuleId, DeploymentId, KeyId, MountId, SecretId, TenantId};
use crate::label;

/// Bytes of the longest context, the capsule context of scope 1.
pub const CONTEXT_BYTES_MAX: usize = 136;

/// An encoded context; lives on the stack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContextBytes {
    bytes: [u8; CONTEXT_BYTES_MAX],
    len: usize,
}

impl ContextBytes {
    fn labelled(label: &[u8]) -> Self {
        let mut context = Self { bytes: [0; CONTEXT_BYTES_MAX], len: 0 };
        context.push(&lp_len(label));
        context.push(label);
        context
    }

    fn push(&mut self, field: &[u8]) {
        let end = self.len + field.len();
        self.bytes[self.len..end].copy_from_slice(field);
        self.len = end;
    }
}

impl Deref for ContextBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a capsule holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Scope 0: the KEK of a bucket of secrets.
    Bucket,
    /// Scope 1: the DEK of one version of one secret (high tier).
    Version {
        /// The secret.
        secret: SecretId,
        /// Its version.
        version: u64,
    },
}

/// Where a capsule belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CapsuleContext {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The tenant.
    pub tenant: TenantId,
    /// The mount ("namespace").
    pub mount: MountId,
    /// The bucket of secrets within the mount.
    pub bucket: u32,
    /// Which KEK of the bucket.
    pub kek_epoch: u32,
    /// The capsule's own id.
    pub capsule: CapsuleId,
    /// The remote key that opens it.
    pub key: KeyId,
    /// The fragment epoch f.
    pub fragment_epoch: u32,
    /// What it holds.
    pub scope: Scope,
}

impl CapsuleContext {
    /// ctx_cap.
    pub fn encode(&self) -> ContextBytes {
        let mut context = ContextBytes::labelled(label::CONTEXT_CAPSULE);
        context.push(&[Suite::Ristretto255.byte(), u8::from(self.scope != Scope::Bucket)]);
        context.push(self.deployment.as_bytes());
        context.push(self.tenant.as_bytes());
        context.push(self.mount.as_bytes());
        context.push(&self.bucket.to_be_bytes());
        context.push(&self.kek_epoch.to_be_bytes());
        context.push(self.capsule.as_bytes());
        context.push(self.key.as_bytes());
        context.push(&self.fragment_epoch.to_be_bytes());
        if let Scope::Version { secret, version } = &self.scope {
            context.push(secret.as_bytes());
            context.push(&version.to_be_bytes());
        }
        context
    }
}

/// What a record holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum RecordKind {
    /// The value of a secret.
    Value = 0,
    /// Metadata about a secret.
    Metadata = 1,
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecordContext {
    /// Value or metadata.
    pub kind: RecordKind,
    /// The deployment.
    pub deployment: DeploymentId,
    /// The tenant.
    pub tenant: TenantId,
    /// The mount ("namespace").
    pub mount: MountId,
    /// The secret.
    pub secret: SecretId,
    /// Its version.
    pub version: u64,
}

impl RecordContext {
    /// ctx_rec.
    pub fn encode(&self) -> ContextBytes {
        let mut context = ContextBytes::labelled(label::CONTEXT_RECORD);
        context.push(&[Suite::Ristretto255.byte(), self.kind as u8]);
        context.push(self.deployment.as_bytes());
        context.push(self.tenant.as_bytes());
        context.push(self.mount.as_bytes());
        context.push(self.secret.as_bytes());
        context.push(&self.version.to_be_bytes());
        context
    }
}

/// ctx_wrap: the context of the DEK of `record`, wrapped by the KEK of `capsule`.
pub fn wrap_context(record: &RecordContext, capsule: &CapsuleId) -> ContextBytes {
    let mut context = ContextBytes::labelled(label::CONTEXT_WRAP);
    context.push(&record.encode());
    context.push(capsule.as_bytes());
    context
}

/// The context of the index of a segment of the log (16.83): whose log, which segment, and the root over its
/// entries, so that the index of other entries at the same place does not open.
pub fn log_index_context(deployment: &DeploymentId, segment: u64, root: &[u8; 32]) -> ContextBytes {
    let mut context = ContextBytes::labelled(label::CONTEXT_LOG_INDEX);
    context.push(deployment.as_bytes());
    context.push(&segment.to_be_bytes());
    context.push(root);
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_fields() {
        let record = RecordContext {
            kind: RecordKind::Metadata,
            deployment: DeploymentId::from_bytes([1; 16]),
            tenant: TenantId::SYSTEM,
            mount: MountId::from_bytes([2; 16]),
            secret: SecretId::from_bytes([3; 16]),
            version: 9,
        };
        let mut capsule = CapsuleContext {
            deployment: record.deployment,
            tenant: record.tenant,
            mount: record.mount,
            bucket: 1,
            kek_epoch: 2,
            capsule: CapsuleId::from_bytes([4; 16]),
            key: KeyId::from_bytes([5; 16]),
            fragment_epoch: 3,
            scope: Scope::Bucket,
        };
        assert_eq!(record.encode().len(), 91);
        assert_eq!(wrap_context(&record, &capsule.capsule).len(), 122);
        assert_eq!(capsule.encode().len(), 112);
        capsule.scope = Scope::Version { secret: record.secret, version: 9 };
        assert_eq!(capsule.encode().len(), 136);
        assert!(capsule.encode().len() <= CONTEXT_BYTES_MAX);
        assert_eq!(log_index_context(&record.deployment, 7, &[8; 32]).len(), 2 + 18 + 16 + 8 + 32);
    }
}
