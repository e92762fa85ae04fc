//! Rotations at an operator's wish: a new remote key epoch, the end of an old one, new KEKs; and how they
//! stand.
//!
//! These operations only ask. What they ask for is done by the session's own task
//! ([`crate::upkeep::rotation`]), and goes on after a restart.

use symbolon_core::audit::{Action, Draft};
use symbolon_core::path::MountPath;
use symbolon_core::policy::Operation;
use symbolon_proto::id::MountId;

use crate::access::{Asker, Authorised, Object, Request, Route, Session};
use crate::engines::keeps_secrets;
use crate::error::OpError;
use crate::keys::MountKeks;
use crate::remote::EnrolError;
use crate::store::Write;
use crate::upkeep::rotation::Rotation;
use crate::upkeep::rotation::remote::{NewShares, RotateError};
use crate::upkeep::rotation::{self, Progress, RotationRefusal, Status, census, request_system_roll};

/// Which of the two routes asks for new KEKs everywhere. Each is a right of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `sys/rotate`.
    Vault,
    /// `sys/symbolon/rotate/kek`.
    Own,
}

fn rotating(what: impl std::fmt::Display) -> Route {
    Route::system(format_args!("symbolon/rotate/{what}"))
}

/// How often a wish is written again after the task, or somebody else, has changed the same rows first.
const TRIES_MAX: usize = 16;

