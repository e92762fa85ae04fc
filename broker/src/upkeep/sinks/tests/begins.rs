//! Cursors, what holds pruning, and the frame around all kinds, on the simplest of them.

use symbolon_proto::log::segment::SEGMENT_ENTRIES;

use super::*;
use crate::audit::sinks::cursor::Cursor;

const FILE: &str = "[[audit.sinks]]\nname = \"one\"\nkind = \"file\"\npath = \"$HOME/one.log\"\n";

impl World {
    fn lines(&self) -> String {
        std::fs::read_to_string(self.file("one.log")).unwrap_or_default()
    }

    fn indices(&self) -> Vec<u64> {
        events(&self.lines()).iter().map(|event| event.index).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_arrive_in_order_with_their_hash_and_without_names() {
    let world = World::running(FILE).await;
    world.grow(700).await;
    world.arrive().await;
    let entries = world.session.entries();
    let text = world.lines();
    names_nobody(&text);
    let events = events(&text);
    assert_eq!(whole(world.indices()), entries);
    let reader = crate::audit::log::LogReader::new(Arc::clone(&world.rows));
    let stored = reader.entries(0, 1024).await.unwrap();
    assert!(stored.iter().zip(&events).all(|(stored, event)| stored.leaf.to_string() == event.hash));
    let read = events.iter().find(|event| event.action == "secret-read").unwrap();
    assert!(read.target.path.starts_with("hmac:") && read.client.starts_with("hmac:"), "{read:?}");
    assert!(read.actor.name == read.actor.subject && read.policy[0].starts_with("hmac:"), "{read:?}");
    assert_eq!((read.outcome.as_str(), read.request_id.as_str()), ("allowed", "r-1"));
    let key = symbolon_proto::hierarchy::SinkKey::of(&world.unsealed.audit());
    assert_eq!(read.target.path, crate::audit::sinks::lines::keyed(&key, "secret/data/zanzibar"));
    assert_eq!(entries, 701, "shipping has one entry, whatever it ships");
    assert_eq!(
        world.told().await,
        ["the sink one of kind file is sent entries from 0 on, with names as keyed hashes"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_names_and_lines_in_the_shape_of_vault_are_options() {
    let world = World::running(&format!("{FILE}names = \"plain\"\nformat = \"vault\"\n")).await;
    world.grow(3).await;
    world.arrive().await;
    let line: Value =
        serde_json::from_str(world.lines().lines().find(|line| line.contains("zanzibar")).unwrap()).unwrap();
    assert_eq!(line["type"], "response");
    assert_eq!(line["request"]["path"], "secret/data/zanzibar");
    assert_eq!(
        (&line["request"]["operation"], &line["request"]["mount_point"]),
        (&"read".into(), &"secret/".into())
    );
    assert_eq!(line["request"]["remote_address"], "192.0.2.77");
    assert_eq!(line["auth"]["display_name"], "wally");
    assert_eq!(line["auth"]["policy_results"]["granting_policies"][0]["name"], "team-blue");
    assert_eq!(line["symbolon"]["type"], "secret-read");
    assert!(world.told().await[0].ends_with("with names as they are"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_outlives_a_restart_and_nothing_is_sent_twice_that_was_remembered() {
    let mut world = World::running(FILE).await;
    world.grow(50).await;
    world.arrive().await;
    let next = world.state().next.unwrap();
    let rows = || crate::rows::Rows::new(Arc::clone(&world.rows), Arc::clone(&world.unsealed));
    for _ in 0..1000 {
        if Cursor::read(&rows(), "one").await.unwrap().is_some_and(|cursor| cursor.next == next) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.restart().await;
    assert_eq!(world.shipping().held_from(), 0, "nothing is pruned before cursors are read");
    world.grow(50).await;
    world.run();
    world.arrive().await;
    let indices = world.indices();
    assert_eq!((whole(indices.clone()), indices.len()), (101, 101));
    world.wait("that is stored", || world.shipping().held_from() == 101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_can_begin_with_what_comes_now() {
    let mut world = World::new(&format!("{FILE}begin = \"now\"\n")).await;
    world.grow(20).await;
    world.run();
    world.wait("it begins", || world.state().next.is_some()).await;
    world.grow(5).await;
    world.arrive().await;
    assert_eq!(world.indices(), (20..26).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_goes_is_forgotten_and_one_that_changes_goes_on() {
    let world = World::running(FILE).await;
    world.grow(5).await;
    world.arrive().await;
    world.wait("that is stored", || world.shipping().held_from() == world.session.entries()).await;
    world.configure(&format!("{FILE}names = \"plain\"\n"));
    let before = world.session.entries();
    world.wait("the log says so", || world.session.entries() > before).await;
    assert!(world.told().await.contains(&"the sink one is told names as they are".to_owned()));
    names_nobody(&world.lines());
    world.grow(5).await;
    world.arrive().await;
    assert_eq!(world.lines().matches("zanzibar").count(), 5);
    let entries = world.session.entries();
    assert_eq!(whole(world.indices()), entries);
    world.wait("that is stored", || world.shipping().held_from() == entries).await;
    world.configure("");
    world.wait("its cursor is removed", || world.session.entries() > entries).await;
    let gone = format!(
        "the sink one is not configured any more; it had been sent what comes before entry {entries}"
    );
    assert_eq!(world.told().await.last().unwrap(), &gone);
    let rows = crate::rows::Rows::new(Arc::clone(&world.rows), Arc::clone(&world.unsealed));
    assert!(Cursor::all(&rows).await.unwrap().is_empty());
    assert_eq!(world.shipping().held_from(), u64::MAX);
}

/// An older state of the store has other entries after it than those that were sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_not_the_one_that_was_sent_is_named_and_sent_again() {
    let mut world = World::running(FILE).await;
    world.grow(10).await;
    world.arrive().await;
    world.restart().await;
    let wrong = Cursor { name: "one".to_owned(), next: 8, hash: "00".repeat(32), ..Cursor::default() };
    for cursor in [wrong.clone(), Cursor { next: 1000, ..wrong }] {
        std::fs::remove_file(world.file("one.log")).unwrap();
        world.session.bookmark(cursor.mark(&world.session.rows).unwrap()).await.unwrap();
        world.run();
        let again = "the log is not the one that the sink one was sent";
        world.arrive().await;
        assert!(world.told().await.last().unwrap().starts_with(again), "{:?}", world.told().await);
        assert_eq!(whole(world.indices()), world.session.entries());
        world.restart().await;
    }
}

/// The disk budget comes before a sink: what it takes is named, in the log, in the status and to the sink.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_pruned_before_a_sink_had_it_is_named() {
    let mut world = World::new("").await;
    let entries = usize::try_from(SEGMENT_ENTRIES).unwrap() + 300;
    world.grow(entries).await;
    world.configure(&format!("{FILE}begin = \"oldest\"\n"));
    let cursor = Cursor { name: "one".to_owned(), next: 96, ..Cursor::default() };
    world.session.bookmark(cursor.mark(&world.session.rows).unwrap()).await.unwrap();
    let log = crate::audit::log::LogReader::new(Arc::clone(&world.rows));
    let cut = symbolon_proto::log::pruned::Cut {
        first: 0,
        end: SEGMENT_ENTRIES,
        time_ms: 1,
        order: symbolon_proto::log::pruned::Order::Policy,
        exported: false,
    };
    let prepared = crate::audit::retention::cutting::prepare(world.rows.as_ref(), &log, cut).await.unwrap();
    drop(world.session.retain(prepared.changes, read()).await.unwrap());
    world.run();
    world.arrive().await;
    let told = "4000 entries, 96 to 4095, were pruned before the sink one had them";
    assert!(world.told().await.contains(&told.to_owned()), "{:?}", world.told().await);
    assert_eq!((world.state().pruned, world.indices()[0]), (4000, SEGMENT_ENTRIES));
    whole(world.indices());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_rotated_and_all_of_it_is_there() {
    let world = World::running(&format!("{FILE}rotate_mib = 1\nkeep = 100\n")).await;
    world.grow(3000).await;
    world.arrive().await;
    let mut all = Vec::new();
    for number in (1..=100).rev() {
        if let Ok(text) = std::fs::read_to_string(world.file(&format!("one.log.{number}"))) {
            assert!(text.len() <= 1 << 20, "{} bytes", text.len());
            all.extend(events(&text).iter().map(|event| event.index));
        }
    }
    assert!(!all.is_empty(), "nothing was rotated");
    all.extend(world.indices());
    assert_eq!(whole(all), world.session.entries());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_is_told_and_comes_back() {
    let world = World::running(&FILE.replace("one.log", "folder/one.log")).await;
    world.grow(5).await;
    world.wait("it fails", || world.state().failed.is_some()).await;
    assert_eq!(
        world.state().failed.map(|fault| fault.text()),
        Some(crate::audit::sinks::error::Fault::File.text())
    );
    assert!(world.state().detail.contains("folder"), "{:?}", world.state());
    std::fs::create_dir(world.file("folder")).unwrap();
    world.arrive().await;
    world.wait("it is well", || world.state().failed.is_none()).await;
    let text = std::fs::read_to_string(world.file("folder/one.log")).unwrap();
    assert_eq!(whole(events(&text).iter().map(|event| event.index)), 6);
}

/// A name of 12,000 characters takes six bytes for each, which is more than one datagram.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_too_long_is_sent_without_what_makes_it_long() {
    let world = World::running(&format!("{FILE}names = \"plain\"\n")).await;
    let long = Detail { object: "ä".repeat(12_000), ..read().detail };
    world.session.record(Draft { detail: long, ..read() }).await.unwrap();
    world.grow(1).await;
    world.arrive().await;
    let events = events(&world.lines());
    let short = events.iter().find(|event| event.reason.contains("longer than a sink takes")).unwrap();
    assert_eq!(
        (short.action.as_str(), short.target.path.as_str(), short.hash.len()),
        ("secret-read", "", 64)
    );
    assert!(world.lines().lines().all(|line| line.len() <= crate::audit::sinks::lines::LINE_BYTES_MAX));
    assert_eq!(whole(world.indices()), world.session.entries());
}
