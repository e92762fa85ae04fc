//! KV version 1: one value under each path, and nothing of what was there before.
//!
//! ```text
//! mod.rs       the descriptor, and what requests come to      route.rs     how the dialect asks for it
//! ```
//!
//! A secret lies in the rows of version 2, as one that has been written once. So everything that is sealed,
//! rolled, listed and recovered there is here, and an upgrade changes an option and no secret. An overwrite
//! is no second version: the old payload goes, and the new one belongs to a new secret of the same name. Its
//! id is part of what a payload commits to, so an older payload that somebody puts back into the store does
//! not open.

mod route;

use std::collections::BTreeMap;

use symbolon_core::audit::Action;
use symbolon_core::json::Map;
use symbolon_core::kv::{KvSettings, SecretMeta};
use symbolon_core::path::{FolderPath, PathError, SecretPath};
use symbolon_core::policy::Operation;
use symbolon_core::token::Caller;
use symbolon_proto::Zeroizing;
use symbolon_proto::id::SecretId;

use super::write::{Tries, Writing, encode, existing_or_new};
use super::{
    Engine, Found, KvFolder, KvTarget, Page, TABLES, V2, check_tier, listed, meta_place, names, remove,
    values,
};
use crate::access::mounts::{Mount, Side, Tier};
use crate::access::shape::Facts;
use crate::access::{Asker, Object, Request, Route, Session};
use crate::dialect::vault::{Answering, Call};
use crate::error::OpError;
use crate::keys::MountKeks;
use crate::random::os_rng;
use crate::store::Write;

pub(in crate::engines) use route::route;

/// The descriptor of version 1. It stands before version 2 among the engines: a new mount without a version
/// is its own, as in Vault, and a stored one without a version, from before there were two, is not.
pub static V1: Engine = Engine {
    facts: Facts {
        kind: "kv",
        builtin: None,
        tables: TABLES,
        sudo: &[],
        folds: &[],
        open: &[],
        first_rows: None,
    },
    options: &[VERSION, Tier::OPTION],
    serves: |mount| mount.options.get(VERSION).is_some_and(|version| version == "1"),
    enable,
    tune,
    keeps_secrets: true,
    token_removed: None,
    endings: &[],
    route: answer,
};

/// The option that tells the versions apart.
const VERSION: &str = "version";

static SHARED: Shelf =
    Shelf { kind: "kv", home: |_| Ok(FolderPath::root()), has_leases: true, has_versions: true };

/// Names below which clients of version 2 read or list.
const OF_VERSION_2: [&str; 3] = ["data", "metadata", "subkeys"];
/// What is not there below such a name may be there for whoever asked: in a mount of version 2, which this
/// one was taken for. To call it absent would make a controller delete what it holds.
const MISTAKEN: OpError = OpError::invalid(
    "no secret has this name, which looks like a path of version 2; this K/V mount is of version 1: set version 1 in the client, or upgrade the mount",
);

fn answer<'a>(call: Call<'a>, mount: &'a Mount, rest: &'a str) -> Answering<'a> {
    Box::pin(route(call, &SHARED, mount, rest))
}

fn enable(options: &BTreeMap<String, String>) -> Result<Option<BTreeMap<String, String>>, OpError> {
    if options.get(VERSION).is_some_and(|version| version != "1") {
        return Ok(None);
    }
    check_tier(options)?;
    let mut options = options.clone();
    options.insert(VERSION.to_owned(), "1".to_owned());
    Ok(Some(options))
}

/// Every secret is one of version 2 already, so an upgrade is done when the option says so. There is no way
/// back: version 1 would have to throw versions away.
fn tune(mount: &Mount, options: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, OpError> {
    let mut others = options.clone();
    let version = others.remove(VERSION);
    let mut tuned = (V2.tune)(mount, &others)?;
    match version.as_deref() {
        None | Some("1") => {}
        Some("2") => drop(tuned.insert(VERSION.to_owned(), "2".to_owned())),
        Some(_) => return Err(OpError::invalid("a KV mount of version 1 can be upgraded to version 2 only")),
    }
    Ok(tuned)
}

/// What is particular about an engine that keeps one value under each path.
pub(in crate::engines) struct Shelf {
    /// Its kind, as answers name it.
    pub(in crate::engines) kind: &'static str,
    /// The folder of the mount that is all a caller sees.
    pub(in crate::engines) home: fn(&Caller) -> Result<FolderPath, OpError>,
    /// Whether a read says how long its value may be kept.
    pub(in crate::engines) has_leases: bool,
    /// Whether one of its mounts can be taken for another version of it.
    pub(in crate::engines) has_versions: bool,
}

/// What a request is about: a name below its mount, in the caller's home.
struct Spot<'a, N> {
    shelf: &'static Shelf,
    mount: &'a Mount,
    name: N,
}

