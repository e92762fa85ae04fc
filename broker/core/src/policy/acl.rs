//! The policies of one caller, merged, and the one question they answer.
//!
//! Exactly one rule decides; rules with different patterns do not add up:
//!
//! 1. An exact pattern equal to the path. For LIST the path is tried with its trailing slash first, then
//!    without.
//! 2. Otherwise the best of all matching prefix and segment patterns ([`super::pattern::Rank`]).
//! 3. For LIST only, if nothing matched: step 2 once more without the trailing slash.
//! 4. For LIST only, whatever was found: if steps 1 and 2 end at a `deny` for the path with its slash or for
//!    the path without, the answer is no. Here we are stricter than OpenBao, for which a more general rule
//!    that happens to match the slash hides the `deny` of the folder.
//! 5. Nothing matches: no.
//!
//! A LIST always means the folder: whether the client spelled the trailing slash makes no difference
//! (GHSA-xp3c). Every other operation means the path without trailing slash, which is what the handler gets.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::capability::{Capabilities, Capability, Operation};
use super::pattern::{Pattern, SegmentPattern, prefix_rank};
use super::{Permissions, Policy};
use crate::json::Map;
use crate::path::{ApiPath, MountPath, PolicyName};

/// Proof that the policy allows one operation on one path. Made here only.
#[derive(Debug)]
#[must_use = "an operation takes the grant that allows it"]
pub struct Grant {
    path: ApiPath,
    operation: Operation,
    root: bool,
    sudo: bool,
    policies: Arc<[PolicyName]>,
}

impl Grant {
    /// The path that was authorised, the same value that the policy saw.
    #[must_use]
    pub fn path(&self) -> &ApiPath {
        &self.path
    }

    /// The operation that was authorised.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether the caller is root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Policies that say so together.
    #[must_use]
    pub fn policies(&self) -> &Arc<[PolicyName]> {
        &self.policies
    }

    /// Whether the caller has `sudo` on this path, asked for or not. Root has.
    #[must_use]
    pub fn has_sudo(&self) -> bool {
        self.sudo
    }
}

/// Why the policy refused. The answer is always 403 `permission denied`; the reason is for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No rule matches the path.
    #[error("no policy rule matches the path")]
    NoRule,
    /// The rule that matches says `deny`.
    #[error("a policy denies the path")]
    Denied,
    /// The rule that matches lacks the capability of the operation.
    #[error("the policy lacks the capability for this operation")]
    Capability,
    /// The route needs `sudo` as well.
    #[error("the path needs the sudo capability")]
    Sudo,
    /// The rule wants the answer wrapped, or for another time.
    #[error("the policy demands a wrapped response within its bounds")]
    Wrapping,
    /// A required parameter is missing.
    #[error("a parameter that the policy requires is missing")]
    RequiredParameter,
    /// A parameter or its value is in the denied list.
    #[error("the policy denies a parameter of the request")]
    DeniedParameter,
    /// A parameter or its value is not in the allowed list.
    #[error("a parameter of the request is not allowed by the policy")]
    ParameterNotAllowed,
}

/// The merged policies of one caller.
#[derive(Clone, Debug, Default)]
pub struct Acl {
    root: bool,
    exact: HashMap<String, Permissions>,
    prefixes: HashMap<String, Permissions>,
    /// Lengths that occur in `prefixes`, so that the longest match costs few look-ups.
    prefix_lengths: BTreeSet<usize>,
    segments: HashMap<SegmentPattern, Permissions>,
}

impl Acl {
    /// Merges policies. Any of them being `root` makes a root ACL.
    pub fn new<P: Borrow<Policy>>(policies: &[P]) -> Self {
        let mut acl = Self::default();
        for policy in policies.iter().map(Borrow::borrow) {
            acl.root |= policy.is_root();
            for rule in &policy.rules {
                let policies = Arc::from([policy.name().clone()]);
                acl.insert(&rule.pattern, &Permissions { policies, ..rule.permissions.clone() });
            }
        }
        acl
    }

    /// The ACL of a root token.
    #[must_use]
    pub fn root() -> Self {
        Self { root: true, ..Self::default() }
    }

