//! Ceremonies as operators, custodians and auditors reach them: begin, give, prove, sign, look.

use std::net::IpAddr;
use std::sync::Arc;

use symbolon_core::audit::{Action, Detail, Draft, Outcome};
use symbolon_core::policy::Operation;
use symbolon_core::succession::{Change, NewSet};
use symbolon_proto::custody::Card;
use symbolon_proto::custody::Submission;
use symbolon_proto::log::VerifierKey;

use crate::access::{Authorised, Object, Request, Requester, Route};
use crate::custody::App;
use crate::custody::ceremony::archive::{self, Record, Signature};
use crate::custody::ceremony::{CeremonyRefusal, Notice};
use crate::custody::seal::View;
use crate::custody::sources::{registry, terms};
use crate::error::OpError;
use crate::rows::Rows;

/// The ceremony under way, or the last one while signatures are missing. A sealed broker always has one.
pub async fn state(app: &App) -> Result<Option<Arc<Notice>>, OpError> {
    let (sealed, session) = match app.seal.view() {
        View::Uninitialised => return Ok(None),
        View::Sealed { notice, .. } => return Ok(Some(notice)),
        View::Open { ceremony: Some(notice), .. } => return Ok(Some(notice)),
        View::Open { sealed, session, .. } => (sealed, session),
    };
    let broker = verifier(&sealed)?;
    let last = archive::last(&session.rows).await?.map(|(record, _)| record);
    let waiting = last.filter(|record| record.awaits_signatures(&broker, session.now()));
    Ok(waiting.map(|record| Arc::new(record.notice(&broker))))
}

/// What an operator wants of custodians.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Something that is done with the shares that there are.
    Change(Change),
    /// New shares.
    Deal {
        /// Of a new fragment, too.
        rekey: bool,
        /// How many are needed from then on.
        threshold: u8,
        /// The people who are to hold one.
        cards: Vec<Card>,
        /// Sources that are to hold one, by name.
        sources: Vec<String>,
    },
}

/// Begins a ceremony that changes something. Nothing changes before custodians have given their shares.
pub async fn begin(app: &App, who: &Requester<'_>, wish: Wish) -> Result<Option<Arc<Notice>>, OpError> {
    let request = authorise(app, who, "ceremony/begin", Operation::Update).await?;
    let change = request.record_failure(change(app, &request.session().rows, wish).await).await?;
    // on record before anybody is asked for a share
    request.commit(Object::Named(change.to_string()), Vec::new()).await?;
    request.record_failure(app.seal.begin_change(change).await).await?;
    drop(request);
    state(app).await
}

async fn change(app: &App, rows: &Rows, wish: Wish) -> Result<Change, OpError> {
    let (rekey, threshold, mut cards, sources) = match wish {
        Wish::Change(change) => return Ok(change),
        Wish::Deal { rekey, threshold, cards, sources } => (rekey, threshold, cards, sources),
    };
    for name in &sources {
        cards.push(registry::card(rows, name).await?);
    }
    let set = NewSet::new(threshold, &cards).map_err(CeremonyRefusal::Set)?;
    let known = registry::read(rows.store()).await?;
    let custody = &app.config.lives.now().custody;
    terms::judge(custody, &known, threshold, set.holders().iter().map(terms::of_wanted))?;
    Ok(if rekey { Change::Rekey(set) } else { Change::Reshare(set) })
}

/// Ends a drill with the shares that are there.
pub async fn finish(app: &App, who: &Requester<'_>) -> Result<Option<Arc<Notice>>, OpError> {
    let request = authorise(app, who, "ceremony/finish", Operation::Update).await?;
    request.commit(Object::Named("the drill ends with the shares given".to_owned()), Vec::new()).await?;
    request.record_failure(app.seal.finish_change().await).await?;
    drop(request);
    state(app).await
}

/// Gives a ceremony up. Everything stays as it is.
pub async fn cancel(app: &App, who: &Requester<'_>) -> Result<(), OpError> {
    let request = authorise(app, who, "ceremony/cancel", Operation::Update).await?;
    request.commit(Object::Named("the ceremony is given up".to_owned()), Vec::new()).await?;
    request.record_failure(app.seal.cancel_change().await).await
}

/// Takes a sealed share, or the proof of a new one. The last one opens the broker, or lets the change take
/// effect.
pub async fn submit(app: &App, sealed: &[u8], from: Option<IpAddr>) -> Result<Option<Arc<Notice>>, OpError> {
    let submission = Submission::decode(sealed)?;
    app.seal.submit_sealed(submission, from).await?;
    state(app).await
}

/// Takes a participant's signatures under the last transcript, which prove themselves.
pub async fn sign(app: &App, signature: &Signature<'_>) -> Result<Option<Arc<Notice>>, OpError> {
    let View::Open { sealed, session, .. } = app.seal.view() else { return Err(OpError::SEALED) };
    let broker = verifier(&sealed)?;
    let last = archive::last(&session.rows).await?;
    let waiting = last.filter(|(record, _)| record.awaits_signatures(&broker, session.now()));
    let (mut record, revision) = waiting.ok_or(CeremonyRefusal::NothingToSign)?;
    if !record.sign(signature)? {
        return Ok(Some(Arc::new(record.notice(&broker))));
    }
    let detail = Detail { role: "a participant signed the transcript".to_owned(), ..Detail::default() };
    let draft = Draft { action: Action::Ceremony, outcome: Outcome::Allowed, detail };
    drop(session.commit(vec![record.row(&session.rows, revision)?], draft).await?);
    Ok(Some(Arc::new(record.notice(&broker))))
}

/// All ceremonies that are over, oldest first, and the key that verifies the broker's signatures.
pub async fn list(app: &App, who: &Requester<'_>) -> Result<(Vec<Record>, VerifierKey), OpError> {
    let request = authorise(app, who, "ceremonies", Operation::Read).await?;
    let listed = request.record_failure(archive::list(&request.session().rows).await).await?;
    let broker = request.record_failure(broker_key(app)).await?;
    request.commit(Object::names(listed.len()), Vec::new()).await?;
    Ok((listed, broker))
}

/// One of them by its nonce, hex.
pub async fn read(app: &App, who: &Requester<'_>, nonce: &str) -> Result<(Record, VerifierKey), OpError> {
    let request = authorise(app, who, format!("ceremonies/{nonce}"), Operation::Read).await?;
    let found = archive::read(&request.session().rows, nonce).await;
    let (record, _) = request.found(found).await?;
    let broker = request.record_failure(broker_key(app)).await?;
    request.commit(Object::Path, Vec::new()).await?;
    Ok((record, broker))
}

fn broker_key(app: &App) -> Result<VerifierKey, OpError> {
    match app.seal.view() {
        View::Open { sealed, .. } | View::Sealed { sealed, .. } => verifier(&sealed),
        View::Uninitialised => Err(OpError::UNINITIALISED),
    }
}

/// The broker signs transcripts with the key of its log: auditors have it already.
fn verifier(sealed: &symbolon_core::seal::Sealed) -> Result<VerifierKey, OpError> {
    sealed.record().log_key.parse().map_err(|_| OpError::INTEGRITY)
}

async fn authorise(
    app: &App,
    who: &Requester<'_>,
    what: impl std::fmt::Display,
    operation: Operation,
) -> Result<Authorised, OpError> {
    let session = app.fresh_session().await?;
    let route = Route::system(format_args!("symbolon/{what}"));
    Request::begin(&who.of(&session), Action::Ceremony, &route).await?.authorise(operation).await
}
