//! A fresh key beside the old one, and the end of an old one.

use symbolon_proto::dkg::{Dealers, Run, RunKind};
use symbolon_proto::frame::{GroupOp, GroupReply};
use symbolon_proto::id::SessionId;

use super::change_rows::Change;
use super::changer::Changer;
use crate::random::os_rng;
use crate::remote::group::relay::{self, Parties};
use crate::remote::group::{GroupError, NodeProblem};
use crate::upkeep::enrolment;

impl Changer<'_> {
    /// A fresh key under the next key epoch, beside the old one. New capsules use it at once.
    pub async fn new_epoch(&self) -> Result<(), GroupError> {
        let _turn = self.remote.changing().lock().await;
        let newest = self.remote.manifest().manifest().key_epoch;
        let Some(group) = self.remote.group() else { return self.new_epoch_alone(newest + 1).await };
        if let Some(change) = self.begun("rotate").await? {
            return self.proceed(change).await;
        }
        self.not_rotating()?;
        let run = Run {
            kind: RunKind::Generate,
            session: SessionId::random(&mut os_rng()),
            key: group.terms().key,
            key_epoch: newest + 1,
            share_epoch: 1,
            group: group.id(),
            previous: [0; 32],
            base: [0; 32],
            dealers: Dealers::all(group.nodes()).ok_or(GroupError::NotAGroup)?,
        };
        let members = self.meeting().all(&group).await?;
        let all: Vec<_> = members.iter().collect();
        let parties = Parties { group: &group, before: None, dealers: all.clone(), receivers: all };
        self.step("shares are made", 0, 0);
        let certified = relay::certify(run, &parties).await?;
        self.proceed(Change::new("rotate", run, &group, certified)).await
    }

    /// Asks every node to retire an epoch of which no capsule is left. True when all have; until then
    /// officers of some service still have to order it.
    pub async fn retire(&self, key_epoch: u32) -> Result<bool, GroupError> {
        let key = self.remote.manifest().manifest().key;
        let members = self.meeting().members().await?;
        let mut all = true;
        for member in &members {
            match member.ask(GroupOp::Retire { key, key_epoch }).await? {
                GroupReply::Retired(retired) => all &= retired,
                _ => return Err(member.problem(NodeProblem::OtherAnswer)),
            }
        }
        Ok(all)
    }

    async fn new_epoch_alone(&self, key_epoch: u32) -> Result<(), GroupError> {
        let key = self.remote.manifest().manifest().key;
        for member in &self.meeting().members().await? {
            match member.ask(GroupOp::NewEpoch { key, key_epoch }).await? {
                GroupReply::Epoch(_) => {}
                _ => return Err(member.problem(NodeProblem::OtherAnswer)),
            }
        }
        // The service signs alone; its next manifest, which continues the chain, names the new key.
        self.remote.refresh_manifest().await.map_err(GroupError::Canary)?;
        enrolment::keep(self.session, self.remote).await.map_err(|_| GroupError::Store)
    }
}
