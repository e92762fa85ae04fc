//! The Vault dialect over HTTP: which path means which engine, method or part of the system.
//!
//! | Path after `/v1/` | Answered by |
//! |---|---|
//! | `sys/…` | [`sys`] |
//! | `auth/<mount>/…` | the login method mounted there ([`crate::auth::METHODS`]) |
//! | anything else | the secrets engine with the longest matching mount ([`crate::engines::ENGINES`]) |
//!
//! Whether the caller may is decided by the operation that the answer comes from, not here.

pub mod http;
pub(super) mod intake;
pub mod policy;
pub mod sys;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use symbolon_core::path::{ApiPath, PolicyName, RoleName};

use crate::access::mounts::Mounts;
use crate::access::shape::{Folding, Shape};
use crate::access::{self, Session};
use crate::auth::method_of;
use crate::custody::App;
use crate::dialect::vault::{Answer, Answering, Call, FaceError, VaultError, VaultRequest};
use crate::engines::engine_of;
use crate::faces::server::Ticket;
use crate::wrapping;
use intake::Incoming;

/// Handles everything below `/v1/`.
pub async fn handle(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let ticket = request.extensions().get::<Arc<Ticket>>().cloned();
    let answer = match Incoming::parse(request) {
        Ok(incoming) => whole(&app, incoming, ticket.as_deref()).await,
        Err(error) => Err(error.into()),
    };
    http::response(answer.unwrap_or_else(VaultError::into_reply))
}

async fn whole(app: &App, incoming: Incoming, ticket: Option<&Ticket>) -> Answer {
    answer(app, incoming.whole(app).await?, ticket).await
}

/// The one session that this request sees is taken here. Routes that open or close the broker hold none,
/// because closing waits for everybody who does.
async fn answer(app: &App, mut request: VaultRequest, ticket: Option<&Ticket>) -> Answer {
    let session = app.session();
    let is_lifecycle = sys::lifecycle::is_one(&request);
    if let (Ok(session), false) = (&session, is_lifecycle) {
        session.refresh().await?;
    }
    let mounts = session.as_ref().map(|session| session.mounts()).unwrap_or_default();
    if let Some(folded) = folded(&app.shape, &mounts, &request.path) {
        request.path = folded;
    }
    let is_open = app.shape.is_open(&mounts, &request.path);
    let answer = if is_lifecycle {
        drop(session);
        match request.wrap_ttl_secs {
            0 => Box::pin(sys::lifecycle::route(app, &request)).await,
            _ => Err(FaceError::Wrapping.into()), // these answers are no envelopes, and there may be no keys
        }
    } else {
        in_session(&session?, &request, &mounts).await
    };
    // Nothing that was asked is dropped silently, whichever route it was that does not know it.
    let answer = answer.map(|reply| {
        reply.warned(&request.request_id, mount_type(&mounts, &request.path), request.fields.warnings())
    });
    // Whoever was allowed something is apart from strangers from now on.
    if let (Ok(_), false, Some(ticket)) = (&answer, is_open, ticket) {
        ticket.make_known();
    }
    match answer {
        Err(VaultError::Face(refusal)) if !is_open => {
            Err(Box::pin(to_known_callers(app, &request, refusal)).await)
        }
        answer => answer,
    }
}

/// What the dialect refuses depends on what is mounted where, so only callers with rights there learn it.
/// Routes that answer without a token, and brokers without keys, have nothing to hide.
pub(super) async fn to_known_callers(app: &App, request: &VaultRequest, refusal: FaceError) -> VaultError {
    let Ok(session) = app.session() else { return refusal.into() };
    match access::malformed(&request.requester().of(&session), &request.path).await {
        Ok(()) => refusal.into(),
        Err(denied) => denied.into(),
    }
}

async fn in_session(session: &Arc<Session>, request: &VaultRequest, mounts: &Mounts) -> Answer {
    let call = Call { session, request };
    wrapping::around(call, routed(call, mounts)).await
}

