//! Nodes that left their group by a reshare and may still hold a share: what it takes to have them erase it.
//!
//! The row is written in the commit that ends the reshare, so that no crash forgets a node. What a node is
//! told was signed by others or approved by its operator; it checks all of it itself.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use symbolon_core::audit::{Action, Draft};
use symbolon_proto::card::VerifiedCard;
use symbolon_proto::id::NodeId;
use symbolon_proto::proposal::Proposal;
use tracing::warn;

use crate::access::Session;
use crate::custody::enrolment_rows::{bytes, proposal};
use crate::custody::places::GENERATION;
use crate::error::OpError;
use crate::rows::{Place, Rows};
use crate::store::{Expect, Write};

/// Nodes that are remembered; the oldest makes room. One group has at most as many.
const LEAVERS_MAX: usize = 16;

/// A node that left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaver {
    /// Where it was; empty if that is not known.
    pub(crate) url: String,
    /// What it is.
    pub(crate) card: VerifiedCard,
    /// The group that has the key since. Its operator must approve it.
    pub(crate) group: Proposal,
    /// The first manifest of that group, signed by all its members.
    pub(crate) manifest: Vec<u8>,
    /// The epochs of the shares that it names.
    pub(crate) epochs: (u32, u32),
}

impl Leaver {
    pub(crate) fn node(&self) -> NodeId {
        self.card.card().node
    }
}

/// Wire type, all but the url and the epochs in hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredLeaver {
    url: String,
    card: String,
    group: String,
    manifest: String,
    key_epoch: u32,
    share_epoch: u32,
}

/// Wire type: where each node of the group was last configured to be, by its id in hex.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct StoredAddresses(BTreeMap<String, String>);

const LEAVERS: Place<'static> = Place { name: "remote leavers", ..GENERATION };
const ADDRESSES: Place<'static> = Place { name: "remote addresses", ..GENERATION };

/// All that have not confirmed yet, oldest first.
pub(crate) async fn read_leavers(rows: &Rows) -> Result<Vec<Leaver>, OpError> {
    let stored = rows.read::<Vec<StoredLeaver>>(LEAVERS).await?;
    stored.map_or(Ok(Vec::new()), |(stored, _)| stored.iter().map(parse).collect())
}

/// The change of the rows that adds `fresh`. A node that left before and leaves again is told of the later
/// group.
pub(super) async fn add_leavers(rows: &Rows, fresh: Vec<Leaver>) -> Result<Option<Write>, OpError> {
    if fresh.is_empty() {
        return Ok(None);
    }
    let mut leavers = read_leavers(rows).await?;
    leavers.retain(|known| fresh.iter().all(|leaver| leaver.node() != known.node()));
    leavers.extend(fresh);
    while leavers.len() > LEAVERS_MAX {
        let forgotten = leavers.remove(0);
        warn!(
            url = forgotten.url,
            "too many nodes have left without erasing their shares; this one is not told any more: its operator must destroy the key there"
        );
    }
    put(rows, &leavers).await.map(Some)
}

/// This one has confirmed, or is a member again.
pub(crate) async fn forget_leaver(session: &Session, gone: NodeId) -> Result<(), OpError> {
    let mut leavers = read_leavers(&session.rows).await?;
    let before = leavers.len();
    leavers.retain(|leaver| leaver.node() != gone);
    if leavers.len() == before {
        return Ok(());
    }
    let put = put(&session.rows, &leavers).await?;
    let draft = Draft::by_broker(Action::Remote, "a fragment service that left is told no more");
    session.commit(vec![put], draft).await.map(drop)
}

/// Where the nodes of the group are, whoever of them is still configured.
pub(crate) async fn read_addresses(rows: &Rows) -> Result<BTreeMap<NodeId, String>, OpError> {
    let stored = rows.read::<StoredAddresses>(ADDRESSES).await?.map(|(stored, _)| stored).unwrap_or_default();
    let parse = |(node, url): (String, String)| {
        let node = bytes(&node)?.as_slice().try_into().map_err(|_| OpError::INTEGRITY)?;
        Ok((NodeId::from_bytes(node), url))
    };
    stored.0.into_iter().map(parse).collect()
}

/// Remembers them: a node that is taken out of the configuration to leave must be found once more.
pub(crate) async fn keep_addresses(
    session: &Session,
    addresses: &BTreeMap<NodeId, String>,
) -> Result<(), OpError> {
    let hex = |(node, url): (&NodeId, &String)| (HEXLOWER.encode(node.as_bytes()), url.clone());
    let wanted = StoredAddresses(addresses.iter().map(hex).collect());
    let held = session.rows.read::<StoredAddresses>(ADDRESSES).await?;
    let expect = held.as_ref().map_or(Expect::Absent, |(_, revision)| Expect::Revision(*revision));
    if held.is_some_and(|(held, _)| held == wanted) {
        return Ok(());
    }
    let put = session.rows.put(ADDRESSES, &wanted, expect)?;
    let draft = Draft::by_broker(Action::Remote, "addresses of the fragment services");
    session.commit(vec![put], draft).await.map(drop)
}

async fn put(rows: &Rows, leavers: &[Leaver]) -> Result<Write, OpError> {
    let held = rows.read::<Vec<StoredLeaver>>(LEAVERS).await?;
    let expect = held.map_or(Expect::Absent, |(_, revision)| Expect::Revision(revision));
    let stored: Vec<_> = leavers.iter().map(stored).collect();
    Ok(rows.put(LEAVERS, &stored, expect)?)
}

fn stored(leaver: &Leaver) -> StoredLeaver {
    StoredLeaver {
        url: leaver.url.clone(),
        card: HEXLOWER.encode(leaver.card.as_bytes()),
        group: HEXLOWER.encode(&leaver.group.to_bytes()),
        manifest: HEXLOWER.encode(&leaver.manifest),
        key_epoch: leaver.epochs.0,
        share_epoch: leaver.epochs.1,
    }
}

fn parse(stored: &StoredLeaver) -> Result<Leaver, OpError> {
    Ok(Leaver {
        url: stored.url.clone(),
        card: VerifiedCard::parse(&bytes(&stored.card)?).map_err(|_| OpError::INTEGRITY)?,
        group: proposal(&stored.group)?,
        manifest: bytes(&stored.manifest)?,
        epochs: (stored.key_epoch, stored.share_epoch),
    })
}
