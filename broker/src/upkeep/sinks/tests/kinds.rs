//! What each kind that speaks HTTP puts on the wire, as the documents of those who receive it demand.

use super::peer::{Came, Does, Peer};
use super::*;

/// What Splunk answers.
const HEC_TAKEN: &str = r#"{"text":"Success","code":0}"#;

fn url(peer: &Peer) -> String {
    format!("url = \"http://127.0.0.1:{}\"\n", peer.port)
}

fn sink(kind: &str) -> String {
    format!("[[audit.sinks]]\nname = \"one\"\nkind = \"{kind}\"\n")
}

fn header(came: &Came, name: &str) -> String {
    let head = came.head.to_lowercase();
    let start = format!("{name}: ");
    let at = head.find(&start).unwrap_or_else(|| panic!("{name}: {head}"));
    came.head[at + start.len()..].lines().next().unwrap().to_owned()
}

/// Objects one after the other.
fn objects(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// Cribl's HTTP source and OpenObserve's `_json`: an array of objects, a header with a token, the time in a
/// member of theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_has_every_event_and_the_time_where_it_is_looked_for() {
    for (stamp, value) in [("_time", 1_800_000_000.0), ("_timestamp", 1_800_000_000_000_000.0), ("none", 0.0)]
    {
        let peer = Peer::start(
            Does::Takes(r#"{"code":200,"status":[{"name":"a","successful":2,"failed":0}]}"#),
            None,
        )
        .await;
        let mut world = World::new("").await;
        std::fs::write(world.file("token"), "Basic abc\n").unwrap();
        let more = format!("stamp = \"{stamp}\"\nauthorization_file = \"$HOME/token\"\n");
        world
            .configure(&(sink("http") + &url(&peer).replace("\"\n", "/api/default/audit/_json\"\n") + &more));
        world.grow(300).await;
        world.run();
        world.arrive().await;
        let came = peer.came();
        assert_eq!(came[0].path, "/api/default/audit/_json");
        assert_eq!(header(&came[0], "authorization"), "Basic abc");
        assert_eq!(header(&came[0], "content-type"), "application/json");
        let all: Vec<Value> =
            came.iter().flat_map(|came| serde_json::from_str::<Vec<Value>>(&came.body).unwrap()).collect();
        assert_eq!(whole(all.iter().map(index)), world.session.entries());
        let told = all[5].get(stamp).and_then(Value::as_f64).unwrap_or(0.0);
        assert!((told - value).abs() <= value / 1e6, "{stamp}: {told}");
        names_nobody(&came.iter().map(|came| came.body.as_str()).collect::<String>());
    }
}

/// "Format events for HTTP Event Collector" of Splunk's documents: `Authorization: Splunk <token>`, objects
/// without commas between them, `time` in seconds, metadata beside `event`, `fields` flat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_its_token_and_events_with_their_metadata() {
    let peer = Peer::start(Does::Takes(HEC_TAKEN), None).await;
    let mut world = World::new("").await;
    std::fs::write(world.file("token"), "11111111-2222\n").unwrap();
    world.configure(
        &(sink("hec") + &url(&peer) + "token_file = \"$HOME/token\"\nindex = \"sec\"\nhost = \"b1\"\n"),
    );
    world.grow(300).await;
    world.run();
    world.arrive().await;
    let came = peer.came();
    assert_eq!(came[0].path, "/services/collector/event");
    assert_eq!(header(&came[0], "authorization"), "Splunk 11111111-2222");
    let channel = header(&came[0], "x-splunk-request-channel");
    let parts: Vec<usize> = channel.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{channel}");
    let all: Vec<Value> = came.iter().flat_map(|came| objects(&came.body)).collect();
    assert_eq!(whole(all.iter().map(|object| index(&object["event"]))), world.session.entries());
    for object in &all {
        assert_eq!(
            (&object["source"], &object["sourcetype"]),
            (&"symbolon".into(), &"symbolon:audit".into())
        );
        assert_eq!((&object["index"], &object["host"]), (&"sec".into(), &"b1".into()));
        assert!((object["time"].as_f64().unwrap() - 1_800_000_000.0).abs() < 1000.0, "{object}");
        assert_eq!(object["fields"]["symbolon_index"], index(&object["event"]).to_string());
        assert_eq!(object["fields"]["symbolon_hash"], object["event"]["hash"]);
    }
}

