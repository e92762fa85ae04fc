//! Peers that are killed, silent, refuse for long, or are somebody else: nothing waits for them, nothing is
//! missing or out of order afterwards, and what is kept meanwhile does not grow.

use super::peer::{Does, Peer, certificate};
use super::*;
use crate::audit::sinks::error::Fault;
use crate::audit::sinks::{BATCH_BYTES, BATCH_LINES};

/// A kind that speaks HTTP, and what its peers answer and get.
struct Receiver {
    kind: &'static str,
    takes: &'static str,
    events: fn(&str) -> Vec<Value>,
}

const RECEIVERS: [Receiver; 3] = [
    Receiver { kind: "http", takes: "", events: |body| serde_json::from_str(body).unwrap() },
    Receiver { kind: "hec", takes: r#"{"text":"Success","code":0}"#, events: hec_events },
    Receiver { kind: "otlp", takes: "{}", events: otlp_events },
];

fn hec_events(body: &str) -> Vec<Value> {
    let objects = serde_json::Deserializer::from_str(body).into_iter::<Value>();
    objects.map(|object| object.unwrap()["event"].clone()).collect()
}

fn otlp_events(body: &str) -> Vec<Value> {
    let request: Value = serde_json::from_str(body).unwrap();
    let records = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    let text = |record: &Value| record["body"]["stringValue"].as_str().unwrap().to_owned();
    records.iter().map(|record| serde_json::from_str(&text(record)).unwrap()).collect()
}

impl Receiver {
    fn takes(&self) -> Does {
        Does::Takes(self.takes)
    }

    fn sink(&self, peer: &Peer, scheme: &str) -> String {
        let url = format!("{scheme}://127.0.0.1:{}", peer.port);
        let ca = if scheme == "https" { "ca_file = \"$HOME/ca\"\n" } else { "" };
        let token = if self.kind == "hec" { "token_file = \"$HOME/token\"\n" } else { "" };
        let kind = self.kind;
        format!("[[audit.sinks]]\nname = \"one\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{ca}{token}")
    }

    /// A broker whose first hundred entries a peer has.
    async fn world(&self, peer: &Peer) -> World {
        let mut world = World::new("").await;
        std::fs::write(world.file("token"), "t\n").unwrap();
        world.configure(&self.sink(peer, "http"));
        world.run();
        world.grow(100).await;
        world.arrive().await;
        world
    }

    fn indices(&self, peer: &Peer) -> Vec<u64> {
        peer.came().iter().flat_map(|came| (self.events)(&came.body)).map(|event| index(&event)).collect()
    }
}

impl World {
    /// While a sink fails: requests are entered as ever, and it is told.
    async fn bears(&self, fault: Fault) {
        let begun = tokio::time::Instant::now();
        self.grow(500).await;
        let took = begun.elapsed();
        self.wait("it is told", || self.state().failed == Some(fault)).await;
        assert!(took < QUICK.patience.answer * 20, "requests have waited: {took:?}");
        self.wait("how much is missing is told", || self.state().lag >= 500).await;
    }

    async fn recovers(&self, receiver: &Receiver, peer: &Peer) {
        self.arrive().await;
        self.wait("it is well", || self.state().failed.is_none() && self.state().lag == 0).await;
        assert_eq!(whole(receiver.indices(peer)), self.session.entries(), "{}", receiver.kind);
        for came in peer.came() {
            let lines = (receiver.events)(&came.body).len();
            // with what stands around each line, and quotes within quotes
            assert!(came.body.len() <= 2 * BATCH_BYTES && lines <= BATCH_LINES, "{lines} lines");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_peer_costs_nothing_and_misses_nothing() {
    for receiver in RECEIVERS {
        let mut peer = Peer::start(receiver.takes(), None).await;
        let world = receiver.world(&peer).await;
        peer.kill();
        world.bears(Fault::Unreachable).await;
        peer.revive(None).await;
        world.recovers(&receiver, &peer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_accepts_and_never_answers_costs_nothing_and_misses_nothing() {
    for receiver in RECEIVERS {
        let peer = Peer::start(receiver.takes(), None).await;
        let world = receiver.world(&peer).await;
        peer.does(Does::Hangs);
        world.bears(Fault::Silent).await;
        peer.does(receiver.takes());
        world.recovers(&receiver, &peer).await;
    }
}

/// Ten minutes at the pace of a broker are some twenty attempts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_500_for_long_costs_nothing_and_misses_nothing() {
    for receiver in RECEIVERS {
        let peer = Peer::start(receiver.takes(), None).await;
        let world = receiver.world(&peer).await;
        peer.does(Does::Refuses(500));
        world.bears(Fault::Refused).await;
        let refused = || peer.told.refused.load(std::sync::atomic::Ordering::SeqCst);
        world.wait("it was tried often", || refused() >= 20).await;
        assert!(!world.state().detail.contains("hvs."), "{:?}", world.state());
        peer.does(receiver.takes());
        world.recovers(&receiver, &peer).await;
    }
}

/// A certificate that nobody vouches for gets nothing; when the file names its authority, it gets everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_certificate_gets_nothing_until_its_authority_is_given() {
    for receiver in RECEIVERS {
        let ((first, tls), (second, other)) = (certificate(), certificate());
        let mut peer = Peer::start(receiver.takes(), Some(tls)).await;
        let mut world = World::new("").await;
        std::fs::write(world.file("ca"), first).unwrap();
        std::fs::write(world.file("token"), "t\n").unwrap();
        world.configure(&receiver.sink(&peer, "https"));
        world.run();
        world.grow(100).await;
        world.arrive().await;
        peer.kill();
        peer.revive(Some(other)).await;
        let before = receiver.indices(&peer).len();
        world.bears(Fault::Certificate).await;
        assert_eq!(receiver.indices(&peer).len(), before);
        std::fs::write(world.file("ca"), second).unwrap();
        world.recovers(&receiver, &peer).await;
    }
}

/// What one sink does is nothing to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_keeps_no_other_from_anything() {
    let peer = Peer::start(Does::Hangs, None).await;
    let file = "[[audit.sinks]]\nname = \"two\"\nkind = \"file\"\npath = \"$HOME/two\"\n";
    let world = World::running(&(RECEIVERS[0].sink(&peer, "http") + file)).await;
    world.grow(1000).await;
    world
        .wait("the other has everything", || {
            world.shipping().states()[1].next == Some(world.session.entries())
        })
        .await;
    assert_eq!(world.shipping().states()[0].next, Some(0));
    assert_eq!(world.shipping().held_from(), 0, "what one has not had is kept");
    let text = std::fs::read_to_string(world.file("two")).unwrap();
    assert_eq!(whole(events(&text).iter().map(|event| event.index)), world.session.entries());
}

/// After a minute it is an alarm, and one no more when it is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_fails_for_a_minute_is_an_alarm() {
    let world = World::new("[[audit.sinks]]\nname = \"one\"\nkind = \"stdout\"\n").await;
    let now = |boot_ms| Now { unix_ms: 1_800_000_000_000 + boot_ms, boot_ms };
    let shipping = world.shipping();
    assert!(shipping.failed("one", Fault::Silent, "first", now(5_000)), "that is news");
    assert!(!shipping.failed("one", Fault::Silent, "again", now(50_000)), "that is none");
    shipping.look(7, now(64_999));
    assert!(world.alarms.texts().is_empty());
    shipping.look(7, now(65_000));
    assert_eq!(world.alarms.texts(), [Alarm::Sink.text()]);
    shipping.note("one", |known| known.failed = None);
    shipping.look(7, now(65_001));
    assert!(world.alarms.texts().is_empty());
    let cursor = crate::audit::sinks::cursor::Cursor { next: 3, ..Default::default() };
    shipping
        .note("one", |known| (known.cursor, known.waits_since_ms) = (Some(cursor), Some(1_800_000_000_000)));
    shipping.look(7, now(900_000));
    assert_eq!((world.state().lag, world.state().lag_secs), (4, 900));
    assert_eq!(world.alarms.texts(), [Alarm::Sink.text()], "it is behind");
}
