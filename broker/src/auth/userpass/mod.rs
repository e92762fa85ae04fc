//! Users: a name and a password, for people who have nothing better.
//!
//! ```text
//! mod.rs     the descriptor, and what a login does
//! route.rs   how the dialect asks
//! gate.rs    where passwords are hashed: after the queue, and unless the source is locked
//! queue.rs   whose turn it is
//! ```

use symbolon_core::identity::userpass::{REFUSED, User, UserRefusal};
use symbolon_core::path::{RoleName, UserName};
use symbolon_core::token::{ParamsError, TokenKind};
use symbolon_proto::Zeroizing;

use self::gate::{Attempt, Gate};
use super::Method;
use super::login::{Claim, Login};
use super::roles::{self, ROLES, Role, find_role};
use crate::access::mounts::Mount;
use crate::access::shape::Facts;
use crate::access::tokens::IssuedToken;
use crate::access::{Asker, Session};
use crate::dialect::vault::{Answering, Call};
use crate::error::{OpError, Text};

mod gate;
mod queue;
mod route;

/// The descriptor.
pub static METHOD: Method = Method {
    facts: Facts {
        kind: "userpass",
        builtin: None,
        tables: &[ROLES],
        sudo: &[],
        folds: &["users/+", "users/+/*", "login/+"],
        open: &[("PUT", "login/+")],
        first_rows: None,
    },
    usual: TokenKind::Service,
    enable: |_| Ok(()),
    route: answer,
    recognise: None,
    endings: &[],
};

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route::route(call, mount, rest))
}

impl Role for User {
    const COLLECTION: &'static str = "users";

    fn check(&self) -> Result<(), OpError> {
        Self::check(self).map_err(|error: ParamsError| OpError::Invalid(Text::of(&error)))
    }

    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// A user's row has the user's name.
fn row_name(user: &UserName) -> RoleName {
    RoleName::parse(user.as_str()).expect("users are named by the rules of roles")
}

/// Logs a user in. Whatever is wrong, the caller learns one text; the log learns which.
pub async fn log_in(
    who: &Asker<'_>,
    mount: &Mount,
    name: &str,
    password: Zeroizing<String>,
) -> Result<IssuedToken, OpError> {
    let session: &Session = who.session;
    let login = Login::begin(session, who, mount, &format!("login/{name}"), Claim::User(name))?;
    let refused = OpError::refused(REFUSED);
    let Ok(user) = UserName::parse(name) else {
        // Nobody can have such a name, which is no secret: nothing is hashed for it.
        return login.refuse(UserRefusal::UnknownUser.to_string(), refused).await;
    };
    let attempt = Attempt { mount: &mount.path, user: &user, password, remote: who.requester.remote };
    let row = row_name(&user);
    let find = || async {
        let found = find_role::<User>(session, mount, &row).await?;
        Ok(found.map(|(user, _)| user))
    };
    match session.of::<Gate>().judge(attempt, session.clock.as_ref(), find).await? {
        Ok(identity) => login.admit(&identity, Vec::new()).await,
        Err(refusal) => login.refuse(refusal.to_string(), refused).await,
    }
}

/// Creates or changes a user. `edit` gets the present one and says what shall be; `part` is the path of what
/// is changed below the user's. A new password is hashed when the policies have allowed the change, and in
/// the queue that logins stand in.
pub async fn edit_user<E: From<OpError>>(
    who: &Asker<'_>,
    mount: &Mount,
    name: &UserName,
    part: &'static str,
    edit: impl FnOnce(Option<&User>) -> Result<Wanted, E>,
) -> Result<(), E> {
    let (row, gate) = (row_name(name), who.session.of::<Gate>());
    let change = roles::begin_change::<User>(who, mount, &row, part).await?;
    let Wanted { token, password } = edit(change.present())?;
    let renewed = password.is_some();
    let hash = match (password, change.present()) {
        (Some(password), _) => gate.hash(password, who.requester.remote).await,
        (None, Some(user)) => Ok(user.password.clone()),
        (None, None) => Err(MISSING_PASSWORD),
    };
    let password = change.record_failure(hash).await?;
    change.finish(mount, &row, &User { name: name.clone(), password, token }).await?;
    if renewed {
        gate.forget(&mount.path, name);
    }
    Ok(())
}

/// Removes a user; tokens of earlier logins live on, as with the roles of other methods.
pub async fn delete_user(who: &Asker<'_>, mount: &Mount, name: &UserName) -> Result<(), OpError> {
    roles::delete_role::<User>(who, mount, &row_name(name)).await?;
    who.session.of::<Gate>().forget(&mount.path, name);
    Ok(())
}

/// What a write makes of a user.
pub struct Wanted {
    /// Parameters of the tokens.
    token: symbolon_core::token::TokenParams,
    /// A new password, if there is one.
    password: Option<Zeroizing<String>>,
}

const MISSING_PASSWORD: OpError = OpError::invalid("missing password");

#[cfg(test)]
mod tests;
