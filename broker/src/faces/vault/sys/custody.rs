//! `sys/symbolon/custody`: who gives shares without a person.
//!
//! | Route | Token | Does |
//! |---|---|---|
//! | `GET custody` | none | sources, where they are, and what came of asking them |
//! | `PUT custody/enrol` | sudo | makes keys for a source, bound to its device |
//! | `PUT custody/test` | sudo | sees that a source would give its share |
//! | `PUT custody/remove` | sudo | forgets a source that holds no share |

use serde_json::{Value, json};

use crate::custody::App;
use crate::dialect::time::rfc3339;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::{Answer, Reply, Status, VaultRequest, Verb, unsupported};
use crate::ops::custody::{self, Source};

/// Routes below `sys/symbolon/custody`.
pub(super) async fn route(app: &App, request: &VaultRequest, what: &[&str]) -> Answer {
    let (who, read) = (request.requester(), request.fields.reader());
    match (what, request.verb) {
        ([], Verb::Read) => return status(app).await,
        ([what @ ("enrol" | "test" | "remove")], Verb::Write) => {
            let missing = FaceError::Invalid("\"name\" must be the name of a source");
            let name = read.string("name")?.filter(|name| !name.is_empty()).ok_or(missing)?;
            match *what {
                "enrol" => custody::enrol(app, &who, &name).await?,
                "test" => custody::test(app, &who, &name).await?,
                _ => custody::remove(app, &who, &name).await?,
            }
        }
        ([] | ["enrol" | "test" | "remove"], _) => return unsupported(),
        _ => return super::super::unrouted(app, request).await,
    }
    Ok(request.done("system", &read))
}

async fn status(app: &App) -> Answer {
    let custody = custody::status(app).await?;
    let body = json!({
        "threshold": custody.threshold,
        "people": custody.people,
        "people_min": custody.people_min,
        "weak_places": custody.weak_places,
        "refused": custody.refused,
        "held": custody.is_held,
        "sources": custody.sources.iter().map(source).collect::<Vec<_>>(),
    });
    Ok(Reply::json(Status::OK, &body))
}

fn source(source: &Source) -> Value {
    let known = &source.known;
    json!({
        "name": source.name,
        "kind": source.kind,
        "place": source.place,
        "fingerprint": source.fingerprint,
        "holds": source.holds,
        "state": known.standing.as_str(),
        "since": (known.since_ms > 0).then(|| rfc3339(known.since_ms)),
        "failures": known.failures,
    })
}
