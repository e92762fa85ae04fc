//! Mounts that every deployment has: those of a new one, and those that an older one lacks.

use tracing::warn;

use super::mounts::{MountList, Side, builtin, first_write};
use super::shape::Shape;
use crate::error::OpError;
use crate::rows::Rows;
use crate::store::{Expect, Write};

/// The changes that write both tables of a new deployment.
pub fn first(rows: &Rows, shape: &Shape) -> Result<Vec<Write>, OpError> {
    let of = |side| {
        let mut list = MountList::default();
        complete(shape, side, &mut list);
        first_write(rows, side, &list)
    };
    [Side::Secrets, Side::Logins].map(of).into_iter().collect()
}

/// The changes that give a deployment the mounts that came with a newer version; none if nothing is missing.
/// Their ids are chosen here, so whoever commits them has them for good.
pub async fn missing(rows: &Rows, shape: &Shape) -> Result<Vec<Write>, OpError> {
    let mut changes = Vec::new();
    for side in [Side::Secrets, Side::Logins] {
        let Some((mut list, revision)) = rows.read::<MountList>(side.row()).await? else { continue };
        if complete(shape, side, &mut list) {
            changes.push(rows.put(side.row(), &list, Expect::Revision(revision))?);
        }
    }
    Ok(changes)
}

/// Adds the mounts that a list lacks. Whether there were any.
fn complete(shape: &Shape, side: Side, list: &mut MountList) -> bool {
    let before = list.0.len();
    for (path, kind) in shape.builtins(side) {
        let mount = builtin(path, kind);
        match list.0.iter().find(|other| other.path.overlaps(&mount.path)) {
            None => list.0.push(mount),
            Some(other) if other.kind == kind => {}
            Some(_) => {
                warn!(path, "another engine is mounted where this version has one of its own; it stays")
            }
        }
    }
    list.0.len() > before
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_core::path::MountPath;

    use super::*;
    use crate::access::mounts::Mount;
    use crate::access::shape::Facts;

    static SYSTEM: Facts = facts("system", "sys");
    static LATER: Facts = facts("later", "later");

    const fn facts(kind: &'static str, path: &'static str) -> Facts {
        Facts { kind, builtin: Some(path), tables: &[], sudo: &[], folds: &[], open: &[], first_rows: None }
    }

    fn shape(engines: &[&'static Facts]) -> Shape {
        Shape { system: vec![&SYSTEM], engines: engines.to_vec(), ..Shape::default() }
    }

    #[test]
    fn what_is_missing_comes_once_and_keeps_its_id() {
        let mut list = MountList::default();
        assert!(complete(&shape(&[]), Side::Secrets, &mut list));
        let system = list.0.clone();
        assert!(complete(&shape(&[&LATER]), Side::Secrets, &mut list));
        assert_eq!((list.0.len(), &list.0[..1]), (2, &system[..]), "what was there stays");
        let both = list.0.clone();
        assert!(!complete(&shape(&[&LATER]), Side::Secrets, &mut list));
        assert_eq!(list.0, both);
    }

    #[test]
    fn what_an_operator_has_mounted_there_stays() {
        let path = MountPath::parse("later/x").unwrap();
        let mut list = MountList(vec![Mount { path, ..builtin("other", "kv") }]);
        assert!(!complete(&shape(&[&LATER]), Side::Logins, &mut list));
        assert!(complete(&shape(&[&LATER]), Side::Secrets, &mut list));
        assert!(list.0.iter().all(|mount| mount.kind != "later"));
    }
}
