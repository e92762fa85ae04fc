//! What a history happens to: a broker on a runtime of its own, so that it can be ended in mid-air, and its
//! services behind lines.

use std::sync::Arc;
use std::time::Duration;

use symbolon_cli::demo::world::{Pace, World};
use symbolon_proto::evaluate::RemoteKey;
use symbolon_proto::hierarchy::CapsuleKey;
use tokio::runtime::Runtime;

use super::link::Link;
use crate::matrix::attacker::{Disk, StolenService, capsules};
use crate::matrix::victim::{copy_key, copy_store};
use crate::nodes::{Node, remote};
use crate::selfplay::open_with_shares;
use crate::site::Site;

pub const NODES: usize = 3;
pub const THRESHOLD: usize = 2;
/// Short enough to wait for their end.
pub const PACE: Pace = Pace { lease_secs: 2, heartbeat_secs: 1 };
/// Longer than a lease by what a clock may lose.
pub const LEASE: Duration = Duration::from_millis(2_050);

pub struct Scene {
    pub site: Site,
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    broker: Option<Runtime>,
    /// Taken in the beginning: with two shares of k it opens what had been written by then.
    first: First,
}

struct First {
    disk: Disk,
    capsule_key: CapsuleKey,
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Scene {
    /// A deployment in which these secrets have been written.
    pub async fn new(secrets: &[(&str, &str)]) -> Self {
        let mut world = World::new(PACE, None).unwrap();
        let (mut nodes, mut links) = (Vec::new(), Vec::new());
        for name in ["node-a", "node-b", "node-c"] {
            let mut node = Node::new(world.path(name), PACE).await;
            let link = Link::to(node.socket).await;
            node.address = link.address;
            nodes.push(node);
            links.push(link);
        }
        world.remote(remote(&nodes, THRESHOLD));
        let runtime = runtime();
        {
            let _inside = runtime.enter();
            world.start_broker(true).await.unwrap();
        }
        let (base, services): (_, Vec<_>) =
            (world.broker_url(), nodes.iter().map(|node| Arc::clone(node.service())).collect());
        let mut site = Site::initialise_with(world, &base, &services).await;
        drop(services); // they would keep the directories locked
        site.begin().await;
        for (name, value) in secrets {
            site.write(name, value).await;
        }
        let capsule_key = copy_key(&site.world.session().unwrap());
        site.world.stop_broker().await.unwrap();
        let disk = copy_store(&site.world.path("store.redb"), "first.redb").await;
        let first = First { disk, capsule_key };
        let mut scene = Self { site, nodes, links, broker: Some(runtime), first };
        scene.start_broker().await;
        scene
    }

    /// Starts it, and two custodians come.
    pub async fn start_broker(&mut self) {
        if let Some(old) = self.broker.take() {
            old.shutdown_background();
        }
        let runtime = runtime();
        {
            let _inside = runtime.enter();
            self.site.start_again().await;
        }
        self.broker = Some(runtime);
        self.site.unseal().await;
    }

    pub async fn stop_broker(&mut self) {
        self.site.world.stop_broker().await.unwrap();
    }

    /// Every task of it ends where it stands.
    pub async fn crash_broker(&mut self) {
        self.broker.take().unwrap().shutdown_background();
        assert!(self.site.world.stop_broker().await.is_err(), "it had stopped by itself");
    }

    /// Services that would answer.
    pub fn reached(&self, at: usize) -> bool {
        self.nodes[at].is_running() && self.links[at].passes()
    }

    /// Whether the states of these two services open every capsule of the beginning, without asking anybody.
    pub fn open_together(&self, pair: [usize; 2]) -> bool {
        let [(one, ours), (other, theirs)] = pair.map(|at| (number(at), self.shares(at)));
        let pairs = || ours.iter().flat_map(|k| theirs.iter().map(move |l| [(one, k), (other, l)]));
        let First { disk, capsule_key } = &self.first;
        capsules(disk).iter().all(|(capsule, context)| {
            pairs().any(|pair| open_with_shares(capsule, context, capsule_key, &pair).is_ok())
        })
    }

    fn shares(&self, at: usize) -> Vec<RemoteKey> {
        let node = &self.nodes[at];
        StolenService::copy(number(at), &node.directory, &node.key_file()).shares()
    }
}

/// The index of a service in the group.
fn number(at: usize) -> u16 {
    u16::try_from(at).unwrap() + 1
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(runtime) = self.broker.take() {
            runtime.shutdown_background();
        }
    }
}
