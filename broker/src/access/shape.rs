//! What engines, methods and the system say of themselves, as far as everything general needs it: which paths
//! want `sudo`, which tables there are, what a new deployment begins with. Put together once, in `run.rs`,
//! from the descriptors.

use symbolon_core::clock::Now;
use symbolon_core::keyring::OpenKek;
use symbolon_core::path::ApiPath;
use symbolon_core::seal::Unsealed;

use super::mounts::{Mounts, Side};
use crate::error::OpError;
use crate::rows::{Rows, Table};
use crate::store::Write;

/// A path below a mount, segment by segment: `+` stands for any one segment, a final `*` for the rest.
pub type Pattern = &'static str;

/// The rows of a new deployment that somebody needs from the first day on.
pub type FirstRows = fn(&Rows, &Unsealed, &OpenKek, Now) -> Result<Vec<Write>, OpError>;

/// The facts of an engine, a login method, or the system itself.
#[derive(Debug)]
pub struct Facts {
    /// Its kind, as `sys/mounts` names it.
    pub kind: &'static str,
    /// Where it is mounted in every deployment, if it is; nobody can enable or disable it then.
    pub builtin: Option<&'static str>,
    /// Tables that nobody else writes.
    pub tables: &'static [Table],
    /// Paths below its mount that need `sudo` beside the operation's capability.
    pub sudo: &'static [Pattern],
    /// Paths below its mount whose segment under `+` is a name that folds case; without a `+`, all that
    /// stands under the final `*` is one name.
    pub folds: &'static [Pattern],
    /// Paths below its mount that answer without a token, with the verb of the dialect.
    pub open: &'static [(&'static str, Pattern)],
    /// What a new deployment begins with.
    pub first_rows: Option<FirstRows>,
}

/// Everything that is general about this broker.
#[derive(Debug, Default)]
pub struct Shape {
    /// Paths of `sys/`.
    pub system: Vec<&'static Facts>,
    /// Secrets engines.
    pub engines: Vec<&'static Facts>,
    /// Login methods.
    pub methods: Vec<&'static Facts>,
    /// Tables that belong to no mount's kind.
    pub tables: Vec<Table>,
}

impl Shape {
    fn all(&self) -> impl Iterator<Item = &'static Facts> + '_ {
        self.system.iter().chain(&self.engines).chain(&self.methods).copied()
    }

    /// Every table, each once, in the order of their numbers.
    #[must_use]
    pub fn tables(&self) -> Vec<Table> {
        let owned = self.all().flat_map(|facts| facts.tables.iter().copied());
        let mut tables: Vec<Table> = self.tables.iter().copied().chain(owned).collect();
        tables.sort_by_key(|table| table.number());
        tables.dedup(); // methods share the tables of roles
        tables
    }

