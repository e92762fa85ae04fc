//! A run of the ceremony, carried from node to node.
//!
//! What the nodes check, the broker checks as well: it then knows who is to blame without having to believe
//! anybody.

use symbolon_proto::dkg::{Before, GroupKey, OFFER_BYTES, Roster, Run, SCHNORR_BYTES};
use symbolon_proto::frame::{Base, GroupOp, GroupReply};
use symbolon_proto::possession::PossessionClaim;
use symbolon_proto::proposal::Proposal;

use super::member::GroupMember;
use super::{GroupError, NodeProblem};

/// What all receivers have certified: with it the run can be committed, and committed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certified {
    pub(crate) key: GroupKey,
    pub(crate) signatures: Vec<[u8; SCHNORR_BYTES]>,
}

/// Who takes part. Receivers stand in the order of the group, dealers in that of the run.
pub(crate) struct Parties<'a> {
    pub(crate) group: &'a Proposal,
    pub(crate) before: Option<Before<'a>>,
    pub(crate) dealers: Vec<&'a GroupMember>,
    pub(crate) receivers: Vec<&'a GroupMember>,
}

/// Receive keys, and rounds 1 and 2. No node has given up anything yet.
pub(crate) async fn certify(run: Run, parties: &Parties<'_>) -> Result<Certified, GroupError> {
    let roster = Roster::new(&run, parties.group, parties.before)?;
    // A node asks for what was before only in a resharing; the frame leaves it out otherwise.
    let base =
        || parties.before.map(|before| Base { group: before.group.to_bytes(), key: before.key.clone() });
    let offers = gather(run, parties, base).await?;
    let session = roster.session(&offers)?;
    let mut dealings = Vec::with_capacity(parties.dealers.len());
    for dealer in &parties.dealers {
        match dealer.ask(GroupOp::Deal { run, base: base(), offers: offers.clone() }).await? {
            GroupReply::Dealing(dealing) => dealings.push(dealing),
            _ => return Err(dealer.problem(NodeProblem::OtherAnswer)),
        }
    }
    let outcome = session.outcome(&dealings)?;
    let mut signatures = Vec::with_capacity(parties.receivers.len());
    for receiver in &parties.receivers {
        let (offers, dealings) = (offers.clone(), dealings.clone());
        match receiver.ask(GroupOp::Verify { run, base: base(), offers, dealings }).await? {
            GroupReply::Certified(signature) => signatures.push(signature),
            _ => return Err(receiver.problem(NodeProblem::OtherAnswer)),
        }
    }
    session.certify(&outcome, &signatures)?;
    Ok(Certified { key: outcome.key, signatures })
}

/// The receive key of every receiver. Everybody is shown all of them: who was shown others certifies
/// something else.
async fn gather(
    run: Run,
    parties: &Parties<'_>,
    base: impl Fn() -> Option<Base>,
) -> Result<Vec<[u8; OFFER_BYTES]>, GroupError> {
    let mut offers = Vec::with_capacity(parties.receivers.len());
    for receiver in &parties.receivers {
        match receiver.ask(GroupOp::Offer { run, base: base() }).await? {
            GroupReply::Offer(offer) => offers.push(offer),
            _ => return Err(receiver.problem(NodeProblem::OtherAnswer)),
        }
    }
    Ok(offers)
}

/// Round 3: the shares come into use, beside the old ones. Each node proves that it holds the share that the
/// commitments say it has.
pub(crate) async fn commit(
    run: Run,
    group: &Proposal,
    certified: &Certified,
    receivers: &[&GroupMember],
) -> Result<(), GroupError> {
    let claim =
        PossessionClaim { deployment: group.terms().deployment, key: run.key, key_epoch: run.key_epoch };
    for (index, receiver) in (1..).zip(receivers) {
        let signatures = certified.signatures.clone();
        let GroupReply::Committed(share) = receiver.ask(GroupOp::Commit { run, signatures }).await? else {
            return Err(receiver.problem(NodeProblem::OtherAnswer));
        };
        let expected = certified.key.share(index) == Some(share.public);
        if !expected || !share.possession.verifies(&claim, &share.public) {
            return Err(receiver.problem(NodeProblem::NoPossession));
        }
    }
    Ok(())
}
