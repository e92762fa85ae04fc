//! What a broker keeps of its enrolment: whom it trusts, and the manifests that follow from it.

use symbolon_proto::card::VerifiedCard;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::id::NodeId;
use symbolon_proto::manifest::{ManifestNode, VerifiedManifest};
use symbolon_proto::proposal::Proposal;
use symbolon_proto::signing::SigningPublicKey;
use tracing::warn;

use super::tls::SpkiHash;
use crate::config;

/// What a broker keeps of its enrolment.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// The service root that signs the chain; its fingerprint was compared. Of several, the lead's.
    pub root: SigningPublicKey,
    /// The newest manifest.
    pub manifest: VerifiedManifest,
    /// The last manifest of each older key epoch that may still have capsules, oldest first.
    pub older: Vec<VerifiedManifest>,
    /// The roots of the nodes, each compared by its fingerprint.
    pub members: Vec<Member>,
    /// The group that the nodes are, if there are several; a key that one service made alone has none.
    pub group: Option<Proposal>,
}

/// A node and the root that vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its root key.
    pub root: SigningPublicKey,
}

impl Enrolled {
    /// The enrolment with one service that holds the whole key.
    #[must_use]
    pub fn alone(root: SigningPublicKey, manifest: VerifiedManifest) -> Self {
        let members = manifest.manifest().nodes.iter().map(|node| Member { node: node.node, root }).collect();
        Self { root, manifest, older: Vec::new(), members, group: None }
    }

    /// The enrolment with a group, whose lead signs the chain; none if it has no members.
    pub(crate) fn group(group: Proposal, manifest: VerifiedManifest) -> Option<Self> {
        let member = |card: &VerifiedCard| Member { node: card.card().node, root: card.card().root };
        let members: Vec<_> = group.cards().iter().map(member).collect();
        let root = members.first().map(|member| member.root)?;
        Some(Self { root, manifest, older: Vec::new(), members, group: Some(group) })
    }

    /// Where each node of the newest manifest is, and the TLS key to expect there. Members are found by the
    /// fingerprints of their roots; one service and one address need no telling apart.
    pub(crate) fn addresses<'a>(
        &self,
        settings: &'a config::Remote,
    ) -> Vec<(&'a config::RemoteNode, Member, SpkiHash)> {
        let seats = &self.manifest.manifest().nodes;
        seats.iter().filter_map(|seat| self.address(seat, settings)).collect()
    }

    fn address<'a>(
        &self,
        seat: &ManifestNode,
        settings: &'a config::Remote,
    ) -> Option<(&'a config::RemoteNode, Member, SpkiHash)> {
        let member = self.members.iter().find(|member| member.node == seat.node).copied();
        let configured = match (settings.nodes.as_slice(), self.manifest.manifest().nodes.len()) {
            ([only], 1) => Some(only),
            (nodes, _) => {
                nodes.iter().find(|node| member.is_some_and(|member| names(&node.fingerprint, &member.root)))
            }
        };
        if configured.is_none() {
            warn!(
                node = seat.index,
                "no [[remote.node]] table has the fingerprint of this fragment service node; it cannot be asked"
            );
        }
        Some((configured?, member?, seat.spki_sha256))
    }
}

fn names(fingerprint: &str, root: &SigningPublicKey) -> bool {
    fingerprint.parse::<Fingerprint>().is_ok_and(|found| found == Fingerprint::of(root.as_bytes()))
}
