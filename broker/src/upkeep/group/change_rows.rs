//! A change of the group that was begun: everything that is needed to go on with it after a crash.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use symbolon_core::audit::{Action, Draft};
use symbolon_proto::codec::{Reader, Writer};
use symbolon_proto::dkg::{GroupKey, Run};
use symbolon_proto::manifest::Manifest;
use symbolon_proto::proposal::Proposal;

use super::leaving_rows::{self, Leaver};
use crate::access::Session;
use crate::custody::enrolment_rows::{bytes, proposal};
use crate::custody::places::GENERATION;
use crate::error::OpError;
use crate::remote::group::Certified;
use crate::rows::{Place, Rows};
use crate::store::Expect;

/// A change from the moment on in which it can only go forward.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// `refresh`, `reshare`, `rotate` or `renew`.
    pub(crate) what: &'static str,
    /// The group that has the shares afterwards.
    pub(crate) group: Proposal,
    /// The group that has them before, where it is another one.
    pub(crate) before: Option<Proposal>,
    /// The sharing afterwards.
    pub(crate) key: GroupKey,
    /// The run and what its receivers certified; none where only the manifest is renewed.
    pub(crate) run: Option<(Run, Certified)>,
    /// What the nodes are asked to sign; none before it is written.
    pub(crate) body: Option<Manifest>,
}

/// Wire type, all in hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredChange {
    what: String,
    group: String,
    #[serde(default)]
    before: String,
    key: String,
    run: String,
    signatures: Vec<String>,
    body: String,
}

const CHANGE: Place<'static> = Place { name: "remote change", ..GENERATION };
const CHANGES: [&str; 4] = ["refresh", "reshare", "rotate", "renew"];

/// The change that was begun, if any.
pub(crate) async fn read_change(rows: &Rows) -> Result<Option<Change>, OpError> {
    match rows.read::<StoredChange>(CHANGE).await? {
        Some((stored, _)) => parse(&stored).map(Some),
        None => Ok(None),
    }
}

/// Stores how far a change has come.
pub(crate) async fn keep_change(session: &Session, change: &Change) -> Result<(), OpError> {
    let held = session.rows.read::<StoredChange>(CHANGE).await?;
    let expect = held.map_or(Expect::Absent, |(_, revision)| Expect::Revision(revision));
    let put = session.rows.put(CHANGE, &stored(change), expect)?;
    let draft = Draft::by_broker(Action::Remote, "change of the fragment services under way");
    session.commit(vec![put], draft).await.map(drop)
}

/// Forgets a change that is finished, and remembers in the same commit whom it leaves with an old share.
pub(crate) async fn finish_change(session: &Session, leavers: Vec<Leaver>) -> Result<(), OpError> {
    let Some((_, revision)) = session.rows.read::<StoredChange>(CHANGE).await? else { return Ok(()) };
    let mut changes = vec![session.rows.delete(CHANGE, Expect::Revision(revision))];
    changes.extend(leaving_rows::add_leavers(&session.rows, leavers).await?);
    let draft = Draft::by_broker(Action::Remote, "change of the fragment services finished");
    session.commit(changes, draft).await.map(drop)
}

fn stored(change: &Change) -> StoredChange {
    let mut key = Writer::with_capacity(512);
    change.key.write(&mut key);
    let (run, signatures) = match &change.run {
        Some((run, certified)) => (HEXLOWER.encode(&run.to_bytes()), certified.signatures.as_slice()),
        None => (String::new(), &[][..]),
    };
    StoredChange {
        what: change.what.to_owned(),
        group: HEXLOWER.encode(&change.group.to_bytes()),
        before: change.before.as_ref().map(|group| HEXLOWER.encode(&group.to_bytes())).unwrap_or_default(),
        key: HEXLOWER.encode(&key.finish()),
        run,
        signatures: signatures.iter().map(|signature| HEXLOWER.encode(signature)).collect(),
        body: change.body.as_ref().map(|body| HEXLOWER.encode(&body.signed_bytes())).unwrap_or_default(),
    }
}

fn parse(stored: &StoredChange) -> Result<Change, OpError> {
    let what = CHANGES.into_iter().find(|what| *what == stored.what).ok_or(OpError::INTEGRITY)?;
    let key = bytes(&stored.key)?;
    let mut reader = Reader::new(&key);
    let key = GroupKey::read(&mut reader).map_err(|_| OpError::INTEGRITY)?;
    let body = match stored.body.as_str() {
        "" => None,
        body => Some(Manifest::parse_body(&bytes(body)?).map_err(|_| OpError::INTEGRITY)?),
    };
    let before = match stored.before.as_str() {
        "" => None,
        before => Some(proposal(before)?),
    };
    let run = match stored.run.as_str() {
        "" => None,
        run => {
            let run = Run::parse(&bytes(run)?).map_err(|_| OpError::INTEGRITY)?;
            let signature = |hex: &String| bytes(hex)?.try_into().map_err(|_| OpError::INTEGRITY);
            let signatures = stored.signatures.iter().map(signature).collect::<Result<_, _>>()?;
            Some((run, Certified { key: key.clone(), signatures }))
        }
    };
    Ok(Change { what, group: proposal(&stored.group)?, before, key, run, body })
}
