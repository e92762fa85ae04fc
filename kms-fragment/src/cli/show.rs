//! Answers as tables, for people.

use std::io::{self, Write};

use crate::report::{
    Approved, BrokerReport, Carried, CertificateReport, EpochStanding, KeyReport, OfficerReport,
    OrphanReport, PendingReport, Status, Wish,
};

pub(super) fn pending(out: &mut dyn Write, pending: &[PendingReport]) -> io::Result<()> {
    if pending.is_empty() {
        return writeln!(out, "Nobody waits for approval.");
    }
    for waiting in pending {
        writeln!(out, "{}", waiting.fingerprint)?;
        asked(out, waiting)?;
        if waiting.joins {
            writeln!(
                out,
                "  joins a deployment that has keys here: approve with --join only if that is meant"
            )?;
        }
    }
    writeln!(
        out,
        "\nCompare with what the operators of the broker and of the other nodes read to you, then: symbolon fragment approve <fingerprint>"
    )
}

fn asked(out: &mut dyn Write, waiting: &PendingReport) -> io::Result<()> {
    match &waiting.wish {
        Wish::Broker => {
            writeln!(out, "  broker {}  deployment {}", waiting.broker, waiting.deployment)
        }
        Wish::Group { threshold, members, number } => {
            writeln!(out, "  broker {}  deployment {}", waiting.broker, waiting.deployment)?;
            writeln!(out, "  group {number}: {threshold} of {} nodes, whose roots are", members.len())?;
            members.iter().try_for_each(|member| writeln!(out, "    {member}"))
        }
        Wish::Escrow { key } => {
            writeln!(out, "  escrow of key {key}: its custodians could open everything without any service")
        }
    }
}

pub(super) fn approved(out: &mut dyn Write, approved: &Approved) -> io::Result<()> {
    if approved.broker.is_empty() {
        return writeln!(out, "Shares of key {} are sealed to this escrow key from now on.", approved.key);
    }
    let how = if approved.created { "has a new key" } else { "shares the key" };
    writeln!(out, "Broker {} is enrolled and {how} {}.", approved.broker, approved.key)
}

pub(super) fn orphans(out: &mut dyn Write, orphans: &[OrphanReport]) -> io::Result<()> {
    if orphans.is_empty() {
        return writeln!(out, "Every key has been unsealed with, or may have been.");
    }
    for orphan in orphans {
        writeln!(out, "key      {}  deployment {}", orphan.key, orphan.deployment)?;
        match orphan.approved_at {
            Some(at) => writeln!(out, "  made for broker {}, approved at {}", orphan.broker, moment(at))?,
            None => writeln!(out, "  made for a broker that was removed")?,
        }
        if orphan.shared {
            writeln!(out, "  other nodes hold shares of it: remove it there, too")?;
        }
    }
    writeln!(
        out,
        "\nNo broker has unsealed with these. One whose init is under way looks the same, so ask its operator, then: symbolon fragment orphans --remove <key>"
    )
}

pub(super) fn status(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    writeln!(out, "root     {}", status.root_fingerprint)?;
    writeln!(out, "node     {}", status.node)?;
    writeln!(out, "memory   {}", status.memory)?;
    writeln!(out, "pending  {}", status.pending)?;
    status.keys.iter().try_for_each(|key| key_status(out, key))?;
    status.brokers.iter().try_for_each(|broker| broker_status(out, broker))?;
    writeln!(out, "officers {}", status.officers.len())?;
    writeln!(out, "graves   {}", status.destroyed)?;
    writeln!(out, "log      {} records, head {}", status.log.records, status.log.hash)
}

fn key_status(out: &mut dyn Write, key: &KeyReport) -> io::Result<()> {
    let (id, state, left) = (&key.key, key.state, key.quota_left);
    writeln!(out, "key      {id}  {state}  quota left {left}  deployment {}", key.deployment)?;
    if key.nodes > 1 {
        writeln!(out, "  node {} of {}, of which {} must answer", key.index, key.nodes, key.threshold)?;
    }
    if key.escrow {
        writeln!(out, "  sealed to escrow custodians, who bypass every revocation")?;
    }
    if let Some(at) = key.destroy_at {
        writeln!(out, "  will be destroyed at {}, ordered by {}", moment(at), key.ordered_by.join(", "))?;
    }
    for epoch in &key.epochs {
        writeln!(out, "  epoch  {}  {}", epoch.key_epoch, standing(epoch.state))?;
    }
    Ok(())
}

fn broker_status(out: &mut dyn Write, broker: &BrokerReport) -> io::Result<()> {
    let unseals = generation(broker.generation);
    writeln!(out, "broker   {}  generation {unseals}  {}", broker.broker, broker.fingerprint)?;
    if let (Some(at), Some(barred)) = (broker.admitted_at, broker.barred_generation) {
        let (at, barred) = (moment(at), generation(barred));
        writeln!(out, "  officers admitted an older state of it at {at}, in place of generation {barred}")?;
    }
    Ok(())
}

fn standing(state: EpochStanding) -> String {
    match state {
        EpochStanding::Living => "living".to_owned(),
        EpochStanding::RetireAsked { at } => {
            format!("living; its broker asked at {} to retire it, which two officers must order", moment(at))
        }
        EpochStanding::Retired => "retired".to_owned(),
        EpochStanding::Restoring { until } => format!("retired; answers restores until {}", moment(until)),
        EpochStanding::PendingDestroy { at } => format!("will be destroyed at {}", moment(at)),
    }
}

/// In UTC, from Unix seconds.
fn moment(unix_secs: u64) -> String {
    symbolon_proto::moment::utc(unix_secs.saturating_mul(1000))
}

/// How often its deployment was unsealed, which is what the broker's own status shows; the lower half is
/// chance.
fn generation(whole: u64) -> u64 {
    whole >> 32
}

pub(super) fn officers(out: &mut dyn Write, officers: &[OfficerReport]) -> io::Result<()> {
    if officers.is_empty() {
        return writeln!(
            out,
            "The configuration names no officers, so nothing can be destroyed, retired or restored."
        );
    }
    officers.iter().try_for_each(|officer| writeln!(out, "{}  {}", officer.key, officer.name))
}

pub(super) fn carried(out: &mut dyn Write, carried: &Carried) -> io::Result<()> {
    writeln!(out, "Carried out: {}.", carried.what)?;
    writeln!(out, "Ordered by {}.", carried.officers.join(" and "))?;
    match carried.due_secs {
        Some(due) => {
            writeln!(out, "It happens at {}; until then two officers can cancel it.", moment(due))
        }
        None => Ok(()),
    }
}

pub(super) fn certificates(out: &mut dyn Write, certificates: &[CertificateReport]) -> io::Result<()> {
    certificates
        .iter()
        .try_for_each(|certificate| writeln!(out, "{}\n\n{}", certificate.says, certificate.text))
}
