//! What nodes that left a group have said, for the status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use symbolon_proto::id::NodeId;

/// What those who left have said since the unseal, and whose turn it is. Only for the status: what counts is
/// stored.
#[derive(Debug, Default)]
pub(crate) struct Told {
    turn: AtomicUsize,
    said: Mutex<BTreeMap<NodeId, String>>,
}

impl Told {
    /// Whose turn it is.
    pub(crate) fn next(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// What a node said last.
    pub(crate) fn said(&self, node: NodeId) -> Option<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// Whether it says something new.
    pub(crate) fn note(&self, node: NodeId, text: String) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(node, text.clone()).is_none_or(|before| before != text)
    }

    /// A node that has erased its share.
    pub(crate) fn forget(&self, node: NodeId) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }
}
