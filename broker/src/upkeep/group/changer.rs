//! What happens to a group after its enrolment: renewal of its manifest, refresh of its shares, another t or n, a fresh key.
//!
//! ```text
//! run certified ─▶ [stored] ─▶ committed ─▶ manifest signed ─▶ canaries ─▶ taken into use [stored] ─▶ old shares erased ─▶ [cleared]
//! ```
//!
//! From the first store on a change can only go forward: some node may have committed. Whoever repeats it after a crash or a
//! lost answer continues where it stood, because every step can be repeated. Until the end nodes answer for both epochs of
//! shares, so capsules open all the while.

use std::time::Duration;

use symbolon_proto::dkg::{Before, Dealers, GroupKey, Run, RunKind};
use symbolon_proto::frame::{GroupOp, GroupReply};
use symbolon_proto::id::SessionId;
use symbolon_proto::lease::LeaseHolder;
use symbolon_proto::manifest::{Manifest, VerifiedManifest};
use symbolon_proto::proposal::{Proposal, ProposalTerms};
use tracing::{info, warn};

use super::change_rows::{self, Change};
use crate::access::Session;
use crate::custody::enrolment_rows;
use crate::random::os_rng;
use crate::remote::Remote;
use crate::remote::enrolled::Enrolled;
use crate::remote::group::canary::canary;
use crate::remote::group::member::Envoy;
use crate::remote::group::relay::{self, Certified, Parties};
use crate::remote::group::{GroupError, NodeProblem, Progress, cosign};
use crate::remote::leases::Leases;

/// Renews a manifest with less left than this: half of its 30 days.
const RENEW_BEFORE_SECS: u64 = 15 * 24 * 60 * 60;

/// One change under way, and where it reports to.
pub struct Changer<'a> {
    pub(super) session: &'a Session,
    pub(super) remote: &'a Remote,
}

impl<'a> Changer<'a> {
    /// For the remote of a session.
    #[must_use]
    pub fn new(session: &'a Session, remote: &'a Remote) -> Self {
        Self { session, remote }
    }

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
        let envoys = self.meet_all(&group).await?;
        let all: Vec<_> = envoys.iter().collect();
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

    /// The same key for the nodes of the configuration, of which its `threshold` must answer from then on. Waits for the
    /// operators: says so with [`NodeProblem::NotApproved`] until all have approved the new group.
    pub async fn reshare(&self) -> Result<(), GroupError> {
        let _turn = self.remote.changing().lock().await;
        let old = self.group()?;
        if let Some(change) = self.begun("reshare").await? {
            return self.proceed(change).await;
        }
        self.not_rotating()?;
        let envoys = self.meet_configured().await?;
        let cards = envoys.iter().map(|envoy| *envoy.card()).collect();
        let (number, threshold) = (old.terms().number + 1, self.remote.settings().threshold);
        let terms = ProposalTerms { number, threshold, previous: old.id(), ..*old.terms() };
        let group = Proposal::new(terms, cards)?;
        let before = self.remote.manifest().manifest().group_key();
        stays_split(&old, &group, before.threshold())?;
        info!(fingerprint = %group.fingerprint(), "the operators of all nodes of both groups must compare this and approve");
        self.note_addresses(&old).await?;
        self.show_leavers(&old, &group).await?;
        self.all_approve(&envoys, &group).await?;
        let dealers = self.dealers(&old, before.threshold()).await?;
        let indices = Dealers::new(dealers.iter().map(|(index, _)| *index));
        let run = self.run(RunKind::Reshare, &group, &old, &before, indices)?;
        let parties = Parties {
            group: &group,
            before: Some(Before { group: &old, key: &before }),
            dealers: dealers.iter().map(|(_, envoy)| envoy).collect(),
            receivers: envoys.iter().collect(),
        };
        self.step("shares are made", 0, 0);
        let certified = relay::certify(run, &parties).await?;
        let change = Change::new("reshare", run, &group, certified);
        self.proceed(Change { before: Some(old.clone()), ..change }).await
    }

    /// Shows a proposal to every node, whoever is slow, and says who has not approved it yet.
    async fn all_approve(&self, envoys: &[Envoy], group: &Proposal) -> Result<(), GroupError> {
        self.step("operators approve", 0, envoys.len());
        let (mut approved, mut waits) = (0, None);
        for envoy in envoys {
            match envoy.approves(&group.to_bytes()).await? {
                true => approved += 1,
                false => waits = waits.or(Some(envoy)),
            }
            self.step("operators approve", approved, envoys.len());
        }
        waits.map_or(Ok(()), |envoy| Err(envoy.problem(NodeProblem::NotApproved)))
    }

