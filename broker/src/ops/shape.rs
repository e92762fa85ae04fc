//! The shape of this broker: every descriptor in one value.

use std::sync::{Arc, OnceLock};

use crate::access::shape::{Facts, Shape};
use crate::auth::METHODS;
use crate::engines::ENGINES;
use crate::{access, audit, custody, keys, rows, wrapping};

/// What `sys/` says of itself.
pub static SYSTEM: Facts = Facts {
    kind: "system",
    builtin: Some("sys"),
    tables: &[],
    sudo: &[
        "seal",
        "step-down",
        "rotate",
        "remount",
        "auth/*",
        "mounts/auth/*", // the same mounts by another address
        "audit",
        "audit/*",
        "raw/*",
        "leases/lookup/*",
        "symbolon/audit", // who did what, of everybody
        "symbolon/audit/*",
        "symbolon/backup", // everything that is stored, as a thief of the disk has it
        "symbolon/backup/*",
        "symbolon/rotate/*",
        "symbolon/ceremony/*",
        "symbolon/custody/*",
    ],
    folds: &["policies/acl/*", "policy/*"],
    open: &[
        ("GET", "health"),
        ("GET", "seal-status"),
        ("GET", "init"),
        ("PUT", "init"), // takes effect once, on a broker whose operator allowed it in the configuration
        ("PUT", "unseal"), // takes shares, which prove themselves
        ("GET", "leader"),
        ("GET", "internal/ui/mounts"), // without a token, what operators have marked for everybody
        ("GET", "wrapping/lookup"),    // takes wrapping tokens, which prove themselves
        ("PUT", "wrapping/lookup"),
        ("PUT", "wrapping/unwrap"),
        ("GET", "symbolon/ceremony"), // public keys and names, as in seal-status
        ("GET", "symbolon/custody"),  // names and states of sources, as in seal-status
        ("PUT", "symbolon/ceremony/submit"), // takes shares, which prove themselves
        ("PUT", "symbolon/ceremony/sign"), // takes signatures, which prove themselves
        ("GET", "symbolon/ceremony/root"), // hashes and numbers, to be signed
        ("PUT", "symbolon/ceremony/root"), // takes custodians' requests, which prove themselves
    ],
    first_rows: None,
};

/// Everything that is general about this broker.
#[must_use]
pub fn shape() -> Arc<Shape> {
    static SHAPE: OnceLock<Arc<Shape>> = OnceLock::new();
    Arc::clone(SHAPE.get_or_init(|| Arc::new(put_together())))
}

fn put_together() -> Shape {
    let rooms: [&[rows::Table]; 7] = [
        &rows::TABLES,
        audit::log::rows::TABLES,
        audit::sinks::TABLES,
        keys::TABLES,
        access::TABLES,
        custody::TABLES,
        wrapping::TABLES,
    ];
    Shape {
        system: vec![&SYSTEM],
        engines: ENGINES.iter().map(|engine| &engine.facts).collect(),
        methods: METHODS.iter().map(|method| &method.facts).collect(),
        tables: rooms.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upkeep::collect;

    /// The page of the documents that lists what is served.
    const PAGE: &str = include_str!("../../../docs/vault-dialect.md");

    fn listed(all: impl Iterator<Item = impl AsRef<str>>) -> String {
        let all: Vec<String> = all.map(|one| format!("`{}`", one.as_ref())).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }

    fn row(room: &str, facts: &Facts) -> String {
        let place =
            facts.builtin.map_or("where it is enabled".to_owned(), |path| format!("always `{path}/`"));
        let open = listed(facts.open.iter().map(|(verb, path)| format!("{verb} {path}")));
        let tables = facts.tables.iter().map(|table| table.name).collect::<Vec<_>>().join(", ");
        let tables = if tables.is_empty() { "none of its own" } else { &tables };
        let sudo = listed(facts.sudo.iter());
        format!("| {room} | `{}` | {place} | {sudo} | {open} | {tables} |\n", facts.kind)
    }

    #[test]
    fn the_documents_list_what_the_descriptors_say() {
        let shape = shape();
        let rows = [("system", &shape.system), ("engine", &shape.engines), ("login method", &shape.methods)];
        let rows = rows.iter().flat_map(|(room, all)| all.iter().map(|facts| row(room, facts)));
        let rows: String = rows.collect();
        assert!(PAGE.contains(&rows), "docs/vault-dialect.md must have this table:\n{rows}");
    }

    #[test]
    fn no_two_tables_share_a_number() {
        let tables = shape().tables();
        for (at, table) in tables.iter().enumerate() {
            let same = tables.iter().filter(|other| other.number() == table.number()).count();
            assert_eq!(same, 1, "{table:?}, the {at}th");
        }
    }

    /// Whoever declares a table says whether its rows end; this is where that has a consequence.
    #[test]
    fn every_table_whose_rows_end_has_somebody_who_tells_their_end() {
        let shape = shape();
        for table in shape.tables().into_iter().filter(|table| table.life == rows::Life::Ends) {
            let told = collect::endings().any(|ending| ending.table == table);
            assert!(told, "the descriptor that owns the table of {} needs an `Ending`", table.name);
        }
    }
}
