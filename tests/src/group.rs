//! Several fragment services on sockets of their own, and a broker that needs two of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use symbolon_cli::InitRequest;
use symbolon_cli::demo::world::{World, free_port, let_go};
use symbolon_kms_fragment::{Grants, Options, Sealing, Service};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::site::{BRISK, CALM, Site};

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
        let address = free_port().unwrap();
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
        task.await.unwrap();
        let_go(service).await;
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

    /// Has a change made, and looks meanwhile how far it is.
    async fn watched(&self, path: &str) -> BTreeSet<String> {
        let mut steps = BTreeSet::new();
        let looking = async {
            loop {
                let under_way = rotation(&self.site).await["under_way"].take();
                if let (Some(change), Some(step)) = (under_way["change"].as_str(), under_way["step"].as_str())
                {
                    steps.insert(format!("{change}: {step}"));
                }
            }
        };
        tokio::select! {
            changed = async { self.site.root_put(path, &json!({})).await } => drop(changed.expect(204)),
            () = looking => unreachable!("looking goes on until the change is made"),
        }
        steps
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
    let steps = group.watched("sys/symbolon/rotate/refresh").await;
    assert!(
        steps.iter().any(|step| step.starts_with("refresh: ")),
        "whoever waits sees how far it is: {steps:?}"
    );
    assert_eq!(rotation(&group.site).await["under_way"], Value::Null);
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
    assert_eq!(rotation(&group.site).await["under_way"], Value::Null, "what was refused is not under way");
    group.nodes[1].start().await;
    group.reads("app/db", "kept").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_passed_on_to_a_group_that_needs_all_three() {
    let mut group = Group::two_of_three().await;
    group.site.write("app/db", "kept").await;
    let lines = remote(&group.nodes, 3);
    group.site.world.remote(lines);
    group.site.restart(async |_| {}).await;
    group.site.unseal().await;
    let read_out = group.site.root_get("sys/symbolon/rotate/reshare").await.expect(200).json();
    let read_out = read_out["data"]["fingerprint"].as_str().unwrap().to_owned();

    let waits = group.site.root_put("sys/symbolon/rotate/reshare", &json!({})).await.expect(503);
    assert!(waits.text.contains("has not approved the group"), "{}", waits.text);
    group.all_hold(1, 1);
    for node in &group.nodes {
        assert_eq!(node.service().pending()[0].fingerprint, read_out);
        node.service().approve(&read_out.parse().unwrap(), false).unwrap();
    }
    group.site.root_put("sys/symbolon/rotate/reshare", &json!({})).await.expect(204);
    group.all_hold(1, 2);
    group.reads("app/db", "kept").await;

    group.nodes[1].stop().await;
    group.site.wait_for_read("app/db", 503, &[200]).await;
    group.site.root_get("secret/data/none").await.expect(503);
    group.nodes[1].start().await;
    group.reads("app/db", "kept").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_leave_and_two_at_once_may_not() {
    let mut group = Group::two_of_three().await;
    group.site.write("app/db", "kept").await;
    for (stay, threshold, status) in [(1, 1, 503), (2, 2, 204)] {
        let lines = remote(&group.nodes[..stay], threshold);
        group.site.world.remote(lines);
        group.site.restart(async |_| {}).await;
        assert!(group.site.try_unseal().await);
        for answer in [503, status] {
            let got = group.site.root_put("sys/symbolon/rotate/reshare", &json!({})).await.expect(answer);
            assert_eq!(got.text.contains("would leave at once"), stay == 1, "{}", got.text);
            for node in &group.nodes[..stay] {
                for waiting in node.service().pending() {
                    node.service().approve(&waiting.fingerprint.parse().unwrap(), false).unwrap();
                }
            }
        }
    }
    group.reads("app/db", "kept").await;
    assert_eq!(group.nodes[1].epochs(), [(1, vec![2])]);
    group.nodes[2].stop().await;
    group.reads("app/db", "kept").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_erases_its_share_when_its_operator_approves() {
    let mut group = Group::two_of_three().await;
    group.site.write("app/db", "kept").await;
    // A change, so that the broker knows where each node is after it has gone from the configuration.
    group.site.root_put("sys/symbolon/rotate/refresh", &json!({})).await.expect(204);
    group.nodes.push(Node::new(group.site.world.path("node-d")).await);
    let lines = remote(&group.nodes[1..], 2);
    group.site.world.remote(lines);
    group.site.restart(async |_| {}).await;
    assert!(group.site.try_unseal().await);

    let waits = group.site.root_put(RESHARE, &json!({})).await.expect(503);
    assert!(waits.text.contains("has not approved the group"), "{}", waits.text);
    let read_out = group.site.root_get(RESHARE).await.expect(200).json()["data"]["fingerprint"].take();
    let read_out = read_out.as_str().unwrap();
    for node in &group.nodes {
        assert_eq!(node.service().pending()[0].fingerprint, read_out, "the one that leaves, too");
    }
    for node in &group.nodes[1..] {
        node.service().approve(&read_out.parse().unwrap(), false).unwrap();
    }
    group.site.root_put(RESHARE, &json!({})).await.expect(204);
    group.reads("app/db", "kept").await;

    // Its operator has not approved: the share stays, and the broker says so, before and after a restart.
    let keeps = |group: &Group, leaving: &Value| {
        assert_eq!(leaving[0]["url"], format!("https://{}", group.nodes[0].address));
        assert_eq!(leaving[0]["fingerprint"], group.nodes[0].fingerprint);
        assert_eq!(leaving[0]["approve"], read_out);
        assert_eq!(group.nodes[0].epochs(), [(1, vec![2])]);
        assert_eq!(group.nodes[0].shares().len(), 1);
    };
    let leaving = rotation(&group.site).await["leaving"].take();
    keeps(&group, &leaving);
    assert!(
        leaving[0]["waits"].as_str().unwrap().contains("keeps its old share until its operator"),
        "{leaving}"
    );
    group.site.restart(async |_| {}).await;
    group.site.unseal().await;
    keeps(&group, &rotation(&group.site).await["leaving"]);
    let left = group.nodes[0].directory.join("left");
    let share = group.nodes[0].directory.join("keys").join(&group.nodes[0].shares()[0]);
    std::fs::hard_link(&share, &left).unwrap();
    let sealed = std::fs::read(&left).unwrap();

    // Unreachable for a while: told again when it is back.
    group.nodes[0].stop().await;
    waits_for(&group.site, |leaving| leaving[0]["waits"].as_str().unwrap().contains("cannot be reached"))
        .await;
    group.nodes[0].start().await;
    waits_for(&group.site, |leaving| leaving[0]["waits"].as_str().unwrap().contains("keeps its old share"))
        .await;
    group.nodes[0].service().approve(&read_out.parse().unwrap(), false).unwrap();
    waits_for(&group.site, |leaving| leaving == &json!([])).await;
    assert!(group.nodes[0].epochs().is_empty());
    assert!(group.nodes[0].shares().is_empty(), "{:?}", group.nodes[0].shares());
    let overwritten = std::fs::read(&left).unwrap();
    assert!(overwritten.len() == sealed.len() && overwritten != sealed, "the file was overwritten, too");

    group.nodes[0].stop().await;
    group.reads("app/db", "kept").await;
    group.site.restart(async |_| {}).await;
    group.site.unseal().await;
    assert_eq!(rotation(&group.site).await["leaving"], json!([]));
    group.reads("app/db", "kept").await;
}

/// Waits until the broker says this of the nodes that left.
async fn waits_for(site: &Site, is_so: impl Fn(&Value) -> bool) {
    for _ in 0..600 {
        if is_so(&rotation(site).await["leaving"]) {
            return;
        }
        tokio::time::sleep(symbolon_cli::demo::world::LOOK_AGAIN).await;
    }
    panic!("the nodes that left stay as they are: {}", rotation(site).await["leaving"]);
}

/// What the broker says of its rotations.
async fn rotation(site: &Site) -> Value {
    site.root_get("sys/symbolon/rotation").await.expect(200).json()["data"]["remote"].take()
}

/// The epochs of the only key of a service, as JSON.
fn epochs(service: &Service) -> Value {
    serde_json::to_value(service.status().keys[0].epochs.as_slice()).unwrap()
}

const RESHARE: &str = "sys/symbolon/rotate/reshare";
const RETIRE: &str = "sys/symbolon/rotate/retire";
const ROTATE: &str = "sys/symbolon/rotate/remote";

async fn all_read(site: &Site) {
    site.world.session().unwrap().keys.flush();
    for name in 0..12 {
        let got = site.read(&format!("app/{name}")).await.expect(200).json();
        assert_eq!(got["data"]["data"], json!({ "value": format!("value {name}") }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_one_service_is_rotated_under_the_secrets() {
    let mut site = Site::open(CALM).await;
    for name in 0..12 {
        site.write(&format!("app/{name}"), &format!("value {name}")).await;
    }
    // While somebody holds a pass no re-wrapping begins; then the service is away.
    let pass = site.world.session().unwrap().keys.pass().await;
    let made = site.root_put(ROTATE, &json!({})).await.expect(200).json();
    assert_eq!(made["data"]["key_epoch"], 2);
    site.world.stop_fragment().await.unwrap();
    drop(pass);
    let early = site.root_put(RETIRE, &json!({})).await.expect(400);
    assert!(early.text.contains("capsules of key epoch 1 are left"), "{}", early.text);

    site.world.start_fragment().await.unwrap();
    site.wait_for_rotation(2).await;
    all_read(&site).await;
    assert_eq!(rotation(&site).await["key_epochs"], json!([1, 2]));
    let again = site.root_put(ROTATE, &json!({})).await.expect(400);
    assert!(again.text.contains("is not retired yet"), "{}", again.text);
    let retired = site.root_put(RETIRE, &json!({})).await.expect(200).json();
    assert_eq!(retired["data"]["retired_key_epoch"], 1);
    assert_eq!(rotation(&site).await["key_epochs"], json!([2]));

    // From here on it is for the officers of the service, and says so.
    let held = epochs(site.world.service().unwrap());
    assert!(held[0]["state"]["retire-asked"]["at"].is_u64(), "{held}");
    assert_eq!(held[1]["state"], "living");
    let third = site.root_put(ROTATE, &json!({})).await.expect(503);
    assert!(third.text.contains("two officers of that service"), "{}", third.text);
    site.restart(async |_| {}).await;
    site.unseal().await;
    assert_eq!(rotation(&site).await["key_epochs"], json!([2]));
    all_read(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_group_is_rotated_under_the_secrets() {
    let mut group = Group::two_of_three().await;
    for name in 0..12 {
        group.site.write(&format!("app/{name}"), &format!("value {name}")).await;
    }
    group.site.root_put(ROTATE, &json!({})).await.expect(200);
    for node in &group.nodes {
        assert_eq!(node.epochs(), [(1, vec![1]), (2, vec![1])]);
        assert_eq!(node.shares().len(), 2, "{:?}", node.shares());
    }
    group.site.wait_for_rotation(2).await;
    group.nodes[2].stop().await;
    all_read(&group.site).await;
    let refused = group.site.root_put(RETIRE, &json!({})).await.expect(503);
    assert!(refused.text.contains(&group.nodes[2].address.to_string()), "{}", refused.text);
    group.nodes[2].start().await;
    group.site.restart(async |_| {}).await;
    group.site.unseal().await;
    assert_eq!(rotation(&group.site).await["key_epochs"], json!([1, 2]));
    group.site.root_put(RETIRE, &json!({})).await.expect(200);
    for node in &group.nodes {
        assert!(epochs(node.service())[0]["state"]["retire-asked"]["at"].is_u64());
    }
    all_read(&group.site).await;
    group.site.root_put("sys/symbolon/rotate/refresh", &json!({})).await.expect(204);
    all_read(&group.site).await;
}

/// What an answer was lost for is a key that all operators have approved: nobody is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_that_begins_anew_has_the_key_that_the_group_made() {
    let mut world = World::new(BRISK, None).unwrap();
    world.init_defaults("confirm_secs = 0\napproval_secs = 60");
    let mut nodes = [Node::new(world.path("node-a")).await, Node::new(world.path("node-b")).await];
    world.remote(remote(&nodes, 2));
    world.start_broker(true).await.unwrap();
    let base = world.broker_url();
    let services: Vec<_> = nodes.iter().map(|node| Arc::clone(node.service())).collect();
    let request = InitRequest { await_receipt: true, ..InitRequest::two_of(2) };
    let (lost, _) = Site::initialise_for(world, &base, &services, &request).await;
    drop(services); // a node that stops must be let go
    // However often it fails meanwhile.
    nodes[1].stop().await;
    for _ in 0..2 {
        lost.client().init(&request).await.map(drop).unwrap_err();
    }
    nodes[1].start().await;
    let answer = lost.client().init(&request).await.unwrap();
    lost.client().confirm_init(&answer.receipt()).await.unwrap();
    for share in answer.shares_text().unwrap() {
        lost.client().unseal(&share).await.unwrap();
    }
    assert!(nodes.iter().all(|node| node.service().status().keys.len() == 1 && node.shares().len() == 1));
}
