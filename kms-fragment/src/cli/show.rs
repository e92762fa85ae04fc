//! Answers as tables, for people.

use std::io::{self, Write};

use crate::report::{
    Approved, Carried, CertificateReport, EpochStanding, OfficerReport, PendingReport, Status,
};

pub(super) fn pending(out: &mut dyn Write, pending: &[PendingReport]) -> io::Result<()> {
    if pending.is_empty() {
        return writeln!(out, "No broker waits for approval.");
    }
    for broker in pending {
        writeln!(out, "{}", broker.fingerprint)?;
        writeln!(out, "  broker {}  deployment {}", broker.broker, broker.deployment)?;
        if broker.joins {
            writeln!(
                out,
                "  joins a deployment that has brokers here: approve with --join only if that is meant"
            )?;
        }
    }
    writeln!(
        out,
        "\nCompare with what the broker's operator reads to you, then: symbolon fragment approve <fingerprint>"
    )
}

pub(super) fn approved(out: &mut dyn Write, approved: &Approved) -> io::Result<()> {
    let how = if approved.created { "has a new key" } else { "shares the key" };
    writeln!(out, "Broker {} is enrolled and {how} {}.", approved.broker, approved.key)
}

pub(super) fn status(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    writeln!(out, "root     {}", status.root_fingerprint)?;
    writeln!(out, "node     {}", status.node)?;
    writeln!(out, "memory   {}", status.memory)?;
    writeln!(out, "pending  {}", status.pending)?;
    for key in &status.keys {
        let (id, state, left) = (&key.key, key.state, key.quota_left);
        writeln!(out, "key      {id}  {state}  quota left {left}  deployment {}", key.deployment)?;
        if let Some(at) = key.destroy_at {
            writeln!(
                out,
                "  will be destroyed at {at} (Unix seconds), ordered by {}",
                key.ordered_by.join(", ")
            )?;
        }
        for epoch in &key.epochs {
            writeln!(out, "  epoch  {}  {}", epoch.key_epoch, standing(epoch.state))?;
        }
    }
    for broker in &status.brokers {
        writeln!(
            out,
            "broker   {}  generation {}  {}",
            broker.broker, broker.generation, broker.fingerprint
        )?;
        if let (Some(at), Some(barred)) = (broker.admitted_at, broker.barred_generation) {
            writeln!(
                out,
                "  officers admitted an older state of it at {at}, in place of generation {barred}"
            )?;
        }
    }
    writeln!(out, "officers {}", status.officers.len())?;
    writeln!(out, "graves   {}", status.destroyed)?;
    writeln!(out, "log      {} records, head {}", status.log.records, status.log.hash)
}

fn standing(state: EpochStanding) -> String {
    match state {
        EpochStanding::Living => "living".to_owned(),
        EpochStanding::RetireAsked { at } => {
            format!("living; its broker asked at {at} to retire it, which two officers must order")
        }
        EpochStanding::Retired => "retired".to_owned(),
        EpochStanding::Restoring { until } => format!("retired; answers restores until {until}"),
        EpochStanding::PendingDestroy { at } => format!("will be destroyed at {at}"),
    }
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
            writeln!(out, "It happens at {due} (Unix seconds); until then two officers can cancel it.")
        }
        None => Ok(()),
    }
}

pub(super) fn certificates(out: &mut dyn Write, certificates: &[CertificateReport]) -> io::Result<()> {
    certificates
        .iter()
        .try_for_each(|certificate| writeln!(out, "{}\n\n{}", certificate.says, certificate.text))
}
