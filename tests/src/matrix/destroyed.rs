//! The remote key, or an old epoch of it, destroyed on the order of two officers after its cooling-off: what
//! thieves had before that opens nothing afterwards, and neither does the service's own backup.

use std::collections::BTreeSet;

use serde_json::json;
use symbolon_broker::config;
use symbolon_kms_fragment::tables::KeyState;
use symbolon_proto::certificate::Certificate;
use symbolon_proto::id::KeyId;
use symbolon_proto::order::Action;

use super::attacker::{Disk, Loot, StolenService};
use super::victim::{CACHED, LATER, OTHER, copy_store, fill};
use super::{ALL, BACKED_UP, NONE, Reads};
use crate::nodes::{self, Node, copy_directory};
use crate::site::{CALM, Site};

/// The default of the service's configuration.
const COOLING_OFF_DAYS: u64 = 14;
/// Both secrets of [`fill`].
const BOTH: Reads = &[CACHED, OTHER];

/// A deployment on a service with officers.
struct Victim {
    site: Site,
    node: Node,
    remote_config: config::Remote,
}

impl Victim {
    async fn new() -> Self {
        let (site, mut nodes) = nodes::site(CALM, &["service"], 1).await;
        fill(&site).await;
        let remote_config = site.world.broker_config(false).unwrap().remote;
        Self { site, node: nodes.pop().unwrap(), remote_config }
    }

    fn key(&self) -> KeyId {
        self.node.service().status().keys[0].key.parse().unwrap()
    }

    fn state(&self) -> KeyState {
        self.node.service().status().keys[0].state
    }

    /// The store of the broker, which stays down.
    async fn disk(&mut self, name: &str) -> Disk {
        self.site.world.stop_broker().await.unwrap();
        copy_store(&self.site.world.path("store.redb"), name).await
    }

    /// The service's state and what opens it, as they are now.
    fn stolen_service(&self) -> StolenService {
        StolenService::copy(1, &self.node.directory, &self.node.key_file())
    }

    /// Disk or backup, and shares.
    fn loot<'a>(&'a self, disk: &'a Disk) -> Loot<'a> {
        Loot { disk: Some(disk), shares: &self.site.shares[..2], ..Loot::nothing(&self.remote_config) }
    }

    /// What he reads who goes to the service with them, as if nobody had come before him.
    async fn visit(&self, disk: &Disk) -> BTreeSet<String> {
        let found = self.loot(disk).secrets().await;
        self.node.admit();
        found
    }

    /// What he reads who has the service's state, too.
    async fn with_remote(&self, disk: &Disk, remote: &StolenService) -> BTreeSet<String> {
        let found = Loot { remote: vec![remote], ..self.loot(disk) }.secrets().await;
        self.node.admit();
        found
    }
}

fn texts(reads: Reads) -> BTreeSet<String> {
    reads.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_key_opens_nothing_and_its_backup_does_not_bring_it_back() {
    let mut victim = Victim::new().await;
    let disk = victim.disk("disk.redb").await;
    let (before, backup) = (victim.stolen_service(), victim.site.world.path("backup"));
    copy_directory(&victim.node.directory, &backup);
    for time in ["once", "and again, once he is admitted"] {
        assert_eq!(victim.visit(&disk).await, texts(BOTH), "the key lives: {time}");
    }

    victim.node.order(Action::Destroy { key: victim.key() });
    assert_eq!(victim.visit(&disk).await, texts(NONE), "cooling off");
    victim.node.let_days_pass(COOLING_OFF_DAYS - 1).await;
    assert_eq!(victim.state(), KeyState::PendingDestroy);
    victim.node.let_days_pass(COOLING_OFF_DAYS).await;
    assert_eq!(victim.state(), KeyState::Destroyed);
    certified(&victim);
    gone(&victim, &disk, "destroyed").await;
    // Whoever has the state of before and what opens it needs no service: that is the date in the
    // certificate.
    assert_eq!(victim.with_remote(&disk, &before).await, texts(BOTH), "a backup that somebody kept");

    restore(&mut victim.node, &backup).await;
    assert_eq!(victim.state(), KeyState::Destroyed, "the tombstone is newer");
    gone(&victim, &disk, "restored").await;
}

/// Nothing is left at the service; the thief with disk and shares comes as far as names, so it is the key
/// that he lacks.
async fn gone(victim: &Victim, disk: &Disk, when: &str) {
    assert!(victim.loot(disk).mounts().await.contains(&"other".to_owned()), "{when}");
    victim.node.admit();
    assert_eq!(victim.visit(disk).await, texts(NONE), "{when}");
    let now = victim.stolen_service();
    assert!(now.keys().is_empty(), "{when}");
    assert_eq!(victim.with_remote(disk, &now).await, texts(NONE), "{when}");
}

fn certified(victim: &Victim) {
    let service = victim.node.service();
    let certificates = service.certificates(victim.key()).unwrap();
    let certificate = Certificate::from_text(&certificates[0].text, &service.root_fingerprint()).unwrap();
    assert!(certificate.destruction().whole && certificate.destruction().key == victim.key());
}

/// Puts shares and tables back from a backup of the service, as somebody would who wants the key again.
async fn restore(node: &mut Node, backup: &std::path::Path) {
    node.stop().await;
    let keys = std::fs::read_dir(backup.join("keys")).unwrap().map(|entry| entry.unwrap().file_name());
    let files = keys.map(|name| std::path::Path::new("keys").join(name)).chain(["tables".into()]);
    for file in files {
        assert!(std::fs::copy(backup.join(&file), node.directory.join(&file)).unwrap() > 0);
    }
    node.start().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_a_destroyed_epoch_opens_nothing() {
    let mut victim = Victim::new().await;
    let backup = victim.disk("backup.redb").await;
    victim.site.start_again().await;
    victim.site.unseal().await;
    rotate(&victim.site).await;
    victim.site.write("app/later", LATER).await;
    let disk = victim.disk("disk.redb").await;
    victim.node.admit();
    let before = victim.stolen_service();
    assert_eq!(victim.visit(&backup).await, texts(BACKED_UP), "the old epoch is retired by nobody yet");

    let (key, key_epoch) = (victim.key(), 1);
    victim.node.order(Action::Retire { key, key_epoch });
    assert_eq!(victim.visit(&backup).await, texts(NONE), "retired");
    victim.node.order(Action::DestroyEpoch { key, key_epoch });
    victim.node.let_days_pass(COOLING_OFF_DAYS).await;
    let now = victim.stolen_service();
    assert_eq!(now.keys().len(), 1, "the newest epoch is untouched");
    assert!(victim.loot(&backup).mounts().await.contains(&"other".to_owned()));
    victim.node.admit();
    assert_eq!(victim.visit(&backup).await, texts(NONE), "destroyed");
    assert_eq!(victim.with_remote(&backup, &now).await, texts(NONE), "and the newest epoch does not help");
    assert_eq!(victim.visit(&disk).await, texts(ALL), "what was re-wrapped is under the newest");
    assert_eq!(victim.with_remote(&backup, &before).await, texts(BACKED_UP), "a backup that somebody kept");
}

/// Key epoch 2 for everything, and the wish to retire 1.
async fn rotate(site: &Site) {
    site.root_put("sys/symbolon/rotate/remote", &json!({})).await.expect(200);
    site.wait_for_rotation(2).await;
    site.root_put("sys/symbolon/rotate/retire", &json!({})).await.expect(200);
}
