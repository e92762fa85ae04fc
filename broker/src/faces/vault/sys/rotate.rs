//! `sys/rotate` as Vault has it, and `sys/symbolon/rotate/…`, `sys/symbolon/rotation`: ours.
//!
//! | Route | Does |
//! |---|---|
//! | `PUT sys/rotate` | new KEKs for all KV mounts and for the deployment itself |
//! | `PUT sys/symbolon/rotate/kek/<mount>` | new KEKs for one KV mount |
//! | `PUT sys/symbolon/rotate/remote` | a new key epoch of the remote, and all capsules re-wrapped for it |
//! | `PUT sys/symbolon/rotate/refresh` | new shares of the remote key for the same services |
//! | `PUT sys/symbolon/rotate/reshare` | new shares for the services and the threshold of the configuration |
//! | `GET sys/symbolon/rotate/reshare` | the fingerprint that all operators compare before that |
//! | `PUT sys/symbolon/rotate/retire` | the end of the oldest key epoch, refused while capsules need it |
//! | `GET sys/symbolon/rotation` | how all this stands |

use serde_json::{Map, Value, json};
use symbolon_core::path::MountPath;

use crate::dialect::time::rfc3339;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::keys::Phase;
use crate::ops::rotate::{self, Spelling};
use crate::upkeep::group::Leaving;
use crate::upkeep::rotation::remote::NewShares;
use crate::upkeep::rotation::{MountStatus, Progress, Status};

/// `PUT sys/rotate`, and the same below ours.
pub(super) async fn all_keks(call: Call<'_>, spelling: Spelling) -> Answer {
    rotate::keks(&call.who(), spelling).await?;
    Ok(call.done("system", &call.fields.reader()))
}

/// Routes below `sys/symbolon/rotate`.
pub(super) async fn route(call: Call<'_>, what: &[&str]) -> Answer {
    let (who, read) = (call.who(), call.fields.reader());
    match (what, call.verb) {
        (["remote"], Verb::Write) => {
            let newest = rotate::remote(&who).await?;
            Ok(call.request.envelope("system", json!({ "key_epoch": newest }), &read).into_reply())
        }
        (["retire"], Verb::Write) => {
            let retired = rotate::retire(&who).await?;
            Ok(call.request.envelope("system", json!({ "retired_key_epoch": retired }), &read).into_reply())
        }
        (["refresh"], Verb::Write) => {
            rotate::shares(&who, NewShares::Refresh).await?;
            Ok(call.done("system", &read))
        }
        (["reshare"], Verb::Write) => {
            rotate::shares(&who, NewShares::Reshare).await?;
            Ok(call.done("system", &read))
        }
        (["reshare"], Verb::Read) => {
            let fingerprint = rotate::proposed(&who).await?;
            Ok(call.request.envelope("system", json!({ "fingerprint": fingerprint }), &read).into_reply())
        }
        (["kek"], Verb::Write) => all_keks(call, Spelling::Own).await,
        (["kek", mount @ ..], Verb::Write) => {
            let path = MountPath::parse(&mount.join("/")).map_err(FaceError::from)?;
            rotate::mount_keks(&who, &path).await?;
            Ok(call.done("system", &read))
        }
        (["remote" | "retire" | "refresh" | "reshare" | "kek"] | ["kek", ..], _) => unsupported(),
        _ => Err(call.unrouted().await),
    }
}

/// `GET sys/symbolon/rotation`.
pub(super) async fn status(call: Call<'_>) -> Answer {
    let status = rotate::status(&call.who()).await?;
    Ok(call.request.envelope("system", facts(&status), &call.fields.reader()).into_reply())
}

