//! Keys of enrolments that came to nothing: seen and removed by one operator, and never one that was used.

use symbolon_proto::evaluate::Answer;
use symbolon_proto::frame::{Enrolment, Presence};

use super::client::{Broker, Fixture};
use super::club::Club;
use crate::AdminError;
use crate::tables::Tables;

/// As its broker registers it at the first unseal.
const UNSEALED: u64 = 2 << 32 | 7;

fn keys(fixture: &Fixture) -> Vec<String> {
    fixture.service.orphans().into_iter().map(|orphan| orphan.key).collect()
}

#[tokio::test]
async fn the_key_of_an_init_that_came_to_nothing_is_listed_and_removed() {
    let fixture = Fixture::start().await;
    let mut broker = fixture.broker().await;
    // As far as an init goes: it registers once, and proves the key.
    assert!(matches!(broker.hello(1).await, Presence::Lease(_)));
    assert!(matches!(broker.evaluate(1).await, Answer::Evaluated(..)));
    let fixture = fixture.restart().await;
    let listed = fixture.service.orphans();
    let key = broker.target().key;
    assert_eq!((listed[0].key.clone(), listed[0].broker.clone()), (key.to_string(), broker.id.to_string()));
    broker.connect(fixture.address).await;
    fixture.service.remove_orphan(key).unwrap();
    assert!(keys(&fixture).is_empty() && fixture.service.dir.list("keys").unwrap().is_empty());
    let status = fixture.service.status();
    assert!(status.keys.is_empty() && status.brokers.is_empty());
    assert!(matches!(fixture.service.remove_orphan(key), Err(AdminError::UnknownKey)));
    // Its broker is a stranger again, and may begin again.
    assert_eq!(broker.enrol().await, Enrolment::Pending);
    let fixture = fixture.restart().await;
    assert!(fixture.service.status().keys.is_empty());
}

#[tokio::test]
async fn a_key_that_a_broker_has_unsealed_with_is_removed_by_nobody_alone() {
    let fixture = Fixture::start().await;
    let mut broker = fixture.broker().await;
    assert_eq!(keys(&fixture).len(), 1);
    broker.hello(1).await;
    broker.hello(UNSEALED).await;
    let key = broker.target().key;
    let refuse = |fixture: &Fixture| {
        assert!(keys(fixture).is_empty());
        assert!(matches!(fixture.service.remove_orphan(key), Err(AdminError::InUse)));
    };
    refuse(&fixture);
    let fixture = fixture.restart().await;
    refuse(&fixture);
    // Nor when its broker is gone.
    fixture.service.remove(broker.id).unwrap();
    refuse(&fixture);
}

#[tokio::test]
async fn a_key_is_taken_for_used_when_a_broker_joins_it_and_when_an_earlier_version_made_it() {
    let fixture = Fixture::start().await;
    let broker = fixture.broker().await;
    let json = fixture.service.live().tables.to_json();
    let earlier = String::from_utf8(json).unwrap().replace(r#","unopened":true"#, "");
    let earlier = Tables::from_json(earlier.as_bytes()).unwrap();
    assert!(earlier.keys.values().all(|row| !row.is_unopened));
    assert_eq!(keys(&fixture).len(), 1);
    let mut other = Broker { deployment: broker.deployment, ..Broker::new() };
    other.connect(fixture.address).await;
    other.enrol().await;
    fixture.service.approve(&other.fingerprint(), true).unwrap();
    assert!(keys(&fixture).is_empty());
}

#[tokio::test]
async fn every_node_of_a_group_lists_its_share_until_the_first_unseal() {
    let (club, _, manifest) = Club::founded().await;
    let listed = |node: usize| club.nodes[node].service.orphans();
    assert!((0..3).all(|node| listed(node).len() == 1 && listed(node)[0].shared));
    club.hello(1, &manifest, UNSEALED).await;
    assert!(listed(1).is_empty() && !listed(0).is_empty());
    club.nodes[0].service.remove_orphan(club.key).unwrap();
    assert!(club.nodes[0].service.dir.list("keys").unwrap().is_empty());
}
