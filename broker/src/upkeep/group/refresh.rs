//! New shares of the same key.

use symbolon_proto::dkg::{Before, Dealers, GroupKey, Run, RunKind};
use symbolon_proto::id::SessionId;
use symbolon_proto::proposal::Proposal;

use super::change_rows::Change;
use super::changer::Changer;
use crate::random::os_rng;
use crate::remote::group::GroupError;
use crate::remote::group::relay::{self, Parties};

impl Changer<'_> {
    /// New shares of the same key for the same nodes: shares that leaked before are worth nothing afterwards.
    pub async fn refresh(&self) -> Result<(), GroupError> {
        let _turn = self.remote.changing().lock().await;
        let group = self.group()?;
        if let Some(change) = self.begun("refresh").await? {
            return self.proceed(change).await;
        }
        self.not_rotating()?;
        let before = self.remote.manifest().manifest().group_key();
        let run = self.run(RunKind::Refresh, &group, &group, &before, Dealers::all(group.nodes()))?;
        let members = self.meeting().all(&group).await?;
        let all: Vec<_> = members.iter().collect();
        let parties = Parties {
            group: &group,
            before: Some(Before { group: &group, key: &before }),
            dealers: all.clone(),
            receivers: all,
        };
        self.step("shares are made", 0, 0);
        let certified = relay::certify(run, &parties).await?;
        self.proceed(Change::new("refresh", run, &group, certified)).await
    }

    /// A run that passes the present key on.
    pub(super) fn run(
        &self,
        kind: RunKind,
        group: &Proposal,
        previous: &Proposal,
        before: &GroupKey,
        dealers: Option<Dealers>,
    ) -> Result<Run, GroupError> {
        let manifest = self.remote.manifest();
        Ok(Run {
            kind,
            session: SessionId::random(&mut os_rng()),
            key: group.terms().key,
            key_epoch: manifest.manifest().key_epoch,
            share_epoch: manifest.manifest().share_epoch + 1,
            group: group.id(),
            previous: previous.id(),
            base: before.hash(),
            dealers: dealers.ok_or(GroupError::NotAGroup)?,
        })
    }
}
