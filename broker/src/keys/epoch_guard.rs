//! Who may be at work with keys of an old epoch, and how to know that nobody is any more.
//!
//! Whoever chooses a key for something it is about to commit holds a [`Pass`] from the choice to the commit.
//! A [`Barrier`] waits until all passes are given back and lets none be given meanwhile. A request whose
//! asker has gone may have left its job in the writer's queue; the queue is first in, first out, so an entry
//! committed behind the barrier says that these are done too.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Leave to choose a key and commit with it. Never ask for a second one while holding one.
#[must_use = "the leave ends when this is dropped"]
pub struct Pass(#[expect(dead_code, reason = "held, never looked at")] OwnedRwLockReadGuard<()>);

/// Nobody chooses keys while this lives.
#[must_use = "the barrier ends when this is dropped"]
pub struct Barrier(#[expect(dead_code, reason = "held, never looked at")] OwnedRwLockWriteGuard<()>);

/// Gives passes and barriers.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<RwLock<()>>);

impl Gate {
    pub(super) async fn pass(&self) -> Pass {
        Pass(Arc::clone(&self.0).read_owned().await)
    }

    pub(super) async fn barrier(&self) -> Barrier {
        Barrier(Arc::clone(&self.0).write_owned().await)
    }
}
