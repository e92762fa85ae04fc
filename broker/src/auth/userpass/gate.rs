//! Where passwords are checked and made: a turn in the queue, then the lock, then one hash, whoever is named.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use symbolon_core::clock::Clock;
use symbolon_core::identity::VerifiedIdentity;
use symbolon_core::identity::userpass::{
    self, Lockouts, LoginError, PasswordCost, PasswordError, PasswordHash, User, UserRefusal,
};
use symbolon_core::path::{MountPath, UserName};
use symbolon_proto::Zeroizing;
use symbolon_proto::source::Source;

use super::queue::{Queue, Turn};
use crate::error::{OpError, Text};
use crate::random::os_rng;

/// What the method keeps while the broker is open: one for all its mounts, because the memory is one.
#[derive(Default)]
pub struct Gate {
    queue: Arc<Queue>,
    lockouts: Mutex<Lockouts>,
    #[cfg(test)]
    pub(super) hashes: std::sync::atomic::AtomicUsize,
}

/// A login as it came.
pub struct Attempt<'a> {
    /// At which mount.
    pub mount: &'a MountPath,
    /// As whom.
    pub user: &'a UserName,
    /// With what.
    pub password: Zeroizing<String>,
    /// From where.
    pub remote: Option<IpAddr>,
}

/// Why an attempt failed, for the log. The caller learns one text for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The password was not looked at.
    #[error("this source failed too often as this user and must wait")]
    Locked,
    /// It was right, for a user who was removed or got another password while it was hashed.
    #[error("the user was changed or removed during the login")]
    Changed,
    /// It was looked at.
    #[error(transparent)]
    User(#[from] UserRefusal),
}

impl Gate {
    /// What is kept of a new password.
    pub async fn hash(
        &self,
        password: Zeroizing<String>,
        remote: Option<IpAddr>,
    ) -> Result<PasswordHash, OpError> {
        let turn = self.queue.turn(Source::of(remote)).await?;
        let hash = move || PasswordHash::of(&password, PasswordCost::default(), &mut os_rng());
        let (hash, _turn) = self.compute(turn, hash).await?;
        Ok(hash?)
    }

    /// Judges a login. `find` reads the user when the turn has come, and again when the password was
    /// right: one that was changed meanwhile no longer counts, nor does a user who was removed.
    pub async fn judge<F: Future<Output = Result<Option<User>, OpError>>>(
        &self,
        attempt: Attempt<'_>,
        clock: &dyn Clock,
        find: impl Fn() -> F,
    ) -> Result<Result<VerifiedIdentity, Refusal>, OpError> {
        let Attempt { mount, user, password, remote } = attempt;
        let turn = self.queue.turn(Source::of(remote)).await?;
        if self.lockouts().is_locked(mount, user, remote, clock.now()) {
            return Ok(Err(Refusal::Locked));
        }
        let found = Arc::new(find().await?);
        let looked_at = Arc::clone(&found);
        let admit = move || userpass::admit(looked_at.as_ref().as_ref(), &password, remote);
        // The turn lasts until a failure is counted: the next to guess meets it.
        let (admitted, _turn) = self.compute(turn, admit).await?;
        match admitted {
            Ok(_) if find().await? != *found => Ok(Err(Refusal::Changed)),
            Ok(identity) => {
                self.lockouts().succeeded(mount, user, remote);
                Ok(Ok(identity))
            }
            Err(LoginError::Refused(refusal)) => {
                self.lockouts().failed(mount, user, remote, clock.now());
                Ok(Err(refusal.into()))
            }
            Err(LoginError::Memory) => Err(OpError::BUSY),
        }
    }

    /// Forgets who failed as this user: an operator gave out a new password, or removed the user.
    pub fn forget(&self, mount: &MountPath, user: &UserName) {
        self.lockouts().forget(mount, user);
    }

    fn lockouts(&self) -> MutexGuard<'_, Lockouts> {
        self.lockouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Off the threads that serve requests. The turn goes along, because the work goes on when nobody waits
    /// for it any more.
    async fn compute<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<(T, Turn), OpError> {
        #[cfg(test)]
        self.hashes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let computing = tokio::task::spawn_blocking(move || (work(), turn));
        computing.await.map_err(|_| OpError::BUSY) // the runtime is ending
    }
}

impl From<PasswordError> for OpError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Length | PasswordError::Cost => Self::Invalid(Text::of(&error)),
            PasswordError::Memory => Self::BUSY,
        }
    }
}
