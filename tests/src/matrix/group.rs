//! R<t and R≥t: a key that three fragment services hold, of whom two are needed, and thieves who were at some
//! of them.

use std::collections::BTreeSet;

use serde_json::json;
use symbolon_broker::config;

use super::attacker::{Disk, Loot, StolenService};
use super::victim::{CACHED, OTHER, copy_store, fill};
use super::{NONE, Reads};
use crate::nodes::{self, Node};
use crate::site::{CALM, Site};

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];
const THRESHOLD: usize = 2;
/// All that was written.
const ALL: Reads = &[CACHED, OTHER];

/// The deployment after the thieves were there. The services run, the broker does not.
struct Victim {
    site: Site,
    nodes: Vec<Node>,
    disk: Disk,
    stolen: Vec<StolenService>,
    remote_config: config::Remote,
}

/// What a thief has besides what is said of the services.
struct Row {
    says: &'static str,
    disk: bool,
    shares: usize,
    /// Services whose state he has, with what opens it.
    stolen: &'static [usize],
    reads: Reads,
}

/// The services are gone or refuse. `R<t` alone and added to the rows in which a second node, or the
/// fragment, is missing.
const TABLE: [Row; 10] = [
    Row { says: "R<t", disk: false, shares: 0, stolen: &[0], reads: NONE },
    Row { says: "R<t + C>=t", disk: false, shares: 2, stolen: &[0], reads: NONE },
    Row { says: "R<t + D", disk: true, shares: 0, stolen: &[0], reads: NONE },
    Row { says: "R<t + D + C>=t, the others gone", disk: true, shares: 2, stolen: &[0], reads: NONE },
    Row { says: "another R<t + D + C>=t, the others gone", disk: true, shares: 2, stolen: &[2], reads: NONE },
    Row { says: "R>=t", disk: false, shares: 0, stolen: &[0, 1], reads: NONE },
    Row { says: "R>=t + D", disk: true, shares: 0, stolen: &[0, 1, 2], reads: NONE },
    Row { says: "R>=t + D + C<t", disk: true, shares: 1, stolen: &[0, 2], reads: NONE },
    Row { says: "R>=t + D + C>=t", disk: true, shares: 2, stolen: &[0, 2], reads: ALL },
    Row { says: "all R + D + C>=t", disk: true, shares: 2, stolen: &[0, 1, 2], reads: ALL },
];

/// Two secrets on three services.
async fn deployment() -> (Site, Vec<Node>) {
    let (site, nodes) = nodes::site(CALM, &NODES, THRESHOLD).await;
    fill(&site).await;
    (site, nodes)
}

/// The state of every service and what opens it.
fn steal(nodes: &[Node]) -> Vec<StolenService> {
    let copy = |(index, node): (u16, &Node)| StolenService::copy(index, &node.directory, &node.key_file());
    (1..).zip(nodes).map(copy).collect()
}

impl Victim {
    async fn robbed() -> Self {
        let (site, nodes) = deployment().await;
        Self::of(site, nodes).await
    }

    async fn of(mut site: Site, nodes: Vec<Node>) -> Self {
        let remote_config = site.world.broker_config(false).unwrap().remote;
        site.world.stop_broker().await.unwrap();
        let disk = copy_store(&site.world.path("store.redb"), "disk.redb").await;
        let stolen = steal(&nodes);
        Self { site, nodes, disk, stolen, remote_config }
    }

    fn loot(&self, disk: bool, shares: usize, stolen: &[usize]) -> Loot<'_> {
        Loot {
            disk: disk.then_some(&self.disk),
            shares: &self.site.shares[..shares],
            remote: stolen.iter().map(|at| &self.stolen[*at]).collect(),
            threshold: THRESHOLD,
            ..Loot::nothing(&self.remote_config)
        }
    }

    /// What a thief with disk and shares reads who goes to these addresses, as if nobody had come before him.
    async fn visit(&self, address: &config::Remote, stolen: &[usize]) -> BTreeSet<String> {
        let found = Loot { address, ..self.loot(true, 2, stolen) }.secrets().await;
        self.nodes.iter().for_each(Node::admit);
        found
    }

    fn suspend(&self, which: &[usize]) {
        for at in which {
            assert_eq!(self.nodes[*at].service().suspend(None).unwrap(), 1);
        }
    }
}

