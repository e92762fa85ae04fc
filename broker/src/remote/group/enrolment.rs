//! The first group of a deployment.
//!
//! ```text
//! cards fetched, each root compared with the configuration ▶ proposal ▶
//! its fingerprint is read to the operators of all nodes ▶
//! all approve ▶ the key is made among them ▶ manifest 1, signed by all
//! ```
//!
//! Nothing is stored on this side before all of it has succeeded, so a broken enrolment is begun again.

use std::time::Duration;

use symbolon_proto::dkg::{Dealers, Run, RunKind};
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::GroupOp;
use symbolon_proto::id::{BrokerId, DeploymentId, KeyId, SessionId};
use symbolon_proto::lease::LeaseHolder;
use symbolon_proto::proposal::{Proposal, ProposalTerms};

use super::member::GroupMember;
use super::relay::{self, Parties};
use super::{GroupError, NodeProblem, cosign};
use crate::config;
use crate::random::os_rng;
use crate::remote::enrolled::Enrolled;
use crate::remote::identity::BrokerIdentity;
use crate::remote::tls::ClientKey;
use crate::remote::wire::RemoteConfigError;

/// The nodes of the configuration, met, and the group that they are to be.
pub struct GroupEnroller {
    members: Vec<GroupMember>,
    proposal: Proposal,
    terms: config::GroupTerms,
}

impl GroupEnroller {
    /// Meets every configured node and proposes them as a group, in the order of the configuration.
    /// `generation` is the one that will be registered first.
    pub async fn gather(
        remote: &config::Remote,
        identity: &BrokerIdentity,
        deployment: DeploymentId,
        broker: BrokerId,
        generation: u64,
    ) -> Result<Self, GroupError> {
        let ours = |problem: RemoteConfigError| GroupError::Node {
            url: String::from("this broker"),
            problem: NodeProblem::Config(problem),
        };
        let client = ClientKey::new(identity).map_err(|_| ours(RemoteConfigError::Tls))?;
        let key = KeyId::random(&mut os_rng());
        let holder = LeaseHolder { deployment, broker, key, generation };
        let deadline = Duration::from_millis(remote.deadline_ms);
        let mut members = Vec::with_capacity(remote.nodes.len());
        for node in &remote.nodes {
            members.push(GroupMember::meet(node, &client, Some(holder), deadline).await?);
        }
        let terms = ProposalTerms {
            deployment,
            key,
            broker,
            broker_spki_sha256: *identity.spki(),
            broker_signing: identity.sign_key(),
            number: 1,
            previous: [0; 32],
            threshold: remote.threshold,
        };
        let proposal = Proposal::new(terms, members.iter().map(|member| *member.card()).collect())?;
        Ok(Self { members, proposal, terms: remote.terms })
    }

    /// What the operators of all nodes and of this broker compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.proposal.fingerprint()
    }

    /// Shows the proposal to every node. True when the operators of all have approved it.
    pub async fn approved(&self) -> Result<bool, GroupError> {
        let proposal = self.proposal.to_bytes();
        let mut all = true;
        for member in &self.members {
            all &= member.approves(&proposal).await?;
        }
        Ok(all)
    }

    /// Has the key made and the first manifest signed.
    pub async fn make(&self, now_secs: u64) -> Result<Enrolled, GroupError> {
        let run = Run {
            kind: RunKind::Generate,
            session: SessionId::random(&mut os_rng()),
            key: self.proposal.terms().key,
            key_epoch: 1,
            share_epoch: 1,
            group: self.proposal.id(),
            previous: [0; 32],
            base: [0; 32],
            dealers: Dealers::all(self.proposal.nodes()).ok_or(GroupError::NotAGroup)?,
        };
        let nodes: Vec<_> = self.members.iter().collect();
        let parties =
            Parties { group: &self.proposal, before: None, dealers: nodes.clone(), receivers: nodes.clone() };
        let certified = relay::certify(run, &parties).await?;
        relay::commit(run, &self.proposal, &certified, &nodes).await?;
        let body = cosign::body(&self.proposal, &certified.key, (1, 1), &self.terms, None, now_secs)?;
        let manifest = cosign::cosign(&body, &nodes).await?;
        // What the nodes keep of the run goes.
        for node in &nodes {
            let Run { key, key_epoch, share_epoch, .. } = run;
            node.ask_done(GroupOp::Acknowledge { key, key_epoch, share_epoch }).await?;
        }
        Enrolled::group(self.proposal.clone(), manifest).ok_or(GroupError::NotAGroup)
    }
}
