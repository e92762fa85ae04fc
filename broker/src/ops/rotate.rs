//! Rotations at an operator's wish: a new remote key epoch, the end of an old one, new KEKs; and how they stand.
//!
//! These operations only ask. What they ask for is done by the session's own task ([`crate::upkeep::rotation`]), and goes on after
//! a restart.

use symbolon_core::audit::Action;
use symbolon_core::path::{ApiPath, MountPath};
use symbolon_core::policy::Operation;
use symbolon_proto::id::MountId;

use super::App;
use crate::access::Requester;
use crate::access::session::{Attempt, Authorised, Session};
use crate::error::OpError;
use crate::keys::MountKeks;
use crate::remote::EnrolError;
use crate::store::Op;
use crate::upkeep::rotation::remote::{NewShares, RotateError};
use crate::upkeep::rotation::{self, Progress, RotationRefusal, Status, census, wish_own};

/// How often a wish is written again after the task, or somebody else, has changed the same rows first.
const TRIES_MAX: usize = 16;

/// Has the remote make a new key epoch and every capsule re-wrapped for it. If a rotation is under way, that one goes on.
/// Answers the newest epoch.
pub async fn remote(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<u32, OpError> {
    let attempt = begin(app, who, api, Action::KeyRotate, Operation::Update).await?;
    let unfinished = attempt.audited(may_begin(attempt.session()).await).await?;
    attempt.conclude(Vec::new()).await?; // the beginning is on record before anything begins
    let newest = match unfinished {
        Some(newest) => newest,
        None => {
            let made = attempt.session().rotation.remote().new_epoch(attempt.session()).await;
            attempt.audited(made.map_err(OpError::from)).await?
        }
    };
    attempt.session().rotation.wake();
    let proven = attempt.session().keys.ensure_canary().await;
    attempt.audited(proven.map_err(OpError::from)).await?;
    Ok(newest)
}

/// Whether another epoch may be made: `Some` epoch if the rotation to it has not ended and shall go on.
async fn may_begin(session: &Session) -> Result<Option<u32>, OpError> {
    let epochs = session.keys.key_epochs();
    let [.., older, newest] = epochs.as_slice() else { return Ok(None) };
    if Progress::read(session).await?.is_some_and(|progress| progress.is_finished(*newest)) {
        return Err(RotationRefusal::NotRetired { key_epoch: *older }.into());
    }
    Ok(Some(*newest))
}

/// Tells the remote that the oldest key epoch is needed no more. Refused while a capsule of it is left. Answers the epoch.
pub async fn retire(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<u32, OpError> {
    let attempt = begin(app, who, api, Action::KeyRotate, Operation::Update).await?;
    let oldest = attempt.audited(may_retire(attempt.session()).await).await?;
    attempt.conclude(Vec::new()).await?;
    let retired = attempt.session().rotation.remote().retire(attempt.session(), oldest).await;
    attempt.audited(retired.map_err(OpError::from)).await?;
    let what = "the oldest key epoch of the remote was retired";
    attempt.session().record(Session::internal(Action::KeyRotate, what)).await?;
    Ok(oldest)
}

/// The oldest epoch, if no capsule is left that needs it, and none can come.
async fn may_retire(session: &Session) -> Result<u32, OpError> {
    let epochs = session.keys.key_epochs();
    let [oldest, .., newest] = epochs.as_slice() else { return Err(RotationRefusal::NothingOlder.into()) };
    let barrier = session.keys.barrier().await;
    // Behind this entry every capsule that was closed before the newest epoch came is in the store, or never will be.
    let counted = Session::internal(Action::KeyRotate, "capsules are counted before a key epoch is retired");
    session.record(counted).await?;
    drop(barrier);
    let census = census(session).await?;
    if census.damaged > 0 {
        return Err(RotationRefusal::Damaged { capsules: census.damaged }.into());
    }
    match census.by_epoch.range(..newest).next() {
        Some((&key_epoch, _)) => {
            return Err(RotationRefusal::CapsulesLeft { capsules: census.below(*newest), key_epoch }.into());
        }
        None if !Progress::read(session).await?.is_some_and(|progress| progress.is_finished(*newest)) => {
            return Err(RotationRefusal::Unfinished { key_epoch: *newest }.into());
        }
        None => {}
    }
    Ok(*oldest)
}

/// New shares of the remote key for its nodes, or for those of the configuration. The key, and every capsule, stays.
pub async fn shares(app: &App, who: &Requester<'_>, api: &ApiPath, wanted: NewShares) -> Result<(), OpError> {
    let attempt = begin(app, who, api, Action::KeyRotate, Operation::Update).await?;
    attempt.conclude(Vec::new()).await?; // the beginning is on record before anything begins
    let changed = attempt.session().rotation.remote().new_shares(attempt.session(), wanted).await;
    attempt.audited(changed.map_err(OpError::from)).await
}

/// The fingerprint that the operators of all nodes compare before a reshare.
pub async fn proposed(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<String, OpError> {
    let attempt = begin(app, who, api, Action::Other, Operation::Read).await?;
    let proposed = attempt.session().rotation.remote().proposed(attempt.session()).await;
    let fingerprint = attempt.audited(proposed.map_err(OpError::from)).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(fingerprint)
}

/// New KEKs for every KV mount and for the deployment itself (Vault's `sys/rotate`).
pub async fn keks(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<(), OpError> {
    wish(&begin(app, who, api, Action::KeyRotate, Operation::Update).await?, None).await
}

/// New KEKs for one KV mount.
pub async fn mount_keks(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    path: &MountPath,
) -> Result<(), OpError> {
    let attempt = begin(app, who, api, Action::KeyRotate, Operation::Update).await?;
    let mount = attempt.audited(kv_mount(attempt.session(), path)).await?;
    wish(&attempt, Some(mount)).await
}

fn kv_mount(session: &Session, path: &MountPath) -> Result<MountId, OpError> {
    let mounts = session.mounts();
    let found = mounts.secrets.at(path).filter(|mount| mount.kind == "kv");
    found.map(|mount| mount.id).ok_or(OpError::invalid("no KV mount at this path"))
}

/// Writes down that KEKs of one mount, or all, shall be rolled, and wakes the task.
async fn wish(attempt: &Authorised, only: Option<MountId>) -> Result<(), OpError> {
    let session = attempt.session();
    for _ in 0..TRIES_MAX {
        let changes = attempt.audited(wishes(session, only).await).await?;
        match attempt.conclude(changes).await {
            Err(OpError::Conflict(_)) => {}
            done => {
                session.rotation.wake();
                return done;
            }
        }
    }
    Err(OpError::BUSY)
}

async fn wishes(session: &Session, only: Option<MountId>) -> Result<Vec<Op>, OpError> {
    if let Some(mount) = only {
        return Ok(MountKeks::wish(session, mount).await?.into_iter().collect());
    }
    let mut changes = Vec::new();
    for mount in session.mounts().secrets.0.iter().filter(|mount| mount.kind == "kv") {
        changes.extend(MountKeks::wish(session, mount.id).await?);
    }
    changes.extend(wish_own(session).await?);
    Ok(changes)
}

/// How rotations stand.
pub async fn status(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<Status, OpError> {
    let attempt = begin(app, who, api, Action::Other, Operation::Read).await?;
    let status = attempt.audited(rotation::status(attempt.session()).await).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(status)
}

async fn begin(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    action: Action,
    operation: Operation,
) -> Result<Authorised, OpError> {
    Attempt::begin(app.session()?, who, action, api).await?.authorise(operation, api).await
}

impl From<RotateError> for OpError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Remote(error) => error.problem().into(),
            RotateError::Group(error) => EnrolError::Group(error).into(),
            RotateError::Refused(text) => Self::refused(text),
        }
    }
}
