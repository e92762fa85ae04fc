//! Asking t of n nodes for an evaluation, without waiting for the slow ones (`docs/skb1.md` 6.7).
//!
//! ```text
//! the t quickest ──▶ asked at once ─┬─ one fails or lies ──▶ the next is asked at once
//!                                   ├─ 50 ms are over ─────▶ all others are asked
//!                                   └─ t verified answers ─▶ combined; the rest is given up
//! ```
//!
//! Every answer is verified against its own node's y_i before it counts, so a wrong one names its node and
//! the others are enough. All nodes get the same request, so equal request hashes mean equal share epochs.
//! The deadline covers it all.

use std::sync::Arc;
use std::time::Duration;

use symbolon_proto::blind::Blinded;
use symbolon_proto::capsule::SharedSecret;
use symbolon_proto::evaluate::VerifiedEvaluation;
use symbolon_proto::frame::EvaluateRequest;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::EvaluateError;
use super::error::NodeFailure;
use super::node::{Judged, Node};
use crate::key_thread;

/// Nodes beyond the first t are asked after this.
pub(crate) const HEDGE_AFTER: Duration = Duration::from_millis(50);

type Answered = (Arc<Node>, Result<VerifiedEvaluation, EvaluateError>);

/// One evaluation under way.
struct Round {
    request: Arc<EvaluateRequest>,
    threshold: u16,
    /// Not asked yet, quickest first.
    waiting: std::vec::IntoIter<Arc<Node>>,
    asking: JoinSet<Answered>,
    /// Asked, and not answered yet.
    unanswered: Vec<Arc<Node>>,
    evaluations: Vec<VerifiedEvaluation>,
    failures: Vec<NodeFailure>,
}

/// Has `blinded` evaluated by `threshold` of `nodes`.
pub(crate) async fn evaluate(
    nodes: Vec<Arc<Node>>,
    threshold: u16,
    blinded: Blinded,
    deadline: Duration,
) -> Result<Vec<SharedSecret>, EvaluateError> {
    let request = Arc::new(blinded.request().clone());
    let evaluations = Round::new(nodes, threshold, request).run(Instant::now() + deadline).await?;
    let finalized = key_thread::run(move || blinded.finalize_threshold(&evaluations, threshold)).await;
    // The evaluations are of this request, of t different nodes: nothing is left that could be refused.
    finalized.map_err(|_| EvaluateError::Busy)?.map_err(|_| EvaluateError::Busy)
}

/// The same for the one node of a key that is not shared: no hedging, no second hop to another thread.
pub(crate) async fn evaluate_alone(
    node: &Node,
    blinded: Blinded,
) -> Result<Vec<SharedSecret>, EvaluateError> {
    let begun = Instant::now();
    let evaluated = exchange_alone(node, blinded).await;
    node.evaluations().judged(evaluated.is_ok(), begun.elapsed());
    evaluated
}

async fn exchange_alone(node: &Node, blinded: Blinded) -> Result<Vec<SharedSecret>, EvaluateError> {
    let question = node.question(blinded.request().target().key_epoch)?;
    let frame = node.ask(blinded.request().to_bytes()).await?;
    // Checking a proof over 64 points takes milliseconds, which the runtime's threads must not spend; and the
    // unblinding that follows makes secrets.
    let (question, judged, secrets) = key_thread::run(move || {
        let judged = question.judge(blinded.request(), &frame);
        let secrets = match &judged {
            Ok(Judged::Evaluated(evaluation, _)) => blinded.finalize(evaluation.clone()).ok(),
            _ => None,
        };
        (question, judged, secrets)
    })
    .await
    .map_err(|_| EvaluateError::Busy)?;
    node.settle(&question, judged)?;
    secrets.ok_or(EvaluateError::Busy)
}

impl Round {
    fn new(mut nodes: Vec<Arc<Node>>, threshold: u16, request: Arc<EvaluateRequest>) -> Self {
        // Stable: equals stay in the order of their indices.
        nodes.sort_by_key(|node| (node.is_cut_off(), node.latency().micros()));
        Self {
            request,
            threshold,
            waiting: nodes.into_iter(),
            asking: JoinSet::new(),
            unanswered: Vec::new(),
            evaluations: Vec::new(),
            failures: Vec::new(),
        }
    }

    async fn run(mut self, deadline: Instant) -> Result<Vec<VerifiedEvaluation>, EvaluateError> {
        let hedge_at = Instant::now() + HEDGE_AFTER;
        self.ask(usize::from(self.threshold));
        while self.evaluations.len() < usize::from(self.threshold) {
            if self.reachable() < usize::from(self.threshold) {
                return Err(self.too_few());
            }
            let hedging = self.waiting.len() > 0;
            tokio::select! {
                biased;
                Some(answered) = self.asking.join_next() => self.take(answered),
                () = sleep_until(hedge_at), if hedging => self.ask(usize::MAX),
                () = sleep_until(deadline) => return Err(self.too_late()),
            }
        }
        self.name_failures();
        Ok(self.evaluations)
    }

    /// Nodes that have answered or still may.
    fn reachable(&self) -> usize {
        self.evaluations.len() + self.asking.len() + self.waiting.len()
    }

    fn ask(&mut self, count: usize) {
        for node in self.waiting.by_ref().take(count) {
            let request = Arc::clone(&self.request);
            self.unanswered.push(Arc::clone(&node));
            self.asking.spawn(async move {
                let answered = ask(&node, request).await;
                (node, answered)
            });
        }
    }

    fn take(&mut self, answered: Result<Answered, tokio::task::JoinError>) {
        let Ok((node, answered)) = answered else { return self.ask(1) }; // the runtime is shutting down
        self.unanswered.retain(|other| !Arc::ptr_eq(other, &node));
        match answered {
            Ok(evaluation) => self.evaluations.push(evaluation),
            Err(error) => {
                self.failures.push(NodeFailure { node: node.index(), error });
                self.ask(1);
            }
        }
    }

    fn too_late(mut self) -> EvaluateError {
        let silent = |node: &Arc<Node>| NodeFailure { node: node.index(), error: node.silent() };
        self.failures.extend(self.unanswered.iter().map(silent));
        self.too_few()
    }

    fn too_few(self) -> EvaluateError {
        let answered = self.evaluations.len();
        EvaluateError::TooFew { threshold: self.threshold, answered, failures: self.failures }
    }

    /// The round succeeded in spite of these; whoever runs the nodes should know.
    fn name_failures(&self) {
        for NodeFailure { node, error } in &self.failures {
            warn!(node, %error, "a fragment service node failed; the others were enough");
        }
    }
}

async fn ask(node: &Node, request: Arc<EvaluateRequest>) -> Result<VerifiedEvaluation, EvaluateError> {
    let begun = Instant::now();
    let answered = exchange(node, request).await;
    node.evaluations().judged(answered.is_ok(), begun.elapsed());
    answered
}

async fn exchange(node: &Node, request: Arc<EvaluateRequest>) -> Result<VerifiedEvaluation, EvaluateError> {
    let question = node.question(request.target().key_epoch)?;
    let frame = node.ask(request.to_bytes()).await?;
    let judging = tokio::task::spawn_blocking(move || (question.judge(&request, &frame), question));
    let (judged, question) = judging.await.map_err(|_| EvaluateError::Busy)?;
    node.settle(&question, judged)
}