/// Each kind of answer has memory of its own: one that is rare and large would otherwise be allocated, moved
/// and wiped with every read.
fn routed<'a>(call: Call<'a>, mounts: &'a Mounts) -> Answering<'a> {
    let path = &call.request.path;
    let first = path.segments().next();
    let found = match first {
        Some("sys") => return Box::pin(system(call)),
        Some("auth") => mounts
            .login(path)
            .and_then(|(mount, rest)| method_of(mount).map(|method| (method.route)(call, mount, rest))),
        _ => mounts
            .secret(path)
            .and_then(|(mount, rest)| engine_of(mount).map(|engine| (engine.route)(call, mount, rest))),
    };
    found.unwrap_or_else(|| Box::pin(async move { Err(call.unrouted().await) }))
}

async fn system(call: Call<'_>) -> Answer {
    let segments: Vec<&str> = call.request.path.segments().skip(1).collect();
    sys::route(call, &segments).await
}

/// What an answer names as the kind of its mount.
fn mount_type(mounts: &Mounts, path: &ApiPath) -> &'static str {
    let login = mounts.login(path).and_then(|(mount, _)| Some(method_of(mount)?.facts.kind));
    let engine = || mounts.secret(path).and_then(|(mount, _)| Some(engine_of(mount)?.facts.kind));
    login.or_else(engine).unwrap_or("system")
}

/// The path with its name of a policy or role folded, if it has one that is not: the policy must see the name
/// that the handler sees, or a rule about `role/admin` would not hold for `role/Admin`. What is no name
/// stays, and is refused later.
fn folded(shape: &Shape, mounts: &Mounts, path: &ApiPath) -> Option<ApiPath> {
    let Folding { before, name, after, has_parts } = shape.folding(mounts, path)?;
    let folded = match has_parts {
        true => PolicyName::parse(name).ok()?.to_string(),
        false => RoleName::parse(name).ok()?.to_string(),
    };
    let slash = if path.is_list_form() { "/" } else { "" };
    let meant = ApiPath::from_decoded(&format!("{before}{folded}{after}{slash}")).ok()?;
    (meant != *path).then_some(meant)
}

/// No such route, for parts of the system that hold no session.
async fn unrouted(app: &App, request: &VaultRequest) -> Answer {
    let session = app.session()?;
    Err(Call { session: &session, request }.unrouted().await)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::path::MountPath;

    use super::*;
    use crate::access::mounts::{Enable, MountList, new_mount};
    use crate::ops;

    #[test]
    fn policies_see_the_name_that_handlers_see() {
        let spec = Enable { kind: "approle".to_owned(), ..Enable::default() };
        let login = new_mount(MountPath::parse("Team/approle").unwrap(), spec);
        let mounts = Mounts { secrets: MountList::default(), logins: MountList(vec![login]) };
        let folded = |path: &str| folded(&ops::shape(), &mounts, &ApiPath::parse(path).unwrap());
        for (asked, meant) in [
            ("sys/policies/acl/Admin", "sys/policies/acl/admin"),
            ("sys/policy/%20ADMIN", "sys/policy/admin"),
            ("sys/policies/acl/Team/Sub/READERS", "sys/policies/acl/team/sub/readers"),
            ("sys/policy%2FTeam%2FReaders", "sys/policy/team/readers"),
            ("auth/Team/approle/role/CI/secret-id/lookup", "auth/Team/approle/role/ci/secret-id/lookup"),
            ("auth/Team/approle/role/CI/secret-id/", "auth/Team/approle/role/ci/secret-id/"),
        ] {
            assert_eq!(folded(asked), Some(ApiPath::parse(meant).unwrap()), "{asked}");
            assert_eq!(folded(meant), None);
        }
        for other in
            ["secret/data/Admin", "sys/mounts/Admin", "auth/Other/role/CI", "auth/Team/approle/Role/CI"]
        {
            assert_eq!(folded(other), None, "{other}");
        }
    }

    /// Bytes of what a request holds while it waits.
    fn bytes_held<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// It is allocated, moved and wiped with every request, however rare its largest part is.
    #[test]
    fn a_request_that_waits_is_small() {
        let held = bytes_held(handle);
        assert!(held <= 6 * 1024, "{held} bytes: give what is rare and large memory of its own (`Box::pin`)");
    }
}
