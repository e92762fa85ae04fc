//! Login with a name and a password, by the rules of Vault's `userpass` method.
//!
//! What is kept of a password is its Argon2id hash ([`PasswordHash`]). A login computes one whoever is named,
//! so that unknown users take the time of known ones, and the answer to every refusal is one and the same
//! ([`REFUSED`]). Guessing is bounded by [`Lockouts`]. One hash takes 19 MiB and some ten milliseconds: the
//! caller bounds how many run at once.

mod lockout;
mod password;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::lockout::{FAILURES_MAX, LOCKED_MS, Lockouts};
pub use self::password::{PASSWORD_BYTES_MAX, PasswordCost, PasswordError, PasswordHash};
use super::verified::{Found, OutOfBounds, VerifiedIdentity};
use crate::audit::Actor;
use crate::path::UserName;
use crate::token::{ParamsError, TokenParams};

/// The answer to every refused login: 400.
pub const REFUSED: &str = "invalid username or password";

/// One user. Wire type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Folded name.
    pub name: UserName,
    /// What is kept of the password.
    pub password: PasswordHash,
    /// Parameters of the tokens.
    #[serde(default)]
    pub token: TokenParams,
}

/// Why a login was refused, for the log. The caller learns [`REFUSED`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserRefusal {
    /// Nobody of this name.
    #[error("the user is unknown")]
    UnknownUser,
    /// Not the password, or nothing that could be one.
    #[error("the password is wrong")]
    WrongPassword,
    /// From an address that the user's tokens are not bound to.
    #[error(transparent)]
    Address(#[from] OutOfBounds),
}

/// Why a login gave no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// The caller did not prove who he is.
    #[error(transparent)]
    Refused(#[from] UserRefusal),
    /// The broker could not find out: 503, and no failure of the caller's.
    #[error("there is not enough memory to check the password; try again later")]
    Memory,
}

impl User {
    /// Vault's rules for the parameters of the tokens.
    pub fn check(&self) -> Result<(), ParamsError> {
        self.token.check()
    }

    fn found(&self) -> Found {
        let name = self.name.to_string();
        Found {
            actor: Actor::named("userpass", &name),
            subject: name.clone(),
            alias: name.clone(),
            display_name: name.clone(),
            meta: BTreeMap::from([("username".to_owned(), name.clone())]),
            attributes: BTreeMap::new(),
            params: self.token.clone(),
            evidence_ends_at: None,
            login_name: Some(name),
        }
    }
}

/// Judges a login. `user` is what the row of the name held; `None` costs as much as a wrong password.
pub fn admit(
    user: Option<&User>,
    password: &str,
    remote: Option<IpAddr>,
) -> Result<VerifiedIdentity, LoginError> {
    let fits = match user {
        Some(user) => user.password.verify(password),
        None => PasswordHash::nobodys().verify(password),
    };
    let fits = fits.or_else(|error| match error {
        PasswordError::Memory => Err(LoginError::Memory),
        PasswordError::Length | PasswordError::Cost => Ok(false),
    })?;
    let user = user.ok_or(UserRefusal::UnknownUser)?;
    if !fits {
        return Err(UserRefusal::WrongPassword.into());
    }
    // Asked before anybody says that the password was right: the lock counts a login from elsewhere too.
    VerifiedIdentity::within_bounds(user.found(), &[], remote)
        .map_err(|error| UserRefusal::from(error).into())
}

#[cfg(test)]
mod tests;
