//! Login with a Kubernetes service-account token, verified offline.
//!
//! Two traps are closed unless the operator opens them. The default in-pod token lives for a year and only
//! *says* after an hour that it is stale: tokens made for more than a day are refused, and so is one whose
//! `warnafter` has passed. And a token for the API server's own audience can be replayed by anyone who ever
//! received it: a role without an audience admits nobody unless the cluster's configuration accepts such
//! tokens (`docs` tell ESO users to set `audiences`). Offline verification accepts the token of a deleted pod
//! until its `exp`; that is why tokens must be short.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::glob;
use super::jwt::{JwtError, JwtRules, VerifiedJwt, time};
use super::leeway::{LeewayError, Leeways};
use super::number::Round;
use super::verified::{Found, OutOfBounds, VerifiedIdentity};
use crate::audit::Actor;
use crate::path::RoleName;
use crate::token::{ParamsError, TokenParams};
use crate::workload::{RuleError, WorkloadRule};

/// The answer to a refused login, 403, unless its reason is a setting.
pub const REFUSED: &str = "permission denied";
/// Longest life of a token unless configured: a day.
pub const LIFETIME_SECS_MAX_DEFAULT: u64 = 86_400;
/// Most names or namespaces of a role.
const BOUND_MAX: usize = 256;
/// `iss` of the old tokens that live in Secrets and never end.
const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// One cluster. Wire type; the keys themselves are kept apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesConfig {
    /// Address of the API server; where keys may be discovered.
    pub kubernetes_host: String,
    /// PEM of the authority of that address.
    pub kubernetes_ca_cert: String,
    /// PEM public keys or certificates of the cluster's token signer.
    pub pem_keys: Vec<String>,
    /// JWK set of the cluster's token signer, as text.
    pub jwks: String,
    /// `iss` that tokens must have; empty accepts any that the keys verify.
    pub issuer: String,
    /// Vault's name for an empty `issuer`; on by default there and here.
    pub disable_iss_validation: bool,
    /// Whether roles without audience accept tokens for any audience, the API server's included.
    pub accept_api_audience: bool,
    /// Whether tokens of the old kind, without audience and expiry, are accepted.
    pub accept_legacy_tokens: bool,
    /// Longest `exp - iat` in seconds; 0 takes a day.
    pub token_lifetime_max: u64,
    /// Seconds on `exp`: 0 takes the default, negative means none.
    pub expiration_leeway: i64,
    /// Seconds on `nbf` and `iat`: 0 takes the default, negative means none.
    pub not_before_leeway: i64,
    /// Seconds added to both: 0 or negative means none.
    pub clock_skew_leeway: i64,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            kubernetes_host: String::new(),
            kubernetes_ca_cert: String::new(),
            pem_keys: Vec::new(),
            jwks: String::new(),
            issuer: String::new(),
            disable_iss_validation: true,
            accept_api_audience: false,
            accept_legacy_tokens: false,
            token_lifetime_max: 0,
            expiration_leeway: 0,
            not_before_leeway: 0,
            clock_skew_leeway: 0,
        }
    }
}

impl KubernetesConfig {
    /// How tokens of this cluster are to be verified.
    #[must_use]
    pub fn rules(&self) -> JwtRules {
        JwtRules { allow_endless: self.accept_legacy_tokens, ..JwtRules::with(self.leeways()) }
    }

    /// Leeways in range.
    pub fn check(&self) -> Result<(), LeewayError> {
        self.leeways().check()
    }

    /// The `iss` that tokens must have, if it counts.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        Some(self.issuer.as_str()).filter(|issuer| !issuer.is_empty() && !self.disable_iss_validation)
    }

    fn leeways(&self) -> Leeways {
        Leeways {
            expiration: self.expiration_leeway,
            not_before: self.not_before_leeway,
            clock_skew: self.clock_skew_leeway,
        }
    }
}

/// What the alias of a service account is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasNameSource {
    /// Its uid: an account that was deleted and made again is somebody else.
    #[default]
    ServiceaccountUid,
    /// `namespace/name`.
    ServiceaccountName,
}

