//! Sources of shares as operators reach them: enrol, test, remove, look.

use std::collections::BTreeSet;

use symbolon_core::audit::Action;
use symbolon_core::policy::Operation;
use symbolon_core::seal::Sealed;

use crate::access::{Authorised, Object, Request, Requester, Route};
use crate::config::CustodyConfig;
use crate::custody::App;
use crate::custody::seal::View;
use crate::custody::sources::registry::{Registry, is_source};
use crate::custody::sources::{SourceRefusal, enrolling, hold, registry, terms};
use crate::custody::unattended::journal::Known;
use crate::error::OpError;

/// Who can open the broker without a person, as anyone may see it.
pub struct Custody {
    /// Shares needed; 0 if the store holds no deployment.
    pub threshold: u8,
    /// People who hold a share.
    pub people: Vec<String>,
    /// People that an unseal takes at least, by the configuration.
    pub people_min: u8,
    /// Places from which alone the broker can be opened.
    pub weak_places: Vec<String>,
    /// Why sources give nothing to the set in force; empty if they may.
    pub refused: String,
    /// Whether no source is asked, since an operator sealed the broker.
    pub is_held: bool,
    /// Sources, configured or kept.
    pub sources: Vec<Source>,
}

/// One source.
pub struct Source {
    /// What it is called.
    pub name: String,
    /// Its kind; empty if it is not in the configuration any more.
    pub kind: String,
    /// Where it is.
    pub place: String,
    /// Fingerprint of its card; empty if it is not enrolled.
    pub fingerprint: String,
    /// Whether it holds a share of the set in force.
    pub holds: bool,
    /// What came of asking it.
    pub known: Known,
}

/// What is known of all.
pub async fn status(app: &App) -> Result<Custody, OpError> {
    let registry = registry::read(app.store.as_ref()).await?;
    let lives = app.config.lives.now();
    let sealed = match app.seal.view() {
        View::Uninitialised => None,
        View::Sealed { sealed, .. } | View::Open { sealed, .. } => Some(sealed),
    };
    let names: BTreeSet<&str> = registry.keys().map(String::as_str).chain(names(&lives.custody)).collect();
    let sources =
        names.into_iter().map(|name| source(app, &lives.custody, &registry, sealed.as_deref(), name));
    let mut custody = Custody {
        threshold: 0,
        people: Vec::new(),
        people_min: lives.custody.people_min,
        weak_places: Vec::new(),
        refused: String::new(),
        is_held: hold::is_on(app.store.as_ref()).await?,
        sources: sources.collect(),
    };
    if let Some(sealed) = sealed {
        describe(&mut custody, &lives.custody, &registry, &sealed);
    }
    Ok(custody)
}

fn describe(custody: &mut Custody, config: &CustodyConfig, registry: &Registry, sealed: &Sealed) {
    let set = sealed.share_set();
    let people = set.custodians().iter().filter(|holder| !is_source(holder, registry));
    custody.threshold = set.threshold();
    custody.people = people.map(|holder| holder.name.clone()).collect();
    if custody.people.len() < set.custodians().len() {
        custody.weak_places = terms::weak(config, registry, set);
        let judged = terms::judge_set(config, registry, set);
        custody.refused = judged.err().map(|reason| reason.to_string()).unwrap_or_default();
    }
}

fn names(config: &CustodyConfig) -> impl Iterator<Item = &str> {
    config.sources.iter().map(|source| source.name.as_str())
}

fn source(
    app: &App,
    config: &CustodyConfig,
    registry: &Registry,
    sealed: Option<&Sealed>,
    name: &str,
) -> Source {
    let (file, config) = (registry.get(name), config.source(name));
    let set = sealed.map(|sealed| sealed.share_set().set_id());
    let dealt = file.and_then(|file| file.dealt.as_ref());
    Source {
        name: name.to_owned(),
        kind: config.map(|config| config.kind.clone()).unwrap_or_default(),
        place: config.map(|config| config.place.clone()).unwrap_or_default(),
        fingerprint: file.map(|file| file.card().fingerprint().to_string()).unwrap_or_default(),
        holds: dealt.is_some_and(|dealt| Some(dealt.set) == set),
        known: app.sources.journal.of(name),
    }
}

/// Makes keys for a source of the configuration, bound to its device. It holds no share before a reshare
/// deals it one. One that holds a share keeps it: its keys are not replaced.
pub async fn enrol(app: &App, who: &Requester<'_>, name: &str) -> Result<(), OpError> {
    let request = authorise(app, who, "enrol").await?;
    request.record_failure(enrolled(app, &request, name).await).await
}

async fn enrolled(app: &App, request: &Authorised, name: &str) -> Result<(), OpError> {
    let rows = &request.session().rows;
    must_hold_none(app, &registry::read(rows.store()).await?, name)?;
    let deployment = request.session().unsealed().deployment();
    let file = enrolling::enrol(&app.config.lives.now().custody, name, deployment).await?;
    let what = format!("source {name} is enrolled, card {}", file.card().fingerprint());
    request.commit(Object::Named(what), registry::enrolled(rows, &file)?).await
}

/// Sees that a source would give its share, without giving it to anybody.
pub async fn test(app: &App, who: &Requester<'_>, name: &str) -> Result<(), OpError> {
    let request = authorise(app, who, "test").await?;
    request.record_failure(tested(app, name).await).await?;
    request.commit(Object::Named(format!("source {name} opens its share")), Vec::new()).await
}

async fn tested(app: &App, name: &str) -> Result<(), OpError> {
    let View::Open { sealed, session, .. } = app.seal.view() else { return Err(OpError::SEALED) };
    let file = registry::read(session.rows.store()).await?.remove(name).ok_or(SourceRefusal::Unknown)?;
    drop(session);
    let lives = app.config.lives.now();
    let config = lives.custody.source(name).ok_or(SourceRefusal::Unknown)?;
    let share = enrolling::open(config, file, sealed.share_set().clone(), None).await?;
    drop(share);
    Ok(())
}

/// Forgets a source that holds no share.
pub async fn remove(app: &App, who: &Requester<'_>, name: &str) -> Result<(), OpError> {
    let request = authorise(app, who, "remove").await?;
    request.record_failure(removed(app, &request, name).await).await
}

async fn removed(app: &App, request: &Authorised, name: &str) -> Result<(), OpError> {
    let rows = &request.session().rows;
    let registry = registry::read(rows.store()).await?;
    registry.get(name).ok_or(SourceRefusal::Unknown)?;
    must_hold_none(app, &registry, name)?;
    request
        .commit(Object::Named(format!("source {name} is forgotten")), registry::forgotten(rows, name))
        .await
}

fn must_hold_none(app: &App, registry: &Registry, name: &str) -> Result<(), SourceRefusal> {
    let (View::Open { sealed, .. } | View::Sealed { sealed, .. }) = app.seal.view() else { return Ok(()) };
    let holds =
        |holder: &symbolon_proto::share::Custodian| holder.name == name && is_source(holder, registry);
    match sealed.share_set().custodians().iter().any(holds) {
        true => Err(SourceRefusal::Holds { name: name.to_owned() }),
        false => Ok(()),
    }
}

async fn authorise(app: &App, who: &Requester<'_>, what: &str) -> Result<Authorised, OpError> {
    let session = app.fresh_session().await?;
    let route = Route::system(format_args!("symbolon/custody/{what}"));
    Request::begin(&who.of(&session), Action::Ceremony, &route).await?.authorise(Operation::Update).await
}
