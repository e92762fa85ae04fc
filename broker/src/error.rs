//! Why an operation gave no answer, by who must act. Knows nobody.

use symbolon_core::kv::KvError;
use symbolon_core::policy::Denial;

use crate::rows::RecordError;
use crate::store::StoreError;

/// Why an operation gave no answer. Faces map each variant to their dialect in one exhaustive match.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// The broker holds no keys. Custodians must submit their shares.
    #[error("the broker is sealed; custodians must submit their shares with `symbolon operator unseal`")]
    Sealed,
    /// The store holds no deployment yet.
    #[error("the broker is not initialised; an operator must run `symbolon operator init`")]
    NotInitialised,
    /// `init` on a store that holds a deployment.
    #[error("the broker is already initialised")]
    AlreadyInitialised,
    /// The remote half, or the lease on cached keys, is missing. The text says which remote and what to do.
    #[error("a key fragment is unavailable: {0}")]
    FragmentUnavailable(FragmentProblem),
    /// No token, or one that is unknown, expired or malformed. Deliberately one answer for all.
    #[error("permission denied")]
    BadToken,
    /// A token named in the request, not the caller's own, is not one.
    #[error("bad token")]
    BadTokenNamed,
    /// Known caller, but no policy allows it.
    #[error("permission denied")]
    Denied(Denial),
    /// Unsealed, authorised, and truly absent.
    #[error("not found")]
    NotFound,
    /// No secrets engine or login method is mounted there.
    #[error("no handler for this route")]
    NoMount,
    /// The route exists but not for this method.
    #[error("unsupported operation")]
    Unsupported,
    /// The caller's input is wrong; the text is one of ours and says what was expected.
    #[error("{0}")]
    Invalid(&'static str),
    /// A token that may not be made so.
    #[error(transparent)]
    TokenCreate(#[from] symbolon_core::token::CreateError),
    /// A token that may not be renewed.
    #[error(transparent)]
    TokenRenew(#[from] symbolon_core::token::RenewError),
    /// A change of versions that Vault's rules refuse.
    #[error(transparent)]
    Kv(KvError),
    /// A policy that does not parse; the text says where and what was expected.
    #[error("the policy is not valid: {0}")]
    PolicyText(symbolon_core::policy::PolicyError),
    /// No mount there, or none that the caller may see: one answer for both.
    #[error(
        "preflight capability check returned 403, please ensure client's policies grant access to this path"
    )]
    Invisible,
    /// A login's evidence or credentials were refused; the text is one of ours.
    #[error("{0}")]
    LoginRefused(&'static str),
    /// A text that is not a share at all.
    #[error(transparent)]
    ShareText(symbolon_proto::share::ShareTextError),
    /// `init` was asked for something that cannot be.
    #[error(transparent)]
    Init(#[from] symbolon_core::seal::InitError),
    /// The fragment service could not be enrolled with.
    #[error(transparent)]
    Enrol(#[from] crate::remote::EnrolError),
    /// Its operator did not approve in time.
    #[error(
        "the operator of the fragment service has not approved this broker in time; compare fingerprints, approve, and run `init` again"
    )]
    NotApproved,
    /// A JWT login was refused.
    #[error(transparent)]
    JwtRefused(symbolon_core::identity::jwt_role::JwtRefusal),
    /// The keys of an issuer cannot be had.
    #[error(
        "the issuer's keys cannot be fetched; an operator must check the configuration of this login mount"
    )]
    IssuerKeys,
    /// Verification keys that cannot be used.
    #[error(transparent)]
    Keys(symbolon_core::identity::keys::KeySetError),
    /// A Kubernetes role that cannot be.
    #[error(transparent)]
    KubernetesRole(#[from] symbolon_core::identity::kubernetes::KubernetesRoleError),
    /// A JWT configuration that cannot be.
    #[error(transparent)]
    JwtConfig(#[from] symbolon_core::identity::jwt_role::JwtConfigError),
    /// A JWT role that cannot be.
    #[error(transparent)]
    JwtRole(#[from] symbolon_core::identity::jwt_role::JwtRoleError),
    /// An AppRole or secret id that cannot be.
    #[error(transparent)]
    AppRole(#[from] symbolon_core::identity::approle::AppRoleError),
    /// Bytes that are no sealed share, or one that does not open.
    #[error(transparent)]
    Submission(symbolon_proto::custody::SubmissionError),
    /// A ceremony that cannot begin or go on.
    #[error(transparent)]
    Ceremony(#[from] crate::custody::ceremony::CeremonyRefusal),
    /// A ceremony whose commit was not answered and could not be looked up.
    #[error(
        "the ceremony may have taken effect and may not: everybody keeps the shares of both sets; seal the broker, and the ceremony to unseal it names the set in force"
    )]
    ChangeUnknown,
    /// Too many refused shares from one source.
    #[error("too many refused shares came from this address; wait six seconds for each further attempt")]
    TooManyAttempts,
    /// A custodian's share was refused. Names the custodian, never the share.
    #[error(transparent)]
    Share(#[from] symbolon_core::seal::CeremonyError),
    /// The broker may not open, or has just sealed itself. The text says why and who must act.
    #[error("{0}")]
    SelfSealed(crate::custody::alarm::Reason),
    /// Somebody else changed the same thing first.
    #[error("the item changed meanwhile; read it again and retry")]
    Conflict,
    /// Too much waiting already.
    #[error("the broker is busy; retry in a second")]
    Busy,
    /// A record does not open although its key does: the store was altered or is damaged.
    #[error(
        "a stored record failed its integrity check; run `symbolon audit verify` and restore from backup"
    )]
    Integrity,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A rotation that cannot be now.
    #[error(transparent)]
    Rotation(#[from] crate::upkeep::rotation::RotationRefusal),
    /// The audit log cannot be written, so nothing may be disclosed.
    #[error("the audit log cannot be written; the request was refused")]
    AuditUnavailable,
}

impl From<KvError> for OpError {
    fn from(error: KvError) -> Self {
        Self::Kv(error)
    }
}

impl From<RecordError> for OpError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Store(error) => Self::Store(error),
            RecordError::Integrity => Self::Integrity,
            RecordError::TooMany => {
                Self::Invalid("more than a million names in one place; spread them over folders")
            }
            RecordError::TooLong => Self::Invalid("the value is longer than 1 MiB"),
        }
    }
}

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
