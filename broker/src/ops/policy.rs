//! Policies: list, read, write, delete.

use symbolon_core::audit::Action;
use symbolon_core::path::PolicyName;
use symbolon_core::policy::{Operation, Policy, PolicyError, RESPONSE_WRAPPING_POLICY};

use crate::access::policies::{StoredPolicy, place};
use crate::access::{Asker, Object, Request, Route, Session};
use crate::error::{OpError, Text};
use crate::store::Expect;

/// Policies that one deployment may have; all are held in memory.
pub const POLICIES_MAX: usize = 10_000;

const UNCHANGEABLE: OpError = OpError::invalid("cannot update \"root\" policy");
const UNDELETABLE: OpError = OpError::invalid("cannot delete \"root\" policy");
const WRAPPING_UNCHANGEABLE: OpError = OpError::invalid("cannot update \"response-wrapping\" policy");
const WRAPPING_UNDELETABLE: OpError = OpError::invalid("cannot delete \"response-wrapping\" policy");
const DEFAULT_STAYS: OpError = OpError::invalid("cannot delete default policy");

/// Which of the two spellings of the routes. Each is a path of its own, and a right of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `sys/policies/acl`.
    Current,
    /// `sys/policy`: in Vault's dialect with other member names, and lists also with GET.
    Old,
}

impl Spelling {
    const fn collection(self) -> &'static str {
        match self {
            Self::Current => "policies/acl",
            Self::Old => "policy",
        }
    }

    fn route(self, name: &PolicyName) -> Route {
        Route::system(format_args!("{}/{name}", self.collection()))
    }
}

/// Names of all policies, in order; `root` is the last.
pub async fn list(who: &Asker<'_>, spelling: Spelling) -> Result<Vec<String>, OpError> {
    let request = Request::begin(who, Action::PolicyRead, &Route::system(spelling.collection()))
        .await?
        .authorise(Operation::List)
        .await?;
    let mut names = request.session().policy_names();
    names.sort();
    names.push(PolicyName::root().as_str().to_owned());
    request.commit(Object::names(names.len()), Vec::new()).await?;
    Ok(names)
}

/// One policy's text. `root` has none; that of `response-wrapping` is ours.
pub async fn read(who: &Asker<'_>, spelling: Spelling, name: &PolicyName) -> Result<StoredPolicy, OpError> {
    let request = Request::begin(who, Action::PolicyRead, &spelling.route(name))
        .await?
        .authorise(Operation::Read)
        .await?;
    let found = request.found(find(request.session(), name).await).await?;
    request.commit(named(name), Vec::new()).await?;
    Ok(found)
}

fn named(name: &PolicyName) -> Object {
    Object::Named(format!("policy {}", name.as_str()))
}

async fn find(session: &Session, name: &PolicyName) -> Result<Option<StoredPolicy>, OpError> {
    if name.is_root() {
        return Ok(Some(StoredPolicy { name: name.clone(), text: String::new() }));
    }
    if name.is_response_wrapping() {
        return Ok(Some(StoredPolicy { name: name.clone(), text: RESPONSE_WRAPPING_POLICY.to_owned() }));
    }
    let stored = session.rows.read::<StoredPolicy>(place(name)).await?;
    Ok(stored.map(|(policy, _)| policy))
}

/// Creates or replaces a policy, after it has been parsed.
pub async fn write(
    who: &Asker<'_>,
    spelling: Spelling,
    name: &PolicyName,
    text: &str,
) -> Result<(), OpError> {
    let request = Request::begin(who, Action::PolicyWrite, &spelling.route(name))
        .await?
        .authorise(Operation::Update)
        .await?;
    let turn = request.turn().await;
    let parsed = request.record_failure(check(request.session(), name, text)).await?;
    let stored = StoredPolicy { name: name.clone(), text: text.to_owned() };
    let change = request.session().rows.put(place(name), &stored, Expect::Any)?;
    let name = name.clone();
    request
        .commit_and_take(turn, named(&name), vec![change], move |session| {
            session.replace_policy(&name, Some(parsed))
        })
        .await?;
    Ok(())
}

fn check(session: &Session, name: &PolicyName, text: &str) -> Result<Policy, OpError> {
    match name {
        name if name.is_response_wrapping() => return Err(WRAPPING_UNCHANGEABLE),
        name if name.is_immutable() => return Err(UNCHANGEABLE),
        _ => {}
    }
    let known = session.policy_names();
    if known.len() >= POLICIES_MAX && !known.iter().any(|known| known == name.as_str()) {
        return Err(OpError::invalid("too many policies: delete one first"));
    }
    Policy::parse(name.clone(), text).map_err(OpError::from)
}

/// Removes a policy; tokens that name it lose what it gave. Removing an absent one is no error.
pub async fn delete(who: &Asker<'_>, spelling: Spelling, name: &PolicyName) -> Result<(), OpError> {
    let request = Request::begin(who, Action::PolicyDelete, &spelling.route(name))
        .await?
        .authorise(Operation::Delete)
        .await?;
    request.record_failure(deletable(name)).await?;
    let turn = request.turn().await;
    let change = request.session().rows.delete(place(name), Expect::Any);
    let name = name.clone();
    request
        .commit_and_take(turn, named(&name), vec![change], move |session| session.replace_policy(&name, None))
        .await?;
    Ok(())
}

fn deletable(name: &PolicyName) -> Result<(), OpError> {
    match name {
        name if name.is_default() => Err(DEFAULT_STAYS),
        name if name.is_response_wrapping() => Err(WRAPPING_UNDELETABLE),
        name if name.is_immutable() => Err(UNDELETABLE),
        _ => Ok(()),
    }
}

impl From<PolicyError> for OpError {
    fn from(error: PolicyError) -> Self {
        Self::Invalid(Text::of(&format_args!("the policy is not valid: {error}")))
    }
}
