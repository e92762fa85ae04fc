//! The manifests that a broker holds of its remote key: the newest, and the last one of each older key epoch.
//!
//! While a key is rotated, capsules of two epochs exist side by side. New ones are made under the newest
//! manifest; old ones are opened by, and proven against, the last manifest of their own epoch (`docs/skb1.md`
//! 8). Whether a manifest is valid in time matters for new capsules only.

use std::sync::Arc;

use symbolon_proto::manifest::{ManifestError, VerifiedManifest};
use symbolon_proto::proposal::Proposal;
use symbolon_proto::signing::SigningPublicKey;

use super::enrolled::{Enrolled, Member};

/// The part of a chain that is still needed. Key epochs ascend; there is always a newest one.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    root: SigningPublicKey,
    newest: Arc<VerifiedManifest>,
    older: Vec<Arc<VerifiedManifest>>,
    members: Vec<Member>,
    group: Option<Proposal>,
}

impl From<Enrolled> for Chain {
    fn from(Enrolled { root, manifest, older, members, group }: Enrolled) -> Self {
        Self {
            root,
            newest: Arc::new(manifest),
            older: older.into_iter().map(Arc::new).collect(),
            members,
            group,
        }
    }
}

impl Chain {
    /// The manifest that new capsules are made under.
    pub(crate) fn newest(&self) -> &Arc<VerifiedManifest> {
        &self.newest
    }

    /// What to store.
    pub(crate) fn enrolled(&self) -> Enrolled {
        Enrolled {
            root: self.root,
            manifest: (*self.newest).clone(),
            older: self.older.iter().map(|held| (**held).clone()).collect(),
            members: self.members.clone(),
            group: self.group.clone(),
        }
    }

    /// Forgets a key epoch, when no capsule of it is left. The newest stays.
    pub(crate) fn forget(&mut self, key_epoch: u32) {
        self.older.retain(|held| held.manifest().key_epoch != key_epoch);
    }

    /// Key epochs that can be opened, oldest first.
    pub(crate) fn key_epochs(&self) -> Vec<u32> {
        self.older.iter().chain([&self.newest]).map(|held| held.manifest().key_epoch).collect()
    }

    /// The last manifest of a key epoch.
    pub(crate) fn of_epoch(&self, key_epoch: u32) -> Option<&Arc<VerifiedManifest>> {
        let mut held = self.older.iter().chain([&self.newest]);
        held.find(|held| held.manifest().key_epoch == key_epoch)
    }

    /// Takes the successor of the newest manifest, or that one again. The last one of an epoch that ends is
    /// kept.
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> Result<(), ManifestError> {
        let next = Arc::new(self.newest.next(bytes, &self.root)?);
        let before = std::mem::replace(&mut self.newest, next);
        let ended = before.manifest().key_epoch;
        if ended != self.newest.manifest().key_epoch {
            // One that is there already came from a row that is newer than that of the newest manifest.
            self.older.retain(|held| held.manifest().key_epoch < ended);
            self.older.push(before);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_proto::evaluate::RemoteKey;
    use symbolon_proto::group::PublicKey;

    use super::*;
    use crate::random::os_rng;
    use crate::remote::tests::fake::Node;

    fn of_key(node: &Node, key: &PublicKey, key_epoch: u32, after: Option<&VerifiedManifest>) -> Vec<u8> {
        node.manifest(|manifest| {
            manifest.key_epoch = key_epoch;
            manifest.public = *key;
            manifest.nodes[0].public = *key;
            manifest.seq = after.map_or(1, |before| before.manifest().seq + 1);
            manifest.prev_hash = after.map_or([0; 32], VerifiedManifest::hash);
        })
    }

    #[test]
    fn the_last_manifest_of_each_key_epoch_is_kept() {
        let node = Node::new();
        let (old, new) = (*node.key.public_key(), *RemoteKey::generate(&mut os_rng()).public_key());
        let root = node.root.public_key();
        let first = VerifiedManifest::first(&of_key(&node, &old, 1, None), &root, &node.deployment).unwrap();
        let mut chain = Chain::from(Enrolled::alone(root, first));
        for (key, key_epoch) in [(&old, 1), (&new, 2), (&new, 2)] {
            let next = of_key(&node, key, key_epoch, Some(chain.newest()));
            chain.accept(&next).unwrap();
        }
        assert_eq!(chain.key_epochs(), [1, 2]);
        assert_eq!(chain.of_epoch(1).unwrap().manifest().seq, 2, "the last one of epoch 1");
        assert_eq!(chain.of_epoch(1).unwrap().manifest().public, old);
        assert_eq!(chain.newest().manifest().seq, 4);
        assert!(chain.of_epoch(3).is_none());
        let back = of_key(&node, &old, 1, Some(chain.newest()));
        assert_eq!(chain.accept(&back), Err(ManifestError::KeyChanged));
        assert_eq!(chain.key_epochs(), [1, 2], "a refusal changes nothing");
    }
    /// As when the row of the newest manifest was put back, and the other row was not.
    #[test]
    fn an_epoch_that_ends_twice_is_kept_once() {
        let node = Node::new();
        let (old, new) = (*node.key.public_key(), *RemoteKey::generate(&mut os_rng()).public_key());
        let root = node.root.public_key();
        let first = VerifiedManifest::first(&of_key(&node, &old, 1, None), &root, &node.deployment).unwrap();
        let next = of_key(&node, &new, 2, Some(&first));
        let mut chain = Chain::from(Enrolled::alone(root, first.clone()));
        chain.older = vec![Arc::new(first.clone()), Arc::new(first.next(&next, &root).unwrap())];
        chain.accept(&next).unwrap();
        assert_eq!(chain.key_epochs(), [1, 2]);
    }
}
