//! A table is added by its descriptor alone, and unmounting finds its rows.

use super::*;
use crate::access::shape::Facts;
use crate::rows::{Layout, Life, NO_SCOPE, Table};

/// A table that some engine to come might have.
const EXAMPLES: Table = Table::new(0x7e, "examples", Layout::Row, Life::Kept);

static EXAMPLE: Facts = Facts {
    kind: "example",
    builtin: None,
    tables: &[EXAMPLES],
    sudo: &[],
    folds: &[],
    open: &[],
    first_rows: None,
};

/// The shape of this broker with one more engine.
pub(crate) fn with_example() -> Arc<Shape> {
    let known = shape();
    let engines = known.engines.iter().copied().chain([&EXAMPLE]).collect();
    let (system, methods) = (known.system.clone(), known.methods.clone());
    Arc::new(Shape { system, engines, methods, tables: known.tables.clone() })
}

/// Where its row of a scope stands.
pub(crate) fn example(scope: symbolon_proto::id::MountId) -> Place<'static> {
    Place { tenant: TenantId::SYSTEM, table: EXAMPLES, scope, group: "", name: "x" }
}

/// Whether the rows of two mounts and of no mount are there, after the first mount was disabled.
async fn left_after_disabling(shape: Arc<Shape>) -> [bool; 3] {
    let bench = Bench::with_shape(shape).await;
    let mut scopes = Vec::new();
    for path in ["one", "two"] {
        let path = MountPath::parse(path).unwrap();
        let spec = Enable { kind: "kv".to_owned(), ..Enable::default() };
        let enable = async |who: Asker<'_>| mount::enable(&who, Side::Secrets, path.clone(), spec).await;
        bench.as_root(enable).await.unwrap();
        scopes.push(bench.session.mounts().secrets.at(&path).unwrap().id);
    }
    scopes.push(NO_SCOPE);
    let rows = &bench.session.rows;
    let put = |scope: &_| rows.put(example(*scope), &"kept", Expect::Absent).unwrap();
    bench.commit(scopes.iter().map(put).collect()).await;
    let path = MountPath::parse("one").unwrap();
    bench.as_root(async |who| mount::disable(&who, Side::Secrets, &path).await).await.unwrap();
    let mut left = [false; 3];
    for (left, scope) in left.iter_mut().zip(&scopes) {
        *left = rows.read::<String>(example(*scope)).await.unwrap().is_some();
    }
    left
}

#[tokio::test]
async fn unmounting_erases_the_rows_of_a_table_that_was_added() {
    assert_eq!(
        left_after_disabling(shape()).await,
        [true; 3],
        "nobody knows the table: the question means something"
    );
    assert_eq!(left_after_disabling(with_example()).await, [false, true, true]);
}
