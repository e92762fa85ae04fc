//! `symbolon secrets` and `symbolon auth`: secrets engines and login methods, and where they are mounted.

use std::collections::BTreeMap;
use std::io::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use symbolon::Method;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::output::{plain, printable};
use crate::paths;

/// `symbolon secrets`
#[derive(Subcommand)]
pub enum Secrets {
    /// Mount a secrets engine
    Enable(EnableEngine),
    /// Unmount one, and delete everything in it
    Disable(Disable),
    /// List what is mounted
    List(List),
    /// Show the settings of a mount, or change them
    Tune(TuneEngine),
}

/// `symbolon auth`
#[derive(Subcommand)]
pub enum Auth {
    /// Enable a login method
    Enable(EnableMethod),
    /// Disable one: its roles are deleted, and the tokens of its logins end
    Disable(Disable),
    /// List what is enabled
    List(List),
    /// Show the settings of a login mount, or change them
    Tune(TuneMethod),
}

/// Settings of every mount.
#[derive(Args)]
pub struct Settings {
    /// What it is for, for whoever lists mounts
    #[arg(long)]
    description: Option<String>,
    /// Lifetime of tokens and leases if nobody asks for another, such as 1h
    #[arg(long, value_name = "TTL")]
    default_lease_ttl: Option<String>,
    /// Longest lifetime, such as 24h
    #[arg(long, value_name = "TTL")]
    max_lease_ttl: Option<String>,
    /// Whether it is shown to people without a token
    #[arg(long, value_name = "WHOM", value_parser = ["unauth", "hidden"])]
    listing_visibility: Option<String>,
}

/// `symbolon secrets enable`
#[derive(Args)]
pub struct EnableEngine {
    /// Which engine: kv
    #[arg(value_name = "ENGINE")]
    kind: String,
    /// Where to [default: the name of the engine]
    #[arg(long)]
    path: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Version of a KV engine: 1, or 2 with versions and deletes that can be taken back
    #[arg(long, value_parser = ["1", "2"])]
    version: Option<String>,
    /// Option of the engine, such as tier=high
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
}

/// `symbolon auth enable`
#[derive(Args)]
pub struct EnableMethod {
    /// Which method: approle, jwt, kubernetes, userpass
    #[arg(value_name = "METHOD")]
    kind: String,
    /// Where to [default: the name of the method]
    #[arg(long)]
    path: Option<String>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    tokens: Tokens,
}

/// What kind of tokens logins give.
#[derive(Args)]
pub struct Tokens {
    /// Kind of token that logins give
    #[arg(long, value_parser = ["service", "batch", "default-service", "default-batch"])]
    token_type: Option<String>,
}

/// `symbolon secrets disable`, `symbolon auth disable`
#[derive(Args)]
pub struct Disable {
    /// Path of the mount
    path: String,
    /// Do it without being asked: it cannot be taken back
    #[arg(long)]
    yes: bool,
}

/// `symbolon secrets list`, `symbolon auth list`
#[derive(Args)]
pub struct List {
    /// Show accessors and lifetimes too
    #[arg(long)]
    detailed: bool,
}

/// `symbolon secrets tune`
#[derive(Args)]
pub struct TuneEngine {
    /// Path of the mount
    path: String,
    #[command(flatten)]
    settings: Settings,
    /// Raise a KV engine of version 1 to 2
    #[arg(long, value_parser = ["2"])]
    version: Option<String>,
}

/// `symbolon auth tune`
#[derive(Args)]
pub struct TuneMethod {
    /// Path of the mount, without auth/
    path: String,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    tokens: Tokens,
}

/// Engines and methods stand side by side in the API.
#[derive(Clone, Copy)]
enum Side {
    Secrets,
    Logins,
}

impl Side {
    /// The route of all mounts.
    fn route(self) -> &'static str {
        match self {
            Self::Secrets => "sys/mounts",
            Self::Logins => "sys/auth",
        }
    }

    fn of(self, path: &str) -> Result<String, Failure> {
        let path = path.trim_matches('/');
        let path = match self {
            Self::Secrets => path,
            Self::Logins => path.strip_prefix("auth/").unwrap_or(path),
        };
        if path.is_empty() {
            return Err(Failure::usage("the path names no mount").hint(self.list_hint()));
        }
        Ok(format!("{}/{path}", self.route()))
    }

    fn list_hint(self) -> &'static str {
        match self {
            Self::Secrets => "`symbolon secrets list` shows what is mounted",
            Self::Logins => "`symbolon auth list` shows what is enabled",
        }
    }
}

impl Settings {
    /// Those that were given, by the names of the API.
    fn given(&self) -> Map<String, Value> {
        let all = [
            ("description", &self.description),
            ("default_lease_ttl", &self.default_lease_ttl),
            ("max_lease_ttl", &self.max_lease_ttl),
            ("listing_visibility", &self.listing_visibility),
        ];
        all.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))).collect()
    }
}

impl Tokens {
    fn over(&self, mut settings: Map<String, Value>) -> Map<String, Value> {
        if let Some(kind) = &self.token_type {
            settings.insert("token_type".to_owned(), json!(kind));
        }
        settings
    }
}

impl Secrets {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Enable(command) => command.run(globals).await,
            Self::Disable(command) => command.run(globals, Side::Secrets).await,
            Self::List(command) => command.run(globals, Side::Secrets).await,
            Self::Tune(command) => {
                let mut settings = command.settings.given();
                if let Some(version) = command.version {
                    settings.insert("options".to_owned(), json!({ "version": version }));
                }
                tune(globals, Side::Secrets, &command.path, &settings).await
            }
        }
    }
}

