//! `symbolon login`: evidence for a token, which is kept in `~/.symbolon-token`.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use symbolon::{Auth, Client, Error, KUBERNETES_TOKEN_FILE, Token};

use crate::environment;
use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::token::{as_value, lifetime, print_auth};
use crate::token_file;

/// `symbolon login`
#[derive(Args)]
pub struct Login {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    method: Method,
    /// Print the token and keep nothing
    #[arg(long, global = true)]
    no_store: bool,
    /// Login mount, if it is not named like the method
    #[arg(long, global = true, value_name = "PATH")]
    mount: Option<String>,
}

#[derive(Subcommand)]
enum Method {
    /// A token that we already have, typed without echo or read from standard input
    Token,
    /// An application role
    Approle {
        /// The role's id
        #[arg(long)]
        role_id: String,
        /// File with the secret id; `-`: typed without echo or read from standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        secret_id_file: PathBuf,
    },
    /// A token of an OpenID Connect issuer
    Jwt {
        /// Role at the broker [default: that of the login mount]
        #[arg(long, default_value = "")]
        role: String,
        /// File with the JWT; `-`: typed without echo or read from standard input
        #[arg(long, value_name = "FILE", default_value = "-")]
        jwt_file: PathBuf,
    },
    /// The service-account token of a Kubernetes pod
    Kubernetes {
        /// Role at the broker
        #[arg(long)]
        role: String,
        /// File with the service-account token
        #[arg(long, value_name = "FILE", default_value = KUBERNETES_TOKEN_FILE)]
        jwt_file: PathBuf,
    },
}

/// A token of the environment goes before the one that was stored.
fn warn_of_shadow() -> Result<(), Failure> {
    let Some((name, _)) = environment::first_named(&environment::TOKEN) else { return Ok(()) };
    Ok(writeln!(
        std::io::stderr().lock(),
        "warning: {name} is set and goes before the stored token: unset it, or commands go on as whoever it names"
    )?)
}

/// A login carries no token that could be unknown.
fn refused(error: Error) -> Failure {
    let is_denied = matches!(error, Error::Denied(_));
    let failure = Failure::from(error);
    match is_denied {
        true => failure.hint(
            "the role does not fit what was presented: its names, namespaces, audience, claims or addresses; the \
             broker's operator reads which with `symbolon audit search --outcome denied`",
        ),
        false => failure,
    }
}

impl Login {
    pub async fn run(self) -> Result<(), Failure> {
        let globals = &self.globals;
        let client = globals.anonymous()?;
        if let Method::Token = self.method {
            return self.with_token(globals, &client).await;
        }
        let shown = self.no_store.then(|| globals.out().for_secrets()).transpose()?;
        let auth = self.exchange(&client).await?;
        if let Some(out) = shown {
            return print_auth(out, &auth);
        }
        let path = token_file::store(&auth.token)?;
        warn_of_shadow()?;
        let facts = [
            ("policies", auth.policies.join(", ")),
            ("lifetime", lifetime(auth.lease_duration)),
            ("type", auth.token_type.clone()),
            ("stored in", path.display().to_string()),
        ];
        // Programs that ask for JSON get the token, as from Vault.
        let mut value = as_value(&auth);
        value["stored_in"] = serde_json::json!(path);
        globals.out().facts(&value, &facts)
    }

    /// Checks the token with the broker before keeping it.
    async fn with_token(&self, globals: &Globals, client: &Client) -> Result<(), Failure> {
        let text = input::secret("Token")?;
        let token = Token::new(&text).map_err(Error::from)?;
        let info = client.with_token(token.clone()).lookup_self().await?;
        let mut facts =
            vec![("display name", info.display_name.clone()), ("policies", info.policies.join(", "))];
        if !self.no_store {
            facts.push(("stored in", token_file::store(&token)?.display().to_string()));
            warn_of_shadow()?;
        }
        let mut value = serde_json::json!(info);
        value["auth"] = serde_json::json!({
            "client_token": token.expose(),
            "accessor": info.accessor,
            "policies": info.policies,
            "lease_duration": info.ttl,
            "renewable": info.renewable,
            "token_type": info.kind,
        });
        globals.out().facts(&value, &facts)
    }

    async fn exchange(&self, client: &Client) -> Result<Auth, Failure> {
        let (text, evidence);
        let login = match &self.method {
            Method::Token => unreachable!("handled by the caller"),
            Method::Approle { role_id, secret_id_file } => {
                text = input::secret_file(secret_id_file, "Secret id")?;
                symbolon::Login::AppRole { role_id, secret_id: text.trim() }
            }
            Method::Jwt { role, jwt_file } => {
                evidence = input::secret_file(jwt_file, "JWT")?;
                symbolon::Login::Jwt { role, jwt: evidence.trim() }
            }
            Method::Kubernetes { role, jwt_file } => {
                evidence = input::secret_file(jwt_file, "Service-account token")?;
                symbolon::Login::Kubernetes { role, jwt: evidence.trim() }
            }
        };
        let mount = self.mount.as_deref().unwrap_or_else(|| login.default_mount());
        client.login(mount.trim_matches('/'), &login).await.map_err(refused)
    }
}
