//! The Vault dialect: which path means which operation.
//!
//! | Path after `/v1/` | Answered by |
//! |---|---|
//! | `sys/…` | [`sys`] |
//! | `auth/token/…` | [`token`] |
//! | `auth/<mount>/…` | the login method mounted there: [`approle`], [`kubernetes`], [`jwt`] |
//! | anything else | the secrets engine with the longest matching mount: [`kv`] |
//!
//! Handlers parse, call one operation of [`crate::ops`] and encode. Whether the caller may is decided there.

pub mod answer;
pub mod approle;
pub mod envelope;
pub mod error;
pub mod fields;
pub mod jwt;
pub mod kubernetes;
pub mod kv;
pub mod login;
pub mod policy;
pub mod request;
pub mod sys;
pub mod token;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use symbolon_core::path::{ApiPath, RoleName};
use symbolon_core::policy::Operation;

use super::UNAUTHENTICATED;
use crate::access::mounts::Mounts;
use crate::error::OpError;
use crate::ops::{self, App};
use error::{FaceError, VaultError};
use request::{VaultRequest, Verb};

/// What a handler gives: an answer to send, or why there is none.
pub type Answer = Result<Response, VaultError>;

/// Handles everything below `/v1/`.
pub async fn handle(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let raw_path = request.uri().path().strip_prefix("/v1/").unwrap_or("").to_owned();
    let answer = match VaultRequest::read(&raw_path, request).await {
        Ok(mut request) => {
            fold_name(&app, &mut request);
            match route(&app, &request).await {
                Err(VaultError::Face(refusal)) => Err(to_known_callers(&app, &request, refusal).await),
                answer => answer,
            }
        }
        Err(error) => Err(error.into()),
    };
    answer.unwrap_or_else(VaultError::into_response)
}

/// Names of policies and roles fold, so they are folded in the path too: the policy must see the name that the handler
/// sees, or a rule about `role/admin` would not hold for `role/Admin`.
fn fold_name(app: &App, request: &mut VaultRequest) {
    let mounts = app.session().map(|session| session.mounts()).unwrap_or_default();
    if let Some(folded) = folded(&request.path, &mounts) {
        request.path = folded;
    }
}

/// The path with its name of a policy or role folded, if it has one that is not. What is no name stays, and is refused later.
fn folded(path: &ApiPath, mounts: &Mounts) -> Option<ApiPath> {
    let mut segments: Vec<&str> = path.segments().collect();
    let name = match segments.as_slice() {
        ["sys", "policies", "acl", _] => 3,
        ["sys", "policy", _] => 2,
        ["auth", ..] => {
            let (mount, rest) = mounts.login(path)?;
            rest.strip_prefix("role/")?;
            mount.path.as_str().split('/').count() + 2
        }
        _ => return None,
    };
    let folded = RoleName::parse(segments.get(name)?).ok()?;
    if folded.as_str() == segments[name] {
        return None;
    }
    segments[name] = folded.as_str();
    let slash = if path.is_list_form() { "/" } else { "" };
    ApiPath::from_decoded(&format!("{}{slash}", segments.join("/"))).ok()
}

/// What the dialect refuses depends on what is mounted where, so only callers with rights there learn it. Routes that
/// answer without a token, and brokers without keys, have nothing to hide.
async fn to_known_callers(app: &App, request: &VaultRequest, refusal: FaceError) -> VaultError {
    if is_unauthenticated(request.path.as_str()) || app.session().is_err() {
        return refusal.into();
    }
    match ops::unrouted::refused(app, &request.requester(), &request.path).await {
        Ok(()) => refusal.into(),
        Err(denied) => denied.into(),
    }
}

/// Whether some verb of this path answers without a token.
fn is_unauthenticated(path: &str) -> bool {
    let below_v1 = UNAUTHENTICATED.iter().filter_map(|(_, open)| open.strip_prefix("/v1/"));
    below_v1.into_iter().any(|open| match open.split_once("{mount}") {
        None => path == open,
        Some((before, after)) => path
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|mount| !mount.is_empty()),
    })
}

async fn route(app: &App, request: &VaultRequest) -> Answer {
    let segments: Vec<&str> = request.path.segments().collect();
    match segments.as_slice() {
        ["sys", rest @ ..] => sys::route(app, request, rest).await,
        ["auth", "token", rest @ ..] => token::route(app, request, rest).await,
        ["auth", ..] => login_method(app, request).await,
        _ => secrets_engine(app, request).await,
    }
}

async fn login_method(app: &App, request: &VaultRequest) -> Answer {
    let mounts = app.session()?.mounts();
    let Some((mount, rest)) = mounts.login(&request.path) else { return unrouted(app, request).await };
    let rest: Vec<&str> = rest.split('/').collect();
    match mount.kind.as_str() {
        "approle" => approle::route(app, request, mount, &rest).await,
        "kubernetes" => kubernetes::route(app, request, mount, &rest).await,
        "jwt" => jwt::route(app, request, mount, &rest).await,
        _ => unrouted(app, request).await,
    }
}

async fn secrets_engine(app: &App, request: &VaultRequest) -> Answer {
    let mounts = app.session()?.mounts();
    match mounts.secret(&request.path) {
        Some((mount, rest)) if mount.kind == "kv" => kv::route(app, request, mount, rest).await,
        _ => unrouted(app, request).await,
    }
}

/// No such route: said only to those whom a policy lets ask there, because 404 makes clients delete what they hold.
pub async fn unrouted(app: &App, request: &VaultRequest) -> Answer {
    let operation = match request.verb {
        Verb::Read => Operation::Read,
        Verb::List => Operation::List,
        Verb::Write => Operation::Update,
        Verb::Delete => Operation::Delete,
        Verb::Patch => Operation::Patch,
    };
    let never = ops::unrouted::unrouted(app, &request.requester(), &request.path, operation).await;
    Err(never.err().unwrap_or(OpError::NO_ROUTE).into())
}

/// The route exists, but not for this verb.
fn unsupported() -> Answer {
    Err(FaceError::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::path::MountPath;

    use super::*;
    use crate::access::mounts::MountList;
    use crate::ops::mount::{Enable, new_mount};

    #[test]
    fn policies_see_the_name_that_handlers_see() {
        let spec = Enable {
            kind: "approle".to_owned(),
            description: String::new(),
            options: Default::default(),
            default_ttl_secs: 0,
            max_ttl_secs: 0,
        };
        let login = new_mount(MountPath::parse("Team/approle").unwrap(), spec);
        let mounts = Mounts { secrets: MountList::default(), logins: MountList(vec![login]) };
        let folded = |path: &str| folded(&ApiPath::parse(path).unwrap(), &mounts);
        for (asked, meant) in [
            ("sys/policies/acl/Admin", "sys/policies/acl/admin"),
            ("sys/policy/%20ADMIN", "sys/policy/admin"),
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
}
