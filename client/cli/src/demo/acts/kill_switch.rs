//! The far half is withdrawn, given back, and falls silent.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::eso::EsoError;
use super::super::estate::MOUNT;
use super::super::narrator::{Narrator, shown};
use super::super::story::{Story, StoryError};
use super::super::world::{LOOK_AGAIN, PATIENCE, WorldError};

/// How a question fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Served,
    Unavailable,
    Absent,
    Other(u16),
}

/// The service's operator pulls the plug.
pub async fn remote_is_suspended(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("The remote is SUSPENDED: cached keys die with the lease");
    let keys = story.world.service()?.suspend(None).map_err(WorldError::from)?;
    told.say(format_args!("the service's operator suspended {keys} key(s)"));
    let (took, seen) = watch_reads(story, Fate::Unavailable).await?;
    told.check(took.is_some(), format_args!("reads answer 503 {} later", shown(took.unwrap_or_default())));
    told.check(!seen.contains_key(&Fate::Absent), format_args!("until then: {}", counted(&seen)));
    told.figure("SUSPENDED to first 503", shown(took.unwrap_or_default()));
    let status = story.world.client()?.seal_status().await?;
    let lease = status.fact("lease").unwrap_or_default();
    told.check_eq(&lease.as_str(), &"suspended", "the status says why");
    told.check(!status.sealed, "the broker is not sealed: it needs no custodian to come back");
    nothing_says_404(story, told).await
}

/// Every kind of question, to whatever exists or does not: 503 means "keep what you have".
async fn nothing_says_404(story: &Story, told: &mut Narrator) -> Result<(), StoryError> {
    let mut seen: BTreeMap<Fate, usize> = BTreeMap::new();
    for object in story.homelab.external_secrets.iter().take(20) {
        for reference in &object.data {
            for store in [story.kubernetes_store()?, story.approle_store()?] {
                let fate = match store.probe(&reference.key).await {
                    Ok(_) => Fate::Served,
                    Err(EsoError::NotFound) => Fate::Absent,
                    Err(EsoError::Status { status: 503, .. }) => Fate::Unavailable,
                    Err(EsoError::Status { status, .. }) => Fate::Other(status),
                    Err(error) => return Err(error.into()),
                };
                *seen.entry(fate).or_default() += 1;
            }
        }
    }
    told.check_eq(
        &seen.keys().collect::<Vec<_>>(),
        &vec![&Fate::Unavailable],
        format_args!("ESO: {}", counted(&seen)),
    );
    let existing = story.values.keys().next().cloned().unwrap_or_default();
    let questions = [
        format!("v1/{MOUNT}/data/{existing}"),
        format!("v1/{MOUNT}/data/there/is/no/such/secret"),
        format!("v1/{MOUNT}/metadata/there/is/no/such/secret"),
        format!("v1/{MOUNT}/metadata/there/is/no/such/folder?list=true"),
    ];
    let mut fates = Vec::new();
    for path in questions {
        fates.push(root_fate(story, &path).await?);
    }
    let claim = "whoever asks for what never existed gets 503 as well: nothing is called absent now";
    told.check_eq(&fates, &vec![Fate::Unavailable; 4], claim);
    Ok(())
}

/// The operator of the service puts it back.
pub async fn remote_is_resumed(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("The remote is resumed");
    story.world.service()?.resume(None).map_err(WorldError::from)?;
    let (took, _) = watch_reads(story, Fate::Served).await?;
    told.check(
        took.is_some(),
        format_args!("reads are served {} later, without a custodian", shown(took.unwrap_or_default())),
    );
    told.figure("resumed to first read", shown(took.unwrap_or_default()));
    let store = story.kubernetes_store()?;
    let object = &story.homelab.external_secrets[0];
    let fetched = store.reconcile(object, &mut story.traffic).await?;
    told.check_eq(&fetched.len(), &object.data.len(), "ESO logs in and fetches as before");
    Ok(())
}

/// No word from the remote at all: the lease decides.
pub async fn remote_goes_silent(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("The remote falls silent: the broker lives on its lease, then stops");
    story.world.stop_fragment().await?;
    let first = root_fate(story, &first_path(story)).await?;
    told.check(first == Fate::Served, "cached keys go on serving while the lease lasts");
    let (took, seen) = watch_reads(story, Fate::Unavailable).await?;
    told.check(took.is_some(), format_args!("reads answer 503 {} later", shown(took.unwrap_or_default())));
    told.check(!seen.contains_key(&Fate::Absent), format_args!("until then: {}", counted(&seen)));
    told.figure("silence to first 503", shown(took.unwrap_or_default()));
    story.world.start_fragment().await?;
    let (took, _) = watch_reads(story, Fate::Served).await?;
    told.check(
        took.is_some(),
        format_args!("the remote is back; reads are served {} later", shown(took.unwrap_or_default())),
    );
    Ok(())
}

fn first_path(story: &Story) -> String {
    format!("v1/{MOUNT}/data/{}", story.values.keys().next().map_or("", String::as_str))
}

/// Reads one secret again and again until its fate is the awaited one. Gives how long that took, and what was
/// seen.
async fn watch_reads(
    story: &Story,
    awaited: Fate,
) -> Result<(Option<Duration>, BTreeMap<Fate, usize>), StoryError> {
    let (begun, path) = (Instant::now(), first_path(story));
    let mut seen = BTreeMap::new();
    while begun.elapsed() < PATIENCE {
        let fate = root_fate(story, &path).await?;
        *seen.entry(fate).or_default() += 1;
        if fate == awaited {
            return Ok((Some(begun.elapsed()), seen));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok((None, seen))
}

/// The plain HTTP status of a read with the root token, as any client would see it.
async fn root_fate(story: &Story, path: &str) -> Result<Fate, StoryError> {
    let ca = reqwest::Certificate::from_pem(story.world.ca_pem().as_bytes())?;
    let http = reqwest::Client::builder().tls_certs_only([ca]).build()?;
    let request = http
        .get(format!("{}/{path}", story.world.broker_url()))
        .header("X-Vault-Token", story.root_token.as_str());
    Ok(match request.send().await?.status().as_u16() {
        200 => Fate::Served,
        503 => Fate::Unavailable,
        404 => Fate::Absent,
        status => Fate::Other(status),
    })
}

fn counted(seen: &BTreeMap<Fate, usize>) -> String {
    let name = |fate: &Fate| match fate {
        Fate::Served => "200".to_owned(),
        Fate::Unavailable => "503".to_owned(),
        Fate::Absent => "404".to_owned(),
        Fate::Other(status) => status.to_string(),
    };
    let parts: Vec<_> = seen.iter().map(|(fate, count)| format!("{count} answers {}", name(fate))).collect();
    parts.join(", ")
}
