//! What a rotation asks of the remote beside evaluations: a new key epoch, the end of an old one, other
//! shares of the same key.

use std::future::Future;
use std::pin::Pin;

use crate::access::Session;
use crate::remote::group::GroupError;
use crate::remote::{EvaluateError, Progress, Remote};
use crate::upkeep::enrolment;
use crate::upkeep::group::{Changer, Leaving};

/// Why the remote did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// It could not be asked, or did not answer as it must.
    #[error(transparent)]
    Remote(#[from] EvaluateError),
    /// One of its nodes did not do its part.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// It refuses; the text is one of ours and says who must do what.
    #[error("{0}")]
    Refused(&'static str),
}

/// What such a question comes to.
pub type Rotated<'a, T> = Pin<Box<dyn Future<Output = Result<T, RotateError>> + Send + 'a>>;

/// How the shares of a key change, while the key stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewShares {
    /// The same nodes, the same threshold.
    Refresh,
    /// Nodes and threshold of the configuration.
    Reshare,
}

/// Makes and ends key epochs of the remote half. Every call is idempotent: repeating one after a lost answer
/// is safe.
pub trait RemoteRotation: Send + Sync + 'static {
    /// Has the remote make the key epoch after the newest, and answers its number. From then on the
    /// evaluator's newest epoch is that one, and the older ones can still be evaluated.
    fn new_epoch<'a>(&'a self, session: &'a Session) -> Rotated<'a, u32>;

    /// Tells the remote that no capsule of `key_epoch` is left. The broker has counted them before.
    fn retire<'a>(&'a self, session: &'a Session, key_epoch: u32) -> Rotated<'a, ()>;

    /// New shares of the same key.
    fn new_shares<'a>(&'a self, _: &'a Session, _: NewShares) -> Rotated<'a, ()> {
        Box::pin(async { Err(GroupError::NotAGroup.into()) })
    }

    /// The fingerprint that the operators of all nodes compare before a reshare.
    fn proposed<'a>(&'a self, _: &'a Session) -> Rotated<'a, String> {
        Box::pin(async { Err(GroupError::NotAGroup.into()) })
    }

    /// How far the change of a group is that is under way, if one is.
    fn under_way(&self) -> Option<Progress> {
        None
    }

    /// Nodes that left by a reshare and have not confirmed that their share is erased.
    fn leaving<'a>(&'a self, _: &'a Session) -> Rotated<'a, Vec<Leaving>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

impl RemoteRotation for Remote {
    fn new_epoch<'a>(&'a self, session: &'a Session) -> Rotated<'a, u32> {
        Box::pin(async move {
            let made = Changer::new(session, self).new_epoch().await;
            made.inspect_err(|_| self.nothing_under_way())?;
            Ok(self.manifest().manifest().key_epoch)
        })
    }

    /// Officers of each service decide what follows; the broker needs the epoch no more.
    fn retire<'a>(&'a self, session: &'a Session, key_epoch: u32) -> Rotated<'a, ()> {
        Box::pin(async move {
            Changer::new(session, self).retire(key_epoch).await?;
            self.forget_epoch(key_epoch);
            enrolment::keep(session, self).await.map_err(|_| GroupError::Store)?;
            Ok(())
        })
    }

    fn new_shares<'a>(&'a self, session: &'a Session, wanted: NewShares) -> Rotated<'a, ()> {
        Box::pin(async move {
            let changer = Changer::new(session, self);
            let made = match wanted {
                NewShares::Refresh => changer.refresh().await,
                NewShares::Reshare => changer.reshare().await,
            };
            Ok(made.inspect_err(|_| self.nothing_under_way())?)
        })
    }

    fn proposed<'a>(&'a self, session: &'a Session) -> Rotated<'a, String> {
        Box::pin(async move { Ok(Changer::new(session, self).proposed().await?) })
    }

    fn under_way(&self) -> Option<Progress> {
        Some(self.progress().borrow().clone()).filter(Progress::is_under_way)
    }

    fn leaving<'a>(&'a self, session: &'a Session) -> Rotated<'a, Vec<Leaving>> {
        Box::pin(async move { Ok(Changer::new(session, self).leaving().await?) })
    }
}
