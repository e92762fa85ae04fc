//! Who takes part in a change of the group, each met at its address with the card that is expected there.

use std::time::Duration;

use symbolon_proto::lease::LeaseHolder;
use symbolon_proto::proposal::Proposal;

use super::member::GroupMember;
use super::{GroupError, NodeProblem};
use crate::config::RemoteNode;
use crate::remote::Remote;

/// The nodes of a remote, met under one generation of this broker.
pub(crate) struct Meeting<'a> {
    remote: &'a Remote,
    holder: LeaseHolder,
}

impl<'a> Meeting<'a> {
    /// For the generation of a session.
    pub(crate) fn new(remote: &'a Remote, generation: u64) -> Self {
        Self { remote, holder: LeaseHolder { generation, ..remote.holder() } }
    }

    /// One node.
    pub(crate) async fn with(&self, node: &RemoteNode) -> Result<GroupMember, GroupError> {
        let deadline = Duration::from_millis(self.remote.settings().deadline_ms);
        GroupMember::meet(node, self.remote.client(), Some(self.holder), deadline).await
    }

    /// The nodes of the configuration, in its order.
    pub(crate) async fn configured(&self) -> Result<Vec<GroupMember>, GroupError> {
        let mut members = Vec::new();
        for node in &self.remote.settings().nodes {
            members.push(self.with(node).await?);
        }
        Ok(members)
    }

    /// The nodes of the newest manifest, in its order.
    pub(crate) async fn members(&self) -> Result<Vec<GroupMember>, GroupError> {
        let enrolled = self.remote.enrolled();
        let mut members = Vec::new();
        for (at, _, _) in enrolled.addresses(self.remote.settings()) {
            members.push(self.with(at).await?);
        }
        Ok(members)
    }

    /// Every member of a group, in its order, with the card that the group was made with.
    pub(crate) async fn all(&self, group: &Proposal) -> Result<Vec<GroupMember>, GroupError> {
        let configured = self.configured().await?;
        let mut members: Vec<Option<GroupMember>> = configured.into_iter().map(Some).collect();
        let mut found = Vec::with_capacity(group.cards().len());
        for card in group.cards() {
            let same = |member: &&mut Option<GroupMember>| {
                member.as_ref().is_some_and(|member| member.card().card().root == card.card().root)
            };
            let member = members.iter_mut().find(same).and_then(Option::take);
            let member = member.ok_or_else(|| GroupError::Node {
                url: self.remote.url_of(card.card().node).unwrap_or_else(|| card.card().node.to_string()),
                problem: NodeProblem::OtherCard,
            })?;
            if member.card() != card {
                return Err(member.problem(NodeProblem::OtherCard));
            }
            found.push(member);
        }
        Ok(found)
    }

    /// t nodes of the old group that can be reached, with their indices.
    pub(crate) async fn dealers(
        &self,
        old: &Proposal,
        threshold: u16,
    ) -> Result<Vec<(u16, GroupMember)>, GroupError> {
        let mut found = Vec::new();
        for (index, card) in (1..).zip(old.cards()) {
            if found.len() == usize::from(threshold) {
                break;
            }
            let url = self.remote.url_of(card.card().node);
            let Some(node) =
                url.map(|url| RemoteNode { url, fingerprint: card.card().fingerprint().to_string() })
            else {
                continue;
            };
            if let Ok(member) = self.with(&node).await {
                found.push((index, member));
            }
        }
        let enough = found.len() == usize::from(threshold);
        if enough { Ok(found) } else { Err(GroupError::TooFewDealers { found: found.len(), threshold }) }
    }
}
