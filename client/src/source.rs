//! Where tokens come from: given, from a file, or from a login that is repeated before its token ends.
//!
//! Nothing runs in the background. A call takes the token that is held while that is good. Past two thirds of
//! its life one caller renews it or logs in again, while the others go on with the old one; if that fails,
//! the old one is used until its end. Without a token, all callers wait for one login, and share its error if
//! it fails, as do those of the next few seconds.

mod held;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use self::held::Held;
use crate::auth::{Auth, Login};
use crate::connection::Connection;
use crate::error::Error;
use crate::evidence::{Evidence, read_token};
use crate::kept::{Age, Kept};
use crate::login::{login, renew};
use crate::token::Token;

/// How often a file is looked at.
const FILE_READ_EVERY: Duration = Duration::from_secs(1);
/// After a login that failed: how long until the next.
const LOG_IN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Where a client's tokens come from.
pub struct TokenSource {
    origin: Origin,
    held: Kept<Held>,
}

enum Origin {
    Fixed(Token),
    File(PathBuf),
    Login { mount: String, credentials: Credentials },
}

enum Credentials {
    AppRole { role_id: String, secret_id: Evidence },
    Kubernetes { role: String, jwt: Evidence },
    Jwt { role: String, jwt: Evidence },
}

impl TokenSource {
    /// Always this token.
    #[must_use]
    pub fn fixed(token: Token) -> Self {
        Self::from(Origin::Fixed(token))
    }

    /// The token in a file, read again when it changes: looked at once a second at most, and when the broker
    /// refuses the one that was read.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::from(Origin::File(path.into()))
    }

    /// Logins with an application role.
    #[must_use]
    pub fn app_role(role_id: &str, secret_id: Evidence) -> Self {
        Self::login("approle", Credentials::AppRole { role_id: role_id.to_owned(), secret_id })
    }

    /// Logins with a Kubernetes service account: [`Evidence::service_account`], or a projected token in a
    /// file.
    #[must_use]
    pub fn kubernetes(role: &str, jwt: Evidence) -> Self {
        Self::login("kubernetes", Credentials::Kubernetes { role: role.to_owned(), jwt })
    }

    /// Logins with a token of an OpenID Connect issuer; an empty role asks for the mount's default.
    #[must_use]
    pub fn jwt(role: &str, jwt: Evidence) -> Self {
        Self::login("jwt", Credentials::Jwt { role: role.to_owned(), jwt })
    }

    /// The login mount, if it is not named like the method. Nothing else has one.
    #[must_use]
    pub fn at(mut self, mount_path: &str) -> Self {
        if let Origin::Login { mount, .. } = &mut self.origin {
            mount_path.trim_matches('/').clone_into(mount);
        }
        self
    }

    fn login(mount: &str, credentials: Credentials) -> Self {
        Self::from(Origin::Login { mount: mount.to_owned(), credentials })
    }

    fn from(origin: Origin) -> Self {
        let is_file = matches!(origin, Origin::File(_));
        Self { origin, held: Kept::new(if is_file { FILE_READ_EVERY } else { LOG_IN_AGAIN_AFTER }) }
    }

    /// A token that is good now, from a login if need be.
    pub(crate) async fn token(&self, connection: &Connection) -> Result<Token, Error> {
        if let Origin::Fixed(token) = &self.origin {
            return Ok(token.clone());
        }
        let age = |held: &Held| held.age(Instant::now());
        Ok(self.held.get(age, self.renew_or_obtain(connection)).await?.token)
    }

    /// Another token than the refused one, if there may be one.
    pub(crate) async fn instead_of(
        &self,
        connection: &Connection,
        refused: &Token,
    ) -> Result<Option<Token>, Error> {
        if matches!(self.origin, Origin::Fixed(_)) {
            return Ok(None);
        }
        let age = |held: &Held| if self.may_stay(held, refused) { Age::Good } else { Age::Ended };
        let token = self.held.get(age, self.obtain(connection, None)).await?.token;
        Ok((!token.is(refused)).then_some(token))
    }

    /// Whether nothing would be gained by another token: somebody else has replaced the refused one, or it
    /// cannot have ended yet.
    fn may_stay(&self, held: &Held, refused: &Token) -> bool {
        let is_login = matches!(self.origin, Origin::Login { .. });
        !held.token.is(refused) || is_login && held.is_young(Instant::now())
    }

    /// Renews the token that is held while that can be done, or gets another one.
    async fn renew_or_obtain(&self, connection: &Connection) -> Result<Held, Error> {
        let held = self.held.last().filter(|held| !matches!(held.age(Instant::now()), Age::Ended));
        self.obtain(connection, held.as_ref().and_then(Held::renewable)).await
    }

    async fn obtain(
        &self,
        connection: &Connection,
        renewable: Option<(Token, Duration)>,
    ) -> Result<Held, Error> {
        let asked = Instant::now();
        match &self.origin {
            Origin::Fixed(token) => Ok(Held::fixed(token.clone(), asked)),
            Origin::File(path) => Ok(Held::fixed(read_token(path).await?, asked).due_after(FILE_READ_EVERY)),
            Origin::Login { mount, credentials } => {
                let lifetime = renewable.as_ref().map(|(_, lifetime)| *lifetime);
                let auth = credentials.renew_or_log_in(connection, mount, renewable).await?;
                Ok(Held::issued(auth, asked, lifetime))
            }
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Fixed(_) => out.write_str("TokenSource::fixed"),
            Origin::File(path) => write!(out, "TokenSource::file({})", path.display()),
            Origin::Login { mount, .. } => write!(out, "TokenSource, login at {mount}"),
        }
    }
}

impl Credentials {
    /// A renewal that gives less than half of the first lifetime says that the token's end is near.
    async fn renew_or_log_in(
        &self,
        connection: &Connection,
        mount: &str,
        renewable: Option<(Token, Duration)>,
    ) -> Result<Auth, Error> {
        if let Some((token, lifetime)) = renewable
            && let Ok(auth) = renew(connection, &token).await
            && Duration::from_secs(auth.lease_duration) * 2 >= lifetime
        {
            return Ok(auth);
        }
        let (text, evidence);
        match self {
            Self::AppRole { role_id, secret_id } => {
                text = secret_id.read().await?;
                evidence = Login::AppRole { role_id, secret_id: text.expose() };
            }
            Self::Kubernetes { role, jwt } => {
                text = jwt.read().await?;
                evidence = Login::Kubernetes { role, jwt: text.expose() };
            }
            Self::Jwt { role, jwt } => {
                text = jwt.read().await?;
                evidence = Login::Jwt { role, jwt: text.expose() };
            }
        }
        login(connection, mount, &evidence).await
    }
}

#[cfg(test)]
mod tests;
