#![allow(clippy::unwrap_used)]

use super::*;
use crate::signing::SigningSeed;
use crate::testing::{TestNode, lease_holder, rng};

struct Service {
    root: SigningSeed,
    node: TestNode,
    manifest: Manifest,
}

fn service() -> Service {
    let (root, node) = (SigningSeed::random(&mut rng()), TestNode::new(1));
    let manifest = Manifest {
        deployment: lease_holder().deployment,
        key: lease_holder().key,
        state: KeyState::Active,
        key_epoch: 1,
        share_epoch: 1,
        public: *node.key.public_key(),
        commitments: Vec::new(),
        nodes: vec![node.public()],
        lease_ttl_secs: 3600,
        quota_burst: 64,
        quota_per_hour: 1000,
        grace_secs: 0,
        not_before_secs: 1000,
        not_after_secs: 2000,
        seq: 1,
        prev_hash: [0; 32],
    };
    Service { root, node, manifest }
}

impl Service {
    fn sign(&self, manifest: &Manifest) -> Vec<u8> {
        manifest.sign(&self.root, &[&self.node.seed])
    }

    fn first(&self, manifest: &Manifest) -> Result<VerifiedManifest, ManifestError> {
        let deployment = lease_holder().deployment;
        VerifiedManifest::first(&self.sign(manifest), &self.root.public_key(), &deployment)
    }

    fn next(&self, after: &VerifiedManifest, manifest: &Manifest) -> Result<VerifiedManifest, ManifestError> {
        after.next(&self.sign(manifest), &self.root.public_key())
    }
}

#[test]
fn gives_the_key_while_valid_and_active() {
    let service = service();
    let verified = service.first(&service.manifest).unwrap();
    assert_eq!(verified.encapsulation_key(1500).unwrap().public, service.manifest.public);
    assert_eq!(verified.encapsulation_key(999), Err(ManifestError::NotYet));
    assert_eq!(verified.encapsulation_key(2000), Err(ManifestError::Expired));
    let suspended = Manifest { state: KeyState::Suspended, ..service.manifest.clone() };
    let error = service.first(&suspended).unwrap().encapsulation_key(1500).unwrap_err();
    assert_eq!(error, ManifestError::NotActive(KeyState::Suspended));
}

#[test]
fn every_byte_is_signed_or_a_signature() {
    let service = service();
    let bytes = service.sign(&service.manifest);
    for position in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[position] ^= 1;
        let deployment = lease_holder().deployment;
        let verified = VerifiedManifest::first(&forged, &service.root.public_key(), &deployment);
        assert!(verified.is_err(), "byte {position}");
    }
}

#[test]
fn refuses_what_does_not_hold_together() {
    let service = service();
    let check = |change: fn(&mut Manifest), expected| {
        let mut manifest = service.manifest.clone();
        change(&mut manifest);
        assert_eq!(service.first(&manifest).unwrap_err(), expected);
    };
    check(|m| m.not_after_secs = m.not_before_secs, ManifestError::Validity);
    check(|m| m.not_after_secs = m.not_before_secs - 1, ManifestError::Validity);
    check(|m| m.not_after_secs = m.not_before_secs + VALIDITY_SECS_MAX + 1, ManifestError::Validity);
    check(|m| m.lease_ttl_secs = LEASE_TTL_SECS_MAX + 1, ManifestError::Lease);
    check(|m| m.grace_secs = LEASE_TTL_SECS_MAX + 1, ManifestError::Lease);
    check(|m| m.nodes[0].index = 0, ManifestError::NodeIndex { found: 0 });
    check(|m| m.nodes.clear(), ManifestError::Threshold { threshold: 1, nodes: 0 });
    check(|m| m.public = *TestNode::new(1).key.public_key(), ManifestError::Share { node: 1 });
    check(|m| m.deployment = DeploymentId::from_bytes([9; 16]), ManifestError::OtherDeployment);
    let stranger = SigningSeed::random(&mut rng());
    let signed = service.manifest.sign(&stranger, &[&service.node.seed]);
    let deployment = lease_holder().deployment;
    let error = VerifiedManifest::first(&signed, &service.root.public_key(), &deployment).unwrap_err();
    assert_eq!(error, ManifestError::RootSignature);
    let signed = service.manifest.sign(&service.root, &[&stranger]);
    let error = VerifiedManifest::first(&signed, &service.root.public_key(), &deployment).unwrap_err();
    assert_eq!(error, ManifestError::NodeSignature { node: 1 });
}

