//! The policies in force, and what callers' sets of them come to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use symbolon_core::path::PolicyName;
use symbolon_core::policy::{Acl, DEFAULT_POLICY, Policy};
use symbolon_proto::id::TenantId;

use crate::error::OpError;
use crate::rows::{Layout, Life, NO_SCOPE, Place, Rows, Table};

/// Merged policies kept at once; one per distinct set of policy names.
const ACLS_MAX: usize = 1024;

/// Policies.
pub const POLICIES: Table = Table::new(0x04, "policies", Layout::Row, Life::Kept);

/// A policy as stored. Wire type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// Folded name.
    pub name: PolicyName,
    /// The text as written.
    pub text: String,
}

/// Where a policy is stored.
#[must_use]
pub fn place(name: &PolicyName) -> Place<'_> {
    Place { tenant: TenantId::SYSTEM, table: POLICIES, scope: NO_SCOPE, group: "", name: name.as_str() }
}

/// The `default` policy as a new deployment has it.
#[must_use]
pub fn default_policy() -> StoredPolicy {
    StoredPolicy { name: PolicyName::default_policy(), text: DEFAULT_POLICY.to_owned() }
}

/// All policies but `root`, in memory.
#[derive(Default)]
pub struct Policies {
    known: RwLock<HashMap<PolicyName, Arc<Policy>>>,
    acls: Mutex<HashMap<Vec<PolicyName>, Arc<Acl>>>,
}

impl Policies {
    /// Reads them all, at unseal.
    pub async fn read(rows: &Rows) -> Result<Self, OpError> {
        let stored = rows.list::<StoredPolicy>(place(&PolicyName::default_policy())).await?;
        let parse = |(stored, _): (StoredPolicy, u64)| {
            let policy = Policy::parse(stored.name.clone(), &stored.text).map_err(|_| OpError::INTEGRITY)?;
            Ok((stored.name, Arc::new(policy)))
        };
        let known = stored.into_iter().map(parse).collect::<Result<_, OpError>>()?;
        Ok(Self { known: RwLock::new(known), acls: Mutex::default() })
    }

    /// Merged policies of a caller.
    #[must_use]
    pub fn acl(&self, names: &[PolicyName]) -> Arc<Acl> {
        let mut acls = self.acls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acl) = acls.get(names) {
            return Arc::clone(acl);
        }
        if acls.len() >= ACLS_MAX {
            acls.clear();
        }
        let acl = Arc::new(self.merge(names));
        acls.insert(names.to_vec(), Arc::clone(&acl));
        acl
    }

    /// Names of the policies that exist, without `root`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys().map(|name| name.as_str().to_owned()).collect()
    }

    /// Takes a changed policy into use.
    pub fn replace(&self, name: &PolicyName, policy: Option<Policy>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match policy {
            Some(policy) => known.insert(name.clone(), Arc::new(policy)),
            None => known.remove(name),
        };
        drop(known);
        self.acls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes what was read again into use.
    pub(super) fn replace_all(&self, read: Self) {
        let read = read.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = read;
        self.acls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn merge(&self, names: &[PolicyName]) -> Acl {
        if names.iter().any(PolicyName::is_root) {
            return Acl::new(&[Policy::root()]);
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let builtin = names.iter().any(PolicyName::is_response_wrapping).then(Policy::response_wrapping);
        let written = names.iter().filter_map(|name| known.get(name)).map(Arc::as_ref);
        let merged: Vec<&Policy> = written.chain(&builtin).collect();
        Acl::new(&merged)
    }
}
