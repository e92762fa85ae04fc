//! The broker forgets, and this process is searched for what it knew.

use symbolon_broker::run::Broker;
use symbolon_proto::hierarchy::Fragment;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::secret::{MemoryMode, memory_mode, wiping};
use symbolon_proto::share::{Share, shamir};

use super::super::memory::{Needle, Scan};
use super::super::narrator::{Narrator, shown};
use super::super::story::{Story, StoryError};
use symbolon::{Error, SecretData, Unavailable};

/// Seals, then searches all readable memory for the fragment and every key derived from it.
pub async fn sealed_memory_holds_no_key(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("Sealed: memory holds no key");
    let deployment = story.world.client()?.seal_status().await?.cluster_id;
    let open = search(story, &deployment, told, "while open").await?;
    match memory_mode() {
        MemoryMode::MemfdSecret => {
            told.check_eq(&open.found, &Vec::new(), "while open, keys are nowhere but in secret memory");
        }
        _ => told.say(
            "this kernel has no memfd_secret: keys are locked in memory, and visible to root while open",
        ),
    }

    story.root()?.seal().await?;
    let status = story.world.client()?.seal_status().await?;
    told.check(status.sealed, "the broker is sealed");
    let read = story.root()?.kv("secret").get::<SecretData>("any").await;
    told.check(matches!(read, Err(Error::Unavailable(Unavailable::Sealed(_)))), "requests are answered 503");
    let sealed = search(story, &deployment, told, "sealed").await?;
    told.check_eq(
        &sealed.found,
        &Vec::new(),
        "sealed, neither the fragment nor any key made from it is in memory",
    );
    let locked = Broker::bind(story.world.broker_config(false)?).await;
    told.check(locked.is_err(), "a second broker cannot take the same store");
    Ok(())
}

/// Scans with a planted marker, which must be found for the scan to mean anything.
async fn search(
    story: &mut Story,
    deployment: &str,
    told: &mut Narrator,
    when: &str,
) -> Result<Scan, StoryError> {
    let mut needles = wiping(|| key_needles(story, deployment))
        .ok_or(StoryError::Missing { what: "the keys to look for" })?;
    let mut marker = vec![0_u8; 32];
    getrandom::fill(&mut marker).map_err(|_| StoryError::Missing { what: "randomness" })?;
    needles.extend(Needle::cover("marker", &marker));
    let begun = tokio::time::Instant::now();
    let mut scan = tokio::task::block_in_place(|| story.memory.scan(&needles))?;
    told.say(format_args!(
        "{when}: {} MiB searched for {} key halves in {}",
        scan.read_bytes >> 20,
        needles.len(),
        shown(begun.elapsed())
    ));
    let planted = scan.found.iter().any(|name| name == "marker");
    told.check(planted && marker.len() == 32, "a marker that was planted in memory is found");
    scan.found.retain(|name| name != "marker");
    scan.found.dedup();
    Ok(scan)
}

/// What the custodians could recombine: the fragment and its keys, each in two masked halves.
fn key_needles(story: &Story, deployment: &str) -> Option<Vec<Needle>> {
    let deployment: DeploymentId = deployment.parse().ok()?;
    let shares: Vec<Share> = story.shares[..2].iter().filter_map(|text| Share::parse(text).ok()).collect();
    let point = |share: &Share| shamir::Point { x: share.x(), y: half(share) };
    let points: Vec<shamir::Point> = shares.iter().map(point).collect();
    let fragment = Fragment::from_secret(shamir::recombine(&points.iter().collect::<Vec<_>>()).ok()?);
    // Looking for something else would find nothing and prove nothing.
    if !story.world.is_its_fragment(&fragment) {
        return None;
    }
    let root = fragment.root(&deployment);
    let keys = root.purposes(1);
    let mut needles = Needle::cover("the fragment", fragment.secret().expose());
    for (name, key) in [
        ("the capsule key", keys.capsule.secret()),
        ("the index key", keys.index.secret()),
        ("the state key", keys.state.secret()),
        ("the network key", keys.net.secret()),
        ("the audit key", keys.audit.secret()),
    ] {
        needles.extend(Needle::cover(name, key.expose()));
    }
    Some(needles)
}

fn half(share: &Share) -> symbolon_proto::secret::Secret<32> {
    symbolon_proto::secret::Secret::filled_by(|out: &mut [u8; 32]| {
        out.copy_from_slice(&share.to_bytes().expose()[12..])
    })
}
