//! Nodes that left the group: each is told until it has erased its share.
//!
//! ```text
//! reshare in use ▶ [stored who left] ▶ proposal shown ▶ its operator approves ▶
//! manifest ▶ acknowledge ▶ erased [forgotten]
//! ```
//!
//! A node erases its share only when its operator has approved the group that follows, and that group's
//! members have all signed that they hold the key (`docs/skb1.md` 16.32). So this may take days, and the
//! status says what it waits for.

use symbolon_proto::card::VerifiedCard;
use symbolon_proto::frame::GroupOp;
use symbolon_proto::proposal::Proposal;
use tracing::{info, warn};

use crate::config::RemoteNode;

use super::change_rows::Change;
use super::changer::Changer;
use super::leaving_rows::{self, Leaver};
use crate::remote::group::{GroupError, NodeProblem};

/// A node that left and has not confirmed that its share is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Where it is; empty if that is not known.
    pub url: String,
    /// Fingerprint of its root: which service it is.
    pub node: String,
    /// Fingerprint of the group that its operator must approve there.
    pub group: String,
    /// What it waits for, and who must act.
    pub waits: String,
}

/// Before it was asked for the first time since the unseal.
const NOT_TOLD: &str = "it has not been told since the broker was opened; the next heartbeats do";

impl Changer<'_> {
    /// Remembers where the nodes of the group are while they are configured: one that is to leave is taken
    /// out of the configuration first.
    pub(super) async fn note_addresses(&self, group: &Proposal) -> Result<(), GroupError> {
        let held = leaving_rows::read_addresses(&self.session.rows).await.map_err(|_| GroupError::Store)?;
        let address = |card: &VerifiedCard| {
            let node = card.card().node;
            let url = self.remote.url_of(node).or_else(|| held.get(&node).cloned());
            url.map(|url| (node, url))
        };
        let wanted = group.cards().iter().filter_map(address).collect();
        leaving_rows::keep_addresses(self.session, &wanted).await.map_err(|_| GroupError::Store)
    }

    /// Those whom a reshare leaves with a share of the old group.
    pub(super) async fn leavers(&self, change: &Change) -> Result<Vec<Leaver>, GroupError> {
        let Some(before) = &change.before else { return Ok(Vec::new()) };
        let addresses =
            leaving_rows::read_addresses(&self.session.rows).await.map_err(|_| GroupError::Store)?;
        let manifest = self.remote.manifest();
        let epochs = (manifest.manifest().key_epoch, manifest.manifest().share_epoch);
        let leaver = |card: &VerifiedCard| Leaver {
            url: addresses.get(&card.card().node).cloned().unwrap_or_default(),
            card: *card,
            group: change.group.clone(),
            manifest: manifest.as_bytes().to_vec(),
            epochs,
        };
        Ok(before.cards().iter().filter(|card| !is_member(&change.group, card)).map(leaver).collect())
    }

    /// Shows a proposal to those who are to leave, so that their operators can approve it together with the
    /// others. Best effort: they are told again when it has come to pass.
    pub(super) async fn show_leavers(&self, old: &Proposal, group: &Proposal) -> Result<(), GroupError> {
        let addresses =
            leaving_rows::read_addresses(&self.session.rows).await.map_err(|_| GroupError::Store)?;
        for card in old.cards().iter().filter(|card| !is_member(group, card)) {
            let Some(url) = addresses.get(&card.card().node) else { continue };
            let fingerprint = card.card().fingerprint().to_string();
            let node = RemoteNode { url: url.clone(), fingerprint };
            let shown = async { self.meeting().with(&node).await?.approves(&group.to_bytes()).await };
            if let Err(error) = shown.await {
                warn!(%error, "a fragment service that is to leave could not be shown the new group; it is told later");
            }
        }
        Ok(())
    }

    /// Tells everybody who has left; for the end of a reshare.
    pub(super) async fn tell_all(&self) -> Result<(), GroupError> {
        for leaver in self.read_leavers().await? {
            self.tell(&leaver).await?;
        }
        Ok(())
    }

    /// Tells one of those who have left, another at each heartbeat: whoever cannot be reached costs one
    /// deadline.
    pub(super) async fn tell_next(&self) -> Result<(), GroupError> {
        let leavers = self.read_leavers().await?;
        if leavers.is_empty() {
            return Ok(());
        }
        let turn = self.remote.told().next();
        self.tell(&leavers[turn % leavers.len()]).await
    }

    /// What the status shows.
    pub(crate) async fn leaving(&self) -> Result<Vec<Leaving>, GroupError> {
        let leaving = |leaver: Leaver| Leaving {
            waits: self.remote.told().said(leaver.node()).unwrap_or_else(|| NOT_TOLD.to_owned()),
            node: leaver.card.card().fingerprint().to_string(),
            group: leaver.group.fingerprint().to_string(),
            url: leaver.url,
        };
        Ok(self.read_leavers().await?.into_iter().map(leaving).collect())
    }

    async fn read_leavers(&self) -> Result<Vec<Leaver>, GroupError> {
        leaving_rows::read_leavers(&self.session.rows).await.map_err(|_| GroupError::Store)
    }

    /// Only a store that fails is an error here: the node is told again later.
    async fn tell(&self, leaver: &Leaver) -> Result<(), GroupError> {
        if self.remote.group().is_some_and(|group| is_member(&group, &leaver.card)) {
            return self.forget(leaver).await; // it is let in again, and its share has a successor there
        }
        let problem = match self.ask_to_erase(leaver).await {
            Ok(()) => {
                info!(
                    url = leaver.url,
                    "a fragment service that left the group says that its share is erased"
                );
                return self.forget(leaver).await;
            }
            Err(GroupError::Node { problem, .. }) => problem,
            Err(_) => NodeProblem::OtherAnswer,
        };
        if self.remote.told().note(leaver.node(), problem.to_string()) {
            warn!(url = leaver.url, %problem, "a fragment service that left the group has not erased its share");
        }
        Ok(())
    }

    async fn forget(&self, leaver: &Leaver) -> Result<(), GroupError> {
        self.remote.told().forget(leaver.node());
        leaving_rows::forget_leaver(self.session, leaver.node()).await.map_err(|_| GroupError::Store)
    }

    async fn ask_to_erase(&self, leaver: &Leaver) -> Result<(), GroupError> {
        if leaver.url.is_empty() {
            let url = leaver.card.card().node.to_string();
            return Err(GroupError::Node { url, problem: NodeProblem::NoAddress });
        }
        let fingerprint = leaver.card.card().fingerprint().to_string();
        let member = self.meeting().with(&RemoteNode { url: leaver.url.clone(), fingerprint }).await?;
        if !member.approves(&leaver.group.to_bytes()).await? {
            return Err(member.problem(NodeProblem::KeepsShare));
        }
        member.ask_done(GroupOp::StoreManifest { manifest: leaver.manifest.clone() }).await?;
        let (key, (key_epoch, share_epoch)) = (leaver.group.terms().key, leaver.epochs);
        member.ask_done(GroupOp::Acknowledge { key, key_epoch, share_epoch }).await
    }
}

fn is_member(group: &Proposal, card: &VerifiedCard) -> bool {
    group.cards().iter().any(|member| member.card().root == card.card().root)
}
