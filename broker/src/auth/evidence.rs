//! Logins with a token of somebody else: a Kubernetes cluster or an OIDC issuer.

use std::sync::Arc;

use symbolon_core::identity::VerifiedIdentity;
use symbolon_core::identity::jwt::{self as core_jwt, JwtError, JwtRules, VerifiedJwt};
use symbolon_core::identity::jwt_role::{JwtConfig, JwtConfigError, JwtRefusal, JwtRole, JwtRoleError};
use symbolon_core::identity::keys::{KeySet, KeySetError};
use symbolon_core::identity::kubernetes::{
    self as core_kubernetes, KubernetesConfig, KubernetesRefusal, KubernetesRole, KubernetesRoleError,
};
use symbolon_core::oauth::{TokenRequest, WorkloadRule, evidence_is_for};
use symbolon_core::path::{ApiPath, MountPath, RoleName};
use symbolon_core::token::TokenKind;

use super::jwks::Source;
use super::token::IssuedToken;
use super::{Login, config_place, find_config, find_role};
use crate::access::Requester;
use crate::access::mounts::Mount;
use crate::access::session::Session;
use crate::error::{OpError, Text};
use crate::ops::App;
use crate::rows::Table;

/// The keys of an issuer cannot be fetched.
const ISSUER_KEYS: OpError = OpError::Unavailable(Text::fixed(
    "the issuer's keys cannot be fetched; an operator must check the configuration of this login mount",
));

/// Logs a service account in.
pub async fn kubernetes(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
    role: &str,
    jwt: &str,
) -> Result<IssuedToken, OpError> {
    let session = app.session()?;
    let login = Login::begin(&session, who, api, mount, role);
    let config: KubernetesConfig = find_config(&session, mount).await?;
    let Some(role) = named_role::<KubernetesRole>(&session, mount, role).await? else {
        return login.refuse("unknown role".to_owned(), OpError::refused("invalid role name")).await;
    };
    let forbidden = OpError::BAD_TOKEN; // 403 `permission denied`, as Vault: one answer for every reason
    let verified = verify(&session, mount, &kubernetes_source(&config), &config.rules(), jwt).await;
    let admitted = match verified {
        Ok(verified) => role.admit(&config, &verified, session.now().unix_secs()),
        Err(Refused::Evidence(error)) => Err(KubernetesRefusal::Jwt(error)),
        Err(Refused::Keys(error)) => return login.refuse(error.to_string(), ISSUER_KEYS).await,
    };
    match admitted {
        Ok(identity) => login.admit(&identity, Vec::new(), TokenKind::Batch).await,
        Err(refusal) => login.refuse(refusal.to_string(), forbidden).await,
    }
}

/// Logs in with a JWT of an OIDC issuer.
pub async fn jwt(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    mount: &Mount,
    role: &str,
    jwt: &str,
) -> Result<IssuedToken, OpError> {
    let session = app.session()?;
    let config: JwtConfig = find_config(&session, mount).await?;
    let role = if role.is_empty() { config.default_role.as_str() } else { role };
    let login = Login::begin(&session, who, api, mount, role);
    let Some(role) = named_role::<JwtRole>(&session, mount, role).await? else {
        return login.refuse("unknown role".to_owned(), OpError::refused("role could not be found")).await;
    };
    let verified = verify(&session, mount, &jwt_source(&config), &role.rules(&config), jwt).await;
    let admitted = match verified {
        Ok(verified) => role.admit(&config, &verified),
        Err(Refused::Evidence(error)) => Err(JwtRefusal::Jwt(error)),
        Err(Refused::Keys(error)) => return login.refuse(error.to_string(), ISSUER_KEYS).await,
    };
    match admitted {
        Ok(identity) => login.admit(&identity, Vec::new(), TokenKind::Batch).await,
        Err(refusal) => login.refuse(refusal.to_string(), refusal.into()).await,
    }
}

/// Whom a login mount recognises, and what workloads of the role that admits him may ask for.
pub(crate) struct Admitted {
    pub mount: MountPath,
    pub identity: VerifiedIdentity,
    pub rule: WorkloadRule,
}

/// Finds the mount and role that admit evidence made for this issuer and allow the audience asked for. Without such an
/// audience the first that admits, so that the answer can say what is wrong.
pub(crate) async fn identify(
    session: &Session,
    issuer: &str,
    request: &TokenRequest,
) -> Result<Option<Admitted>, OpError> {
    let mut recognised = None;
    for mount in &session.mounts().logins.0 {
        for admitted in admitted_by(session, mount, issuer, request.evidence()).await? {
            if admitted.rule.grant(request).is_ok() {
                return Ok(Some(admitted));
            }
            recognised.get_or_insert(admitted);
        }
    }
    Ok(recognised)
}

