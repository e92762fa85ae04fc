//! How many policies there may be.

use symbolon_core::policy::Policy;

use super::*;

/// The limit is on names: at the limit the policies that are there can still be mended.
#[tokio::test]
async fn at_the_limit_a_policy_can_be_replaced_and_none_added() {
    let bench = Bench::new().await;
    let named = |name: &str| PolicyName::parse(name).unwrap();
    let there = bench.session.policy_names().len();
    for number in there..policy::POLICIES_MAX {
        let name = named(&format!("p{number}"));
        let parsed = Policy::parse(name.clone(), "").unwrap();
        bench.session.replace_policy(&name, Some(parsed));
    }
    let last = named(&format!("p{}", policy::POLICIES_MAX - 1));
    let write = async |name: &PolicyName| {
        bench.as_root(async |who| policy::write(&who, Spelling::Current, name, "").await).await
    };
    write(&last).await.unwrap();
    assert!(matches!(write(&named("another")).await, Err(OpError::Invalid(_))));
}
