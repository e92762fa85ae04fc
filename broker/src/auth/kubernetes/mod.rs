//! Logins of Kubernetes service accounts.

use std::net::IpAddr;

use symbolon_core::identity::VerifiedIdentity;
use symbolon_core::identity::jwt::SignedJwt;
use symbolon_core::identity::kubernetes::{
    self as rules, KubernetesConfig, KubernetesRefusal, KubernetesRole, KubernetesRoleError,
};

use super::Method;
use super::evidence::{
    Admitted, ISSUER_KEYS, Presented, Recognising, Refused, Trust, check_source, method, named_role,
    verified_for, verify,
};
use super::jwks::Source;
use super::login::Login;
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
        check_source(&source(self))
    }
}

impl Role for KubernetesRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Logs a service account in.
pub async fn log_in(who: &Asker<'_>, mount: &Mount, role: &str, jwt: &str) -> Result<IssuedToken, OpError> {
    let session: &Session = who.session;
    let login = Login::begin(session, who, mount, "login", role)?;
    let config: KubernetesConfig = find_config(session, mount).await?;
    let Some(role) = named_role::<KubernetesRole>(session, mount, role).await? else {
        return login.refuse("unknown role".to_owned(), OpError::refused("invalid role name")).await;
    };
    let forbidden = OpError::BAD_TOKEN; // 403 `permission denied`, as Vault: one answer for every reason
    let admitted = match verify(session, mount, &trust(&config), jwt).await {
        Ok(signed) => admitted(&role, &config, &signed, who.requester.remote, session.now().unix_secs()),
        Err(Refused::Evidence(error)) => Err(KubernetesRefusal::Jwt(error)),
        Err(Refused::Keys(error)) => return login.refuse(error.to_string(), ISSUER_KEYS).await,
    };
    match admitted {
        Ok(identity) => login.admit(&identity, Vec::new()).await,
        Err(refusal) => login.refuse(refusal.to_string(), forbidden).await,
    }
}

async fn recognised(
    session: &Session,
    mount: &Mount,
    presented: Presented<'_>,
) -> Result<Vec<Admitted>, OpError> {
    let config: KubernetesConfig = find_config(session, mount).await?;
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
        let url = format!("{}/openid/v1/jwks", config.kubernetes_host.trim_end_matches('/'));
        return Source::Jwks { url, ca_pem: config.kubernetes_ca_cert.clone() };
    }
    Source::Configured { pem: config.pem_keys.clone(), jwks: config.jwks.clone() }
}

/// The text for every refused service account, for faces.
pub const KUBERNETES_REFUSED: &str = rules::REFUSED;

impl From<KubernetesRoleError> for OpError {
    fn from(error: KubernetesRoleError) -> Self {
        Self::Invalid(Text::of(&error))
    }
}
