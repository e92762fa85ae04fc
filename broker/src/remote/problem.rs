//! What is missing on the remote side, as everybody may know it.

use crate::error::{OpError, Text};

/// What is missing on the remote side, for status pages and 503 answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentProblem {
    /// No answer within the deadline, or no connection.
    #[error(
        "the fragment service does not answer; its operator should check it, cached keys live until the lease ends"
    )]
    Silent,
    /// The service says the key is suspended, under its signature.
    #[error("the fragment service has suspended this key; its operator must resume it")]
    Suspended,
    /// The service's answers fail verification.
    #[error("the fragment service gave a wrong answer; treat it as compromised until its operator explains")]
    Lied,
    /// The service refuses this broker: not enrolled, stale generation, unknown key.
    #[error(
        "the fragment service does not accept this broker; check enrolment and generation with its operator"
    )]
    Refused,
    /// The allowance of evaluations is spent.
    #[error("the evaluation quota is spent; wait, or ask the service's operator to raise it")]
    Quota,
    /// No successful canary within the hour, so nothing new may be encrypted to this remote.
    #[error(
        "no successful canary within the last hour; new keys are refused until the fragment service answers one"
    )]
    NoCanary,
    /// The local lease has lapsed and could not be renewed.
    #[error("the lease on cached keys has ended and was not renewed")]
    LeaseEnded,
}

impl From<FragmentProblem> for OpError {
    fn from(problem: FragmentProblem) -> Self {
        Self::Unavailable(Text::of(&format_args!("a key fragment is unavailable: {problem}")))
    }
}
