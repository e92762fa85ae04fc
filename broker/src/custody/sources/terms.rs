//! Whether a share set is as strong as the configuration demands (`symbolon_core::places`).

use symbolon_core::places::{BOX, Terms, TermsError, weak_places};
use symbolon_proto::custodian::CustodianKeys;
use symbolon_proto::share::{Custodian, Holder, ShareSetManifest};

use super::registry::Registry;
use crate::config::CustodyConfig;

/// Who holds a share: name and keys.
pub type Held<'a> = (&'a str, Option<&'a CustodianKeys>);

/// A holder of a set that is dealt.
#[must_use]
pub fn of_set(holder: &Custodian) -> Held<'_> {
    (&holder.name, holder.keys.as_ref())
}

/// A holder of a set that is wanted.
#[must_use]
pub fn of_wanted(holder: &Holder) -> Held<'_> {
    (&holder.name, holder.keys.as_ref())
}

/// Whether these holders, `threshold` of them, may open the broker.
pub fn judge<'a>(
    config: &'a CustodyConfig,
    registry: &Registry,
    threshold: u8,
    holders: impl Iterator<Item = Held<'a>>,
) -> Result<(), TermsError> {
    let (places, people) = split(config, registry, holders);
    terms(config).check(threshold, people, &places)
}

/// Whether the set in force may be opened by sources, as it is configured now.
pub fn judge_set(
    config: &CustodyConfig,
    registry: &Registry,
    set: &ShareSetManifest,
) -> Result<(), TermsError> {
    judge(config, registry, set.threshold(), set.custodians().iter().map(of_set))
}

/// Places that can open a set alone.
#[must_use]
pub fn weak(config: &CustodyConfig, registry: &Registry, set: &ShareSetManifest) -> Vec<String> {
    let (places, _) = split(config, registry, set.custodians().iter().map(of_set));
    weak_places(set.threshold(), &places).into_keys().map(str::to_owned).collect()
}

/// Where its sources are, and how many people hold a share. A source that the configuration does not know may
/// be in the machine.
fn split<'a>(
    config: &'a CustodyConfig,
    registry: &Registry,
    holders: impl Iterator<Item = Held<'a>>,
) -> (Vec<&'a str>, usize) {
    let (mut places, mut people) = (Vec::new(), 0);
    for (name, keys) in holders {
        match registry.get(name).is_some_and(|file| keys == Some(file.card().keys())) {
            true => places.push(config.source(name).map_or(BOX, |source| source.place.as_str())),
            false => people += 1,
        }
    }
    (places, people)
}

fn terms(config: &CustodyConfig) -> Terms {
    Terms { people_min: config.people_min, accept_places: config.accept_places.clone() }
}
