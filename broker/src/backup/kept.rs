//! Names of backups, and which of them are pruned.
//!
//! ```text
//! symbolon-<deployment, 8 digits>-20261130T133345Z-<entries of the log, 12 digits>.backup
//! ```
//!
//! The names of one deployment sort by time, those of one second by what they hold. What has another name is
//! not ours, and is never touched.

use symbolon_proto::backup::About;
use symbolon_proto::id::DeploymentId;
use symbolon_proto::moment;

const ENDING: &str = ".backup";
/// Digits of a deployment's id in a name: enough to tell deployments apart that share a bucket.
const ID_DIGITS: usize = 8;
/// Characters between the name of the deployment and the ending.
const REST_CHARS: usize = "20261130T133345Z-012345678901".len();

/// The name of a backup in the place where it lies.
#[must_use]
pub fn name(about: &About) -> String {
    let made = moment::utc(about.made.saturating_mul(1000)).replace(['-', ':'], "");
    format!("{}{made}-{:012}{ENDING}", beginning(about.deployment), about.entries)
}

/// Whether this is the name of a backup, of whichever deployment.
#[must_use]
pub fn is_name(name: &str) -> bool {
    name.starts_with("symbolon-") && name.ends_with(ENDING)
}

/// Whether this is what a killed process has left of a backup of this deployment: the name that the library
/// writes under before it renames.
#[must_use]
pub fn is_left_over(name: &str, deployment: DeploymentId) -> bool {
    name.starts_with(&beginning(deployment)) && name.contains(".backup#")
}

/// Which of these names go, if the newest `keep` of a deployment shall stay. Names of others are not touched,
/// and neither is `made`, which was proven just now, whatever the clock said when it or others were named.
#[must_use]
pub fn to_prune(mut names: Vec<String>, deployment: DeploymentId, made: &str, keep: usize) -> Vec<String> {
    let beginning = beginning(deployment);
    let rest = |name: &str| Some(name.strip_prefix(&beginning)?.strip_suffix(ENDING)?.len());
    names.retain(|name| rest(name) == Some(REST_CHARS) && name != made);
    names.sort();
    names.truncate((names.len() + 1).saturating_sub(keep));
    names
}

fn beginning(deployment: DeploymentId) -> String {
    let id = deployment.to_string();
    format!("symbolon-{}-", id.get(..ID_DIGITS).unwrap_or(&id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use symbolon_proto::id::BackupId;
    use symbolon_proto::log::VerifierKey;
    use symbolon_proto::secret::Secret;
    use symbolon_proto::signing::SigningSeed;

    use super::*;

    const OURS: DeploymentId = DeploymentId::from_bytes([0xab; 16]);

    fn named(made: u64, deployment: DeploymentId) -> String {
        let key = SigningSeed::from_secret(Secret::filled_by(|out| out.fill(1))).public_key();
        let log_key = VerifierKey::new("symbolon/x", key).unwrap();
        name(&About { deployment, backup: BackupId::from_bytes([1; 16]), made, entries: 42, log_key })
    }

    #[test]
    fn the_newest_stay_and_what_is_not_ours_too() {
        assert_eq!(named(1_796_045_625, OURS), "symbolon-abababab-20261130T133345Z-000000000042.backup");
        let ours: Vec<_> = [1_000, 90_000, 1_796_045_625, 4_107_542_400].map(|made| named(made, OURS)).into();
        assert!(ours.is_sorted(), "{ours:?}");
        let others = [
            named(5, DeploymentId::from_bytes([2; 16])),
            "symbolon-abababab-mine.backup".to_owned(),
            format!("{}.old", ours[0]),
            "notes.txt".to_owned(),
        ];
        let all: Vec<_> = others.iter().chain(ours.iter().rev()).cloned().collect();
        let prune = |made: usize, keep: usize| to_prune(all.clone(), OURS, &ours[made], keep);
        assert_eq!(prune(3, 1), ours[..3]);
        assert_eq!(prune(3, 3), ours[..1]);
        assert!(prune(3, 4).is_empty());
        // The clock went back: what was made now stays, and what it called later counts as newer.
        assert_eq!(prune(0, 1), ours[1..]);
        assert_eq!(prune(0, 3), ours[1..2]);
        assert!(is_left_over(&format!("{}#2", ours[0]), OURS) && !is_left_over(&ours[0], OURS));
    }
}