impl<N> Spot<'_, N> {
    /// What was found under a name; nothing is no absence where another version may have been meant.
    fn looked_for<T>(&self, name: &str, found: Option<T>) -> Result<Option<T>, OpError> {
        let first = name.split('/').next().unwrap_or_default();
        match found {
            None if self.shelf.has_versions && OF_VERSION_2.contains(&first) => Err(MISTAKEN),
            found => Ok(found),
        }
    }
}

impl Spot<'_, SecretPath> {
    /// The path that policies judge; that of the home is nobody's.
    fn route(&self) -> Route {
        Route::below(Side::Secrets, self.mount, &self.name)
    }

    fn target(&self, caller: &Caller) -> Result<KvTarget, OpError> {
        let secret = (self.shelf.home)(caller)?.secret(self.name.as_str()).map_err(too_long)?;
        Ok(KvTarget::new(self.mount.clone(), secret))
    }
}

impl Spot<'_, FolderPath> {
    /// The path that policies judge.
    fn route(&self) -> Route {
        Route::below(Side::Secrets, self.mount, self.name.as_str())
    }

    fn folder(&self, caller: &Caller) -> Result<KvFolder, OpError> {
        let home = (self.shelf.home)(caller)?;
        let folder = match self.name.as_str() {
            "" => home,
            name => FolderPath::parse(home.secret(name).map_err(too_long)?.as_str()).map_err(too_long)?,
        };
        Ok(KvFolder::new(self.mount.clone(), folder))
    }
}

/// Both parts of the path are good ones by themselves.
fn too_long(_: PathError) -> OpError {
    OpError::invalid("the path is too long or has too many segments")
}

/// Reads the value.
async fn read(who: &Asker<'_>, spot: &Spot<'_, SecretPath>) -> Result<Zeroizing<Vec<u8>>, OpError> {
    let request =
        Request::begin(who, Action::SecretRead, &spot.route()).await?.authorise(Operation::Read).await?;
    let target = request.record_failure(spot.target(request.caller())).await?;
    let found = values::find(values::Behalf::Caller(&request), &target, 0).await;
    let value =
        found.and_then(|found| spot.looked_for(spot.name.as_str(), found.and_then(|(_, value)| value)));
    let value = request.found(value).await?;
    let receipt = request.commit_for_disclosure(Object::Path, Vec::new()).await?;
    Ok(value.disclose(receipt))
}

/// Puts a value where there was none, or another.
async fn write(who: &Asker<'_>, spot: &Spot<'_, SecretPath>, data: &Map) -> Result<(), OpError> {
    let request = Request::begin(who, Action::SecretWrite, &spot.route()).await?;
    let target = match spot.target(request.caller()) {
        Ok(target) => target,
        Err(refusal) => {
            let request = request.authorise(Operation::Create).await?;
            return request.record_failure(Err(refusal)).await;
        }
    };
    let writing = Writing::begin(request, &target).await?;
    let (data, mut tries) = (encode(data), Tries::default());
    loop {
        let found = writing.found().await?;
        let done = replace(&writing, &target, found, &data).await;
        if !tries.again(&done) {
            return done;
        }
    }
}

/// One try. The key that it chooses stays one to choose until the commit is done.
async fn replace(
    writing: &Writing<'_>,
    target: &KvTarget,
    found: Option<Found>,
    data: &[u8],
) -> Result<(), OpError> {
    let request = &writing.request;
    let _pass = request.session().keys.pass().await;
    let changes = replacement(request.session(), target, found, data).await;
    request.commit(Object::Path, request.record_failure(changes).await?).await
}

