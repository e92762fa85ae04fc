//! One history: what a seed makes happen, and the rules.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};
use symbolon_cli::demo::world::until;
use symbolon_proto::order::Action;

use super::scene::{LEASE, NODES, Scene, THRESHOLD};
use crate::site::Got;

const STEPS: usize = 12;
const FIRST: [(&str, &str); 2] = [("app/0", "first"), ("app/1", "second")];

/// What may happen. The numbers are services.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write(usize),
    Crash(usize),
    Stop(usize),
    Start(usize),
    Cut(usize),
    Blink(usize),
    Suspend(usize),
    Resume(usize),
    Wait,
    Flush,
    Refresh,
    Rotate,
    Retire,
    BrokerCrash,
    BrokerRestart,
}

/// SplitMix64: the same steps for the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    fn step(&mut self) -> Step {
        let node = self.below(NODES);
        match self.below(24) {
            0..3 => Step::Write(self.below(4)),
            3 | 4 => Step::Crash(node),
            5 => Step::Stop(node),
            6 | 7 => Step::Start(node),
            8 => Step::Cut(node),
            9 => Step::Blink(node),
            10 | 11 => Step::Suspend(node),
            12 => Step::Resume(node),
            13 => Step::Wait,
            14 => Step::Flush,
            15..18 => Step::Refresh,
            18 | 19 => Step::Rotate,
            20 => Step::Retire,
            21 | 22 => Step::BrokerCrash,
            _ => Step::BrokerRestart,
        }
    }
}

pub struct History {
    seed: u64,
    scene: Scene,
    secrets: BTreeMap<String, String>,
    suspended: [bool; NODES],
    /// Since when fewer than two services answer.
    revoked: Option<Instant>,
    /// Highest generation, key epoch and share epoch that each service has shown; in the last place the
    /// broker's generation.
    highest: Vec<(u64, u32, u32)>,
    told: Vec<String>,
}

impl History {
    /// Everything that a seed makes happen.
    pub async fn run(seed: u64) -> Vec<String> {
        let mut history = Self {
            seed,
            scene: Scene::new(&FIRST).await,
            secrets: FIRST.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            suspended: [false; NODES],
            revoked: None,
            highest: vec![(0, 0, 0); NODES + 1],
            told: Vec::new(),
        };
        let mut dice = Dice(seed);
        for _ in 0..STEPS {
            history.step(dice.step()).await;
            history.check().await;
        }
        history.repair().await;
        std::mem::take(&mut history.told)
    }

    fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    fn answer(&self, at: usize) -> bool {
        self.scene.reached(at) && !self.suspended[at]
    }

    fn enough_answer(&self) -> bool {
        (0..NODES).filter(|at| self.answer(*at)).count() >= THRESHOLD
    }

    // ---- what happens

    async fn step(&mut self, step: Step) {
        match step {
            Step::Write(name) => self.write(name).await,
            Step::Crash(at) | Step::Stop(at) if !self.scene.nodes[at].is_running() => self.start(at).await,
            Step::Crash(at) => self.crash(at).await,
            Step::Stop(at) => {
                self.scene.nodes[at].stop().await;
                self.tell(format!("{at} stops"));
            }
            Step::Start(at) => self.start(at).await,
            Step::Cut(at) => {
                self.scene.links[at].cut();
                self.tell(format!("{at}: its line is cut"));
            }
            Step::Blink(at) => {
                self.scene.links[at].cut();
                self.scene.links[at].mend();
                self.tell(format!("{at}: its connections are broken off"));
            }
            Step::Suspend(at) => self.set_suspended(at, true),
            Step::Resume(at) => self.set_suspended(at, false),
            Step::Wait => self.wait().await,
            Step::Flush => self.flush(),
            Step::Refresh => self.refresh().await,
            Step::Rotate => self.rotate().await,
            Step::Retire => self.retire().await,
            Step::BrokerCrash => {
                self.scene.crash_broker().await;
                self.scene.start_broker().await;
                self.tell("broker crashed".to_owned());
            }
            Step::BrokerRestart => {
                self.scene.stop_broker().await;
                self.scene.start_broker().await;
                self.tell("broker restarted".to_owned());
            }
        }
        self.revoked = match self.enough_answer() {
            true => None,
            false => self.revoked.or_else(|| Some(Instant::now())),
        };
    }

    async fn write(&mut self, name: usize) {
        let (name, value) = (format!("app/{name}"), format!("written in step {}", self.told.len()));
        let body = json!({ "data": { "value": value } });
        let status = self.scene.site.root_put(&format!("secret/data/{name}"), &body).await.status;
        assert!(status == 200 || status == 503, "a write is answered with {status}");
        if status == 200 {
            self.secrets.insert(name.clone(), value);
        }
        self.tell(format!("writes: {status} for {name}"));
    }

    async fn start(&mut self, at: usize) {
        self.scene.links[at].mend();
        if !self.scene.nodes[at].is_running() {
            self.scene.nodes[at].start().await;
        }
        self.tell(format!("{at} runs and its line passes"));
    }

    async fn crash(&mut self, at: usize) {
        let link = &self.scene.links[at];
        let passed = link.passes();
        link.cut();
        self.scene.nodes[at].crash().await;
        if passed {
            link.mend();
        }
        self.tell(format!("{at} crashes"));
    }

    fn set_suspended(&mut self, at: usize, wanted: bool) {
        if !self.scene.nodes[at].is_running() {
            return;
        }
        let service = self.scene.nodes[at].service();
        let changed = if wanted { service.suspend(None) } else { service.resume(None) };
        assert_eq!(
            changed.unwrap(),
            usize::from(self.suspended[at] != wanted),
            "{at} had forgotten its state"
        );
        self.suspended[at] = wanted;
        self.tell(format!("{at} {}", if wanted { "suspends" } else { "resumes" }));
    }