/// Which service accounts a role admits. Wire type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesRole {
    /// Folded name.
    pub name: RoleName,
    /// Names, with `*` for any characters.
    pub bound_service_account_names: Vec<String>,
    /// Namespaces, with `*` for any characters.
    pub bound_service_account_namespaces: Vec<String>,
    /// Audience that the token must name; empty only works if the cluster's configuration accepts it.
    #[serde(default)]
    pub audience: String,
    /// What the alias is.
    #[serde(default)]
    pub alias_name_source: AliasNameSource,
    /// What workloads of this role may ask the token endpoint for.
    #[serde(default)]
    pub workload: WorkloadRule,
    /// Parameters of the tokens.
    #[serde(default)]
    pub token: TokenParams,
}

/// Why a role was refused: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesRoleError {
    /// No names.
    #[error("\"bound_service_account_names\" can not be empty")]
    NoNames,
    /// No namespaces.
    #[error("\"bound_service_account_namespaces\" can not be empty")]
    NoNamespaces,
    /// Everybody with any token.
    #[error("service_account_names and namespaces can not both be \"*\" unless the role has an audience")]
    Everybody,
    /// Too many.
    #[error("a role may bind at most {BOUND_MAX} names and namespaces")]
    TooMany,
    /// Token parameters.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// The rule for workload tokens.
    #[error(transparent)]
    Workload(#[from] RuleError),
}

const WITHOUT_AUDIENCE: &str = "logins with this role will be refused, because it has no audience: add \
audience=\"<oauth.issuer of this broker>\" to the role, and let clients ask for tokens with that audience (External \
Secrets Operator: serviceAccountRef.audiences; cert-manager: serviceAccountRef.audiences; a pod: serviceAccountToken.audience)";
const EVERYBODY: &str = "this role admits every service account of the cluster: all that bounds it is its audience, \
which anybody who may create tokens can ask for";

/// Why a login was refused, for the log. The caller learns [`KubernetesRefusal::answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesRefusal {
    /// The token itself.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// Another issuer than configured.
    #[error("the token comes from another issuer")]
    Issuer,
    /// Not a service account, or claims that contradict each other.
    #[error("the token is not a service-account token")]
    NotServiceAccount,
    /// Old kind of token, not accepted here.
    #[error("service-account tokens without expiry are not accepted by this configuration")]
    Legacy,
    /// Wrong audience.
    #[error("the token is not meant for this role's audience")]
    Audience,
    /// No audience demanded, and the configuration does not allow that.
    #[error("the role demands no audience and the configuration does not accept API-server tokens")]
    AudienceUnset,
    /// Made to live too long.
    #[error("the token was made to live longer than the configuration allows")]
    Lifetime,
    /// The kubelet should have replaced it.
    #[error("the token is stale: its warnafter has passed")]
    Stale,
    /// The role does not bind this account.
    #[error("the role does not bind this service account")]
    NotBound,
    /// From elsewhere than the role binds.
    #[error(transparent)]
    Address(#[from] OutOfBounds),
}

impl KubernetesRefusal {
    /// The text for the caller, whose token was signed by the cluster if more than [`REFUSED`] is said: what
    /// somebody must set, where the reason is how the role or the mount is set up or which kind of token the
    /// client asks for. Nothing about other accounts.
    #[must_use]
    pub fn answer(self) -> &'static str {
        match self {
            Self::AudienceUnset => {
                "permission denied: the role has no audience, so it admits nobody; set audience on the role and ask \
                 for tokens with it (serviceAccountRef.audiences), or set accept_api_audience in the mount's config"
            }
            Self::Audience => {
                "permission denied: the token is not made for the audience of the role; ask for tokens with that \
                 audience (serviceAccountRef.audiences)"
            }
            Self::Lifetime => {
                "permission denied: the token has no iat, or was made to live longer than token_lifetime_max of the \
                 mount's config; ask for a shorter one (expirationSeconds)"
            }
            Self::Legacy | Self::Jwt(JwtError::NoExpiry) => {
                "permission denied: tokens of the old kind, without expiry, are not accepted; use a projected token, \
                 or set accept_legacy_tokens in the mount's config"
            }
            Self::Jwt(_)
            | Self::Issuer
            | Self::NotServiceAccount
            | Self::Stale
            | Self::NotBound
            | Self::Address(_) => REFUSED,
        }
    }
}

