#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use symbolon_proto::id::BrokerId;

use super::*;
use crate::path::{MountPath, PolicyName};

fn entry(action: Action, outcome: Outcome) -> Entry {
    let (index, time_ms, broker) = (7, 951_827_696_007, BrokerId::from_bytes([9; 16]));
    Entry { index, time_ms, action, outcome, broker, detail: Vec::new() }
}

fn told(entry: &Entry, detail: &str) -> Value {
    let detail: Detail = serde_json::from_str(detail).unwrap();
    serde_json::from_str(&Event::of(entry, Some(&detail)).line()).unwrap()
}

/// The order of the members is part of the promise: lines are compared, and read by people.
#[test]
fn an_event_is_this_line() {
    let detail = Detail {
        request_id: "r".into(),
        caller: "kubernetes-apps-reader".into(),
        accessor: "a".into(),
        path: "secret/data/app".into(),
        version: 3,
        object: "o".into(),
        remote: "127.0.0.1".into(),
        reason: "why".into(),
        asked: Some(Action::SecretRead),
        actor: Some(
            audit::Actor::service_account("system:serviceaccount:apps:reader", "apps", "u")
                .through(&MountPath::parse("eu/k8s").unwrap())
                .into(),
        ),
        mount_bytes: 6,
        policies: [PolicyName::parse("reader").unwrap()].into(),
        ..Detail::default()
    };
    let line = concat!(
        r#"{"time":"2000-02-29T12:34:56.007Z","type":"secret-read","outcome":"denied","reason":"why","#,
        r#""actor":{"method":"kubernetes","mount":"auth/eu/k8s","subject":"system:serviceaccount:apps:reader","#,
        r#""namespace":"apps","uid":"u","name":"kubernetes-apps-reader","accessor":"a"},"client":"127.0.0.1","#,
        r#""target":{"mount":"secret","path":"secret/data/app","version":3,"object":"o"},"policy":["reader"],"#,
        r#""request_id":"r","node":"09090909090909090909090909090909","index":7,"#,
        r#""hash":"f89e22051eabb2b98d9632454eb1bebd9323b2b5091ae1ce45c4d6fc17e91840","head":"refused"}"#,
    );
    let event = Event::of(&entry(Action::Refused, Outcome::Denied), Some(&detail));
    assert_eq!(event.line(), line);
    assert_eq!(serde_json::from_str::<Event>(line).unwrap(), event);
    let later = line.replacen('{', r#"{"news":[1],"#, 1);
    assert_eq!(serde_json::from_str::<Event>(&later).unwrap(), event, "a member of a later version");
}

#[test]
fn details_of_earlier_versions_are_told_with_what_they_have() {
    let login = told(
        &entry(Action::Login, Outcome::Allowed),
        r#"{"caller":"kubernetes-a","role":"reader","path":"auth/kubernetes/login"}"#,
    );
    let actor = json!({ "role": "reader", "subject": "kubernetes-a", "name": "kubernetes-a" });
    assert_eq!((&login["actor"], &login["target"]), (&actor, &json!({ "path": "auth/kubernetes/login" })));
    let refused = told(
        &entry(Action::Login, Outcome::Denied),
        r#"{"actor":{"method":"jwt","role":"ci"},"path":"auth/forge/login","mount_bytes":10}"#,
    );
    assert_eq!(refused["actor"], json!({ "method": "jwt", "mount": "auth/forge", "role": "ci" }));
    let own = told(
        &entry(Action::TokenRevoke, Outcome::Allowed),
        r#"{"caller":"broker","object":"token x","role":"one use of a counted token"}"#,
    );
    assert_eq!(own["target"]["object"], "token x; one use of a counted token");
    let nothing = told(&entry(Action::Other, Outcome::Failed), "{}");
    let members: Vec<_> = nothing.as_object().unwrap().keys().collect();
    assert_eq!(members, ["time", "type", "outcome", "node", "index", "hash"]);
}

/// Both ways: the version before ignores members that it does not know, and finds its own as they were.
#[test]
fn a_detail_keeps_the_members_that_the_version_before_reads() {
    let detail = Detail {
        caller: "c".into(),
        path: "p".into(),
        actor: Some(audit::Actor::named("token", "c").into()),
        mount_bytes: 1,
        policies: [PolicyName::root()].into(),
        ..Detail::default()
    };
    let text = serde_json::to_string(&detail).unwrap();
    assert_eq!(serde_json::from_str::<Detail>(&text).unwrap(), detail);
    let added = r#","actor":{"method":"token","subject":"c"},"mount_bytes":1,"policies":["root"]"#;
    assert_eq!(text.replace(added, ""), r#"{"caller":"c","path":"p"}"#);
    let wrong = Detail { mount_bytes: 9, ..detail };
    let event = Event::of(&entry(Action::Other, Outcome::Allowed), Some(&wrong));
    assert_eq!(event.target.mount, "", "a length beyond the path names nothing");
}

#[test]
fn what_does_not_open_is_told_as_everybody_may_read_it() {
    let event = Event::of(&entry(Action::Refused, Outcome::Denied), None);
    assert_eq!((event.action.as_str(), event.unreadable, event.head.as_str()), ("refused", true, ""));
    assert!(event.line().ends_with(r#","unreadable":true}"#));
}

/// A store that was restored goes on with places that other entries had, perhaps within the same millisecond.
#[test]
fn other_entries_of_one_place_have_other_hashes() {
    let one = Entry { detail: vec![1], ..entry(Action::SecretRead, Outcome::Allowed) };
    let other = Entry { detail: vec![2], ..one.clone() };
    let [told, again, differs] = [&one, &one, &other].map(|entry| Event::of(entry, None));
    assert_eq!((told.index, &told.node, &told.time), (differs.index, &differs.node, &differs.time));
    assert!(told.hash == again.hash && told.hash != differs.hash);
    assert_eq!(told.hash, Entry::leaf_hash(&one.encode().unwrap()).to_string());
}

#[test]
fn who_somebody_is_has_a_bound() {
    let long = audit::Actor::named("jwt", &"ä".repeat(1000));
    assert_eq!((long.subject.chars().count(), long.subject.ends_with('…')), (129, true));
}

#[test]
fn paths_are_found_as_kv_commands_spell_them() {
    for (path, mount, kv) in [
        ("secret/data/team/app", 6, Some("secret/team/app")),
        ("secret/metadata/team", 6, Some("secret/team")),
        ("secret/destroy/data/x", 6, Some("secret/data/x")),
        ("team/data/data/x", 9, Some("team/data/x")),
        ("secret/database/x", 6, None),
        ("old/app", 3, None),
        ("secret/data/team/app", 0, Some("secret/team/app")),
        ("sys/mounts", 0, None),
        ("ä/data/x", 1, None),
    ] {
        assert_eq!(kv_spelling(path, mount).as_deref(), kv, "{path}");
    }
    let is = |asked| is_path("secret/data/team/app", 6, asked);
    assert!(is("secret/team/app") && is("/secret/data/team/app"));
    assert!(!is("secret/team") && !is("secret/team/app2"));
}

/// Every text that somebody chose, is called by, or comes from; and nothing that is a closed word or chance.
#[test]
fn every_name_in_an_event_is_replaced_and_nothing_else() {
    let text = |name: &str| format!("name-{name}");
    let event = Event {
        actor: Actor {
            method: "jwt".into(),
            mount: text("a"),
            role: text("b"),
            subject: text("c"),
            namespace: text("d"),
            uid: text("e"),
            name: text("f"),
            accessor: text("g"),
        },
        client: text("h"),
        target: Target { mount: text("i"), path: text("j"), version: 3, object: text("k") },
        policy: vec![text("l")],
        request_id: "r".into(),
        counts: Some(Counts {
            requests: 2,
            asked: vec![Asked {
                role: text("m"),
                client: text("n"),
                path: text("o"),
                request_id: "q".into(),
                ..Asked::default()
            }],
            ..Counts::default()
        }),
        ..Event::of(&entry(Action::SecretRead, Outcome::Allowed), None)
    };
    for line in [|event: &Event| event.line(), |event: &Event| event.vault_line()] {
        let (named, replaced) = (line(&event), line(&event.clone().with_names(&|_| "x".to_owned())));
        assert!(!replaced.contains("name-"), "{replaced}");
        let put_back = ('a'..='o').fold(named, |line, name| line.replace(&text(&name.to_string()), "x"));
        assert_eq!(put_back, replaced);
    }
    let own = Event {
        actor: Actor { method: "broker".into(), name: "broker".into(), ..Actor::default() },
        ..event
    };
    assert_eq!(own.clone().with_names(&|_| "x".to_owned()).actor, own.actor);
}