/// A new secret in the place of the old one, whose payload goes.
async fn replacement(
    session: &Session,
    target: &KvTarget,
    found: Option<Found>,
    data: &[u8],
) -> Result<Vec<Write>, OpError> {
    let now = session.now().unix_ms;
    let (old, expect, mut changes) = existing_or_new(session, target, found).await?;
    let new = SecretMeta::new(SecretId::random(&mut os_rng()), old.bucket, now);
    let epoch = MountKeks::read(&session.rows, target.mount.id).await?.epoch;
    let write = new.write(None, &KvSettings::default(), now)?.under(epoch);
    changes.extend(values::seal(session, target, &write, data).await?);
    changes.push(session.rows.put(meta_place(target), &write.meta, expect)?);
    changes.extend(values::removals(target, &old, old.payloads()));
    Ok(changes)
}

/// Removes the value. Removing an absent one is no error.
async fn delete(who: &Asker<'_>, spot: &Spot<'_, SecretPath>) -> Result<(), OpError> {
    let request = Request::begin(who, Action::SecretDelete, &spot.route()).await?;
    let request = request.authorise(Operation::Delete).await?;
    let target = request.record_failure(spot.target(request.caller())).await?;
    remove(&request, &target).await
}

/// Names in a folder, folders with a slash at their end.
async fn list(who: &Asker<'_>, spot: &Spot<'_, FolderPath>, page: &Page) -> Result<Vec<String>, OpError> {
    let request = Request::begin(who, Action::List, &spot.route()).await?.authorise(Operation::List).await?;
    let folder = request.record_failure(spot.folder(request.caller())).await?;
    let names = names::in_folder(request.session(), &folder).await;
    let names = names.and_then(|names| spot.looked_for(spot.name.as_str(), names));
    listed(&request, names, page).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::access::mounts::builtin;
    use crate::engines::engine_of;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn mount(pairs: &[(&str, &str)]) -> Mount {
        Mount { options: options(pairs), ..builtin("kv", "kv") }
    }

    #[test]
    fn new_mounts_without_a_version_are_of_version_1() {
        let one = |extra: &[(&str, &str)]| Some(options(&[&[("version", "1")], extra].concat()));
        assert_eq!(enable(&options(&[])).unwrap(), one(&[]));
        assert_eq!(enable(&options(&[("version", "1")])).unwrap(), one(&[]));
        assert_eq!(enable(&options(&[("tier", "high")])).unwrap(), one(&[("tier", "high")]));
        assert_eq!(enable(&options(&[("version", "2")])).unwrap(), None);
        assert!(enable(&options(&[("tier", "higher")])).is_err());
    }

    #[test]
    fn stored_mounts_without_a_version_stay_of_version_2() {
        let is_v1 = |pairs: &[(&str, &str)]| std::ptr::eq(engine_of(&mount(pairs)).unwrap(), &V1);
        assert!(is_v1(&[("version", "1")]));
        assert!(!is_v1(&[]) && !is_v1(&[("version", "2")]) && !is_v1(&[("tier", "high")]));
    }

    #[test]
    fn an_upgrade_is_an_option_and_there_is_no_way_back() {
        let (old, high) = (mount(&[("version", "1")]), mount(&[("version", "1"), ("tier", "high")]));
        let tuned =
            |mount: &Mount, pairs: &[(&str, &str)]| (engine_of(mount).unwrap().tune)(mount, &options(pairs));
        assert_eq!(tuned(&old, &[("version", "2")]).unwrap(), options(&[("version", "2")]));
        assert_eq!(tuned(&old, &[("version", "1")]).unwrap(), old.options);
        assert_eq!(
            tuned(&high, &[("version", "2")]).unwrap(),
            options(&[("version", "2"), ("tier", "high")])
        );
        for wrong in [("version", "3"), ("tier", "standard"), ("other", "x")] {
            assert!(tuned(&old, &[wrong]).is_err(), "{wrong:?}");
        }
        assert!(tuned(&mount(&[("version", "2")]), &[("version", "1")]).is_err());
    }
}
