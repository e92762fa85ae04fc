//! What operators and monitoring see of rotations.

use super::pages::Unknown;
use super::task::Live;
use super::{Progress, Rotation};
use crate::access::Session;
use crate::access::mounts::Tier;
use crate::engines::keeps_secrets;
use crate::error::OpError;
use crate::keys::{MountKeks, Phase, SystemKeks};
use crate::remote::Progress as GroupProgress;
use crate::upkeep::group::Leaving;

/// Everything.
#[derive(Clone, Debug)]
pub struct Status {
    /// The customer fragment.
    pub fragment: FragmentStatus,
    /// The remote key.
    pub remote: RemoteStatus,
    /// Mounts that keep secrets, by path.
    pub mounts: Vec<MountStatus>,
    /// The deployment's own KEKs.
    pub own: SystemKeks,
    /// What stands in the way, if something does; one of our own texts.
    pub problem: Option<String>,
    /// Numbers for monitoring: name and value.
    pub numbers: Vec<(&'static str, u64)>,
}

/// The customer fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentStatus {
    /// The epoch that everything new is closed for.
    pub epoch: u32,
    /// Whether something is left that the epoch before has closed.
    pub changing: bool,
    /// Rows re-encrypted since the broker was unsealed.
    pub rows: u64,
}

/// The remote key.
#[derive(Clone, Debug)]
pub struct RemoteStatus {
    /// Epochs whose capsules can be opened, oldest first.
    pub key_epochs: Vec<u32>,
    /// How far the last rotation is; `None` if there was none.
    pub progress: Option<Progress>,
    /// Whether capsules are being re-wrapped.
    pub running: bool,
    /// Capsules re-wrapped a second, since the rotation began or the broker was unsealed.
    pub rate: f64,
    /// Nodes that left by a reshare and have not confirmed that their share is erased.
    pub leaving: Vec<Leaving>,
    /// How far the change of a group of services is that is under way, if one is.
    pub under_way: Option<GroupProgress>,
}

/// A mount that keeps secrets.
#[derive(Clone, Debug)]
pub struct MountStatus {
    /// Where it is mounted.
    pub path: String,
    /// Its tier.
    pub tier: Tier,
    /// Its KEK epochs.
    pub keks: MountKeks,
}

/// How rotations stand.
pub async fn status(session: &Session) -> Result<Status, OpError> {
    let rotation = Rotation::of(session);
    let live = *rotation.live();
    let progress = Progress::read(session).await?;
    let mut mounts = Vec::new();
    for mount in session.mounts().secrets.0.iter().filter(|mount| keeps_secrets(mount)) {
        let keks = MountKeks::read(&session.rows, mount.id).await?;
        mounts.push(MountStatus { path: mount.path.as_str().to_owned(), tier: mount.tier(), keks });
    }
    let leaving = rotation.remote().leaving(session).await?;
    let key_epochs = session.keys.key_epochs();
    let last = progress.unwrap_or_default();
    let fragment = FragmentStatus {
        epoch: session.unsealed().keys().epoch,
        changing: session.unsealed().previous().is_some(),
        rows: live.resealed,
    };
    let mut numbers = at_hand(session);
    numbers.extend([
        ("symbolon_remote_nodes_leaving", leaving.len() as u64),
        ("symbolon_rewrap_capsules", last.total),
        ("symbolon_rewrap_capsules_done", last.done),
        ("symbolon_kek_rolls_running", mounts.iter().filter(|mount| mount.is_rolling()).count() as u64),
    ]);
    let (running, rate) = (live.rewrapping, live.rate());
    let under_way = rotation.remote().under_way();
    let remote = RemoteStatus { key_epochs, progress, running, rate, leaving, under_way };
    let own = SystemKeks::read(&session.rows).await?; // what was asked for stands in the store first
    Ok(Status { fragment, remote, mounts, own, problem: problem(&live), numbers })
}

/// The numbers that nothing has to be read for.
#[must_use]
pub fn at_hand(session: &Session) -> Vec<(&'static str, u64)> {
    let live = *Rotation::of(session).live();
    let key_epochs = session.keys.key_epochs();
    vec![
        ("symbolon_fragment_epoch", session.unsealed().keys().epoch.into()),
        ("symbolon_fragment_changing", session.unsealed().previous().is_some().into()),
        ("symbolon_reseal_rows_total", live.resealed),
        ("symbolon_reseal_rows_damaged", live.damaged_rows),
        ("symbolon_remote_key_epoch", key_epochs.last().copied().unwrap_or(0).into()),
        ("symbolon_remote_key_epochs_living", key_epochs.len() as u64),
        ("symbolon_rewrap_running", live.rewrapping.into()),
        ("symbolon_rewrap_capsules_damaged", live.damaged_capsules),
        ("symbolon_kek_roll_payloads_moved_total", live.moved),
        ("symbolon_kek_roll_payloads_damaged", live.damaged_payloads),
        ("symbolon_rotation_rows_unknown", live.unknown.rows),
        ("symbolon_rotation_failures_total", live.failures),
    ]
}

fn problem(live: &Live) -> Option<String> {
    let Unknown { rows, table } = live.unknown;
    if rows > 0 {
        return Some(format!(
            "{rows} rows lie in tables that this version does not know, the first of them in table {table:#04x}; \
             the keys of the fragment epoch before are kept until a version that knows them runs"
        ));
    }
    live.problem.map(str::to_owned)
}

impl MountStatus {
    /// Whether a roll has not ended.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.keks.phase != Phase::Settled
    }
}
