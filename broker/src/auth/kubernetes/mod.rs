//! Logins of Kubernetes service accounts.

use std::net::IpAddr;

use symbolon_core::identity::VerifiedIdentity;
use symbolon_core::identity::jwt::SignedJwt;
use symbolon_core::identity::kubernetes::{
    KubernetesConfig, KubernetesRefusal, KubernetesRole, KubernetesRoleError,
};
use symbolon_core::identity::leeway::LeewayError;

use super::Method;
use super::evidence::{
    Admitted, ISSUER_KEYS, Presented, Recognising, Refused, Trust, UNCONFIGURED, check_authority,
    check_source, method, named_role, verified_for, verify,
};
use super::jwks::Source;
use super::login::{Claim, Login};
use super::roles::{Config, ROLES, Role, config_place, find_config};
use crate::access::mounts::Mount;
use crate::access::tokens::IssuedToken;
use crate::access::{Asker, Session};
use crate::dialect::vault::{Answering, Call};
use crate::error::{OpError, Text};

mod route;

/// The descriptor.
pub static METHOD: Method = method("kubernetes", answer, recognise);

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route::route(call, mount, rest))
}

fn recognise<'a>(session: &'a Session, mount: &'a Mount, presented: Presented<'a>) -> Recognising<'a> {
    Box::pin(recognised(session, mount, presented))
}

impl Config for KubernetesConfig {
    fn check(&self) -> Result<(), OpError> {
        Self::check(self)?;
        check_authority(&self.kubernetes_ca_cert)?;
        check_source(&source(self))
    }

    fn source(&self) -> Source {
        source(self)
    }
}

impl Role for KubernetesRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }

    async fn warnings(&self, session: &Session, mount: &Mount) -> Result<Vec<String>, OpError> {
        let config: KubernetesConfig = find_config(session, mount).await?.unwrap_or_default();
        Ok(self.warnings(&config).into_iter().map(str::to_owned).collect())
    }
}

/// Logs a service account in.
pub async fn log_in(who: &Asker<'_>, mount: &Mount, role: &str, jwt: &str) -> Result<IssuedToken, OpError> {
    let session: &Session = who.session;
    let login = Login::begin(session, who, mount, "login", Claim::Role(role))?;
    let Some(config) = find_config::<KubernetesConfig>(session, mount).await? else {
        return login.refuse("the mount is not configured".to_owned(), UNCONFIGURED).await;
    };
    let Some(role) = named_role::<KubernetesRole>(session, mount, role).await? else {
        return login.refuse("unknown role".to_owned(), OpError::refused("invalid role name")).await;
    };
    let admitted = match verify(session, mount, &trust(&config), jwt).await {
        Ok(signed) => admitted(&role, &config, &signed, who.requester.remote, session.now().unix_secs()),
        Err(Refused::Evidence(error)) => Err(KubernetesRefusal::Jwt(error)),
        Err(Refused::Keys(error)) => return login.refuse(error.to_string(), ISSUER_KEYS).await,
    };
    match admitted {
        Ok(identity) => login.admit(&identity, Vec::new()).await,
        Err(refusal) => login.refuse(refusal.to_string(), refusal.into()).await,
    }
}

async fn recognised(
    session: &Session,
    mount: &Mount,
    presented: Presented<'_>,
) -> Result<Vec<Admitted>, OpError> {
    let Some(config) = find_config::<KubernetesConfig>(session, mount).await? else { return Ok(Vec::new()) };
    let Some(signed) = verified_for(session, mount, &trust(&config), presented).await else {
        return Ok(Vec::new());
    };
    let (group, now) = (config_place(mount).in_table(ROLES), session.now().unix_secs());
    let mut found = Vec::new();
    for (role, _) in session.rows.list::<KubernetesRole>(group).await? {
        let admitted = admitted(&role, &config, &signed, presented.remote, now);
        found.extend(admitted.ok().map(|identity| Admitted::new(mount, identity, &role.workload)));
    }
    Ok(found)
}

fn admitted(
    role: &KubernetesRole,
    config: &KubernetesConfig,
    signed: &SignedJwt,
    remote: Option<IpAddr>,
    now_secs: u64,
) -> Result<VerifiedIdentity, KubernetesRefusal> {
    role.admit(config, signed.judge(&config.rules(), now_secs)?, remote, now_secs)
}

fn trust(config: &KubernetesConfig) -> Trust<'_> {
    Trust { source: source(config), algorithms: &[] }
}

fn source(config: &KubernetesConfig) -> Source {
    if config.pem_keys.is_empty() && config.jwks.is_empty() {
        return Source::Cluster {
            host: config.kubernetes_host.clone(),
            ca_pem: config.kubernetes_ca_cert.clone(),
            issuer: config.issuer().unwrap_or_default().to_owned(),
        };
    }
    Source::Configured { pem: config.pem_keys.clone(), jwks: config.jwks.clone() }
}

impl From<KubernetesRefusal> for OpError {
    /// 403, as Vault.
    fn from(refusal: KubernetesRefusal) -> Self {
        Self::Unauthenticated(Text::fixed(refusal.answer()))
    }
}

impl From<LeewayError> for OpError {
    fn from(error: LeewayError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}

impl From<KubernetesRoleError> for OpError {
    fn from(error: KubernetesRoleError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
