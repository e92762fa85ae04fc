//! A node's memory of our log (`docs/skb1.md` 6.9, 16.6).

use std::sync::atomic::Ordering;

use bytes::Bytes;
use symbolon_proto::evaluate::Fault;
use symbolon_proto::frame::{AnchorAnswer, AnchorRequest, AnchorValue, Status, request_hash};
use symbolon_proto::id::RequestId;

use super::{EvaluateError, Node};
use crate::random::os_rng;

impl Node {
    /// What the node remembers; `None` if nothing was ever put. Asked without a hello.
    pub(crate) async fn anchor(&self) -> Result<Option<AnchorValue>, EvaluateError> {
        let frame = self.anchor_request(None);
        let answer = self.whisper(frame.clone()).await?;
        let answer = self.read_anchor(&frame, &answer)?;
        match answer.status {
            Status::Ok => Ok(answer.stored),
            status => Err(refused(status)),
        }
    }

    /// Puts an anchor and answers what is stored then: this one, or one with a counter that is not lower. A
    /// node that is known to hold this one is not asked again.
    pub(crate) async fn put_anchor(&self, anchor: AnchorValue) -> Result<AnchorValue, EvaluateError> {
        if self.anchored.load(Ordering::Acquire) >= anchor.counter {
            return Ok(anchor);
        }
        let frame = self.anchor_request(Some(anchor));
        let answer = self.ask(frame.clone()).await?;
        let answer = self.read_anchor(&frame, &answer)?;
        match (answer.status, answer.stored) {
            (Status::Ok, Some(stored)) if stored == anchor => {
                self.anchored.fetch_max(anchor.counter, Ordering::AcqRel);
                Ok(stored)
            }
            (Status::StaleAnchor, Some(stored)) if stored.counter >= anchor.counter => Ok(stored),
            (Status::Ok | Status::StaleAnchor, _) => Err(self.lied(Fault::OtherRequest)),
            (status, _) => Err(refused(status)),
        }
    }

    fn anchor_request(&self, put: Option<AnchorValue>) -> Vec<u8> {
        let (holder, nonce) = (self.common.holder(), RequestId::random(&mut os_rng()));
        AnchorRequest { deployment: holder.deployment, broker: holder.broker, key: holder.key, put, nonce }
            .to_bytes()
    }

    fn read_anchor(&self, frame: &[u8], answer: &Bytes) -> Result<AnchorAnswer, EvaluateError> {
        let answer = AnchorAnswer::parse(answer).map_err(|error| self.lied(Fault::Frame(error)))?;
        let ours = answer.request_hash == request_hash(frame);
        if ours { Ok(answer) } else { Err(self.lied(Fault::OtherRequest)) }
    }
}

/// Nothing here is signed, so nothing here withdraws a lease; a heartbeat says it with a signature.
fn refused(status: Status) -> EvaluateError {
    match status {
        Status::UnknownKey => EvaluateError::UnknownKey,
        Status::StaleGeneration => EvaluateError::StaleGeneration,
        _ => EvaluateError::Busy,
    }
}
