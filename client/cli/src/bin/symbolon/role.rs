//! `symbolon role`: who may log in through a login mount, and what such a login gives.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use symbolon::Method as Http;

use crate::failure::Failure;
use crate::fields::{self, FIELDS_HELP};
use crate::globals::Globals;
use crate::input;
use crate::output::printable;
use crate::paths;

/// `symbolon role`
#[derive(Subcommand)]
pub enum Role {
    /// Make or change a role (of userpass: a user)
    #[command(subcommand)]
    Write(Box<Write>),
    /// Print a role
    Read(Named),
    /// List the roles of a login mount
    List(Mount),
    /// Delete a role; tokens of earlier logins live on until they end or are revoked
    Delete(Named),
}

/// Login methods that have roles.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    Approle,
    Jwt,
    Kubernetes,
    Userpass,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Approle => "approle",
            Self::Jwt => "jwt",
            Self::Kubernetes => "kubernetes",
            Self::Userpass => "userpass",
        }
    }

    /// What the API calls its roles, in paths.
    fn roles(self) -> &'static str {
        if self == Self::Userpass { "users" } else { "role" }
    }
}

/// A login mount.
#[derive(Args)]
pub struct Mount {
    /// Login method
    #[arg(value_enum)]
    method: Method,
    /// Login mount, if it is not named like the method
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
}

/// A role that exists.
#[derive(Args)]
pub struct Named {
    #[command(flatten)]
    of: Mount,
    /// Name of the role
    name: String,
}

/// `symbolon role write`
#[derive(Subcommand)]
pub enum Write {
    /// Applications with a role id and a secret id
    Approle(AppRole),
    /// Holders of tokens of an OpenID Connect issuer
    Jwt(Jwt),
    /// Service accounts of a Kubernetes cluster
    Kubernetes(Kubernetes),
    /// A person with a password
    Userpass(User),
}

/// What roles of every method take.
#[derive(Args)]
#[command(after_help = FIELDS_HELP)]
pub struct Common {
    /// Name of the role
    name: String,
    /// Login mount, if it is not named like the method
    #[arg(long, value_name = "PATH")]
    mount: Option<String>,
    /// Policy of the tokens; give it several times for several
    #[arg(long = "policy", value_name = "NAME", value_delimiter = ',')]
    policies: Vec<String>,
    /// Lifetime of the tokens, such as 1h
    #[arg(long)]
    ttl: Option<String>,
    /// Longest lifetime, renewals included, such as 24h
    #[arg(long)]
    max_ttl: Option<String>,
    /// Address range that logins come from, and that the tokens are bound to, such as 10.0.0.0/8
    #[arg(long = "cidr", value_name = "CIDR", value_delimiter = ',')]
    cidrs: Vec<String>,
    /// Further parameters of the API, such as token_period=1h
    #[arg(value_name = "FIELD")]
    fields: Vec<String>,
}

/// `symbolon role write approle`
#[derive(Args)]
pub struct AppRole {
    #[command(flatten)]
    common: Common,
    /// Lifetime of secret ids, such as 720h
    #[arg(long)]
    secret_id_ttl: Option<String>,
    /// Logins that a secret id is good for
    #[arg(long)]
    secret_id_num_uses: Option<u64>,
}

/// `symbolon role write jwt`
#[derive(Args)]
pub struct Jwt {
    #[command(flatten)]
    common: Common,
    /// Audience of the tokens, one of those given
    #[arg(long = "audience", value_name = "NAME")]
    audiences: Vec<String>,
    /// Subject of the tokens
    #[arg(long)]
    subject: Option<String>,
    /// Claim that the tokens must have; all that are given must hold
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<String>,
    /// Claim that names the caller in the log [default: sub]
    #[arg(long, value_name = "CLAIM")]
    user_claim: Option<String>,
}

/// `symbolon role write kubernetes`
#[derive(Args)]
pub struct Kubernetes {
    #[command(flatten)]
    common: Common,
    /// Service account; give it several times for several
    #[arg(long = "service-account", value_name = "NAME", value_delimiter = ',')]
    accounts: Vec<String>,
    /// Namespace of the accounts; give it several times for several
    #[arg(long = "namespace", value_name = "NAME", value_delimiter = ',')]
    namespaces: Vec<String>,
    /// Audience that the tokens are made for
    #[arg(long)]
    audience: Option<String>,
}

