//! Who is to hold a key together, and that the operator compared fingerprints before it counts.

use symbolon_proto::custody::XWingPublicKey;
use symbolon_proto::fingerprint::Fingerprint;
use symbolon_proto::frame::{Approval, GroupRefusal, Status};
use symbolon_proto::id::KeyId;
use symbolon_proto::proposal::Proposal;

use crate::error::AdminError;
use crate::peer::Peer;
use crate::quota::Bucket;
use crate::report::{Approved, PendingReport, Wish};
use crate::state::{Live, Service};
use crate::tables::{Broker, Group, KEYS_MAX, Key, PENDING_TTL_SECS, PROPOSALS_KEPT, Tables};

/// Groups that may wait at once, and escrow keys; the oldest makes room.
const WAITING_MAX: usize = 32;

impl Service {
    /// Notes a proposal, or says how it stands.
    pub(super) fn propose(&self, peer: &Peer, bytes: &[u8]) -> Result<Approval, GroupRefusal> {
        let proposal = Proposal::parse(bytes).map_err(|_| Status::Malformed)?;
        let mut live = self.live();
        let terms = proposal.terms();
        let row = live.tables.keys.get(&terms.key);
        let group = row.and_then(|row| row.group.as_ref());
        if group.is_some_and(|group| group.proposal(&proposal.id()).is_some()) {
            return Ok(Approval::Approved);
        }
        if terms.broker_spki_sha256 != peer.spki || self.check_proposal(&live.tables, &proposal).is_err() {
            return Err(Status::Disagrees.into());
        }
        let now_secs = self.now().unix_secs;
        let is_stranger = live.tables.broker_by_spki(&peer.spki).is_none();
        let groups = &mut live.waiting.groups;
        groups.retain(|(other, asked_at)| {
            // Strangers have one place per TLS key.
            let makes_room = is_stranger && other.terms().broker_spki_sha256 == peer.spki;
            *other != proposal && !makes_room && now_secs.saturating_sub(*asked_at) < PENDING_TTL_SECS
        });
        if groups.len() >= WAITING_MAX {
            groups.remove(0);
        }
        groups.push((proposal, now_secs));
        Ok(Approval::Pending)
    }

    /// Whether a proposal is one for this node: it is a member, or holds the key that a new group is to get;
    /// and it follows what is held.
    fn check_proposal(&self, tables: &Tables, proposal: &Proposal) -> Result<(), AdminError> {
        let terms = proposal.terms();
        let is_member = proposal.index_of(self.identity.card().card()).is_some();
        let Some(row) = tables.keys.get(&terms.key) else {
            return if is_member { Ok(()) } else { Err(AdminError::OtherGroup) };
        };
        let newest = row.group.as_ref().and_then(|group| group.proposals.last());
        let newest = newest.ok_or(AdminError::OtherGroup)?;
        let follows =
            terms.previous == newest.id() && newest.terms().number.checked_add(1) == Some(terms.number);
        // One that was approved but came to nothing may be replaced by another of its number.
        let replaces = newest.terms().number == terms.number
            && newest.terms().previous == terms.previous
            && !row
                .group
                .iter()
                .any(|group| group.sharings.values().any(|sharing| sharing.group == newest.id()));
        match row.deployment == terms.deployment && (follows || replaces) {
            true => Ok(()),
            false => Err(AdminError::OtherGroup),
        }
    }

    /// Notes that an escrow key waits for the operator.
    pub(super) fn note_escrow(&self, live: &mut Live, key: KeyId, escrow: XWingPublicKey) {
        let now_secs = self.now().unix_secs;
        let escrows = &mut live.waiting.escrows;
        escrows.retain(|(other, ..)| *other != key);
        if escrows.len() >= WAITING_MAX {
            escrows.remove(0);
        }
        escrows.push((key, escrow, now_secs));
    }

    /// Groups and escrow keys that wait, for `pending`.
    pub(crate) fn waiting(&self, live: &Live) -> Vec<PendingReport> {
        let groups = live.waiting.groups.iter().map(|(proposal, at)| group_report(live, proposal, *at));
        let escrows = live.waiting.escrows.iter();
        groups.chain(escrows.filter_map(|(key, escrow, at)| escrow_report(live, *key, escrow, *at))).collect()
    }

    /// Approves the group or escrow key with this fingerprint, if one waits.
    pub(crate) fn approve_waiting(
        &self,
        live: &mut Live,
        fingerprint: &Fingerprint,
        join: bool,
    ) -> Result<Option<Approved>, AdminError> {
        let groups = &live.waiting.groups;
        if let Some(place) = groups.iter().position(|(proposal, _)| proposal.fingerprint() == *fingerprint) {
            let proposal = groups[place].0.clone();
            let approved = self.approve_group(live, &proposal, join)?;
            live.waiting.groups.remove(place);
            return Ok(Some(approved));
        }
        let escrows = &live.waiting.escrows;
        let Some(place) = escrows.iter().position(|(_, escrow, _)| escrow.fingerprint() == *fingerprint)
        else {
            return Ok(None);
        };
        self.approve_escrow(live, place).map(Some)
    }

