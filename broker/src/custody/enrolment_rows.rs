//! The enrolment as the broker's store keeps it, encrypted under K_index: who can write the store still
//! cannot plant another (`docs/skb1.md` 6.8).
//!
//! The newest manifest has a row of its own, which every deployment has. A second row holds what only some
//! have: several nodes, another lead than the one at `init`, key epochs that are being rotated out.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use symbolon_proto::id::{DeploymentId, NodeId};
use symbolon_proto::manifest::VerifiedManifest;
use symbolon_proto::proposal::Proposal;
use symbolon_proto::signing::SigningPublicKey;

use super::places::GENERATION;
use crate::error::OpError;
use crate::remote::EnrolError;
use crate::remote::enrolled::{Enrolled, Member};
use crate::rows::{Place, Rows};
use crate::store::{Expect, Write};

/// The newest manifest that this broker accepted. Wire type, hex.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
struct StoredManifest(String);

/// Where that manifest is kept.
const MANIFEST: Place<'static> = Place { name: "remote manifest", ..GENERATION };

/// Everything else about the remote. Wire type.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRemote {
    /// The root that signs the chain, in hex.
    root: String,
    /// The last manifest of each older key epoch, oldest first, in hex.
    older: Vec<String>,
    /// The nodes and their roots.
    members: Vec<StoredMember>,
    /// The proposal that the group was made with, in hex; empty where one service holds the whole key.
    #[serde(default)]
    group: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMember {
    node: String,
    root: String,
}

/// Where that is kept. Absent where one service holds the whole key and always has, under one epoch.
const REMOTE: Place<'static> = Place { name: "remote", ..GENERATION };

/// The first rows, for `init`.
pub fn first_rows(rows: &Rows, enrolled: &Enrolled) -> Result<Vec<Write>, OpError> {
    let (manifest, remote) = stored(enrolled);
    Ok(vec![rows.put(MANIFEST, &manifest, Expect::Absent)?, rows.put(REMOTE, &remote, Expect::Absent)?])
}

/// Reads what is stored. `root` is the one of the seal record, for deployments that have no other.
pub async fn read(rows: &Rows, root: &[u8; 32], deployment: &DeploymentId) -> Result<Enrolled, OpError> {
    let (StoredManifest(manifest), _) = rows.read(MANIFEST).await?.ok_or(OpError::INTEGRITY)?;
    let manifest = bytes(&manifest)?;
    let Some((remote, _)) = rows.read::<StoredRemote>(REMOTE).await? else {
        return first_enrolment(root, &manifest, deployment);
    };
    let root = root_key(&remote.root)?;
    let verified = |manifest: &[u8]| verified(manifest, &root, deployment);
    let older = remote.older.iter().map(|held| verified(&bytes(held)?)).collect::<Result<_, _>>()?;
    let members = remote.members.iter().map(member).collect::<Result<_, _>>()?;
    let group = match remote.group.as_str() {
        "" => None,
        group => Some(proposal(group)?),
    };
    Ok(Enrolled { root, manifest: verified(&manifest)?, older, members, group })
}

/// With one service that holds the whole key, whose root stands in the seal record.
fn first_enrolment(root: &[u8; 32], manifest: &[u8], deployment: &DeploymentId) -> Result<Enrolled, OpError> {
    let root = SigningPublicKey::from_bytes(root).map_err(|_| OpError::INTEGRITY)?;
    let manifest = verified(manifest, &root, deployment)?;
    Ok(Enrolled::alone(root, manifest))
}

fn verified(
    manifest: &[u8],
    root: &SigningPublicKey,
    deployment: &DeploymentId,
) -> Result<VerifiedManifest, OpError> {
    Ok(VerifiedManifest::first(manifest, root, deployment).map_err(EnrolError::Manifest)?)
}

/// What must be written so that `enrolled` is what is stored. Nothing if nothing is new.
pub async fn newer_rows(rows: &Rows, enrolled: &Enrolled) -> Result<Vec<Write>, OpError> {
    let (manifest, rest) = stored(enrolled);
    let (held_manifest, manifest_at) =
        rows.read::<StoredManifest>(MANIFEST).await?.ok_or(OpError::INTEGRITY)?;
    let held_rest = rows.read::<StoredRemote>(REMOTE).await?;
    let mut changes = Vec::new();
    if held_manifest != manifest {
        changes.push(rows.put(MANIFEST, &manifest, Expect::Revision(manifest_at))?);
    }
    let rest_at = held_rest.as_ref().map_or(Expect::Absent, |(_, at)| Expect::Revision(*at));
    if held_rest.is_none_or(|(held, _)| held != rest) {
        changes.push(rows.put(REMOTE, &rest, rest_at)?);
    }
    Ok(changes)
}

fn stored(enrolled: &Enrolled) -> (StoredManifest, StoredRemote) {
    let hex = |manifest: &VerifiedManifest| HEXLOWER.encode(manifest.as_bytes());
    let member = |member: &Member| StoredMember {
        node: HEXLOWER.encode(member.node.as_bytes()),
        root: HEXLOWER.encode(member.root.as_bytes()),
    };
    let remote = StoredRemote {
        root: HEXLOWER.encode(enrolled.root.as_bytes()),
        older: enrolled.older.iter().map(hex).collect(),
        members: enrolled.members.iter().map(member).collect(),
        group: enrolled.group.as_ref().map(|group| HEXLOWER.encode(&group.to_bytes())).unwrap_or_default(),
    };
    (StoredManifest(hex(&enrolled.manifest)), remote)
}

fn member(stored: &StoredMember) -> Result<Member, OpError> {
    let node = bytes(&stored.node)?.as_slice().try_into().map_err(|_| OpError::INTEGRITY)?;
    Ok(Member { node: NodeId::from_bytes(node), root: root_key(&stored.root)? })
}

pub(crate) fn proposal(hex: &str) -> Result<Proposal, OpError> {
    Proposal::parse(&bytes(hex)?).map_err(|_| OpError::INTEGRITY)
}

fn root_key(hex: &str) -> Result<SigningPublicKey, OpError> {
    let root = bytes(hex)?;
    let root = root.as_slice().try_into().map_err(|_| OpError::INTEGRITY)?;
    SigningPublicKey::from_bytes(root).map_err(|_| OpError::INTEGRITY)
}

pub(crate) fn bytes(hex: &str) -> Result<Vec<u8>, OpError> {
    HEXLOWER.decode(hex.as_bytes()).map_err(|_| OpError::INTEGRITY)
}