/// `symbolon role write userpass`
#[derive(Args)]
pub struct User {
    #[command(flatten)]
    common: Common,
    /// Set the password: typed without echo, or read from standard input
    #[arg(long)]
    password: bool,
}

/// Where roles of a method stand in the API.
fn route(method: Method, mount: Option<&str>) -> String {
    let mount = mount.unwrap_or_else(|| method.name()).trim_matches('/');
    let mount = mount.strip_prefix("auth/").unwrap_or(mount);
    format!("auth/{mount}/{}", method.roles())
}

impl Role {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Write(command) => command.run(globals).await,
            Self::Read(role) => {
                let answer = globals.client()?.call(Http::GET, &role.route()).send().await?;
                paths::show(globals.out().for_secrets()?, &answer, "read")
            }
            Self::List(mount) => {
                let route = route(mount.method, mount.mount.as_deref());
                globals.out().names(&paths::names(globals, &route).await?)
            }
            Self::Delete(role) => {
                globals.client()?.call(Http::DELETE, &role.route()).send().await?;
                globals.out().done("deleted")
            }
        }
    }
}

impl Named {
    fn route(&self) -> String {
        format!("{}/{}", route(self.of.method, self.of.mount.as_deref()), self.name)
    }
}

impl Write {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let (method, common) = match &self {
            Self::Approle(role) => (Method::Approle, &role.common),
            Self::Jwt(role) => (Method::Jwt, &role.common),
            Self::Kubernetes(role) => (Method::Kubernetes, &role.common),
            Self::Userpass(user) => (Method::Userpass, &user.common),
        };
        let mut body = common.body()?;
        let own = match &self {
            Self::Approle(role) => role.body(),
            Self::Jwt(role) => role.body()?,
            Self::Kubernetes(role) => role.body(),
            Self::Userpass(user) => user.body()?,
        };
        body.extend(own);
        let role = format!("{}/{}", route(method, common.mount.as_deref()), common.name);
        let answer = globals.client()?.call(Http::PUT, &role).json(&body).send().await?;
        paths::warn(&answer)?;
        globals.out().done(&format!("written{}", next(method, &role)))
    }
}

/// What comes after a role.
fn next(method: Method, role: &str) -> String {
    match method {
        Method::Approle => {
            let role = printable(role);
            format!("\nNext: symbolon read {role}/role-id; symbolon write --force {role}/secret-id")
        }
        Method::Jwt | Method::Kubernetes | Method::Userpass => String::new(),
    }
}

/// Sets what was given; nothing leaves what is stored.
fn set(body: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

/// A list that was given.
fn list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| json!(texts))
}

fn text(text: &Option<String>) -> Option<Value> {
    text.as_ref().map(|text| json!(text))
}

impl Common {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = fields::read(&self.fields)?;
        set(&mut body, "token_policies", list(&self.policies));
        set(&mut body, "token_ttl", text(&self.ttl));
        set(&mut body, "token_max_ttl", text(&self.max_ttl));
        set(&mut body, "token_bound_cidrs", list(&self.cidrs));
        Ok(body)
    }
}

impl AppRole {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        set(&mut body, "secret_id_ttl", text(&self.secret_id_ttl));
        set(&mut body, "secret_id_num_uses", self.secret_id_num_uses.map(|uses| json!(uses)));
        body
    }
}

impl Jwt {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::from_iter([("role_type".to_owned(), json!("jwt"))]);
        let claims = input::pairs(&self.claims, "--claim")?;
        let named = self.common.fields.iter().any(|field| field.starts_with("user_claim="));
        let user_claim = text(&self.user_claim).or_else(|| (!named).then(|| json!("sub")));
        set(&mut body, "bound_audiences", list(&self.audiences));
        set(&mut body, "bound_subject", text(&self.subject));
        set(&mut body, "bound_claims", (!claims.is_empty()).then(|| json!(claims)));
        set(&mut body, "user_claim", user_claim);
        Ok(body)
    }
}

impl Kubernetes {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        set(&mut body, "bound_service_account_names", list(&self.accounts));
        set(&mut body, "bound_service_account_namespaces", list(&self.namespaces));
        set(&mut body, "audience", text(&self.audience));
        body
    }
}

impl User {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        if self.password {
            set(&mut body, "password", Some(json!(&*input::secret("Password")?)));
        }
        Ok(body)
    }
}
