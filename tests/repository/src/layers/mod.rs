//! Rooms: the top-level modules of a crate, in an order that its own page states. Each may use only those
//! above it.
//!
//! The page has one fenced block that begins with the line [`order::TITLE`] and names every room once. Read
//! are the `use` lines and the paths in code, tests left out; a name that a module only passes on counts for
//! the module that has it. Inside a room, siblings may not stand in a circle; parent and child may use each
//! other.

mod arrows;
mod circles;
mod hidden;
mod modules;
mod order;
mod tests;

use std::collections::BTreeSet;

use self::arrows::{Arrow, arrows};
use self::circles::circles;
use self::hidden::hidden;
use self::modules::Crate;
use crate::source::{Sources, children_of, read};

/// The crates that are checked: root file, and the page that has the order.
const CRATES: &[(&str, &str)] = &[
    ("proto/src/lib.rs", "proto/README.md"),
    ("net/src/lib.rs", "net/README.md"),
    ("broker/core/src/lib.rs", "broker/core/README.md"),
    ("broker/src/lib.rs", "broker/README.md"),
    ("kms-fragment/src/lib.rs", "kms-fragment/README.md"),
    ("client/src/lib.rs", "client/README.md"),
    ("client/cli/src/lib.rs", "client/cli/README.md"),
];

#[test]
fn every_crate_that_ships_has_its_order_read() {
    let roots = read(|path| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"));
    let listed = |root: &str| CRATES.iter().any(|(known, _)| children_of(known) == children_of(root));
    let unread: Vec<_> = roots
        .keys()
        .filter(|root| !["tests/", "fuzz/"].iter().any(|it| root.starts_with(it)) && !listed(root))
        .collect();
    assert!(unread.is_empty(), "add these to CRATES, with an order in their README: {unread:?}");
}

#[test]
fn every_room_uses_only_those_above_it() {
    let sources = read(|path| path.ends_with(".rs") || path.ends_with(".md"));
    let found: Vec<String> =
        CRATES.iter().flat_map(|(root, page)| violations(&sources, root, page)).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

/// What is wrong with one crate, a line each.
fn violations(sources: &Sources, root: &str, page: &str) -> Vec<String> {
    let krate = Crate::read(sources, root);
    let text = sources.get(page).map_or("", String::as_str);
    let order = match order::read(text) {
        Ok(order) => order,
        Err(problem) => return vec![format!("{page}: {problem}")],
    };
    let arrows = arrows(&krate);
    let mut found =
        order::complaints(&order, &krate).map(|line| format!("{page}: {line}")).collect::<Vec<_>>();
    found.extend(hidden(&krate));
    let names: Vec<&str> = order.iter().map(|room| room.module.as_str()).collect();
    found.extend(arrows.iter().filter_map(|arrow| against(arrow, &names)));
    found.extend(circles(&arrows));
    let mut seen = BTreeSet::new();
    found.retain(|line| seen.insert(line.clone()));
    found
}

/// An arrow that does not point up. The crate's root sees all, and no room sees it.
fn against(arrow: &Arrow, order: &[&str]) -> Option<String> {
    let (from, to) = (arrow.from.first()?, arrow.to.first());
    let place = |room: &str| order.iter().position(|other| *other == room);
    let at = &arrow.at;
    match to {
        None => Some(format!("{at}: {from} uses what lies in the crate's root; give it a room")),
        Some(to) if to != from && place(to)? > place(from)? => {
            Some(format!("{at}: {from} uses {to}, which stands below it"))
        }
        Some(_) => None,
    }
}
