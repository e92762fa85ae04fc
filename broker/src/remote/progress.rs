//! How far a change of the group has come, as status pages show it.

/// How far a ceremony has come, for status pages and terminals. Wire type.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// What is being done: `refresh`, `reshare`, `rotate`, `renew`; empty if nothing is.
    pub change: &'static str,
    /// The step under way.
    pub step: &'static str,
    /// Nodes or checks done in this step.
    pub done: usize,
    /// Of how many.
    pub total: usize,
}

impl Progress {
    /// The step of a change that is over.
    pub(crate) const DONE: &'static str = "done";

    /// Whether something was begun and is not over.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !self.change.is_empty() && self.step != Self::DONE
    }
}