    /// As long as leases live that were given before.
    async fn wait(&mut self) {
        tokio::time::sleep(LEASE).await;
        self.tell("a lease's time passes".to_owned());
    }

    /// Forgets the opened keys: what is read next, is read through the services.
    fn flush(&mut self) {
        if let Some(session) = self.scene.site.world.session() {
            session.keys.flush();
        }
        self.tell("the broker forgets its opened keys".to_owned());
    }

    async fn refresh(&mut self) {
        if self.put("refresh").await.status == 204 {
            self.same_key("after a refresh");
        }
    }

    async fn rotate(&mut self) {
        let got = self.put("remote").await;
        if got.status == 200 && (0..NODES).all(|at| self.answer(at)) {
            let (site, made) = (&self.scene.site, &got.json()["data"]["key_epoch"]);
            let finished = until("the end of a rotation", || async {
                let status = site.root_get("sys/symbolon/rotation").await.expect(200).json();
                let last = &status["data"]["remote"]["last"];
                Ok((last["key_epoch"] == *made && !last["finished"].is_null()).then_some(()))
            });
            finished.await.unwrap();
        }
    }

    /// The broker asks, and two officers of each service agree.
    async fn retire(&mut self) {
        if self.put("retire").await.status != 200 {
            return;
        }
        for node in self.scene.nodes.iter().filter(|node| node.is_running()) {
            let status = serde_json::to_value(node.service().status()).unwrap();
            let key = status["keys"][0]["key"].as_str().unwrap().parse().unwrap();
            let asked = |epoch: &&Value| epoch["state"].get("retire-asked").is_some();
            for epoch in status["keys"][0]["epochs"].as_array().unwrap().iter().filter(asked) {
                let key_epoch = serde_json::from_value(epoch["key_epoch"].clone()).unwrap();
                node.order(Action::Retire { key, key_epoch });
            }
        }
    }

    async fn put(&mut self, what: &str) -> Got {
        let got = self.scene.site.root_put(&format!("sys/symbolon/rotate/{what}"), &json!({})).await;
        assert!([200, 204, 400, 503].contains(&got.status), "{what}: {} {}", got.status, got.text);
        self.tell(format!("{what}: {} {}", got.status, got.text));
        got
    }

    // ---- the rules

    async fn check(&mut self) {
        for (name, value) in &self.secrets {
            self.check_read(name, Some(value)).await;
        }
        self.check_read("app/never", None).await;
        if self.revoked.is_some_and(|since| since.elapsed() > LEASE) {
            self.tell("fewer than two answer: nothing opens".to_owned());
        }
        self.nothing_goes_back();
    }

    async fn check_read(&self, name: &str, value: Option<&String>) {
        // Before the question: what is asked afterwards must not be answered by a lease that has ended by
        // now.
        let revoked = self.revoked.is_some_and(|since| since.elapsed() > LEASE);
        let got = self.scene.site.read(name).await;
        match (got.status, value) {
            (503, _) => {}
            _ if revoked => {
                panic!("{name} is answered with {} when fewer than two services answer", got.status)
            }
            (200, Some(value)) => assert_eq!(got.json()["data"]["data"]["value"], **value, "{name}"),
            (404, None) => {}
            (status, _) => panic!("{name} is answered with {status}: {}", got.text),
        }
    }

    fn nothing_goes_back(&mut self) {
        for at in 0..NODES {
            if !self.scene.nodes[at].is_running() {
                continue;
            }
            let status = self.scene.nodes[at].service().status();
            let (broker, newest) = (&status.brokers[0], status.keys[0].epochs.last().unwrap());
            let share_epoch = newest.share_epochs.iter().max().copied().unwrap();
            self.not_back(at, (broker.generation, newest.key_epoch, share_epoch));
        }
        if let Some(session) = self.scene.site.world.session() {
            self.not_back(NODES, (session.generation(), 0, 0));
        }
    }

    /// A share epoch counts within its key epoch; a generation by itself.
    fn not_back(&mut self, who: usize, now: (u64, u32, u32)) {
        let before = self.highest[who];
        assert!(now.0 >= before.0, "{who}: generation {} after {}", now.0, before.0);
        assert!((now.1, now.2) >= (before.1, before.2), "{who}: epochs {now:?} after {before:?}");
        self.highest[who] = now;
    }

    /// The shares of any two services open what was written in the beginning.
    fn same_key(&self, when: &str) {
        for pair in [[0, 1], [0, 2], [1, 2]] {
            assert!(self.scene.open_together(pair), "{pair:?} have another key {when}");
        }
    }

    /// Everybody runs, every line passes, nobody refuses: everything is read, and written.
    async fn repair(&mut self) {
        for at in 0..NODES {
            self.start(at).await;
            self.set_suspended(at, false);
        }
        self.revoked = None;
        self.flush();
        for (name, value) in &self.secrets {
            let got = self.scene.site.wait_for_read(name, 200, &[503]).await;
            assert_eq!(got.json()["data"]["data"]["value"], **value, "{name}");
        }
        self.scene.site.wait_for_read("app/never", 404, &[503]).await;
        self.scene.site.write("app/0", "written in the end").await;
        self.secrets.insert("app/0".to_owned(), "written in the end".to_owned());
        self.check().await;
        self.same_key("in the end");
    }
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("SYMBOLON_SITE_HISTORY={}\n{}", self.seed, self.told.join("\n"));
        }
    }
}
