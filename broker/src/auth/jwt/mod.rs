//! Logins with a JWT of an OIDC issuer.

use std::net::IpAddr;

use symbolon_core::identity::VerifiedIdentity;
use symbolon_core::identity::jwt::SignedJwt;
use symbolon_core::identity::jwt_role::{JwtConfig, JwtConfigError, JwtRefusal, JwtRole, JwtRoleError};

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
pub static METHOD: Method = method("jwt", answer, recognise);

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route::route(call, mount, rest))
}

fn recognise<'a>(session: &'a Session, mount: &'a Mount, presented: Presented<'a>) -> Recognising<'a> {
    Box::pin(recognised(session, mount, presented))
}

impl Config for JwtConfig {
    fn check(&self) -> Result<(), OpError> {
        Self::check(self)?;
        check_authority(&self.jwks_ca_pem)?;
        check_authority(&self.oidc_discovery_ca_pem)?;
        check_source(&source(self))
    }

    fn source(&self) -> Source {
        source(self)
    }
}

impl Role for JwtRole {
    fn check(&self) -> Result<(), OpError> {
        Ok(Self::check(self)?)
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Logs in with a JWT of an OIDC issuer.
pub async fn log_in(who: &Asker<'_>, mount: &Mount, role: &str, jwt: &str) -> Result<IssuedToken, OpError> {
    let session: &Session = who.session;
    let config: Option<JwtConfig> = find_config(session, mount).await?;
    let default = config.as_ref().map_or("", |config| config.default_role.as_str());
    let role = if role.is_empty() { default } else { role };
    let login = Login::begin(session, who, mount, "login", Claim::Role(role))?;
    let Some(config) = &config else {
        return login.refuse("the mount is not configured".to_owned(), UNCONFIGURED).await;
    };
    let Some(role) = named_role::<JwtRole>(session, mount, role).await? else {
        return login.refuse("unknown role".to_owned(), OpError::refused("role could not be found")).await;
    };
    let admitted = match verify(session, mount, &trust(config), jwt).await {
        Ok(signed) => admitted(&role, config, &signed, who.requester.remote, session.now().unix_secs()),
        Err(Refused::Evidence(error)) => Err(JwtRefusal::Jwt(error)),
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
    let Some(config) = find_config::<JwtConfig>(session, mount).await? else { return Ok(Vec::new()) };
    let Some(signed) = verified_for(session, mount, &trust(&config), presented).await else {
        return Ok(Vec::new());
    };
    let (group, now) = (config_place(mount).in_table(ROLES), session.now().unix_secs());
    let mut found = Vec::new();
    for (role, _) in session.rows.list::<JwtRole>(group).await? {
        let admitted = admitted(&role, &config, &signed, presented.remote, now);
        found.extend(admitted.ok().map(|identity| Admitted::new(mount, identity, &role.workload)));
    }
    Ok(found)
}

/// Each role has leeways of its own.
fn admitted(
    role: &JwtRole,
    config: &JwtConfig,
    signed: &SignedJwt,
    remote: Option<IpAddr>,
    now_secs: u64,
) -> Result<VerifiedIdentity, JwtRefusal> {
    role.admit(config, signed.judge(&role.rules(config), now_secs)?, remote)
}

fn trust(config: &JwtConfig) -> Trust<'_> {
    Trust { source: source(config), algorithms: &config.jwt_supported_algs }
}

fn source(config: &JwtConfig) -> Source {
    if !config.jwks_url.is_empty() {
        return Source::Jwks { url: config.jwks_url.clone(), ca_pem: config.jwks_ca_pem.clone() };
    }
    if !config.oidc_discovery_url.is_empty() {
        let issuer = config.oidc_discovery_url.clone();
        return Source::Discovery { issuer, ca_pem: config.oidc_discovery_ca_pem.clone() };
    }
    Source::Configured { pem: config.jwt_validation_pubkeys.clone(), jwks: config.jwks.clone() }
}

impl From<JwtRefusal> for OpError {
    fn from(error: JwtRefusal) -> Self {
        match error {
            JwtRefusal::Address(_) => Self::BAD_TOKEN, // 403, as Vault
            error => Self::Refused(Text::of(&error)),
        }
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