    /// What a new deployment begins with.
    pub fn first_rows(&self) -> impl Iterator<Item = FirstRows> + '_ {
        self.all().filter_map(|facts| facts.first_rows)
    }

    /// Mounts that every deployment has, of one side.
    pub fn builtins(&self, side: Side) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        let facts = match side {
            Side::Secrets => self.system.iter().chain(&self.engines),
            Side::Logins => self.methods.iter().chain(&[]),
        };
        facts.filter_map(|facts| Some((facts.builtin?, facts.kind)))
    }

    /// The facts of the kind that answers for a path, and the path below its mount. Engines that share a kind
    /// count together: what one of them guards is guarded.
    fn owners<'s, 'p>(
        &'s self,
        mounts: &Mounts,
        path: &'p ApiPath,
    ) -> Option<(impl Iterator<Item = &'static Facts> + use<'s>, &'p str)> {
        let (all, kind, rest) = if let Some(rest) = path.as_str().strip_prefix("sys/") {
            (&self.system, "system", rest)
        } else if let Some((mount, rest)) = mounts.login(path) {
            (&self.methods, mount.kind.as_str(), rest)
        } else {
            let (mount, rest) = mounts.secret(path)?;
            (&self.engines, mount.kind.as_str(), rest)
        };
        let kind = all.iter().find(|facts| facts.kind == kind)?.kind;
        Some((all.iter().copied().filter(move |facts| facts.kind == kind), rest))
    }

    /// Whether a path needs `sudo` beside the operation's capability.
    #[must_use]
    pub fn needs_sudo(&self, mounts: &Mounts, path: &ApiPath) -> bool {
        let Some((mut owners, rest)) = self.owners(mounts, path) else { return false };
        owners.any(|facts| facts.sudo.iter().any(|pattern| matches(pattern, rest)))
    }

    /// Whether some verb of a path answers without a token.
    #[must_use]
    pub fn is_open(&self, mounts: &Mounts, path: &ApiPath) -> bool {
        let Some((mut owners, rest)) = self.owners(mounts, path) else { return false };
        owners.any(|facts| facts.open.iter().any(|(_, pattern)| matches(pattern, rest)))
    }

    /// The part of a path that is a name which folds case: what stands before it, the name, what follows.
    #[must_use]
    pub fn folding<'p>(&self, mounts: &Mounts, path: &'p ApiPath) -> Option<Folding<'p>> {
        let (mut owners, rest) = self.owners(mounts, path)?;
        let form = |facts: &Facts| facts.folds.iter().find(|pattern| matches(pattern, rest)).copied();
        let pattern = owners.find_map(form)?;
        let (before, has_parts) = match pattern.split('/').position(|segment| segment == "+") {
            Some(at) => (at, false),
            None => (pattern.split('/').position(|segment| segment == "*")?, true),
        };
        let skipped: usize = rest.split('/').take(before).map(|segment| segment.len() + 1).sum();
        let start = path.as_str().len() - rest.len() + skipped;
        let (before, name) = path.as_str().split_at_checked(start)?;
        let end = if has_parts { name.len() } else { name.find('/').unwrap_or(name.len()) };
        let (name, after) = name.split_at(end);
        Some(Folding { before, name, after, has_parts })
    }
}

/// A path with a name that folds case.
#[derive(Clone, Copy, Debug)]
pub struct Folding<'p> {
    /// With a slash at its end.
    pub before: &'p str,
    /// The name.
    pub name: &'p str,
    /// Empty, or with a slash at its beginning.
    pub after: &'p str,
    /// Whether the name may have parts, with slashes between them.
    pub has_parts: bool,
}

/// Whether a path below a mount has the form of a pattern.
#[must_use]
pub fn matches(pattern: Pattern, path: &str) -> bool {
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        match (wanted, segments.next()) {
            ("*", Some(_)) => return true,
            ("+", Some(segment)) if !segment.is_empty() => {}
            (wanted, Some(segment)) if wanted == segment => {}
            (_, Some(_) | None) => return false,
        }
    }
    matches!(segments.next(), None | Some("")) // a list has a slash at its end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_whole_segments() {
        for (pattern, path) in [
            ("role/+", "role/ci"),
            ("role/+/secret-id", "role/ci/secret-id"),
            ("auth/*", "auth/a"),
            ("auth/*", "auth/a/b"),
            ("accessors", "accessors/"),
            ("audit", "audit"),
            ("auth/*", "auth/"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("role/+", "role"),
            ("role/+", "role/"),
            ("role/+", "role/a/b"),
            ("auth/*", "auth"),
            ("audit", "auditor"),
            ("audit", "audit/x"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    static FIRST: Facts = facts("kv", &[]);
    static SECOND: Facts = facts("kv", &["guarded/*"]);

    const fn facts(kind: &'static str, sudo: &'static [Pattern]) -> Facts {
        Facts { kind, builtin: None, tables: &[], sudo, folds: &[], open: &[], first_rows: None }
    }

    #[test]
    fn what_one_engine_of_a_kind_guards_is_guarded() {
        let shape = Shape { engines: vec![&FIRST, &SECOND], ..Shape::default() };
        let secrets = crate::access::mounts::MountList(vec![crate::access::mounts::builtin("team", "kv")]);
        let mounts = Mounts { secrets, ..Mounts::default() };
        let needs = |path: &str| shape.needs_sudo(&mounts, &ApiPath::from_decoded(path).expect("a path"));
        assert!(needs("team/guarded/x"));
        assert!(!needs("team/data/x") && !needs("other/guarded/x"));
    }
}