#[test]
fn follows_one_chain_forwards_only() {
    let service = service();
    let first = service.first(&service.manifest).unwrap();
    let successor = Manifest { seq: 2, prev_hash: first.hash(), ..service.manifest.clone() };
    let second = service.next(&first, &successor).unwrap();
    assert_eq!(service.next(&second, &successor).unwrap(), second);
    let refused = |manifest: &Manifest| service.next(&second, manifest).unwrap_err();
    assert_eq!(refused(&service.manifest), ManifestError::Older { found: 1, accepted: 2 });
    assert_eq!(refused(&Manifest { quota_burst: 1, ..successor.clone() }), ManifestError::Fork);
    assert_eq!(
        refused(&Manifest { seq: 4, ..successor.clone() }),
        ManifestError::Gap { found: 4, accepted: 2 }
    );
    let third = Manifest { seq: 3, prev_hash: second.hash(), ..successor };
    assert_eq!(refused(&Manifest { prev_hash: first.hash(), ..third.clone() }), ManifestError::Fork);
    assert_eq!(
        refused(&Manifest { key: KeyId::from_bytes([9; 16]), ..third.clone() }),
        ManifestError::OtherKey
    );
    assert!(service.next(&second, &third).is_ok());
}

#[test]
fn a_new_public_key_needs_a_new_epoch() {
    let mut service = service();
    let first = service.first(&service.manifest).unwrap();
    service.node.key = crate::evaluate::RemoteKey::generate(&mut rng());
    let public = *service.node.key.public_key();
    let nodes = vec![service.node.public()];
    let renewed = Manifest { seq: 2, prev_hash: first.hash(), public, nodes, ..service.manifest.clone() };
    assert_eq!(service.next(&first, &renewed).unwrap_err(), ManifestError::KeyChanged);
    assert!(service.next(&first, &Manifest { key_epoch: 2, ..renewed.clone() }).is_ok());
    assert_eq!(
        service.next(&first, &Manifest { key_epoch: 0, ..renewed }).unwrap_err(),
        ManifestError::KeyChanged
    );
}

#[test]
fn the_largest_manifest_has_the_stated_size() {
    let service = service();
    let node = service.manifest.nodes[0];
    let manifest = Manifest {
        commitments: vec![*service.manifest.public.point(); 15],
        nodes: (1..=16).map(|index| ManifestNode { index, ..node }).collect(),
        ..service.manifest.clone()
    };
    let seeds: Vec<_> = (0..16).map(|_| &service.node.seed).collect();
    let bytes = manifest.sign(&service.root, &seeds);
    assert_eq!(bytes.len(), MANIFEST_BYTES_MAX);
    assert_eq!(service.sign(&service.manifest).len(), 60 + 32 + 114 + 72 + 2 * 64);
    assert!(Manifest::parse(&bytes).is_ok());
    let many = Manifest { nodes: (1..=17).map(|index| ManifestNode { index, ..node }).collect(), ..manifest };
    assert_eq!(
        Manifest::parse(&many.sign(&service.root, &[])).unwrap_err(),
        ManifestError::Threshold { threshold: 16, nodes: 17 }
    );
}

/// A group of three whose members sign apart from each other.
struct Apart {
    group: Proposal,
    key: GroupKey,
    seeds: Vec<SigningSeed>,
    roots: Vec<SigningSeed>,
}

impl Apart {
    fn new(share: u8) -> Self {
        let (proposal, members) = crate::testing::test_proposal(2, 3);
        let seeds: Vec<_> = members.iter().map(|_| SigningSeed::random(&mut rng())).collect();
        let card = |((card, member), seed): ((&VerifiedCard, &crate::testing::TestMember), &SigningSeed)| {
            crate::card::NodeCard { signing: seed.public_key(), ..*card.card() }.sign(&member.root)
        };
        let cards = proposal.cards().iter().zip(&members).zip(&seeds).map(card).collect();
        let group = Proposal::new(*proposal.terms(), cards).unwrap();
        let point = |byte: u8| {
            let bytes = crate::secret::Secret::filled_by(|out| out[0] = byte);
            *crate::evaluate::RemoteKey::from_secret(bytes).unwrap().public_key().point()
        };
        let key = GroupKey::new(vec![point(7), point(share)]).unwrap();
        Self { group, key, seeds, roots: members.into_iter().map(|member| member.root).collect() }
    }

    fn manifest(&self) -> Manifest {
        Manifest {
            public: self.key.public(),
            commitments: self.key.commitments()[1..].to_vec(),
            nodes: Manifest::members(&self.group, &self.key).unwrap(),
            ..service().manifest
        }
    }