    fn approve_escrow(&self, live: &mut Live, place: usize) -> Result<Approved, AdminError> {
        let (key, escrow, _) = &live.waiting.escrows[place];
        let (key, escrow) = (*key, escrow.as_bytes().to_vec());
        let mut tables = live.tables.clone();
        let row = tables.keys.get_mut(&key).ok_or(AdminError::UnknownKey)?;
        row.escrow = Some(escrow);
        let deployment = row.deployment.to_string();
        self.write_tables(&tables)?;
        live.tables = tables;
        live.waiting.escrows.remove(place);
        tracing::warn!(%key, "the operator approved an escrow key; what it opens bypasses every revocation");
        Ok(Approved { broker: String::new(), deployment, key: key.to_string(), created: false })
    }

    fn approve_group(
        &self,
        live: &mut Live,
        proposal: &Proposal,
        join: bool,
    ) -> Result<Approved, AdminError> {
        self.check_proposal(&live.tables, proposal)?;
        let terms = *proposal.terms();
        let now = self.now();
        let mut tables = live.tables.clone();
        let others = tables.keys_of(terms.deployment).any(|(id, _)| id != terms.key);
        if others && !join {
            return Err(AdminError::WouldJoin);
        }
        enrol(&mut tables, proposal, now.unix_secs)?;
        let quota = self.options.grants_of(terms.deployment).quota;
        let created = !tables.keys.contains_key(&terms.key);
        if created && tables.keys.len() >= KEYS_MAX {
            return Err(AdminError::Full);
        }
        let row = tables.keys.entry(terms.key).or_insert_with(|| Key {
            group: Some(Group::default()),
            // A later group gets shares of a key that others have used.
            is_unopened: terms.number == 1,
            ..Key::new(terms.deployment, quota)
        });
        remember(row.group.as_mut().ok_or(AdminError::OtherGroup)?, proposal);
        self.write_tables(&tables)?;
        live.tables = tables;
        live.buckets.entry(terms.key).or_insert_with(|| Bucket::holding(quota, quota.burst, now.boot_ms));
        tracing::info!(broker = %terms.broker, key = %terms.key, "the operator approved a group");
        Ok(Approved {
            broker: terms.broker.to_string(),
            deployment: terms.deployment.to_string(),
            key: terms.key.to_string(),
            created,
        })
    }
}

fn group_report(live: &Live, proposal: &Proposal, asked_at: u64) -> PendingReport {
    let terms = proposal.terms();
    let members = proposal.cards().iter().map(|card| card.card().fingerprint().to_string()).collect();
    PendingReport {
        fingerprint: proposal.fingerprint().to_string(),
        deployment: terms.deployment.to_string(),
        broker: terms.broker.to_string(),
        joins: live.tables.keys_of(terms.deployment).any(|(id, _)| id != terms.key),
        asked_at,
        wish: Wish::Group { threshold: terms.threshold, members, number: terms.number },
    }
}

fn escrow_report(live: &Live, key: KeyId, escrow: &XWingPublicKey, asked_at: u64) -> Option<PendingReport> {
    let row = live.tables.keys.get(&key)?;
    Some(PendingReport {
        fingerprint: escrow.fingerprint().to_string(),
        deployment: row.deployment.to_string(),
        broker: String::new(),
        joins: false,
        asked_at,
        wish: Wish::Escrow { key: key.to_string() },
    })
}

/// The proposal's broker becomes one of ours, unless it is.
fn enrol(tables: &mut Tables, proposal: &Proposal, now_secs: u64) -> Result<(), AdminError> {
    let terms = proposal.terms();
    let (spki, sign_key) = (terms.broker_spki_sha256, terms.broker_signing);
    tables.pending.retain(|pending| pending.spki != spki);
    if let Some((id, broker)) = tables.broker_by_spki(&spki) {
        let is_same = (id, broker.deployment, broker.sign_key) == (terms.broker, terms.deployment, sign_key);
        return if is_same { Ok(()) } else { Err(AdminError::BrokerIdTaken) };
    }
    if tables.brokers.contains_key(&terms.broker) {
        return Err(AdminError::BrokerIdTaken);
    }
    let (deployment, approved_at) = (terms.deployment, now_secs);
    let broker =
        Broker { deployment, spki, sign_key, generation: 0, approved_at, anchor: None, admitted: None };
    if tables.enrol(terms.broker, broker) { Ok(()) } else { Err(AdminError::Full) }
}

fn remember(group: &mut Group, proposal: &Proposal) {
    group.proposals.retain(|other| other.terms().number < proposal.terms().number);
    group.proposals.push(proposal.clone());
    let surplus = group.proposals.len().saturating_sub(PROPOSALS_KEPT);
    group.proposals.drain(..surplus);
}
