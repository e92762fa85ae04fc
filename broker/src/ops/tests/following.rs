//! Those who follow the log while searches keep them waiting.

use std::time::Duration;

use super::*;
use crate::audit::index::known::Known;
use crate::audit::log::Filter;
use crate::ops::follow::{Beginning, Following, Told, follow};

const RULE: &str = r#"path "sys/symbolon/audit/tail" { capabilities = ["read", "sudo"] }"#;

impl Bench {
    async fn follower(&self, token: &str, beginning: Beginning) -> Following {
        self.ask(token, async |who| follow(&who, Filter::default(), beginning).await).await.unwrap()
    }
}

#[tokio::test]
async fn whoever_loses_the_right_while_entries_are_looked_for_is_not_told_them() {
    let bench = Bench::new().await;
    let token = bench.token_with(RULE).await;
    let mut following = bench.follower(&token, Beginning::At(0)).await;
    let known = bench.session.of::<Known>();
    let turns = (known.turn().await.unwrap(), known.turn().await.unwrap());
    let name = PolicyName::parse("tested").unwrap();
    let lose = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        bench.as_root(async |who| policy::delete(&who, Spelling::Current, &name).await).await.unwrap();
        drop(turns);
    };
    let (told, ()) = tokio::join!(following.next(), lose);
    assert!(matches!(told, Some(Told::End(reason)) if reason.contains("policies")), "{told:?}");
}

#[tokio::test]
async fn a_follower_that_looks_for_its_first_entry_gives_signs_of_life_and_loses_nothing() {
    let bench = Bench::new().await;
    let entries = bench.session.entries();
    let mut following = bench.follower(&bench.root, Beginning::Newest(1)).await;
    let known = bench.session.of::<Known>();
    let turns = (known.turn().await.unwrap(), known.turn().await.unwrap());
    let told = following.next().await;
    assert_eq!(told, Some(Told::Waiting(None)), "where to begin is not known yet");
    drop(turns);
    let told = following.next().await;
    let Some(Told::Events(events, next)) = told else { panic!("expected entries, found {told:?}") };
    let indices: Vec<u64> = events.iter().map(|event| event.index).collect();
    assert_eq!((indices, next), (vec![entries - 1, entries], entries + 1), "the newest, and its own");
    let own = &events[1].target.object;
    assert!(own.starts_with(&format!("the newest 1 that fit before {entries}, and ")), "{own}");
}
