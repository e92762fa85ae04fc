//! What is done with wrapped answers: looked up, opened, wrapped anew.

use std::convert::Infallible;

use symbolon_core::audit::{Action, Draft, Outcome, SecretValue};
use symbolon_core::policy::Operation;
use symbolon_proto::Zeroizing;
use symbolon_proto::source::Source;

use super::held::Held;
use super::stored::{self, Found, GONE, Origin, Wrapping};
use crate::access::{Asker, Authorised, Object, Request, Route, describe, payer};
use crate::error::{OpError, Text};
use crate::rows::NO_SCOPE;

/// A wrapping token, and whether it is also the token of the request.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) token: &'a str,
    pub(super) own: bool,
}

/// The facts, for whoever has the token. Needs no other leave and spends nothing.
pub(super) async fn lookup(who: &Asker<'_>, token: &str) -> Result<Wrapping, OpError> {
    let session = who.session;
    let found = stored::find(session, token, who.requester.remote).await;
    let mut detail = describe(session, &who.requester, &Route::system("wrapping/lookup").path_for(who)?);
    let outcome = match &found {
        Ok(found) => {
            detail.object = found.facts.name();
            Outcome::Allowed
        }
        Err(error) => {
            error.reason().clone_into(&mut detail.reason);
            if *error == GONE { Outcome::Denied } else { Outcome::Failed }
        }
    };
    let draft = Draft { action: Action::TokenLookup, outcome, detail };
    match found {
        Ok(found) => session.record(draft).await.map(|()| found.facts),
        Err(error) => {
            session.record_stranger(who.requester.remote, draft).await?;
            Err(error)
        }
    }
}

/// The answer as it was, once.
pub(super) async fn unwrap(who: &Asker<'_>, named: Named<'_>) -> Result<Zeroizing<Vec<u8>>, OpError> {
    let request = begin_unwrap(who, named).await?;
    let session = request.session();
    let found = stored::find(session, named.token, who.requester.remote).await;
    let found = request.record_failure(found).await?;
    let answer = request.record_failure(open(who, &request, named, &found).await).await?;
    let object = Object::Named(found.facts.name());
    match request.commit_for_disclosure(object, found.removal(session)).await {
        Ok(receipt) => {
            session.of::<Held>().remove(found.facts.bytes);
            Ok(answer.disclose(receipt))
        }
        Err(error) => lost(&request, who, named, error).await.map(|never| match never {}),
    }
}

/// The same answer under a new token, with its origin and its lifetime; the old token dies.
pub(super) async fn rewrap(
    who: &Asker<'_>,
    named: Named<'_>,
) -> Result<(Zeroizing<String>, Wrapping), OpError> {
    let request = begin_rewrap(who, named).await?;
    let session = request.session();
    let found = stored::find(session, named.token, who.requester.remote).await;
    let found = request.record_failure(found).await?;
    let _pass = session.keys.pass().await;
    let made = request.record_failure(again(who, &request, named, &found).await).await?;
    let object = Object::Named(format!("{}, before that {}", made.facts.name(), found.facts.accessor));
    let mut changes = found.removal(session);
    changes.extend(made.changes);
    match request.commit_for_disclosure(object, changes).await {
        Ok(receipt) => Ok((made.token.disclose(receipt), made.facts)),
        Err(error) => lost(&request, who, named, error).await.map(|never| match never {}),
    }
}

/// Opens an answer on the account of the caller. A wrapping token that is its own leave is nobody's account:
/// there the source of the request counts.
async fn open(
    who: &Asker<'_>,
    request: &Authorised,
    named: Named<'_>,
    found: &Found,
) -> Result<SecretValue, OpError> {
    let session = request.session();
    let payer = match named.own {
        true => payer::of_source(session, Source::of(who.requester.remote), NO_SCOPE),
        false => request.payer(NO_SCOPE).await?,
    };
    stored::open(session, found, payer).await
}

async fn again(
    who: &Asker<'_>,
    request: &Authorised,
    named: Named<'_>,
    found: &Found,
) -> Result<stored::Made, OpError> {
    let session = request.session();
    let facts = &found.facts;
    let origin = Origin {
        creation_path: &facts.creation_path,
        ttl_secs: facts.ttl_secs,
        wrapped_accessor: &facts.wrapped_accessor,
    };
    let answer = open(who, request, named, found).await?;
    let kept = answer.transform(|answer| Zeroizing::new(answer.to_vec()));
    stored::make(session, &kept, origin).await
}

/// The token beside the wrapping token: whoever reads "permission denied" would give the wrong one up.
const OWN_TOKEN: OpError = OpError::Unauthenticated(Text::fixed(
    "permission denied: the token of this request is not valid, and the wrapping token has not been used; unwrap with another token of your own, or with none",
));

/// A wrapping token is its own leave to unwrap, and not spent here: the commit of the unwrap ends it.
async fn begin_unwrap(who: &Asker<'_>, named: Named<'_>) -> Result<Authorised, OpError> {
    let route = Route::system("wrapping/unwrap");
    if !named.own {
        return match Request::begin(who, Action::Other, &route).await {
            Err(OpError::Unauthenticated(_)) => Err(OWN_TOKEN),
            begun => begun?.authorise(Operation::Update).await,
        };
    }
    let mut own = *who;
    own.requester.token = Some(named.token);
    match Request::begin_unspent(&own, Action::Other, &route).await {
        Err(OpError::Unauthenticated(_)) => Err(GONE), // its entry is written
        begun => begun?.authorise(Operation::Update).await,
    }
}

/// To wrap anew needs a caller who may. A wrapping token may not, and learns it without being spent.
async fn begin_rewrap(who: &Asker<'_>, named: Named<'_>) -> Result<Authorised, OpError> {
    let route = Route::system("wrapping/rewrap");
    let request = match named.own {
        true => Request::begin_unspent(who, Action::Other, &route).await?,
        false => Request::begin(who, Action::Other, &route).await?,
    };
    request.authorise(Operation::Update).await
}

/// A commit that did not happen because the token's row was another by then. If there is none, somebody else
/// came with the same token; if there is one, its keys were rolled meanwhile, and it is as good as before.
async fn lost(
    request: &Authorised,
    who: &Asker<'_>,
    named: Named<'_>,
    error: OpError,
) -> Result<Infallible, OpError> {
    let OpError::Conflict(_) = error else { return Err(error) };
    let found = stored::find(who.session, named.token, who.requester.remote).await;
    request.record_failure(Err(found.err().unwrap_or(OpError::BUSY))).await
}
