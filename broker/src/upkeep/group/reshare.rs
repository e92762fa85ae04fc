//! The same key for other nodes, or with another threshold.

use symbolon_proto::dkg::{Before, Dealers, RunKind};
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use tracing::info;

use super::change_rows::Change;
use super::changer::Changer;
use crate::remote::group::member::GroupMember;
use crate::remote::group::relay::{self, Parties};
use crate::remote::group::{GroupError, NodeProblem};

impl Changer<'_> {
    /// The same key for the nodes of the configuration, of which its `threshold` must answer from then on.
    /// Waits for the operators: says so with [`NodeProblem::NotApproved`] until all have approved the new
    /// group.
    pub async fn reshare(&self) -> Result<(), GroupError> {
        let _turn = self.remote.changing().lock().await;
        let old = self.group()?;
        if let Some(change) = self.begun("reshare").await? {
            return self.proceed(change).await;
        }
        self.not_rotating()?;
        let members = self.meeting().configured().await?;
        let cards = members.iter().map(|member| *member.card()).collect();
        let (number, threshold) = (old.terms().number + 1, self.remote.settings().threshold);
        let terms = ProposalTerms { number, threshold, previous: old.id(), ..*old.terms() };
        let group = Proposal::new(terms, cards)?;
        let before = self.remote.manifest().manifest().group_key();
        stays_split(&old, &group, before.threshold())?;
        info!(fingerprint = %group.fingerprint(), "the operators of all nodes of both groups must compare this and approve");
        self.note_addresses(&old).await?;
        self.show_leavers(&old, &group).await?;
        self.all_approve(&members, &group).await?;
        let dealers = self.meeting().dealers(&old, before.threshold()).await?;
        let indices = Dealers::new(dealers.iter().map(|(index, _)| *index));
        let run = self.run(RunKind::Reshare, &group, &old, &before, indices)?;
        let parties = Parties {
            group: &group,
            before: Some(Before { group: &old, key: &before }),
            dealers: dealers.iter().map(|(_, member)| member).collect(),
            receivers: members.iter().collect(),
        };
        self.step("shares are made", 0, 0);
        let certified = relay::certify(run, &parties).await?;
        let change = Change::new("reshare", run, &group, certified);
        self.proceed(Change { before: Some(old.clone()), ..change }).await
    }

    /// Shows a proposal to every node, whoever is slow, and says who has not approved it yet.
    async fn all_approve(&self, members: &[GroupMember], group: &Proposal) -> Result<(), GroupError> {
        self.step("operators approve", 0, members.len());
        let (mut approved, mut waits) = (0, None);
        for member in members {
            match member.approves(&group.to_bytes()).await? {
                true => approved += 1,
                false => waits = waits.or(Some(member)),
            }
            self.step("operators approve", approved, members.len());
        }
        waits.map_or(Ok(()), |member| Err(member.problem(NodeProblem::NotApproved)))
    }

    /// The fingerprint that operators compare before a reshare to the configured nodes.
    pub async fn proposed(&self) -> Result<String, GroupError> {
        let old = self.group()?;
        let cards = self.meeting().configured().await?.iter().map(|member| *member.card()).collect();
        let (number, threshold) = (old.terms().number + 1, self.remote.settings().threshold);
        let terms = ProposalTerms { number, threshold, previous: old.id(), ..*old.terms() };
        Ok(Proposal::new(terms, cards)?.fingerprint().to_string())
    }
}

/// Nodes that leave keep their old shares until their operators approve the new group: too few must leave at
/// once to use them.
fn stays_split(old: &Proposal, new: &Proposal, threshold: u16) -> Result<(), GroupError> {
    let stays = |root| new.cards().iter().any(|card| card.card().root == root);
    let leaving = old.cards().iter().filter(|card| !stays(card.card().root)).count();
    if leaving < usize::from(threshold) {
        Ok(())
    } else {
        Err(GroupError::TooManyLeave { leaving, threshold })
    }
}