    fn insert(&mut self, pattern: &Pattern, permissions: &Permissions) {
        let existing = match pattern {
            Pattern::Exact(text) => self.exact.get_mut(text),
            Pattern::Prefix(prefix) => self.prefixes.get_mut(prefix),
            Pattern::Segments(segments) => self.segments.get_mut(segments),
        };
        if let Some(existing) = existing {
            return existing.merge(permissions);
        }
        match pattern.clone() {
            Pattern::Exact(text) => self.exact.insert(text, permissions.clone()),
            Pattern::Prefix(prefix) => {
                self.prefix_lengths.insert(prefix.len());
                self.prefixes.insert(prefix, permissions.clone())
            }
            Pattern::Segments(segments) => self.segments.insert(segments, permissions.clone()),
        };
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Decides one request. `params` are the members of the body or of the query; `needs_sudo` comes from the
    /// route; `wrap_ttl_secs` is how long the answer is to be kept wrapped, 0 if it is not.
    pub fn authorise(
        &self,
        operation: Operation,
        path: &ApiPath,
        params: &Map,
        needs_sudo: bool,
        wrap_ttl_secs: u64,
    ) -> Result<Grant, Denial> {
        let grant = |root, sudo, policies| Grant { path: path.clone(), operation, root, sudo, policies };
        if self.root {
            return Ok(grant(true, true, Arc::from([PolicyName::root()])));
        }
        let permissions = self.decides(operation, path).ok_or(Denial::NoRule)?;
        if permissions.capabilities.denies() {
            return Err(Denial::Denied);
        }
        if !permissions.capabilities.has(operation.capability()) {
            return Err(Denial::Capability);
        }
        if !permissions.allows_wrapping(wrap_ttl_secs) {
            return Err(Denial::Wrapping);
        }
        if operation.has_parameters() {
            permissions.parameters.check(params)?;
        }
        let sudo = permissions.capabilities.has(Capability::Sudo);
        if needs_sudo && !sudo {
            return Err(Denial::Sudo);
        }
        Ok(grant(false, sudo, permissions.policies.clone()))
    }

    /// Policies whose rule decides about one operation on a path, granted or not. None if no rule is about
    /// it.
    #[must_use]
    pub fn deciding(&self, operation: Operation, path: &ApiPath) -> Arc<[PolicyName]> {
        match self.root {
            true => Arc::from([PolicyName::root()]),
            false => self.decides(operation, path).map(|rule| rule.policies.clone()).unwrap_or_default(),
        }
    }

    fn decides(&self, operation: Operation, path: &ApiPath) -> Option<&Permissions> {
        self.decides_as(operation == Operation::List, path)
    }

    /// All steps: the one rule that decides, for LIST or for everything else.
    fn decides_as(&self, list: bool, path: &ApiPath) -> Option<&Permissions> {
        match list {
            true => self.denies_folder(path.as_str()).or_else(|| self.find_folder(path.as_str())),
            false => self.find(path.as_str()),
        }
    }

    /// What the caller may do on a path, as `sys/capabilities` answers.
    #[must_use]
    pub fn capabilities(&self, path: &ApiPath) -> Capabilities {
        if self.root {
            return Capabilities::ROOT;
        }
        let found = self.decides_as(path.is_list_form(), path);
        found.map_or(Capabilities::NONE, |permissions| permissions.capabilities)
    }

    /// Policies whose rule says what [`Self::capabilities`] of a path are. None if no rule is about it.
    #[must_use]
    pub fn behind_capabilities(&self, path: &ApiPath) -> Arc<[PolicyName]> {
        match self.root {
            true => Arc::from([PolicyName::root()]),
            false => self
                .decides_as(path.is_list_form(), path)
                .map(|rule| rule.policies.clone())
                .unwrap_or_default(),
        }
    }

    /// Whether any rule grants something at or below a mount, as the preflight of `sys/internal/ui/mounts`
    /// asks.
    #[must_use]
    pub fn reaches(&self, mount: &MountPath) -> bool {
        if self.root {
            return true;
        }
        let mount = mount.with_slash();
        let grants = |permissions: &Permissions| !permissions.capabilities.is_empty();
        self.exact.iter().any(|(text, found)| text.starts_with(&mount) && grants(found))
            || self.prefixes.iter().any(|(prefix, found)| prefix.starts_with(&mount) && grants(found))
            || self.best_prefix(&mount).is_some_and(|(_, found)| grants(found))
            || self.segments.iter().any(|(pattern, found)| pattern.may_match_below(&mount) && grants(found))
    }

    /// Every rule as (pattern, capabilities): first those without wildcard, then the others, as
    /// `resultant-acl` shows.
    #[must_use]
    pub fn rules(&self) -> (BTreeMap<String, Capabilities>, BTreeMap<String, Capabilities>) {
        let exact = self.exact.iter().map(|(text, found)| (text.clone(), found.capabilities)).collect();
        let prefixes = self.prefixes.iter().map(|(text, found)| (Pattern::Prefix(text.clone()), found));
        let segments = self.segments.iter().map(|(text, found)| (Pattern::Segments(text.clone()), found));
        let globs = prefixes
            .chain(segments)
            .map(|(pattern, found)| (pattern.display(), found.capabilities))
            .collect();
        (exact, globs)
    }

    /// Steps 1 and 2.
    pub(super) fn find(&self, path: &str) -> Option<&Permissions> {
        self.exact.get(path).or_else(|| self.best_wildcard(path))
    }

    /// Steps 1 to 3 for LIST; `path` comes without its trailing slash.
    fn find_folder(&self, path: &str) -> Option<&Permissions> {
        let folder = format!("{path}/");
        self.exact
            .get(&folder)
            .or_else(|| self.exact.get(path))
            .or_else(|| self.best_wildcard(&folder))
            .or_else(|| self.best_wildcard(path))
    }

    /// Step 4 for LIST: the rule that denies the folder in either spelling, whatever steps 1 to 3 found.
    fn denies_folder(&self, path: &str) -> Option<&Permissions> {
        let denied = |path: &str| self.find(path).filter(|found| found.capabilities.denies());
        denied(&format!("{path}/")).or_else(|| denied(path))
    }

    fn best_wildcard(&self, path: &str) -> Option<&Permissions> {
        let prefix = self.best_prefix(path).map(|(prefix, found)| (prefix_rank(prefix), found));
        let segments = self
            .segments
            .iter()
            .filter(|(pattern, _)| pattern.matches(path))
            .map(|(pattern, found)| (pattern.rank(), found));
        prefix.into_iter().chain(segments).max_by_key(|(rank, _)| *rank).map(|(_, found)| found)
    }

    /// The longest prefix is the best: its star comes last.
    fn best_prefix(&self, path: &str) -> Option<(&str, &Permissions)> {
        self.prefix_lengths.range(..=path.len()).rev().find_map(|&length| {
            let (prefix, found) = self.prefixes.get_key_value(path.get(..length)?)?;
            Some((prefix.as_str(), found))
        })
    }

    /// The `max_wrapping_ttl` of the rule that decides, by which tests tell rules apart.
    #[cfg(test)]
    pub(super) fn winner_tag(&self, path: &str, list: bool) -> Option<u64> {
        let found = if list { self.find_folder(path) } else { self.find(path) };
        found.map(|permissions| permissions.wrapping_ttl_secs_max)
    }
}
