//! What a start would read, looked at without one: the configuration and the files that it names. The store
//! is not opened, nobody is asked over the network, and nothing is written.

use std::fs::File;
use std::path::Path;

use symbolon_proto::fingerprint::Fingerprint;

use crate::audit::sinks;
use crate::config::{Bucket, Config, InitConfig, Named, Remote, StoreConfig, Tls};
use crate::reload::Certificate;
use crate::remote::check_url;
use crate::upkeep::backup;

/// Everything that is wrong with a configuration file and what it names; empty if a start would take it.
#[must_use]
pub fn faults(path: &Path) -> Vec<String> {
    let (mut faults, named) = Config::examine_file(path);
    let Named { tls, store, remote, init, backup, audit } = &named;
    faults.extend(tls.iter().flat_map(certificate));
    faults.extend(store.iter().filter_map(|store| place_of_store(store, init)));
    faults.extend(remote.iter().flat_map(services));
    if init.escrow_key().is_some_and(|key| key.is_none()) {
        faults.push("init.escrow_key_file cannot be read, or is no escrow key".to_owned());
    }
    if let Some(plan) = backup {
        faults.extend(backup::keeping::cards(plan).err().map(|error| error.to_string()));
    }
    faults.extend(sinks::check(audit).err().map(|error| error.to_string()));
    let buckets = backup.iter().filter_map(|plan| plan.bucket.as_ref()).chain(&audit.bucket);
    faults.extend(buckets.flat_map(credentials));
    faults
}

/// Both files are looked at before they are looked at together.
fn certificate(tls: &Tls) -> Vec<String> {
    let unreadable: Vec<_> =
        [&tls.cert_file, &tls.key_file].into_iter().filter_map(|path| unreadable(path)).collect();
    match unreadable.is_empty() {
        true => Certificate::load(tls).err().map(|error| chain(&error)).into_iter().collect(),
        false => unreadable,
    }
}

fn place_of_store(store: &StoreConfig, init: &InitConfig) -> Option<String> {
    let path = &store.path;
    if path.exists() {
        return unreadable(path);
    }
    if !init.allow {
        return Some(format!(
            "there is no store at {}, and `init.allow` does not say that this is a new deployment: check the volume",
            path.display()
        ));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (!folder.is_dir()).then(|| format!("the folder of the store, {}, does not exist", folder.display()))
}

fn services(remote: &Remote) -> Vec<String> {
    let fault = |node: &crate::config::RemoteNode| {
        let url = check_url(&node.url).err().map(|error| error.to_string());
        let root = node.fingerprint.parse::<Fingerprint>().err();
        let root = root.map(|error| {
            format!(
                "`remote.fingerprint` must be the twelve groups that the service's operator read out: {error}"
            )
        });
        url.into_iter().chain(root)
    };
    remote.nodes.iter().flat_map(fault).collect()
}

fn credentials(bucket: &Bucket) -> Vec<String> {
    let files = [&bucket.access_key_id_file, &bucket.secret_access_key_file, &bucket.ca_file];
    files.into_iter().flatten().filter_map(|path| unreadable(path)).collect()
}

fn unreadable(path: &Path) -> Option<String> {
    File::open(path).err().map(|error| format!("cannot read {}: {error}", path.display()))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
