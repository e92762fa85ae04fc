//! Several fragment services on sockets of their own, and a broker that needs two of them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use symbolon::demo::world::World;
use symbolon_kms_fragment::{Grants, Options, Sealing, Service};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::site::{BRISK, Site};

/// One fragment service of an operator of its own.
struct Node {
    directory: PathBuf,
    address: SocketAddr,
    fingerprint: String,
    running: Option<Running>,
}

struct Running {
    service: Arc<Service>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Node {
    async fn new(directory: PathBuf) -> Self {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut node = Self { directory, address, fingerprint: String::new(), running: None };
        node.start().await;
        node.fingerprint = node.service().root_fingerprint().to_string();
        node
    }

    async fn start(&mut self) {
        let sealing = Sealing::KeyFile(self.directory.with_extension("key"));
        let grants = Grants { lease_ttl_secs: BRISK.lease_secs, ..Grants::default() };
        let options = Options { grants, ..Options::default() };
        let service = match self.directory.exists() {
            false => Service::init(&self.directory, &sealing, options).unwrap(),
            true => Service::open(&self.directory, &sealing, options).unwrap(),
        };
        let socket = TcpListener::bind(self.address).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&service);
        let task =
            tokio::spawn(async move { serving.serve(socket, async { drop(stopped.await) }).await.unwrap() });
        self.running = Some(Running { service, stop, task });
    }

    async fn stop(&mut self) {
        let Running { service, stop, task } = self.running.take().unwrap();
        stop.send(()).unwrap();
        drop(service);
        task.await.unwrap();
    }

    fn service(&self) -> &Arc<Service> {
        &self.running.as_ref().unwrap().service
    }

    /// Each key epoch that this node holds, and the epochs of its shares, by its own word.
    fn epochs(&self) -> Vec<(u32, Vec<u32>)> {
        let status = self.service().status();
        status.keys[0].epochs.iter().map(|epoch| (epoch.key_epoch, epoch.share_epochs.clone())).collect()
    }

    /// Files with shares of this node, by name.
    fn shares(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.join("keys")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The site, and the services that it needs.
struct Group {
    site: Site,
    nodes: Vec<Node>,
}

fn remote(nodes: &[Node], threshold: usize) -> String {
    let table = |node: &Node| {
        let (address, fingerprint) = (node.address, &node.fingerprint);
        format!("[[remote.node]]\nurl = \"https://{address}\"\nfingerprint = \"{fingerprint}\"\n")
    };
    let tables: String = nodes.iter().map(table).collect();
    format!("threshold = {threshold}\n{tables}[remote.terms]\nlease_ttl_secs = {}\n", BRISK.lease_secs)
}

impl Group {
    /// Two of three, initialised and open.
    async fn two_of_three() -> Self {
        let mut world = World::new(BRISK, None).unwrap();
        let mut nodes = Vec::new();
        for name in ["node-a", "node-b", "node-c"] {
            nodes.push(Node::new(world.path(name)).await);
        }
        world.remote(remote(&nodes, 2));
        world.start_broker(true).await.unwrap();
        let base = world.broker_url();
        let services: Vec<_> = nodes.iter().map(|node| Arc::clone(node.service())).collect();
        let site = Site::initialise_with(world, &base, &services).await;
        site.begin().await;
        Self { site, nodes }
    }

    /// A secret is read as it was written, through keys that are opened anew.
    async fn reads(&self, name: &str, value: &str) {
        self.site.world.session().unwrap().keys.flush();
        let got = self.site.wait_for_read(name, 200, &[503]).await;
        assert_eq!(got.json()["data"]["data"], json!({ "value": value }));
    }

    /// Every node holds one share of these epochs, and nothing else.
    fn all_hold(&self, key_epoch: u32, share_epoch: u32) {
        for node in &self.nodes {
            assert_eq!(node.epochs(), [(key_epoch, vec![share_epoch])]);
            assert_eq!(node.shares().len(), 1, "something is left: {:?}", node.shares());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_may_be_away_and_two_may_not() {
    let mut group = Group::two_of_three().await;
    group.site.write("app/db", "kept").await;
    group.reads("app/db", "kept").await;
    group.all_hold(1, 1);

    group.nodes[0].stop().await;
    group.reads("app/db", "kept").await;
    group.site.write("app/new", "written by two").await;

    group.nodes[2].stop().await;
    group.site.wait_for_read("app/db", 503, &[200]).await;
    for path in ["secret/data/app/db", "secret/data/app/none", "secret/data/none", "secret/metadata/none"] {
        group.site.root_get(path).await.expect(503);
    }

    group.nodes[0].start().await;
    group.reads("app/db", "kept").await;
    group.reads("app/new", "written by two").await;
    group.site.root_get("secret/data/app/none").await.expect(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_are_made_anew_while_everything_reads() {
    let mut group = Group::two_of_three().await;
    group.site.write("app/db", "kept").await;
    group.site.root_put("sys/symbolon/rotate/refresh", &json!({})).await.expect(204);
    group.all_hold(1, 2);
    group.reads("app/db", "kept").await;

    // The broker has stored what is true now.
    group.site.restart(async |_| {}).await;
    group.site.unseal().await;
    group.reads("app/db", "kept").await;
    group.nodes[1].stop().await;
    group.reads("app/db", "kept").await;
    // A change needs every node, and says which one is missing.
    let refused = group.site.root_put("sys/symbolon/rotate/refresh", &json!({})).await.expect(503);
    assert!(refused.text.contains(&group.nodes[1].address.to_string()), "{}", refused.text);
    group.nodes[1].start().await;
    group.reads("app/db", "kept").await;
}
