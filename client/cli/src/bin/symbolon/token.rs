//! `symbolon token`: tokens.

use clap::{Args, Subcommand};
use symbolon::{Auth, TokenInfo};
use symbolon_cli::CreateToken;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::output::{SecretOutput, printable};

/// `symbolon token`
#[derive(Subcommand)]
pub enum Token {
    /// Make a token below ours
    Create(Create),
    /// Print facts about our token, or another
    Lookup(Which),
    /// Extend our own token
    Renew(Renew),
    /// End a token and all below it
    Revoke(RevokeWhich),
}

/// `symbolon token create`
#[derive(Args)]
pub struct Create {
    /// Policy; give it several times for several [default: those of our token]
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Lifetime, such as 1h
    #[arg(long)]
    ttl: Option<String>,
    /// Longest lifetime, renewals included, such as 24h
    #[arg(long)]
    explicit_max_ttl: Option<String>,
    /// Lifetime of each renewal of a periodic token
    #[arg(long)]
    period: Option<String>,
    /// Name for logs
    #[arg(long)]
    display_name: Option<String>,
    /// service, or batch: stateless, cannot be renewed or revoked
    #[arg(long = "type", value_parser = ["service", "batch"])]
    kind: Option<String>,
    /// Uses after which it ends
    #[arg(long)]
    num_uses: Option<u64>,
    /// Let it outlive our token
    #[arg(long)]
    orphan: bool,
    /// Leave the policy `default` out
    #[arg(long)]
    no_default_policy: bool,
    /// Free fact, NAME=VALUE
    #[arg(long = "meta", value_name = "NAME=VALUE")]
    meta: Vec<String>,
}

/// A token by itself or by its accessor.
#[derive(Args)]
pub struct Which {
    /// `-`: a token typed without echo or read from standard input [default: our own]
    #[arg(value_parser = ["-"], conflicts_with = "accessor")]
    token: Option<String>,
    /// Name the token by its accessor
    #[arg(long)]
    accessor: Option<String>,
}

/// `symbolon token revoke`
#[derive(Args)]
pub struct RevokeWhich {
    #[command(flatten)]
    which: Which,
    /// End our own token
    #[arg(long = "self", conflicts_with_all = ["token", "accessor"], required_unless_present_any = ["token", "accessor"])]
    own: bool,
}

/// `symbolon token renew`
#[derive(Args)]
pub struct Renew {
    /// By how much, such as 1h
    #[arg(long)]
    increment: Option<String>,
}

impl Token {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Create(command) => {
                let out = globals.out().for_secrets()?;
                let (auth, warnings) = globals.client()?.create_token(&command.wishes()?).await?;
                warn(&warnings)?;
                print_auth(out, &auth)
            }
            Self::Lookup(which) => {
                let client = globals.client()?;
                let info = match (which.typed()?, which.accessor) {
                    (Some(token), _) => client.lookup(&token).await?,
                    (None, Some(accessor)) => client.lookup_accessor(&accessor).await?,
                    (None, None) => client.lookup_self().await?,
                };
                print_info(globals, &info)
            }
            Self::Renew(command) => {
                let auth = globals.client()?.renew_self(command.increment.as_deref()).await?;
                let out = globals.out();
                match out.is_json() {
                    true => out.json(&as_value(&auth)),
                    false => out.line(&format!("renewed for {}", lifetime(auth.lease_duration))),
                }
            }
            Self::Revoke(command) => {
                let client = globals.client()?;
                match (command.which.typed()?, command.which.accessor) {
                    (Some(token), _) => client.revoke(&token).await?,
                    (None, Some(accessor)) => client.revoke_accessor(&accessor).await?,
                    (None, None) => client.revoke_self().await?,
                }
                globals.out().done("revoked")
            }
        }
    }
}

impl Which {
    fn typed(&self) -> Result<Option<symbolon::Token>, Failure> {
        let Some(_) = &self.token else { return Ok(None) };
        let text = input::secret("Token")?;
        Ok(Some(symbolon::Token::new(&text).map_err(symbolon::Error::from)?))
    }
}

impl Create {
    fn wishes(&self) -> Result<CreateToken, Failure> {
        Ok(CreateToken {
            policies: self.policies.clone(),
            ttl: self.ttl.clone(),
            explicit_max_ttl: self.explicit_max_ttl.clone(),
            period: self.period.clone(),
            display_name: self.display_name.clone(),
            kind: self.kind.clone(),
            num_uses: self.num_uses,
            no_parent: self.orphan,
            no_default_policy: self.no_default_policy,
            renewable: None,
            meta: input::pairs(&self.meta, "--meta")?,
        })
    }
}

/// Prints a new token; it is not shown again.
pub fn print_auth(out: SecretOutput, auth: &Auth) -> Result<(), Failure> {
    let value = as_value(auth);
    let mut facts = vec![("token", auth.token.expose().to_owned())];
    if !auth.accessor.is_empty() {
        facts.push(("accessor", auth.accessor.clone()));
    }
    facts.push(("policies", auth.policies.join(", ")));
    facts.push(("lifetime", lifetime(auth.lease_duration)));
    facts.push(("renewable", auth.renewable.to_string()));
    facts.push(("type", auth.token_type.clone()));
    out.facts(&value, &facts)
}

/// What programs get: `auth` as in Vault, and what earlier versions of this command printed beside it.
pub fn as_value(auth: &Auth) -> serde_json::Value {
    let mut value = serde_json::json!({
        "accessor": auth.accessor,
        "policies": auth.policies,
        "lease_duration": auth.lease_duration,
        "renewable": auth.renewable,
        "token_type": auth.token_type,
        "metadata": auth.metadata,
    });
    let mut inner = value.clone();
    inner["client_token"] = auth.token.expose().into();
    inner["token_policies"] = inner["policies"].clone();
    value["token"] = auth.token.expose().into();
    value["auth"] = inner;
    value
}

fn print_info(globals: &Globals, info: &TokenInfo) -> Result<(), Failure> {
    let mut facts = vec![
        ("display name", printable(&info.display_name)),
        ("policies", info.policies.join(", ")),
        ("type", info.kind.clone()),
        ("issued by", info.path.clone()),
        ("accessor", info.accessor.clone()),
        ("expires", info.expire_time.clone().unwrap_or_else(|| "never".to_owned())),
        ("seconds left", info.ttl.to_string()),
        ("renewable", info.renewable.to_string()),
        ("orphan", info.orphan.to_string()),
    ];
    for (name, value) in info.meta.iter().flatten() {
        facts.push(("meta", printable(&format!("{name}={value}"))));
    }
    globals.out().facts(info, &facts)
}

/// Seconds as people say them.
pub fn lifetime(secs: u64) -> String {
    match secs {
        0 => "no end".to_owned(),
        1..=119 => format!("{secs} s"),
        120..=7199 => format!("{} min", secs / 60),
        _ => format!("{} h", secs / 3600),
    }
}

fn warn(warnings: &[String]) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    Ok(warnings.iter().try_for_each(|warning| writeln!(stderr, "warning: {warning}"))?)
}
