//! Where tokens come from: given, from a file, or from a login that is repeated before its token ends.
//!
//! Nothing runs in the background. A call takes the token that is held while that is good. Past two thirds of
//! its life one caller renews it or logs in again, while the others go on with the old one; if that fails,
//! the old one is used until its end. Without a token, all callers wait for one login, and share its error if
//! it fails.

mod held;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::held::{Held, Look};
use crate::auth::{Auth, Login};
use crate::connection::Connection;
use crate::error::Error;
use crate::evidence::{Evidence, read_token};
use crate::login::{login, renew};
use crate::token::Token;

/// Where a client's tokens come from.
pub struct TokenSource {
    origin: Origin,
    state: Mutex<State>,
    /// Held by the one caller who sees to a new token.
    gate: tokio::sync::Mutex<()>,
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

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// When the last attempt failed, and how.
    failed: Option<(Instant, Error)>,
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
        Self { origin, state: Mutex::default(), gate: tokio::sync::Mutex::default() }
    }

    /// A token that is good now, from a login if need be.
    pub(crate) async fn token(&self, connection: &Connection) -> Result<Token, Error> {
        if let Origin::Fixed(token) = &self.origin {
            return Ok(token.clone());
        }
        match self.look() {
            Look::Good(token) => Ok(token),
            Look::Due(token) => {
                let Ok(_gate) = self.gate.try_lock() else { return Ok(token) };
                Ok(self.replace(connection).await.unwrap_or(token))
            }
            Look::Nothing => self.first(connection).await,
        }
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
        let arrived = Instant::now();
        let _gate = self.gate.lock().await;
        self.failed_since(arrived)?;
        if let Some(held) = &self.state().held {
            if !held.token.is(refused) {
                return Ok(Some(held.token.clone())); // somebody else was quicker
            }
            if matches!(self.origin, Origin::Login { .. }) && held.is_young(Instant::now()) {
                return Ok(None);
            }
        }
        let token = self.obtain(connection, None).await?;
        Ok((!token.is(refused)).then_some(token))
    }

    /// Waits for the login of whoever came first, and logs in if nobody did.
    async fn first(&self, connection: &Connection) -> Result<Token, Error> {
        let arrived = Instant::now();
        let _gate = self.gate.lock().await;
        if let Look::Good(token) | Look::Due(token) = self.look() {
            return Ok(token);
        }
        self.failed_since(arrived)?;
        self.obtain(connection, None).await
    }

    /// The error of an attempt that a caller has waited for.
    fn failed_since(&self, arrived: Instant) -> Result<(), Error> {
        match &self.state().failed {
            Some((when, error)) if *when >= arrived => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Renews the token that is held, or gets another one. Only with the gate held.
    async fn replace(&self, connection: &Connection) -> Result<Token, Error> {
        let renewable = self.state().held.as_ref().and_then(Held::renewable);
        self.obtain(connection, renewable).await
    }

    /// Gets a token and keeps it. Only with the gate held.
    async fn obtain(
        &self,
        connection: &Connection,
        renewable: Option<(Token, Duration)>,
    ) -> Result<Token, Error> {
        let asked = Instant::now();
        let got = match &self.origin {
            Origin::Fixed(token) => Ok(Held::fixed(token.clone(), asked)),
            Origin::File(path) => read_token(path).await.map(|token| Held::from_file(token, asked)),
            Origin::Login { mount, credentials } => {
                let lifetime = renewable.as_ref().map(|(_, lifetime)| *lifetime);
                let auth = credentials.renew_or_log_in(connection, mount, renewable).await;
                auth.map(|auth| Held::issued(auth, asked, lifetime))
            }
        };
        self.note(got)
    }

    fn note(&self, got: Result<Held, Error>) -> Result<Token, Error> {
        let mut state = self.state();
        match got {
            Ok(held) => {
                let token = held.token.clone();
                *state = State { held: Some(held), failed: None };
                Ok(token)
            }
            Err(error) => {
                let now = Instant::now();
                state.failed = Some((now, error.clone()));
                if let Some(held) = &mut state.held {
                    held.postpone(now);
                }
                Err(error)
            }
        }
    }

    fn look(&self) -> Look {
        self.state().held.as_ref().map_or(Look::Nothing, |held| held.look(Instant::now()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