    /// The fingerprint that operators compare before a reshare to the configured nodes.
    pub async fn proposed(&self) -> Result<String, GroupError> {
        let old = self.group()?;
        let cards = self.meet_configured().await?.iter().map(|envoy| *envoy.card()).collect();
        let (number, threshold) = (old.terms().number + 1, self.remote.settings().threshold);
        let terms = ProposalTerms { number, threshold, previous: old.id(), ..*old.terms() };
        Ok(Proposal::new(terms, cards)?.fingerprint().to_string())
    }

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
        let envoys = self.meet_all(&group).await?;
        let all: Vec<_> = envoys.iter().collect();
        let parties = Parties { group: &group, before: None, dealers: all.clone(), receivers: all };
        self.step("shares are made", 0, 0);
        let certified = relay::certify(run, &parties).await?;
        self.proceed(Change::new("rotate", run, &group, certified)).await
    }

    /// Asks every node to retire an epoch of which no capsule is left. True when all have; until then officers of some
    /// service still have to order it.
    pub async fn retire(&self, key_epoch: u32) -> Result<bool, GroupError> {
        let key = self.remote.manifest().manifest().key;
        let envoys = self.meet_members().await?;
        let mut all = true;
        for envoy in &envoys {
            match envoy.ask(GroupOp::Retire { key, key_epoch }).await? {
                GroupReply::Retired(retired) => all &= retired,
                _ => return Err(envoy.problem(NodeProblem::OtherAnswer)),
            }
        }
        Ok(all)
    }

    /// Goes on with a change that was begun and not finished; tells a node that left; has the next manifest signed when half
    /// of the time of this one is over. One service renews its own.
    pub async fn tend(&self) -> Result<(), GroupError> {
        let Ok(_turn) = self.remote.changing().try_lock() else { return Ok(()) };
        let Some(group) = self.remote.group() else { return Ok(()) };
        if let Some(change) = self.stored().await? {
            return self.proceed(change).await;
        }
        self.note_addresses(&group).await?;
        self.tell_next().await?;
        let manifest = self.remote.manifest();
        let left = manifest.manifest().not_after_secs.saturating_sub(self.now_secs());
        if left >= RENEW_BEFORE_SECS {
            return Ok(());
        }
        self.proceed(Change::renewal(&group, manifest.manifest().group_key())).await
    }

    async fn stored(&self) -> Result<Option<Change>, GroupError> {
        change_rows::read_change(&self.session.rows).await.map_err(|_| GroupError::Store)
    }

    /// From the first store to the last. What stops is under way no more: the next heartbeat goes on with it.
    async fn proceed(&self, change: Change) -> Result<(), GroupError> {
        let what = change.what;
        self.remote.progress().send_modify(|progress| progress.change = what);
        self.forward(change).await.inspect_err(|_| self.remote.nothing_under_way())
    }

    async fn forward(&self, mut change: Change) -> Result<(), GroupError> {
        // A renewal is nothing before its body. Kept any earlier, a member that is gone for ever would bar the reshare without it.
        if change.run.is_some() {
            self.keep(&change).await?;
        }
        let envoys = self.meet_all(&change.group).await?;
        let all: Vec<_> = envoys.iter().collect();
        if let Some((run, certified)) = &change.run {
            self.step("shares come into use", 0, all.len());
            relay::commit(*run, &change.group, certified, &all).await?;
        }
        if change.body.is_none() {
            // Stored before anybody signs: no node signs two manifests with one number.
            change.body = Some(self.body(&change)?);
            self.keep(&change).await?;
        }
        let body = change.body.as_ref().ok_or(GroupError::Store)?;
        self.step("the manifest is signed", 0, all.len());
        let manifest = cosign::cosign(body, &all).await?;
        let enrolled = self.followed_by(&change.group, manifest)?;
        if change.run.is_some() {
            self.prove(&enrolled).await?;
        }
        self.remote.adopt(enrolled).map_err(|_| GroupError::NotAGroup)?;
        enrolment_rows::keep(self.session, self.remote).await.map_err(|_| GroupError::Store)?;
        self.acknowledge(&change, &all).await?;
        let leavers = self.leavers(&change).await?;
        let has_leavers = !leavers.is_empty();
        change_rows::finish_change(self.session, leavers).await.map_err(|_| GroupError::Store)?;
        self.step(Progress::DONE, 1, 1);
        // The change is done whatever becomes of these.
        let noted = self.note_addresses(&change.group).await;
        let told = if has_leavers { self.tell_all().await } else { Ok(()) };
        if let Err(error) = noted.and(told) {
            warn!(%error, "nodes that left were not told of the change; the next heartbeats try again");
        }
        Ok(())
    }

    /// What the broker holds when `manifest` is the newest. Asked again after it was taken into use, the same.
    fn followed_by(&self, group: &Proposal, manifest: VerifiedManifest) -> Result<Enrolled, GroupError> {
        let held = self.remote.enrolled();
        let next = Enrolled::group(group.clone(), manifest)?;
        held.manifest.next(next.manifest.as_bytes(), &next.root)?;
        let mut older = held.older;
        if held.manifest.manifest().key_epoch != next.manifest.manifest().key_epoch {
            older.push(held.manifest);
        }
        Ok(Enrolled { older, ..next })
    }

    /// Canaries under the new manifest, on connections and leases of their own.
    async fn prove(&self, enrolled: &Enrolled) -> Result<(), GroupError> {
        let trial =
            self.remote.trial(enrolled.clone(), Leases::default()).map_err(|_| GroupError::NotAGroup)?;
        trial.hello(self.session.generation()).await.map_err(GroupError::Canary)?;
        let done = |done, total| self.step("canaries", done, total);
        canary(&trial, self.session.unsealed(), done).await.map_err(GroupError::Canary)
    }

    /// The new shares work: earlier ones are erased, and what the nodes keep of the run.
    async fn acknowledge(&self, change: &Change, nodes: &[&Envoy]) -> Result<(), GroupError> {
        let Some((run, _)) = &change.run else { return Ok(()) };
        let Run { key, key_epoch, share_epoch, .. } = *run;
        for (done, node) in nodes.iter().enumerate() {
            self.step("old shares are erased", done, nodes.len());
            node.ask_done(GroupOp::Acknowledge { key, key_epoch, share_epoch }).await?;
        }
        Ok(())
    }

    fn body(&self, change: &Change) -> Result<Manifest, GroupError> {
        let held = self.remote.manifest();
        let epochs = match &change.run {
            Some((run, _)) => (run.key_epoch, run.share_epoch),
            None => (held.manifest().key_epoch, held.manifest().share_epoch),
        };
        let terms = &self.remote.settings().terms;
        cosign::body(&change.group, &change.key, epochs, terms, Some(&held), self.now_secs())
    }

    async fn new_epoch_alone(&self, key_epoch: u32) -> Result<(), GroupError> {
        let key = self.remote.manifest().manifest().key;
        for envoy in &self.meet_members().await? {
            match envoy.ask(GroupOp::NewEpoch { key, key_epoch }).await? {
                GroupReply::Epoch(_) => {}
                _ => return Err(envoy.problem(NodeProblem::OtherAnswer)),
            }
        }
        // The service signs alone; its next manifest, which continues the chain, names the new key.
        self.remote.refresh_manifest().await.map_err(GroupError::Canary)?;
        enrolment_rows::keep(self.session, self.remote).await.map_err(|_| GroupError::Store)
    }

    fn run(
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

    /// t nodes of the old group that can be reached, with their indices.
    async fn dealers(&self, old: &Proposal, threshold: u16) -> Result<Vec<(u16, Envoy)>, GroupError> {
        let mut found = Vec::new();
        for (index, card) in (1..).zip(old.cards()) {
            if found.len() == usize::from(threshold) {
                break;
            }
            let url = self.remote.url_of(card.card().node);
            let Some(node) = url.map(|url| crate::config::RemoteNode {
                url,
                fingerprint: card.card().fingerprint().to_string(),
            }) else {
                continue;
            };
            if let Ok(envoy) = self.meet(&node).await {
                found.push((index, envoy));
            }
        }
        let enough = found.len() == usize::from(threshold);
        if enough { Ok(found) } else { Err(GroupError::TooFewDealers { found: found.len(), threshold }) }
    }

    pub(super) async fn meet(&self, node: &crate::config::RemoteNode) -> Result<Envoy, GroupError> {
        let holder = LeaseHolder { generation: self.session.generation(), ..self.remote.holder() };
        let deadline = Duration::from_millis(self.remote.settings().deadline_ms);
        Envoy::meet(node, self.remote.client(), Some(holder), deadline).await
    }

    async fn meet_configured(&self) -> Result<Vec<Envoy>, GroupError> {
        let mut envoys = Vec::new();
        for node in &self.remote.settings().nodes {
            envoys.push(self.meet(node).await?);
        }
        Ok(envoys)
    }

    /// The nodes of the newest manifest, in its order.
    async fn meet_members(&self) -> Result<Vec<Envoy>, GroupError> {
        let enrolled = self.remote.enrolled();
        let mut envoys = Vec::new();
        for (at, _, _) in enrolled.addresses(self.remote.settings()) {
            envoys.push(self.meet(at).await?);
        }
        Ok(envoys)
    }

    /// Every member of a group, in its order, with the card that the group was made with.
    async fn meet_all(&self, group: &Proposal) -> Result<Vec<Envoy>, GroupError> {
        let configured = self.meet_configured().await?;
        let mut envoys: Vec<Option<Envoy>> = configured.into_iter().map(Some).collect();
        let mut found = Vec::with_capacity(group.cards().len());
        for card in group.cards() {
            let same = |envoy: &&mut Option<Envoy>| {
                envoy.as_ref().is_some_and(|envoy| envoy.card().card().root == card.card().root)
            };
            let envoy = envoys.iter_mut().find(same).and_then(Option::take);
            let envoy = envoy.ok_or_else(|| GroupError::Node {
                url: self.remote.url_of(card.card().node).unwrap_or_else(|| card.card().node.to_string()),
                problem: NodeProblem::OtherCard,
            })?;
            if envoy.card() != card {
                return Err(envoy.problem(NodeProblem::OtherCard));
            }
            found.push(envoy);
        }
        Ok(found)
    }

    fn group(&self) -> Result<Proposal, GroupError> {
        let made_alone = || match self.remote.settings().nodes.len() {
            1 => GroupError::NotAGroup,
            _ => GroupError::MadeAlone,
        };
        self.remote.group().ok_or_else(made_alone)
    }

    fn not_rotating(&self) -> Result<(), GroupError> {
        if self.remote.enrolled().older.is_empty() { Ok(()) } else { Err(GroupError::Rotating) }
    }

    /// The change of this kind that was begun; an error if another was.
    async fn begun(&self, wanted: &'static str) -> Result<Option<Change>, GroupError> {
        self.remote.progress().send_replace(Progress { change: wanted, ..Progress::default() });
        match self.stored().await? {
            Some(change) if change.what != wanted => {
                Err(GroupError::UnderWay { under_way: change.what, wanted })
            }
            begun => Ok(begun),
        }
    }

    async fn keep(&self, change: &Change) -> Result<(), GroupError> {
        change_rows::keep_change(self.session, change).await.map_err(|_| GroupError::Store)
    }

    fn step(&self, step: &'static str, done: usize, total: usize) {
        self.remote
            .progress()
            .send_modify(|progress| (progress.step, progress.done, progress.total) = (step, done, total));
    }

    fn now_secs(&self) -> u64 {
        self.session.now().unix_secs()
    }
}

/// Nodes that leave keep their old shares until their operators approve the new group: too few must leave at once to use them.
fn stays_split(old: &Proposal, new: &Proposal, threshold: u16) -> Result<(), GroupError> {
    let stays = |root| new.cards().iter().any(|card| card.card().root == root);
    let leaving = old.cards().iter().filter(|card| !stays(card.card().root)).count();
    if leaving < usize::from(threshold) {
        Ok(())
    } else {
        Err(GroupError::TooManyLeave { leaving, threshold })
    }
}

impl Change {
    fn new(what: &'static str, run: Run, group: &Proposal, certified: Certified) -> Self {
        let key = certified.key.clone();
        Self { what, group: group.clone(), before: None, key, run: Some((run, certified)), body: None }
    }

    fn renewal(group: &Proposal, key: GroupKey) -> Self {
        Self { what: "renew", group: group.clone(), before: None, key, run: None, body: None }
    }
}
