//! A real homelab's secrets: written once, fetched as ESO does.

use std::collections::HashMap;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::super::eso::{EsoError, Traffic};
use super::super::estate::{self, MOUNT};
use super::super::homelab::{ExternalSecret, Homelab, Reference};
use super::super::meter::Meter;
use super::super::narrator::{Narrator, shown};
use super::super::property;
use super::super::story::{Story, StoryError};
use super::log::log_size;
use symbolon::{Cas, SecretData};
use symbolon_broker::store::embedded::write_ahead_path;

/// Objects with another interval than this use the store with application roles.
const USUAL_INTERVAL: &str = "1m0s";

fn bar(length: usize, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64).with_message(what.to_owned());
    let style = ProgressStyle::with_template("      {bar:40} {pos}/{len} {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Engine, policies, logins, and 254 generated secrets.
pub async fn workload_is_written(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("A real homelab's secrets are written");
    let root = story.root()?;
    estate::prepare(&root, &story.cluster).await?;
    story.app_role = Some(estate::prepare_approle(&root).await?);
    told.say(
        "mounted secret/ (KV 2); enabled auth/kubernetes with the cluster's public key, and auth/approle",
    );
    story.values = estate::generate(&story.homelab, &mut rand_core::UnwrapErr(getrandom::SysRng));

    let progress = bar(story.values.len(), "secrets written");
    let (begun, mut meter, mut first_versions) = (Instant::now(), Meter::default(), 0);
    for (path, fields) in &story.values {
        let asked = Instant::now();
        let wrote = root.kv(MOUNT).put(path, &SecretData::new(fields.clone()), Cas::Absent).await?;
        meter.add(asked.elapsed());
        first_versions += usize::from(wrote.version == 1);
        progress.inc(1);
    }
    progress.finish_and_clear();
    told.check_eq(&first_versions, &254, "254 secrets written, each as version 1, generated values");
    told.figure("writes", format_args!("{} in {}", meter.summary(), shown(begun.elapsed())));
    let store = story.world.path("store.redb");
    let mut readable = readable_on_disk(&store, &story.values)?;
    readable.extend(readable_on_disk(&write_ahead_path(&store), &story.values)?);
    told.check_eq(
        &readable,
        &Vec::<String>::new(),
        "no name and no value of them can be read in the store's files",
    );
    Ok(())
}

/// Names and values that stand in a file in plain text.
fn readable_on_disk(
    file: &Path,
    values: &std::collections::BTreeMap<String, Map<String, Value>>,
) -> std::io::Result<Vec<String>> {
    let bytes = std::fs::read(file)?;
    // Eight bytes lead to the candidates; every name and value here is longer than that.
    let mut candidates: HashMap<[u8; 8], Vec<&str>> = HashMap::new();
    let texts = values.iter().flat_map(|(path, fields)| {
        std::iter::once(path.as_str()).chain(fields.values().filter_map(Value::as_str))
    });
    for text in texts {
        if let Some(head) = text.as_bytes().first_chunk::<8>() {
            candidates.entry(*head).or_default().push(text);
        }
    }
    let mut found = Vec::new();
    for (at, window) in bytes.windows(8).enumerate() {
        let head: &[u8; 8] = window.try_into().expect("windows of eight");
        let here = candidates.get(head).into_iter().flatten();
        found.extend(
            here.filter(|text| bytes[at..].starts_with(text.as_bytes())).map(|text| (*text).to_owned()),
        );
    }
    Ok(found)
}

/// 169 reconciliations, each with its own connection and login.
pub async fn eso_fetches_everything(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("ESO fetches everything: 169 ExternalSecrets, 311 references");
    let (kubernetes, approle) = (story.kubernetes_store()?, story.approle_store()?);
    let entries_before = log_size(story).await?;
    let progress = bar(story.homelab.external_secrets.len(), "ExternalSecrets reconciled");
    let (begun, mut traffic, mut right, mut by_role) = (Instant::now(), Traffic::default(), 0, 0);
    for object in &story.homelab.external_secrets {
        let uses_role = object.refresh_interval != USUAL_INTERVAL;
        by_role += usize::from(uses_role);
        let store = if uses_role { &approle } else { &kubernetes };
        let fetched = store.reconcile(object, &mut traffic).await;
        if fetched.is_err() {
            told.say(format_args!("{}/{} cannot be reconciled", object.namespace, object.name));
        }
        let fetched = fetched?;
        right += matching(object, &fetched, &story.values);
        progress.inc(1);
    }
    progress.finish_and_clear();
    let took = begun.elapsed();
    let Homelab { external_secrets, .. } = &story.homelab;
    told.check_eq(
        &traffic.logins.count(),
        &external_secrets.len(),
        "169 logins, each on a connection of its own",
    );
    told.check_eq(&traffic.reads.count(), &311, "311 references read");
    told.check_eq(&right, &311, "every value is the one that was written");
    told.check_eq(&traffic.lookups.count(), &169, "169 lookups of the own token at the end");
    told.check_eq(
        &traffic.revokes.count(),
        &by_role,
        "service tokens revoked; batch tokens leave nothing to revoke",
    );
    let entries = log_size(story).await? - entries_before;
    told.check_eq(&entries, &(traffic.requests() as u64), "each request has its entry in the audit log");
    let elsewhere = kubernetes.probe("/elsewhere/secret").await;
    let denied = matches!(elsewhere, Err(EsoError::Status { status: 403, .. }));
    told.check(denied, "outside its policy ESO gets 403, not 404");
    told.figure("ESO, whole workload", format_args!("{} requests in {}", traffic.requests(), shown(took)));
    told.figure("ESO logins (new TLS connection each)", traffic.logins.summary());
    told.figure("ESO reads", traffic.reads.summary());
    told.figure("ESO lookups", traffic.lookups.summary());
    told.figure("ESO revocations", traffic.revokes.summary());
    story.traffic = traffic;
    Ok(())
}

/// How many of the fetched values are what the writer would have chosen for them.
fn matching(
    object: &ExternalSecret,
    fetched: &[(String, String)],
    values: &std::collections::BTreeMap<String, Map<String, Value>>,
) -> usize {
    let pairs = object.data.iter().zip(fetched);
    let is_right = |(reference, (secret_key, value)): &(&Reference, &(String, String))| {
        let written = values
            .get(reference.path())
            .and_then(|data| property::select(data, reference.property.as_deref()));
        *secret_key == reference.secret_key && written.as_ref() == Some(value)
    };
    pairs.filter(is_right).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_or_value_in_a_file_is_found() {
        let fields = Map::from_iter([("value".to_owned(), Value::from("correct-horse-battery"))]);
        let values = std::collections::BTreeMap::from([("mdapi/garage/key".to_owned(), fields)]);
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, found) in [
            ("\0\0sealed\0mdapi/garage/ke\0", vec![]),
            ("\0mdapi/garage/key\0", vec!["mdapi/garage/key"]),
            ("correct-horse-battery", vec!["correct-horse-battery"]),
        ] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(readable_on_disk(file.path(), &values).unwrap(), found);
        }
    }
}