/// Has the remote make a new key epoch and every capsule re-wrapped for it. If a rotation is under way, that
/// one goes on. Answers the newest epoch.
pub async fn remote(who: &Asker<'_>) -> Result<u32, OpError> {
    let request = begin(who, rotating("remote"), Action::KeyRotate, Operation::Update).await?;
    let unfinished = request.record_failure(may_begin(request.session()).await).await?;
    let asked = match unfinished {
        Some(newest) => format!("the rotation to key epoch {newest} goes on"),
        None => "a new key epoch of the remote".to_owned(),
    };
    request.commit(Object::Named(asked), Vec::new()).await?; // on record before anything begins
    let newest = match unfinished {
        Some(newest) => newest,
        None => {
            let made = Rotation::of(request.session()).remote().new_epoch(request.session()).await;
            request.record_failure(made.map_err(OpError::from)).await?
        }
    };
    Rotation::of(request.session()).wake();
    let proven = request.session().keys.ensure_canary().await;
    request.record_failure(proven.map_err(OpError::from)).await?;
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

/// Tells the remote that the oldest key epoch is needed no more. Refused while a capsule of it is left.
/// Answers the epoch.
pub async fn retire(who: &Asker<'_>) -> Result<u32, OpError> {
    let request = begin(who, rotating("retire"), Action::KeyRotate, Operation::Update).await?;
    let oldest = request.record_failure(may_retire(request.session()).await).await?;
    request.commit(Object::Named(format!("the end of key epoch {oldest}")), Vec::new()).await?;
    let retired = Rotation::of(request.session()).remote().retire(request.session(), oldest).await;
    request.record_failure(retired.map_err(OpError::from)).await?;
    let what = "the oldest key epoch of the remote was retired";
    request.session().record(Draft::by_broker(Action::KeyRotate, what)).await?;
    Ok(oldest)
}

/// The oldest epoch, if no capsule is left that needs it, and none can come.
async fn may_retire(session: &Session) -> Result<u32, OpError> {
    let epochs = session.keys.key_epochs();
    let [oldest, .., newest] = epochs.as_slice() else { return Err(RotationRefusal::NothingOlder.into()) };
    let barrier = session.keys.barrier().await;
    // Behind this entry every capsule that was closed before the newest epoch came is in the store, or never
    // will be.
    let counted = Draft::by_broker(Action::KeyRotate, "capsules are counted before a key epoch is retired");
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

/// New shares of the remote key for its nodes, or for those of the configuration. The key, and every capsule,
/// stays.
pub async fn shares(who: &Asker<'_>, wanted: NewShares) -> Result<(), OpError> {
    let (route, asked) = match wanted {
        NewShares::Refresh => (rotating("refresh"), "new shares for the same services"),
        NewShares::Reshare => (rotating("reshare"), "new shares for the services of the configuration"),
    };
    let request = begin(who, route, Action::KeyRotate, Operation::Update).await?;
    request.commit(Object::Named(asked.to_owned()), Vec::new()).await?; // on record before anything begins
    let changed = Rotation::of(request.session()).remote().new_shares(request.session(), wanted).await;
    request.record_failure(changed.map_err(OpError::from)).await
}

/// The fingerprint that the operators of all nodes compare before a reshare.
pub async fn proposed(who: &Asker<'_>) -> Result<String, OpError> {
    let request = begin(who, rotating("reshare"), Action::Other, Operation::Read).await?;
    let proposed = Rotation::of(request.session()).remote().proposed(request.session()).await;
    let fingerprint = request.record_failure(proposed.map_err(OpError::from)).await?;
    request.commit(Object::Named("the group that a reshare would make".to_owned()), Vec::new()).await?;
    Ok(fingerprint)
}

/// New KEKs for every mount that keeps secrets and for the deployment itself (Vault's `sys/rotate`).
pub async fn keks(who: &Asker<'_>, spelling: Spelling) -> Result<(), OpError> {
    let route = match spelling {
        Spelling::Vault => Route::system("rotate"),
        Spelling::Own => rotating("kek"),
    };
    wish(&begin(who, route, Action::KeyRotate, Operation::Update).await?, None).await
}

/// New KEKs for one mount.
pub async fn mount_keks(who: &Asker<'_>, path: &MountPath) -> Result<(), OpError> {
    let request = begin(who, rotating(format!("kek/{path}")), Action::KeyRotate, Operation::Update).await?;
    let mount = request.record_failure(mount_of_secrets(request.session(), path)).await?;
    wish(&request, Some(mount)).await
}

fn mount_of_secrets(session: &Session, path: &MountPath) -> Result<MountId, OpError> {
    let mounts = session.mounts();
    let found = mounts.secrets.at(path).filter(|mount| keeps_secrets(mount));
    found.map(|mount| mount.id).ok_or(OpError::invalid("no KV mount at this path"))
}

/// Writes down that KEKs of one mount, or all, shall be rolled, and wakes the task.
async fn wish(request: &Authorised, only: Option<MountId>) -> Result<(), OpError> {
    let session = request.session();
    let asked = match only {
        Some(mount) => format!("new KEKs for mount {mount}"),
        None => "new KEKs for all KV mounts and the deployment".to_owned(),
    };
    for _ in 0..TRIES_MAX {
        let changes = request.record_failure(wishes(session, only).await).await?;
        match request.commit(Object::Named(asked.clone()), changes).await {
            Err(OpError::Conflict(_)) => {}
            done => {
                Rotation::of(session).wake();
                return done;
            }
        }
    }
    Err(OpError::BUSY)
}

async fn wishes(session: &Session, only: Option<MountId>) -> Result<Vec<Write>, OpError> {
    if let Some(mount) = only {
        return Ok(MountKeks::request_roll(&session.rows, mount, session.now().unix_ms)
            .await?
            .into_iter()
            .collect());
    }
    let mut changes = Vec::new();
    for mount in session.mounts().secrets.0.iter().filter(|mount| keeps_secrets(mount)) {
        changes.extend(MountKeks::request_roll(&session.rows, mount.id, session.now().unix_ms).await?);
    }
    changes.extend(request_system_roll(session).await?);
    Ok(changes)
}

/// How rotations stand.
pub async fn status(who: &Asker<'_>) -> Result<Status, OpError> {
    let request = begin(who, Route::system("symbolon/rotation"), Action::Other, Operation::Read).await?;
    let status = request.record_failure(rotation::status(request.session()).await).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok(status)
}

async fn begin(
    who: &Asker<'_>,
    route: Route,
    action: Action,
    operation: Operation,
) -> Result<Authorised, OpError> {
    Request::begin(who, action, &route).await?.authorise(operation).await
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