impl Auth {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Enable(command) => command.run(globals).await,
            Self::Disable(command) => command.run(globals, Side::Logins).await,
            Self::List(command) => command.run(globals, Side::Logins).await,
            Self::Tune(command) => {
                let settings = command.tokens.over(command.settings.given());
                tune(globals, Side::Logins, &command.path, &settings).await
            }
        }
    }
}

impl EnableEngine {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut options: BTreeMap<String, String> = input::pairs(&self.options, "--option")?;
        let version = match self.kind.as_str() {
            "kv-v1" => Some("1".to_owned()),
            "kv-v2" => Some("2".to_owned()),
            // The API's default is 1, as Vault's; whoever types this and names none gets versions.
            "kv" => Some(self.version.unwrap_or_else(|| "2".to_owned())),
            _ => self.version,
        };
        if let Some(version) = version {
            options.insert("version".to_owned(), version);
        }
        let kind = if self.kind.starts_with("kv-v") { "kv" } else { &self.kind };
        let path = self.path.as_deref().unwrap_or(kind).trim_matches('/');
        let body = json!({ "type": kind, "options": options });
        enable(globals, Side::Secrets, path, body, self.settings.given()).await?;
        globals.out().done(&format!("enabled at {}/", printable(path)))
    }
}

impl EnableMethod {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let path = self.path.as_deref().unwrap_or(&self.kind).trim_matches('/');
        let path = path.strip_prefix("auth/").unwrap_or(path);
        let settings = self.tokens.over(self.settings.given());
        enable(globals, Side::Logins, path, json!({ "type": self.kind }), settings).await?;
        let path = printable(path);
        let next = match self.kind.as_str() {
            "kubernetes" => format!(
                "\nNext: symbolon write auth/{path}/config kubernetes_host=https://… kubernetes_ca_cert=@ca.crt"
            ),
            "jwt" => format!("\nNext: symbolon write auth/{path}/config oidc_discovery_url=https://…"),
            _ => String::new(),
        };
        let next = if next.is_empty() { "\nNext: symbolon role write --help".to_owned() } else { next };
        globals.out().done(&format!("enabled at auth/{path}/{next}"))
    }
}

async fn enable(
    globals: &Globals,
    side: Side,
    path: &str,
    mut body: Value,
    mut settings: Map<String, Value>,
) -> Result<(), Failure> {
    if let Some(description) = settings.remove("description") {
        body["description"] = description;
    }
    body["config"] = Value::Object(settings);
    let client = globals.client()?;
    let answer = client.call(Method::PUT, &side.of(path)?).json(&body).send().await?;
    paths::warn(&answer)
}

impl Disable {
    async fn run(self, globals: &Globals, side: Side) -> Result<(), Failure> {
        let route = side.of(&self.path)?;
        let client = globals.client()?;
        if !self.yes {
            let found: Map<String, Value> = client.read(&route).await?;
            let kind = found.get("type").map(plain).unwrap_or_default();
            let what = match side {
                Side::Secrets => "everything in it is deleted, with all versions",
                Side::Logins => "its roles are deleted, and the tokens of its logins end",
            };
            let question = format!("{} ({kind}): {what}. Disable it? (yes/no)", self.path);
            if !matches!(input::ask(&printable(&question), "--yes")?.as_str(), "yes" | "y") {
                return Err(Failure::general("nothing was changed"));
            }
        }
        paths::warn(&client.call(Method::DELETE, &route).send().await?)?;
        globals.out().done("disabled")
    }
}

impl List {
    async fn run(self, globals: &Globals, side: Side) -> Result<(), Failure> {
        let mounts: Map<String, Value> = globals.client()?.read(side.route()).await?;
        let headings: &[&str] = match self.detailed {
            false => &["PATH", "TYPE", "OPTIONS", "DESCRIPTION"],
            true => &["PATH", "TYPE", "OPTIONS", "ACCESSOR", "DEFAULT TTL", "MAX TTL", "DESCRIPTION"],
        };
        let rows = mounts.iter().map(|(path, mount)| self.row(path, mount)).collect();
        globals.out().rows(&mounts, headings, rows)
    }

    fn row(&self, path: &str, mount: &Value) -> Vec<String> {
        let options = mount["options"].as_object().into_iter().flatten();
        let options: Vec<_> = options.map(|(name, value)| format!("{name}={}", plain(value))).collect();
        let mut cells = vec![path.to_owned(), plain(&mount["type"]), options.join(" ")];
        if self.detailed {
            let config = &mount["config"];
            let lifetime = |name: &str| match config[name].as_u64() {
                None | Some(0) => "system".to_owned(),
                Some(secs) => crate::token::lifetime(secs),
            };
            cells.push(plain(&mount["accessor"]));
            cells.extend([lifetime("default_lease_ttl"), lifetime("max_lease_ttl")]);
        }
        cells.push(plain(&mount["description"]));
        cells.iter().map(|cell| printable(cell)).collect()
    }
}

/// Shows the settings if there is nothing to change.
async fn tune(
    globals: &Globals,
    side: Side,
    path: &str,
    settings: &Map<String, Value>,
) -> Result<(), Failure> {
    let route = format!("{}/tune", side.of(path)?);
    let client = globals.client()?;
    if settings.is_empty() {
        let found: Value = client.read(&route).await?;
        let mut stderr = std::io::stderr().lock();
        writeln!(stderr, "nothing to change was named; these are the settings")?;
        return globals.out().pairs(&found);
    }
    let answer = client.call(Method::PUT, &route).json(settings).send().await?;
    paths::warn(&answer)?;
    globals.out().done("changed")
}
