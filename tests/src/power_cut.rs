//! After a power cut: broker, fragment services and Tang servers are on one switch, start cold and in any
//! order, and nobody is at home.
//!
//! `SYMBOLON_COLD_STARTS` sets the number of orders.

#[path = "../../client/cli/tests/support/tang.rs"]
mod tang;

use std::time::Duration;

use getrandom::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use serde_json::json;
use symbolon_cli::InitRequest;
use symbolon_cli::demo::world::World;
use symbolon_proto::custody::{KeyKind, KeyPair};

use self::tang::Tang;
use crate::nodes::{self, Node};
use crate::site::{BRISK, MOUNT, Site};

/// Between two starts.
const GAP: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "a test is told by whoever starts it how much it does")]
fn cold_starts() -> usize {
    std::env::var("SYMBOLON_COLD_STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Two of three fragment services, and two of ana and two Tang servers.
struct Home {
    site: Site,
    nodes: Vec<Node>,
    tangs: Vec<Tang>,
}

/// What starts.
#[derive(Clone, Copy, Debug)]
enum Part {
    Broker,
    Node(usize),
    Tang(usize),
}

impl Home {
    async fn new() -> Option<Self> {
        let tangs = vec![Tang::start()?, Tang::start()?];
        let mut world = World::new(BRISK, None).unwrap();
        let mut nodes = Vec::new();
        for name in ["node-a", "node-b", "node-c"] {
            nodes.push(Node::new(world.path(name), BRISK).await);
        }
        world.remote(nodes::remote(&nodes, 2));
        world.tables(&format!(
            "[custody]\n{}{}",
            tangs[0].source("attic", "site"),
            tangs[1].source("office", "office")
        ));
        world.start_broker(true).await.unwrap();
        let base = world.broker_url();
        let services: Vec<_> = nodes.iter().map(|node| std::sync::Arc::clone(node.service())).collect();
        let ana = KeyPair::generate(KeyKind::Custodian, &mut UnwrapErr(SysRng)).card("ana").unwrap();
        let cards = vec![ana.to_text()];
        let sources = vec!["attic".to_owned(), "office".to_owned()];
        let request = InitRequest { cards, sources, ..InitRequest::two_of(3) };
        let (site, parcels) = Site::initialise_for(world, &base, &services, &request).await;
        assert_eq!(parcels.len(), 1, "what sources hold does not leave");
        let home = Self { site, nodes, tangs };
        home.opens().await;
        let engine = json!({ "type": "kv", "options": { "version": "2" } });
        home.site.root_put(&format!("sys/mounts/{MOUNT}"), &engine).await.expect(204);
        home.site.write("app/db", "kept").await;
        Some(home)
    }

    async fn opens(&self) {
        let is_open = async || self.site.client().seal_status().await.is_ok_and(|status| !status.sealed);
        for _ in 0..600 {
            if is_open().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it did not open within a minute");
    }

    async fn cut_power(&mut self) {
        self.site.world.stop_broker().await.unwrap();
        for node in &mut self.nodes {
            node.stop().await;
        }
        self.tangs.iter_mut().for_each(Tang::pause);
    }

    async fn start(&mut self, part: Part) {
        match part {
            Part::Broker => self.site.start_again().await,
            Part::Node(index) => self.nodes[index].start().await,
            Part::Tang(index) => self.tangs[index].resume(),
        }
    }
}

/// Each order is as likely as any other.
fn shuffled() -> Vec<Part> {
    let mut parts = vec![Part::Broker, Part::Tang(0), Part::Tang(1)];
    parts.extend((0..3).map(Part::Node));
    for last in (1..parts.len()).rev() {
        let bound = u32::try_from(last + 1).unwrap();
        parts.swap(last, (UnwrapErr(SysRng).next_u32() % bound) as usize);
    }
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_cut_a_broker_opens_in_whatever_order_everything_starts() {
    let Some(mut home) = Home::new().await else { return };
    for _ in 0..cold_starts() {
        home.cut_power().await;
        let order = shuffled();
        println!("{order:?}");
        for part in order {
            home.start(part).await;
            tokio::time::sleep(GAP).await;
        }
        home.opens().await;
        home.site.wait_for_read("app/db", 200, &[503]).await;
    }
}