impl KubernetesRole {
    /// Vault's rules for a role.
    pub fn check(&self) -> Result<(), KubernetesRoleError> {
        let (names, namespaces) = (&self.bound_service_account_names, &self.bound_service_account_namespaces);
        if names.is_empty() {
            return Err(KubernetesRoleError::NoNames);
        }
        if namespaces.is_empty() {
            return Err(KubernetesRoleError::NoNamespaces);
        }
        if names.len() > BOUND_MAX || namespaces.len() > BOUND_MAX {
            return Err(KubernetesRoleError::TooMany);
        }
        if self.admits_everybody() && self.audience.is_empty() {
            return Err(KubernetesRoleError::Everybody);
        }
        self.workload.check(self.token.token_num_uses > 0)?;
        Ok(self.token.check()?)
    }

    fn admits_everybody(&self) -> bool {
        let everything = |list: &[String]| list.iter().any(|item| glob::matches_everything(item));
        everything(&self.bound_service_account_names) && everything(&self.bound_service_account_namespaces)
    }

    /// What whoever writes the role should know, although it is allowed. `config` is the mount's.
    #[must_use]
    pub fn warnings(&self, config: &KubernetesConfig) -> Vec<&'static str> {
        let unset = self.audience.is_empty() && !config.accept_api_audience;
        let warnings = [(unset, WITHOUT_AUDIENCE), (self.admits_everybody(), EVERYBODY)];
        warnings.into_iter().filter_map(|(applies, text)| applies.then_some(text)).collect()
    }

    /// Judges a verified token that came from `remote`.
    pub fn admit(
        &self,
        config: &KubernetesConfig,
        jwt: &VerifiedJwt,
        remote: Option<IpAddr>,
        now_secs: u64,
    ) -> Result<VerifiedIdentity, KubernetesRefusal> {
        let account = ServiceAccount::read(jwt).ok_or(KubernetesRefusal::NotServiceAccount)?;
        self.check_token(config, &account, jwt, now_secs)?;
        let bound = |list: &[String], text: &str| list.iter().any(|pattern| glob::matches(pattern, text));
        if !bound(&self.bound_service_account_names, &account.name)
            || !bound(&self.bound_service_account_namespaces, &account.namespace)
        {
            return Err(KubernetesRefusal::NotBound);
        }
        Ok(VerifiedIdentity::within_bounds(self.found(account, jwt), &[], remote)?)
    }

    fn check_token(
        &self,
        config: &KubernetesConfig,
        account: &ServiceAccount,
        jwt: &VerifiedJwt,
        now_secs: u64,
    ) -> Result<(), KubernetesRefusal> {
        if config.issuer().is_some_and(|issuer| jwt.issuer() != Some(issuer)) {
            return Err(KubernetesRefusal::Issuer);
        }
        if account.legacy && !config.accept_legacy_tokens {
            return Err(KubernetesRefusal::Legacy);
        }
        if self.audience.is_empty() {
            if !config.accept_api_audience && !account.legacy {
                return Err(KubernetesRefusal::AudienceUnset);
            }
        } else if !jwt.audiences().contains(&self.audience) {
            return Err(KubernetesRefusal::Audience);
        }
        if account.legacy {
            return Ok(());
        }
        let lifetime = match (jwt.issued_at(), jwt.expires_at()) {
            (Some(issued_at), Some(expires_at)) => expires_at.saturating_sub(issued_at),
            _ => return Err(KubernetesRefusal::Lifetime),
        };
        let lifetime_max = if config.token_lifetime_max == 0 {
            LIFETIME_SECS_MAX_DEFAULT
        } else {
            config.token_lifetime_max
        };
        if lifetime > lifetime_max {
            return Err(KubernetesRefusal::Lifetime);
        }
        if account.warn_after.is_some_and(|warn_after| warn_after <= now_secs) {
            return Err(KubernetesRefusal::Stale);
        }
        Ok(())
    }

    fn found(&self, account: ServiceAccount, jwt: &VerifiedJwt) -> Found {
        let ServiceAccount { namespace, name, uid, secret, pod, pod_uid, node, .. } = account;
        let meta = BTreeMap::from(
            [
                ("service_account_name", name.clone()),
                ("service_account_namespace", namespace.clone()),
                ("service_account_secret_name", secret),
                ("service_account_uid", uid.clone()),
                ("role", self.name.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let attributes = [
            ("namespace", Some(namespace.clone())),
            ("service_account", Some(name.clone())),
            ("service_account_uid", Some(uid.clone())),
            ("pod", pod),
            ("pod_uid", pod_uid),
            ("node", node),
        ];
        let attributes =
            attributes.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        let subject = format!("system:serviceaccount:{namespace}:{name}");
        Found {
            actor: Actor::service_account(&subject, &namespace, &uid).by_role(&self.name),
            subject,
            alias: match self.alias_name_source {
                AliasNameSource::ServiceaccountUid => uid,
                AliasNameSource::ServiceaccountName => format!("{namespace}/{name}"),
            },
            display_name: format!("{namespace}-{name}"),
            meta,
            attributes,
            params: self.token.clone(),
            evidence_ends_at: jwt.expires_at(),
            login_name: None,
        }
    }
}

/// What a token says about its account, in either of the two forms.
struct ServiceAccount {
    legacy: bool,
    namespace: String,
    name: String,
    uid: String,
    secret: String,
    pod: Option<String>,
    pod_uid: Option<String>,
    node: Option<String>,
    warn_after: Option<u64>,
}

impl ServiceAccount {
    fn read(jwt: &VerifiedJwt) -> Option<Self> {
        let account = if jwt.claims().contains_key("kubernetes.io") {
            Self::read_projected(jwt)?
        } else {
            Self::read_legacy(jwt)?
        };
        // The account is named twice; whoever can make the two differ is not the API server.
        let subject = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
        let sound = is_name(&account.namespace) && is_name(&account.name) && jwt.subject() == Some(&subject);
        sound.then_some(account)
    }

    fn read_projected(jwt: &VerifiedJwt) -> Option<Self> {
        let text = |pointer| jwt.text(pointer).map(str::to_owned);
        let warn_after = match jwt.value("/kubernetes.io/warnafter") {
            None => None,
            Some(value) => Some(time(value, Round::Down)?),
        };
        Some(Self {
            legacy: false,
            namespace: text("/kubernetes.io/namespace")?,
            name: text("/kubernetes.io/serviceaccount/name")?,
            uid: text("/kubernetes.io/serviceaccount/uid").filter(|uid| !uid.is_empty())?,
            secret: text("/kubernetes.io/secret/name").unwrap_or_default(),
            pod: text("/kubernetes.io/pod/name"),
            pod_uid: text("/kubernetes.io/pod/uid"),
            node: text("/kubernetes.io/node/name"),
            warn_after,
        })
    }

    fn read_legacy(jwt: &VerifiedJwt) -> Option<Self> {
        let text = |pointer| jwt.text(pointer).map(str::to_owned);
        if jwt.issuer() != Some(LEGACY_ISSUER) {
            return None;
        }
        Some(Self {
            legacy: true,
            namespace: text("/kubernetes.io~1serviceaccount~1namespace")?,
            name: text("/kubernetes.io~1serviceaccount~1service-account.name")?,
            uid: text("/kubernetes.io~1serviceaccount~1service-account.uid").filter(|uid| !uid.is_empty())?,
            secret: text("/kubernetes.io~1serviceaccount~1secret.name").unwrap_or_default(),
            pod: None,
            pod_uid: None,
            node: None,
            warn_after: None,
        })
    }
}

/// A DNS-1123 subdomain, as every namespace and service account is named.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(inner)
}
