//! Evidence of somebody else: tokens of Kubernetes and OIDC issuers, verified with the keys of a mount.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use symbolon_core::identity::VerifiedIdentity;
use symbolon_core::identity::jwt::{self as core_jwt, JwtError, SignedJwt};
use symbolon_core::identity::keys::{KeySet, KeySetError};
use symbolon_core::oauth::{Granted, OAuthError, TokenRequest, WorkloadRule, evidence_is_for};
use symbolon_core::path::{MountPath, RoleName};
use symbolon_core::token::TokenKind;
use symbolon_core::token::ttl::TtlLimits;

use super::jwks::{LoginKeys, Source};
use super::roles::{CONFIGS, ROLES, Role, find_role};
use super::{Method, Route};
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::access::{Asker, Session};
use crate::error::{OpError, Text};
use crate::fetch;

/// The keys of an issuer cannot be fetched.
pub(super) const ISSUER_KEYS: OpError = OpError::Unavailable(Text::fixed(
    "the issuer's keys cannot be fetched; an operator must check the configuration of this login mount",
));

/// Nobody has said yet whose tokens are good.
pub(super) const UNCONFIGURED: OpError = OpError::refused(
    "could not load configuration: an operator must write the configuration of this login mount first",
);

/// Whom a login mount recognises, and what workloads of the role that admits him may ask for.
pub struct Admitted {
    /// The login mount.
    pub mount: MountPath,
    /// Who it is.
    pub identity: VerifiedIdentity,
    limits: TtlLimits,
    rule: WorkloadRule,
}

impl Admitted {
    pub(super) fn new(mount: &Mount, identity: VerifiedIdentity, rule: &WorkloadRule) -> Self {
        Self { mount: mount.path.clone(), identity, limits: mount.ttl_limits(), rule: rule.clone() }
    }

    /// What a request gets, by the rule and within the bounds of the role.
    pub(super) fn grant(&self, request: &TokenRequest, now_secs: u64) -> Result<Granted, OAuthError> {
        self.rule.grant(request, &self.identity, self.limits, now_secs)
    }
}

/// The descriptor of a method whose roles admit the evidence of an issuer.
pub(super) const fn method(kind: &'static str, route: Route, recognise: Recognise) -> Method {
    let facts = Facts {
        kind,
        builtin: None,
        tables: &[CONFIGS, ROLES],
        sudo: &[],
        folds: &["role/+", "role/+/*"],
        open: &[("PUT", "login")],
        first_rows: None,
    };
    let usual = TokenKind::Batch;
    Method { facts, usual, enable: |_| Ok(()), route, recognise: Some(recognise), endings: &[] }
}

/// Evidence that came to the token endpoint.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The JWT.
    pub(super) jwt: &'a str,
    /// For whom it must be made: this broker.
    pub(super) issuer: &'a str,
    /// From where it came.
    pub(super) remote: Option<IpAddr>,
}

/// What a mount recognises in evidence: one entry for each of its roles that admits it. Nobody has shown
/// anything yet when it is asked, so it costs one signature and no role until that is good.
pub type Recognise = for<'a> fn(&'a Session, &'a Mount, Presented<'a>) -> Recognising<'a>;

/// The same on its way.
pub type Recognising<'a> = Pin<Box<dyn Future<Output = Result<Vec<Admitted>, OpError>> + Send + 'a>>;

/// Whether evidence was made for this issuer.
fn is_for(jwt: &SignedJwt, issuer: &str) -> bool {
    evidence_is_for(jwt.audiences(), issuer).is_ok()
}

/// Finds the mount and role that admit evidence made for this issuer and allow the audience asked for.
/// Without such an audience the first that admits, so that the answer can say what is wrong.
pub(crate) async fn identify(
    who: &Asker<'_>,
    issuer: &str,
    request: &TokenRequest,
) -> Result<Option<Admitted>, OpError> {
    let session: &Session = who.session;
    let presented = Presented { jwt: request.evidence(), issuer, remote: who.requester.remote };
    let mut recognised = None;
    for mount in &session.mounts().logins.0 {
        let Some(recognise) = super::method_of(mount).and_then(|method| method.recognise) else { continue };
        for admitted in recognise(session, mount, presented).await? {
            if admitted.grant(request, session.now().unix_secs()).is_ok() {
                return Ok(Some(admitted));
            }
            recognised.get_or_insert(admitted);
        }
    }
    Ok(recognised)
}

pub(super) async fn named_role<R: Role>(
    session: &Session,
    mount: &Mount,
    name: &str,
) -> Result<Option<R>, OpError> {
    let Ok(name) = RoleName::parse(name) else { return Ok(None) };
    Ok(find_role::<R>(session, mount, &name).await?.map(|(role, _)| role))
}

pub(super) enum Refused {
    Evidence(JwtError),
    Keys(crate::auth::jwks::KeysError),
}

/// Where the keys of a mount come from, and with which algorithms they may be used; none names all.
pub(super) struct Trust<'a> {
    pub(super) source: Source,
    pub(super) algorithms: &'a [String],
}

/// Verifies the signature with the keys at hand; a token signed with an unknown key may cause one fetch, at a
/// bounded rate. Which times are good is for the role to judge, as often as there are roles.
pub(super) async fn verify(
    session: &Session,
    mount: &Mount,
    trust: &Trust<'_>,
    jwt: &str,
) -> Result<SignedJwt, Refused> {
    let (now, login_keys) = (session.now(), session.of::<LoginKeys>());
    let keys = login_keys.current(mount.id, &trust.source, now).await.map_err(Refused::Keys)?;
    match core_jwt::signed(jwt, &keys, trust.algorithms) {
        Err(JwtError::UnknownKey) => {
            let keys: Arc<KeySet> =
                login_keys.refreshed(mount.id, &trust.source, now).await.map_err(Refused::Keys)?;
            core_jwt::signed(jwt, &keys, trust.algorithms).map_err(Refused::Evidence)
        }
        result => result.map_err(Refused::Evidence),
    }
}

/// Evidence whose signature is good for this mount and which was made for this issuer; `None` if it is
/// nothing that any role of it could admit.
pub(super) async fn verified_for(
    session: &Session,
    mount: &Mount,
    trust: &Trust<'_>,
    Presented { jwt, issuer, .. }: Presented<'_>,
) -> Option<SignedJwt> {
    verify(session, mount, trust, jwt).await.ok().filter(|jwt| is_for(jwt, issuer))
}

/// Keys that do not parse are refused when they are configured, not at the first login.
pub(super) fn check_source(source: &Source) -> Result<(), OpError> {
    match source {
        Source::Configured { .. } => source.parse().map(drop).map_err(|error: KeySetError| error.into()),
        Source::Jwks { url, .. }
        | Source::Cluster { host: url, .. }
        | Source::Discovery { issuer: url, .. }
            if url.starts_with("https://") =>
        {
            Ok(())
        }
        _ => Err(OpError::invalid("keys must come as PEM, as a JWK set, or from an https:// address")),
    }
}

/// An authority that is none is refused then, too, whether or not anything is fetched.
pub(super) fn check_authority(ca_pem: &str) -> Result<(), OpError> {
    fetch::check_authority(ca_pem).map_err(|error| OpError::Invalid(Text::of(&error)))
}

impl From<KeySetError> for OpError {
    fn from(error: KeySetError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

#[cfg(test)]
mod tests;