fn texts(reads: Reads) -> BTreeSet<String> {
    reads.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fewer_than_t_of_several_remotes_expose_nothing_and_t_with_the_rest_expose_all() {
    let mut victim = Victim::robbed().await;
    victim.suspend(&[0, 1, 2]);
    for Row { says, disk, shares, stolen, reads } in &TABLE {
        assert_eq!(victim.loot(*disk, *shares, stolen).secrets().await, texts(reads), "{says}");
    }
    for node in &mut victim.nodes {
        node.stop().await;
    }
    let thief = victim.loot(true, 2, &[0]);
    assert_eq!(thief.secrets().await, texts(NONE), "R<t + D + C>=t, and nobody listens");
}

/// Revocation is n − t + 1 nodes that refuse (section 5), here two of three. The third, which answers, and
/// the stolen state of one that refuses are t again: whoever has that state runs a service of his own from
/// it, and no operator's word reaches that. So "R<t, added to any row: same as without it" holds where the
/// stolen nodes are among those that answer, or where all refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_node_that_refuses_stands_in_for_itself() {
    let victim = Victim::robbed().await;
    let mut his_own = victim.nodes[2].stolen(victim.site.world.path("his-own"));
    his_own.start().await;
    victim.suspend(&[1, 2]);
    for (says, stolen) in [("one of three answers", [].as_slice()), ("and its state was stolen", &[0])] {
        assert_eq!(victim.visit(&victim.remote_config, stolen).await, texts(NONE), "{says}");
    }
    let mut his_config = victim.remote_config.clone();
    his_config.nodes[2].url = format!("https://{}", his_own.address);
    victim.suspend(&[0]);
    assert_eq!(victim.visit(&his_config, &[2]).await, texts(NONE), "all refuse but his own");
    his_own.admit();
    victim.nodes[0].service().resume(None).unwrap();
    assert_eq!(victim.visit(&his_config, &[2]).await, texts(ALL), "one answers, and so does his own");
    his_own.stop().await;
}

/// The remotes as they should be, for the thief with disk and shares.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_of_several_remotes_that_answer_expose_all_and_fewer_nothing() {
    let victim = Victim::robbed().await;
    victim.suspend(&[1, 2]);
    assert_eq!(victim.visit(&victim.remote_config, &[]).await, texts(NONE), "one answers");
    victim.nodes[1].service().resume(None).unwrap();
    assert_eq!(victim.visit(&victim.remote_config, &[]).await, texts(ALL), "two answer");
}

/// R<t of before a refresh and R<t of after it are not R≥t, though together they are two nodes. Two of one
/// time are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remotes_stolen_before_and_after_a_refresh_do_not_add_up() {
    let (site, nodes) = deployment().await;
    let before = steal(&nodes);
    site.root_put("sys/symbolon/rotate/refresh", &json!({})).await.expect(204);
    let victim = Victim::of(site, nodes).await;
    victim.suspend(&[0, 1, 2]);
    let after = &victim.stolen;
    let rows = [
        ("a before, b after", [&before[0], &after[1]], NONE),
        ("c before, a after", [&before[2], &after[0]], NONE),
        ("a and b before", [&before[0], &before[1]], ALL),
        ("b and c after", [&after[1], &after[2]], ALL),
    ];
    for (says, remote, reads) in rows {
        let thief = Loot { remote: remote.to_vec(), ..victim.loot(true, 2, &[]) };
        assert_eq!(thief.secrets().await, texts(reads), "{says}");
    }
}