    fn assemble(&self, manifest: &Manifest) -> Vec<u8> {
        let body = manifest.signed_bytes();
        assert_eq!(Manifest::parse_body(&body).as_ref(), Ok(manifest));
        let nodes: Vec<_> = self.seeds.iter().map(|seed| seed.sign(&body)).collect();
        manifest.assemble(&self.roots[0].sign(&body), &nodes)
    }

    fn accept(&self, manifest: &Manifest) -> Result<VerifiedManifest, ManifestError> {
        let deployment = lease_holder().deployment;
        VerifiedManifest::first(&self.assemble(manifest), &self.roots[0].public_key(), &deployment)
    }

    fn next(&self, after: &VerifiedManifest, manifest: &Manifest) -> Result<VerifiedManifest, ManifestError> {
        let next = Manifest { seq: after.manifest().seq + 1, prev_hash: after.hash(), ..manifest.clone() };
        after.next(&self.assemble(&next), &self.roots[0].public_key())
    }
}

#[test]
fn nodes_that_sign_apart_make_one_manifest() {
    let apart = Apart::new(9);
    let manifest = apart.manifest();
    assert!(manifest.describes(&apart.group, &apart.key));
    assert_eq!(manifest.group_key(), apart.key);
    assert!(!manifest.describes(&apart.group, &Apart::new(10).key));
    assert!(!manifest.describes(&Apart::new(9).group, &apart.key));
    assert!(apart.accept(&manifest).is_ok());
    let body = manifest.signed_bytes();
    let mut nodes: Vec<_> = apart.seeds.iter().map(|seed| seed.sign(&body)).collect();
    nodes.swap(1, 2);
    let (root, deployment) = (&apart.roots[0], lease_holder().deployment);
    let check = |bytes: &[u8]| VerifiedManifest::first(bytes, &root.public_key(), &deployment).unwrap_err();
    assert_eq!(
        check(&manifest.assemble(&root.sign(&body), &nodes)),
        ManifestError::NodeSignature { node: 2 }
    );
    let missing = check(&manifest.assemble(&root.sign(&body), &nodes[..2]));
    assert_eq!(missing, ManifestError::Layout(crate::codec::DecodeError::Truncated { missing: 64 }));
}

#[test]
fn a_node_reads_what_it_is_to_sign() {
    let apart = Apart::new(9);
    let manifest = apart.manifest();
    let parse = |change: fn(&mut Manifest)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        Manifest::parse_body(&changed.signed_bytes()).unwrap_err()
    };
    assert_eq!(parse(|m| m.nodes.swap(0, 1)), ManifestError::NodeIndex { found: 1 });
    assert_eq!(parse(|m| m.nodes[1].public = m.nodes[0].public), ManifestError::Share { node: 2 });
    assert_eq!(parse(|m| m.not_after_secs = m.not_before_secs), ManifestError::Validity);
    assert_eq!(parse(|m| m.grace_secs = LEASE_TTL_SECS_MAX + 1), ManifestError::Lease);
    let whole = apart.assemble(&manifest);
    assert!(matches!(Manifest::parse_body(&whole), Err(ManifestError::Layout(_))));
}

#[test]
fn shares_and_nodes_change_only_with_their_epoch() {
    let apart = Apart::new(9);
    let first = apart.accept(&apart.manifest()).unwrap();
    let second = apart.next(&first, &Manifest { share_epoch: 2, ..apart.manifest() }).unwrap();
    let back = apart.next(&second, &apart.manifest()).unwrap_err();
    assert_eq!(back, ManifestError::OlderShares { found: 1, accepted: 2 });
    let refreshed = Apart { key: Apart::new(10).key, ..apart };
    let moved = Manifest { share_epoch: 2, ..refreshed.manifest() };
    assert_eq!(refreshed.next(&second, &moved).unwrap_err(), ManifestError::NodesChanged);
    assert!(refreshed.next(&second, &Manifest { share_epoch: 3, ..moved.clone() }).is_ok());
    assert!(refreshed.next(&second, &Manifest { key_epoch: 2, share_epoch: 1, ..moved.clone() }).is_ok());
    let mut renamed = Manifest { share_epoch: 2, ..second.manifest().clone() };
    renamed.nodes[2].spki_sha256 = [0; 32];
    assert_eq!(refreshed.next(&second, &renamed).unwrap_err(), ManifestError::NodesChanged);
}
