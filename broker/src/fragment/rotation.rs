//! What a rotation asks of the remote beside evaluations: a new key epoch, and the end of an old one.

use std::future::Future;
use std::pin::Pin;

use super::{EvaluateError, Remote};

/// Why the remote did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// It could not be asked, or did not answer as it must.
    #[error(transparent)]
    Remote(#[from] EvaluateError),
    /// It refuses; the text is one of ours and says who must do what.
    #[error("{0}")]
    Refused(&'static str),
}

/// What such a question comes to.
pub type Rotated<'a, T> = Pin<Box<dyn Future<Output = Result<T, RotateError>> + Send + 'a>>;

/// Makes and ends key epochs of the remote half. Both calls are idempotent: repeating one after a lost answer is safe.
pub trait RemoteRotation: Send + Sync + 'static {
    /// Has the remote make the key epoch after the newest, and answers its number. From then on the evaluator's newest
    /// epoch is that one, and the older ones can still be evaluated.
    fn new_epoch(&self) -> Rotated<'_, u32>;

    /// Tells the remote that no capsule of `key_epoch` is left. The broker has counted them before.
    fn retire(&self, key_epoch: u32) -> Rotated<'_, ()>;
}

impl RemoteRotation for Remote {
    fn new_epoch(&self) -> Rotated<'_, u32> {
        Box::pin(async { Err(REFUSED) })
    }

    fn retire(&self, _: u32) -> Rotated<'_, ()> {
        Box::pin(async { Err(REFUSED) })
    }
}

const REFUSED: RotateError = RotateError::Refused(
    "this fragment service makes and ends no key epochs at a broker's request; its operator must update it",
);
