//! Policies: list, read, write, delete.

use symbolon_core::audit::Action;
use symbolon_core::path::{ApiPath, PolicyName};
use symbolon_core::policy::{DEFAULT_POLICY, Operation, Policy, PolicyError};
use symbolon_proto::id::TenantId;

use super::App;
use crate::access::Requester;
use crate::access::session::{Attempt, Session};
use crate::error::{OpError, Text};
use crate::rows::{NO_SCOPE, Place, Table};
use crate::store::Expect;

/// A policy as stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredPolicy {
    /// Folded name.
    pub name: PolicyName,
    /// The text as written.
    pub text: String,
}

/// Policies that one deployment may have; all are held in memory.
pub const POLICIES_MAX: usize = 10_000;

const UNCHANGEABLE: OpError = OpError::invalid("cannot update \"root\" policy");
const UNDELETABLE: OpError = OpError::invalid("cannot delete \"root\" policy");
const DEFAULT_STAYS: OpError = OpError::invalid("cannot delete default policy");

/// Where a policy is stored.
#[must_use]
pub fn place(name: &PolicyName) -> Place<'_> {
    Place { tenant: TenantId::SYSTEM, table: Table::Policy, scope: NO_SCOPE, group: "", name: name.as_str() }
}

/// Names of all policies, `root` included, in order.
pub async fn list(app: &App, who: &Requester<'_>, api: &ApiPath) -> Result<Vec<String>, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::PolicyRead, api)
        .await?
        .authorise(Operation::List, api)
        .await?;
    let mut names = attempt.session().policy_names();
    names.push(PolicyName::root().as_str().to_owned());
    names.sort();
    attempt.conclude(Vec::new()).await?;
    Ok(names)
}

/// One policy's text. `root` has none.
pub async fn read(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    name: &PolicyName,
) -> Result<StoredPolicy, OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::PolicyRead, api)
        .await?
        .authorise(Operation::Read, api)
        .await?;
    let found = attempt.audited(find(attempt.session(), name).await).await?;
    attempt.conclude(Vec::new()).await?;
    Ok(found)
}

async fn find(session: &Session, name: &PolicyName) -> Result<StoredPolicy, OpError> {
    if name.is_root() {
        return Ok(StoredPolicy { name: name.clone(), text: String::new() });
    }
    let stored = session.rows.read::<StoredPolicy>(place(name)).await?;
    stored.map(|(policy, _)| policy).ok_or(OpError::NOT_FOUND)
}

/// Creates or replaces a policy, after it has been parsed.
pub async fn write(
    app: &App,
    who: &Requester<'_>,
    api: &ApiPath,
    name: &PolicyName,
    text: &str,
) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::PolicyWrite, api)
        .await?
        .authorise(Operation::Update, api)
        .await?;
    let parsed = attempt.audited(check(attempt.session(), name, text)).await?;
    let stored = StoredPolicy { name: name.clone(), text: text.to_owned() };
    let change = attempt.session().rows.put(place(name), &stored, Expect::Any)?;
    let name = name.clone();
    attempt
        .conclude_and_take(vec![change], move |session| session.replace_policy(&name, Some(parsed)))
        .await?;
    Ok(())
}

fn check(session: &Session, name: &PolicyName, text: &str) -> Result<Policy, OpError> {
    if name.is_immutable() {
        return Err(UNCHANGEABLE);
    }
    if session.policy_names().len() >= POLICIES_MAX {
        return Err(OpError::invalid("too many policies: delete one first"));
    }
    Policy::parse(name.clone(), text).map_err(OpError::from)
}

/// Removes a policy; tokens that name it lose what it gave. Removing an absent one is no error.
pub async fn delete(app: &App, who: &Requester<'_>, api: &ApiPath, name: &PolicyName) -> Result<(), OpError> {
    let attempt = Attempt::begin(app.session()?, who, Action::PolicyDelete, api)
        .await?
        .authorise(Operation::Delete, api)
        .await?;
    attempt.audited(deletable(name)).await?;
    let change = attempt.session().rows.delete(place(name), Expect::Any);
    let name = name.clone();
    attempt.conclude_and_take(vec![change], move |session| session.replace_policy(&name, None)).await?;
    Ok(())
}

fn deletable(name: &PolicyName) -> Result<(), OpError> {
    match name {
        name if name.is_default() => Err(DEFAULT_STAYS),
        name if name.is_immutable() => Err(UNDELETABLE),
        _ => Ok(()),
    }
}

/// The `default` policy as a new deployment has it.
#[must_use]
pub fn default_policy() -> StoredPolicy {
    StoredPolicy { name: PolicyName::default_policy(), text: DEFAULT_POLICY.to_owned() }
}

impl From<PolicyError> for OpError {
    fn from(error: PolicyError) -> Self {
        Self::Invalid(Text::of(&format_args!("the policy is not valid: {error}")))
    }
}
