//! The key that signs the log, and the newest checkpoint that it has signed.
//!
//! A signature costs as much as the rest of a small commit. So none is made for each group, as none is by
//! other C2SP logs: one is made when somebody asks, and one at most a second after what it covers, for those
//! who ask later. What became durable meanwhile is covered by the head that goes with each commit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use symbolon_proto::log::{Checkpoint, Head, NoteSigner};

/// What signs, and for which end of the log.
pub(super) struct Signing {
    signer: NoteSigner,
    newest: Mutex<Newest>,
}

struct Newest {
    /// Durable.
    head: Head,
    /// Its checkpoint, once somebody has asked for it.
    note: Option<String>,
}

impl Signing {
    pub(super) fn new(signer: NoteSigner, head: Head) -> Self {
        Self { signer, newest: Mutex::new(Newest { head, note: None }) }
    }

    /// Takes a head that has become durable.
    pub(super) fn advance(&self, head: Head) {
        *self.newest() = Newest { head, note: None };
    }

    /// The checkpoint of everything that is durable; `None` for an empty log.
    pub(super) fn checkpoint(&self) -> Option<String> {
        let mut newest = self.newest();
        if newest.head.size == 0 {
            return None;
        }
        if newest.note.is_none() {
            newest.note = Some(self.sign(newest.head));
        }
        newest.note.clone()
    }

    /// A checkpoint that counts once its entries are durable.
    pub(super) fn sign(&self, head: Head) -> String {
        Checkpoint::sign(head.size, head.root, &self.signer)
    }

    /// The row that goes with the commit of `head`.
    pub(super) fn seal(&self, head: Head) -> Vec<u8> {
        head.seal(&self.signer)
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
