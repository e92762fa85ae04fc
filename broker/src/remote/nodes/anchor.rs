//! What all nodes remember of our log, asked for and put at the same time.

use std::future::Future;
use std::sync::Arc;

use symbolon_proto::frame::AnchorValue;
use tokio::task::JoinSet;

use super::{EvaluateError, Node, Remote};

/// A node's index and its answer.
pub(crate) type Remembered = (u16, Result<Option<AnchorValue>, EvaluateError>);

impl Remote {
    /// What each node remembers.
    pub(crate) async fn anchors(&self) -> Vec<Remembered> {
        self.of_each(|node| async move { node.anchor().await }).await
    }

    /// Puts an anchor everywhere, and answers what each node holds then.
    pub(crate) async fn put_anchor(&self, anchor: AnchorValue) -> Vec<Remembered> {
        self.of_each(|node| async move { node.put_anchor(anchor).await.map(Some) }).await
    }

    async fn of_each<F>(&self, ask: impl Fn(Arc<Node>) -> F) -> Vec<Remembered>
    where
        F: Future<Output = Result<Option<AnchorValue>, EvaluateError>> + Send + 'static,
    {
        let mut asking = JoinSet::new();
        for node in self.nodes().iter() {
            let (index, asked) = (node.index(), ask(Arc::clone(node)));
            asking.spawn(async move { (index, asked.await) });
        }
        let mut answers = asking.join_all().await;
        answers.sort_by_key(|(index, _)| *index);
        answers
    }
}