/// "About HTTP Event Collector Indexer Acknowledgment": lines count when the ack says so, and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_collector_acknowledges_lines_count_only_then() {
    // one body for both questions: the answer to events has `ackId`, the answer to acks has `acks`
    let never = r#"{"text":"Success","code":0,"ackId":7,"acks":{"7":false}}"#;
    let peer = Peer::start(Does::Takes(never), None).await;
    let mut world = World::new("").await;
    std::fs::write(world.file("token"), "t\n").unwrap();
    world.configure(&(sink("hec") + &url(&peer) + "token_file = \"$HOME/token\"\n"));
    world.grow(3).await;
    world.run();
    world.wait("it is not acknowledged", || world.state().failed.is_some()).await;
    assert_eq!(world.state().next, Some(0));
    assert!(world.state().detail.contains("acknowledge that lines are indexed"), "{:?}", world.state());
    let asked = peer.came().into_iter().find(|came| came.path == "/services/collector/ack").unwrap();
    assert_eq!(asked.body, r#"{"acks":[7]}"#);
    peer.does(Does::Takes(r#"{"text":"Success","code":0,"ackId":7,"acks":{"7":true}}"#));
    world.arrive().await;
}

/// It takes lines, is away before it says that they are indexed, and says so when it is back: no second copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_was_away_is_asked_before_anything_is_sent_again() {
    let never = r#"{"text":"Success","code":0,"ackId":7,"acks":{"7":false}}"#;
    let mut peer = Peer::start(Does::Takes(never), None).await;
    let mut world = World::new("").await;
    std::fs::write(world.file("token"), "t\n").unwrap();
    world.configure(&(sink("hec") + &url(&peer) + "token_file = \"$HOME/token\"\n"));
    world.grow(3).await;
    let patience = Patience { index: Duration::from_secs(600), ..QUICK.patience };
    world.run_at(Pace { patience, ..QUICK });
    let is_asked = |came: &Came| came.path == "/services/collector/ack";
    world.wait("it is asked", || peer.came().iter().any(is_asked)).await;
    peer.kill();
    world.wait("it is away", || world.state().failed.is_some()).await;
    peer.does(Does::Takes(r#"{"text":"Success","code":0,"ackId":7,"acks":{"7":true}}"#));
    peer.revive(None).await;
    world.arrive().await;
    let came = peer.came();
    let lines = came.iter().filter(|came| !is_asked(came)).flat_map(|came| objects(&came.body));
    let indices: Vec<u64> = lines.map(|object| index(&object["event"])).collect();
    assert_eq!(indices, (0..world.session.entries()).collect::<Vec<_>>());
    let channels: BTreeSet<String> =
        came.iter().map(|came| header(came, "x-splunk-request-channel")).collect();
    assert_eq!(channels.len(), 1, "numbers count within a channel");
}

/// An invalid token is 403 with code 4, a busy collector 503 with code 9: told by number, never in its words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_is_told_by_its_code_and_a_token_can_be_renewed() {
    let peer = Peer::start(Does::Takes(r#"{"text":"hvs.secret","code":4}"#), None).await;
    let mut world = World::new("").await;
    std::fs::write(world.file("token"), "old\n").unwrap();
    world.configure(&(sink("hec") + &url(&peer) + "token_file = \"$HOME/token\"\n"));
    world.grow(3).await;
    world.run();
    world.wait("it is refused", || world.state().failed.is_some()).await;
    let state = world.state();
    assert!(state.detail.contains("code 4") && !state.detail.contains("hvs"), "{state:?}");
    std::fs::write(world.file("token"), "new\n").unwrap();
    peer.does(Does::Takes(HEC_TAKEN));
    world.arrive().await;
    assert_eq!(header(peer.came().last().unwrap(), "authorization"), "Splunk new");
    assert!(
        whole(peer.came().iter().flat_map(|came| objects(&came.body)).map(|object| index(&object["event"])))
            > 0
    );
}

/// The specification: `POST /v1/logs`, numbers of 64 bits as texts, times in nanoseconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_has_every_event_as_a_record_with_its_identity() {
    let peer = Peer::start(Does::Takes("{}"), None).await;
    let mut world = World::new(&(sink("otlp") + &url(&peer))).await;
    world.grow(300).await;
    world.run();
    world.arrive().await;
    let came = peer.came();
    assert_eq!(
        (came[0].path.as_str(), header(&came[0], "content-type").as_str()),
        ("/v1/logs", "application/json")
    );
    let bodies: Vec<Value> = came.iter().map(|came| serde_json::from_str(&came.body).unwrap()).collect();
    let records: Vec<&Value> = bodies
        .iter()
        .flat_map(|body| body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap())
        .collect();
    let indices = records.iter().map(|record| {
        let event: Value = serde_json::from_str(record["body"]["stringValue"].as_str().unwrap()).unwrap();
        assert_eq!(record["attributes"][0]["value"]["stringValue"], event["hash"]);
        assert_eq!(record["attributes"][1]["value"]["intValue"], index(&event).to_string());
        assert!(record["timeUnixNano"].as_str().unwrap().starts_with("18000"), "{record}");
        index(&event)
    });
    assert_eq!(whole(indices), world.session.entries());
}

/// What a peer will not keep must not be sent again, says OTLP; it is counted and an alarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_peer_would_not_keep_is_counted_and_an_alarm() {
    for (kind, answer) in [
        ("otlp", r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}"#),
        ("http", r#"{"code":200,"status":[{"name":"a","successful":1,"failed":2}]}"#),
    ] {
        let peer = Peer::start(Does::Takes(answer), None).await;
        let mut world = World::running(&(sink(kind) + &url(&peer))).await;
        world.arrive().await;
        world.wait("it is counted, as far as it can be", || world.state().rejected == 1).await;
        world.wait("it is an alarm", || world.alarms.texts() == [Alarm::Sink.text()]).await;
        peer.does(Does::Takes("{}"));
        world.grow(1).await;
        world.arrive().await;
        let later = |ms| {
            let now = world.session.now();
            Now { boot_ms: now.boot_ms + ms, ..now }
        };
        world.shipping().look(world.session.entries(), later(500_000));
        assert_eq!(world.alarms.texts(), [Alarm::Sink.text()], "clean lines after it do not hide it");
        world.tasks.abort_all();
        world.shipping().look(world.session.entries(), later(700_000));
        assert!(world.alarms.texts().is_empty());
        assert_eq!(world.state().rejected, 1, "what was lost stays told");
    }
}