fn facts(status: &Status) -> Value {
    let mounts: Map<String, Value> =
        status.mounts.iter().map(|mount| (format!("{}/", mount.path), mount_facts(mount))).collect();
    let numbers: Map<String, Value> =
        status.numbers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let older: Vec<u32> = status.own.older_tokens.iter().map(|older| older.epoch).collect();
    json!({
        "fragment": {
            "epoch": status.fragment.epoch,
            "changing": status.fragment.changing,
            "rows_resealed": status.fragment.rows,
        },
        "remote": {
            "key_epochs": status.remote.key_epochs,
            "running": status.remote.running,
            "rate_per_second": (status.remote.rate * 10.0).round() / 10.0,
            "last": status.remote.progress.as_ref().map(progress_facts),
            "under_way": status.remote.under_way,
            "leaving": status.remote.leaving.iter().map(leaving_facts).collect::<Vec<_>>(),
        },
        "keks": mounts,
        "own": { "kek_epoch": status.own.epoch, "rolling": status.own.wanted, "older_token_epochs": older },
        "problem": status.problem,
        "numbers": numbers,
    })
}

fn progress_facts(progress: &Progress) -> Value {
    json!({
        "key_epoch": progress.key_epoch,
        "capsules": progress.total,
        "done": progress.done,
        "left": progress.total.saturating_sub(progress.done),
        "started": moment(progress.started_ms),
        "finished": moment(progress.finished_ms),
    })
}

fn leaving_facts(node: &Leaving) -> Value {
    json!({ "url": node.url, "fingerprint": node.node, "approve": node.group, "waits": node.waits })
}

fn mount_facts(mount: &MountStatus) -> Value {
    let state = match mount.keks.phase {
        Phase::Settled => "settled",
        Phase::Preparing { .. } => "preparing",
        Phase::Moving => "moving",
    };
    json!({
        "tier": mount.tier.as_str(),
        "kek_epoch": mount.keks.epoch,
        "state": state,
        "payloads_moved": mount.keks.moved,
        "started": moment(mount.keks.started_ms),
        "finished": moment(mount.keks.finished_ms),
    })
}

/// Null for what has not happened.
fn moment(unix_ms: u64) -> Value {
    if unix_ms == 0 { Value::Null } else { json!(rfc3339(unix_ms)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::mounts::Tier;
    use crate::keys::{MountKeks, OlderTokens, SystemKeks};
    use crate::upkeep::rotation::{FragmentStatus, RemoteStatus};

    #[test]
    fn the_status_has_numbers_and_words() {
        let progress =
            Progress { key_epoch: 2, fragment_epoch: 1, total: 10, done: 4, started_ms: 1, finished_ms: 0 };
        let older_tokens = vec![OlderTokens { epoch: 1, until_secs: 9 }];
        let keks = MountKeks { phase: Phase::Moving, epoch: 3, ..MountKeks::default() };
        let status = Status {
            fragment: FragmentStatus { epoch: 3, changing: true, rows: 5 },
            remote: RemoteStatus {
                key_epochs: vec![1, 2],
                progress: Some(progress),
                running: true,
                rate: 2.5678,
                under_way: None,
                leaving: vec![Leaving {
                    url: "https://a".to_owned(),
                    node: "1 2 3".to_owned(),
                    group: "4 5 6".to_owned(),
                    waits: "its operator".to_owned(),
                }],
            },
            mounts: vec![MountStatus { path: "team/a".to_owned(), tier: Tier::High, keks }],
            own: SystemKeks { epoch: 2, older_tokens, wanted: false },
            problem: None,
            numbers: vec![("symbolon_rewrap_capsules", 10)],
        };
        let facts = facts(&status);
        assert_eq!(facts["fragment"], json!({"epoch": 3, "changing": true, "rows_resealed": 5}));
        assert_eq!(facts["remote"]["last"]["left"], 6);
        assert_eq!(facts["remote"]["last"]["finished"], Value::Null);
        assert_eq!(facts["remote"]["rate_per_second"], 2.6);
        assert_eq!(facts["remote"]["leaving"][0]["approve"], "4 5 6");
        assert_eq!(
            (&facts["keks"]["team/a/"]["state"], &facts["keks"]["team/a/"]["tier"]),
            (&json!("moving"), &json!("high"))
        );
        assert_eq!(facts["own"], json!({"kek_epoch": 2, "rolling": false, "older_token_epochs": [1]}));
        assert_eq!(facts["numbers"]["symbolon_rewrap_capsules"], 10);
    }
}