async fn admitted_by(
    session: &Session,
    mount: &Mount,
    issuer: &str,
    jwt: &str,
) -> Result<Vec<Admitted>, OpError> {
    let admitted =
        |identity, rule: &WorkloadRule| Admitted { mount: mount.path.clone(), identity, rule: rule.clone() };
    let is_ours = |jwt: &VerifiedJwt| evidence_is_for(jwt.audiences(), issuer).is_ok();
    let group = config_place(mount).in_table(Table::LoginRole);
    let mut found = Vec::new();
    match mount.kind.as_str() {
        "kubernetes" => {
            let config: KubernetesConfig = find_config(session, mount).await?;
            let verified = verify(session, mount, &kubernetes_source(&config), &config.rules(), jwt).await;
            let Some(jwt) = verified.ok().filter(is_ours) else { return Ok(found) };
            for (role, _) in session.rows.list::<KubernetesRole>(group).await? {
                let identity = role.admit(&config, &jwt, session.now().unix_secs());
                found.extend(identity.ok().map(|identity| admitted(identity, &role.workload)));
            }
        }
        "jwt" => {
            let config: JwtConfig = find_config(session, mount).await?;
            for (role, _) in session.rows.list::<JwtRole>(group).await? {
                let verified = verify(session, mount, &jwt_source(&config), &role.rules(&config), jwt).await;
                let Some(jwt) = verified.ok().filter(is_ours) else { continue };
                found.extend(
                    role.admit(&config, &jwt).ok().map(|identity| admitted(identity, &role.workload)),
                );
            }
        }
        _ => {}
    }
    Ok(found)
}

async fn named_role<R: super::Role>(
    session: &Session,
    mount: &Mount,
    name: &str,
) -> Result<Option<R>, OpError> {
    let Ok(name) = RoleName::parse(name) else { return Ok(None) };
    Ok(find_role::<R>(session, mount, &name).await?.map(|(role, _)| role))
}

enum Refused {
    Evidence(JwtError),
    Keys(crate::auth::jwks::FetchError),
}

/// Verifies with the keys at hand; a token signed with an unknown key may cause one fetch, at a bounded rate.
async fn verify(
    session: &Session,
    mount: &Mount,
    source: &Source,
    rules: &JwtRules,
    jwt: &str,
) -> Result<VerifiedJwt, Refused> {
    let now = session.now();
    let keys = session.login_keys.current(mount.id, source, now).await.map_err(Refused::Keys)?;
    match core_jwt::verify(jwt, &keys, rules, now.unix_secs()) {
        Err(JwtError::UnknownKey) => {
            let keys: Arc<KeySet> =
                session.login_keys.refreshed(mount.id, source, now).await.map_err(Refused::Keys)?;
            core_jwt::verify(jwt, &keys, rules, now.unix_secs()).map_err(Refused::Evidence)
        }
        result => result.map_err(Refused::Evidence),
    }
}

fn kubernetes_source(config: &KubernetesConfig) -> Source {
    if config.pem_keys.is_empty() && config.jwks.is_empty() {
        let url = format!("{}/openid/v1/jwks", config.kubernetes_host.trim_end_matches('/'));
        return Source::Jwks { url, ca_pem: config.kubernetes_ca_cert.clone() };
    }
    Source::Configured { pem: config.pem_keys.clone(), jwks: config.jwks.clone() }
}

fn jwt_source(config: &JwtConfig) -> Source {
    if !config.jwks_url.is_empty() {
        return Source::Jwks { url: config.jwks_url.clone(), ca_pem: config.jwks_ca_pem.clone() };
    }
    if !config.oidc_discovery_url.is_empty() {
        let issuer = config.oidc_discovery_url.clone();
        return Source::Discovery { issuer, ca_pem: config.oidc_discovery_ca_pem.clone() };
    }
    Source::Configured { pem: config.jwt_validation_pubkeys.clone(), jwks: config.jwks.clone() }
}

pub(super) fn check_kubernetes(config: &KubernetesConfig) -> Result<(), OpError> {
    check_source(&kubernetes_source(config))
}

pub(super) fn check_jwt(config: &JwtConfig) -> Result<(), OpError> {
    config.check()?;
    check_source(&jwt_source(config))
}

/// Keys that do not parse are refused when they are configured, not at the first login.
fn check_source(source: &Source) -> Result<(), OpError> {
    match source {
        Source::Configured { .. } => source.parse().map(drop).map_err(|error: KeySetError| error.into()),
        Source::Jwks { url, .. } | Source::Discovery { issuer: url, .. } if url.starts_with("https://") => {
            Ok(())
        }
        _ => Err(OpError::invalid("keys must come as PEM, as a JWK set, or from an https:// address")),
    }
}

/// The text for every refused service account, for faces.
pub const KUBERNETES_REFUSED: &str = core_kubernetes::REFUSED;

impl From<JwtRefusal> for OpError {
    fn from(error: JwtRefusal) -> Self {
        Self::Refused(Text::of(&error))
    }
}

impl From<KeySetError> for OpError {
    fn from(error: KeySetError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<KubernetesRoleError> for OpError {
    fn from(error: KubernetesRoleError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<JwtConfigError> for OpError {
    fn from(error: JwtConfigError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<JwtRoleError> for OpError {
    fn from(error: JwtRoleError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
