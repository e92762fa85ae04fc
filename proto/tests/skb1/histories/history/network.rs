//! The network between broker and nodes: it loses, doubles, delays and mixes up.

use symbolon_proto::id::NodeId;
use symbolon_proto::proposal::Proposal;

use super::super::node::{Ask, Reply};
use super::{Broken, DELAYED_MAX, History};

impl History {
    /// Asks and waits. `None` if the question, the answer or the node is lost, or if the node refuses.
    pub(super) fn ask(&mut self, at: usize, ask: Ask) -> Result<Option<Reply>, Broken> {
        if self.mishap() {
            if self.delayed.len() < DELAYED_MAX {
                self.delayed.push((at, ask));
            }
            return Ok(None);
        }
        if self.mishap() {
            drop(self.deliver(at, ask.clone())?);
        }
        let reply = self.deliver(at, ask)?;
        if self.mishap() {
            return Ok(None);
        }
        match reply {
            // The network may hand over an answer to an earlier question instead.
            Some(Reply::Evaluated(frame)) => {
                let stale = self.stale.insert(at, frame.clone());
                Ok(Some(Reply::Evaluated(if self.mishap() { stale.unwrap_or(frame) } else { frame })))
            }
            other => Ok(other),
        }
    }

    /// A question reaches a node. Rule: refusal changes nothing.
    pub(super) fn deliver(&mut self, at: usize, ask: Ask) -> Result<Option<Reply>, Broken> {
        let node = &mut self.nodes[at];
        if !node.up {
            return Ok(None);
        }
        let before = node.disk.digest();
        match node.handle(ask, self.bug, &mut self.rng) {
            Ok(reply) => Ok(Some(reply)),
            Err(_) if node.disk.digest() == before => Ok(None),
            Err(why) => Err(format!("no state change on refusal: node {} refused ({why})", at + 1)),
        }
    }

    pub(super) fn find(&self, node: NodeId) -> usize {
        self.nodes.iter().position(|other| other.card.card().node == node).unwrap()
    }

    pub(super) fn member(&self, group: &Proposal, index: u16) -> usize {
        self.find(group.member(index).unwrap().node)
    }
}
