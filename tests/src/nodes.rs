//! Fragment services of operators of their own: each with its directory, socket, officers, and a clock that
//! tests put forward.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use symbolon_cli::demo::world::{Pace, World, free_port, let_go};
use symbolon_kms_fragment::clock::{Clock, Now, SystemClock};
use symbolon_kms_fragment::{Grants, Options, Sealing, Service};
use symbolon_proto::order::{Action, Officer, OfficerKey, Officers, SignedOrder};
use symbolon_proto::signing::SigningSeed;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::site::Site;

const DAY_SECS: u64 = 86_400;

/// The machine's clocks, of which the wall clock may run ahead.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicU64);

impl Clock for MovedClock {
    fn now(&self) -> Now {
        let now = SystemClock.now();
        Now { unix_secs: now.unix_secs + self.0.load(Ordering::SeqCst), ..now }
    }
}

/// Two people whose orders count at a node.
struct People([SigningSeed; 2]);

impl People {
    fn new() -> Self {
        Self([(); 2].map(|()| SigningSeed::random(&mut UnwrapErr(SysRng))))
    }

    fn officers(&self) -> Officers {
        let officer = |(name, seed): (&str, &SigningSeed)| Officer {
            name: name.to_owned(),
            key: OfficerKey::new(seed.public_key()),
        };
        Officers::new(["ana", "boris"].into_iter().zip(&self.0).map(officer).collect()).unwrap()
    }

    fn sign(&self, draft: &str) -> String {
        let mut order = SignedOrder::from_text(draft).unwrap();
        self.0.iter().for_each(|seed| order.sign(seed).unwrap());
        order.to_text()
    }
}

/// One fragment service.
pub struct Node {
    pub directory: PathBuf,
    /// What brokers are told.
    pub address: SocketAddr,
    /// Where it listens; the same, unless a test has put something in between.
    pub socket: SocketAddr,
    fingerprint: String,
    people: People,
    clock: Arc<MovedClock>,
    lease_secs: u32,
    running: Option<Running>,
}

struct Running {
    service: Arc<Service>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Node {
    /// A new service in an absent directory.
    pub async fn new(directory: PathBuf, pace: Pace) -> Self {
        let address = free_port().unwrap();
        let mut node = Self {
            directory,
            address,
            socket: address,
            fingerprint: String::new(),
            people: People::new(),
            clock: Arc::default(),
            lease_secs: pace.lease_secs,
            running: None,
        };
        node.start().await;
        node.fingerprint = node.service().root_fingerprint().to_string();
        node
    }

    /// The key that seals the directory, in a file beside it.
    pub fn key_file(&self) -> PathBuf {
        self.directory.with_extension("key")
    }

    pub async fn start(&mut self) {
        let service = self.open();
        let socket = TcpListener::bind(self.socket).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&service);
        let task =
            tokio::spawn(async move { serving.serve(socket, async { drop(stopped.await) }).await.unwrap() });
        self.running = Some(Running { service, stop, task });
    }

    fn open(&self) -> Arc<Service> {
        let sealing = Sealing::KeyFile(self.key_file());
        let grants = Grants { lease_ttl_secs: self.lease_secs, ..Grants::default() };
        let (clock, officers) = (Arc::clone(&self.clock) as _, self.people.officers());
        let options = Options { grants, officers, clock, ..Options::default() };
        match self.directory.exists() {
            false => Service::init(&self.directory, &sealing, options).unwrap(),
            true => Service::open(&self.directory, &sealing, options).unwrap(),
        }
    }

    pub async fn stop(&mut self) {
        let Running { service, stop, task } = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
        let_go(service).await;
    }

    /// Ends it in the middle of whatever it does. Its connections must have been cut.
    pub async fn crash(&mut self) {
        let Running { service, task, .. } = self.running.take().unwrap();
        task.abort();
        drop(task.await);
        let_go(service).await;
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub fn service(&self) -> &Arc<Service> {
        &self.running.as_ref().unwrap().service
    }

    /// Both officers order it.
    pub fn order(&self, action: Action) {
        let draft = self.service().draft(action, 1).unwrap();
        self.service().carry_out(&self.people.sign(&draft), |meant| *meant == action).unwrap();
    }

    /// Both officers let in whatever state of a broker comes next: registration and anchor are cleared.
    /// Without this the second thief with the same loot would be refused because the first was there, and
    /// would prove nothing.
    pub fn admit(&self) {
        for broker in self.service().status().brokers {
            if broker.generation > 0 {
                let (id, generation) = (broker.broker.parse().unwrap(), broker.generation);
                self.order(Action::Admit { broker: id, generation });
            }
        }
    }

    /// Somebody else's copy of the whole service, with officers and an address of his own. It does not run.
    pub fn stolen(&self, directory: PathBuf) -> Self {
        let address = free_port().unwrap();
        let copy = Self {
            directory,
            address,
            socket: address,
            fingerprint: self.fingerprint.clone(),
            people: People::new(),
            clock: Arc::default(),
            lease_secs: self.lease_secs,
            running: None,
        };
        copy_directory(&self.directory, &copy.directory);
        std::fs::copy(self.key_file(), copy.key_file()).unwrap();
        copy
    }

    /// What is due in so many days happens, as at a start on that day. Then the clock is right again: a
    /// broker would not take leases of another time, and what it cannot open would prove nothing.
    pub async fn let_days_pass(&mut self, days: u64) {
        self.clock.0.store(days * DAY_SECS, Ordering::SeqCst);
        self.restart().await;
        self.clock.0.store(0, Ordering::SeqCst);
        self.restart().await;
    }
}

/// Files and directories, readable by nobody else; not the socket of the operator.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy_directory(&entry.path(), &target);
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// `[remote]` of a broker that needs `threshold` of these nodes; the plain form for one alone.
pub fn remote(nodes: &[Node], threshold: usize) -> String {
    let place =
        |node: &Node| format!("url = \"https://{}\"\nfingerprint = \"{}\"\n", node.address, node.fingerprint);
    if let [only] = nodes {
        return place(only);
    }
    let tables: String = nodes.iter().map(|node| format!("[[remote.node]]\n{}", place(node))).collect();
    format!("threshold = {threshold}\n{tables}[remote.terms]\nlease_ttl_secs = {}\n", nodes[0].lease_secs)
}

/// An open site on these nodes, in whose world they lie.
pub async fn site(pace: Pace, names: &[&str], threshold: usize) -> (Site, Vec<Node>) {
    let mut world = World::new(pace, None).unwrap();
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(Node::new(world.path(name), pace).await);
    }
    world.remote(remote(&nodes, threshold));
    world.start_broker(true).await.unwrap();
    let base = world.broker_url();
    let services: Vec<_> = nodes.iter().map(|node| Arc::clone(node.service())).collect();
    let site = Site::initialise_with(world, &base, &services).await;
    site.begin().await;
    (site, nodes)
}
