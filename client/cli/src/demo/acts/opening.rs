//! From nothing to an open broker.

use symbolon_broker::run::{Broker, RunError};
use symbolon_proto::Zeroizing;

use super::super::narrator::Narrator;
use super::super::story::{CUSTODIANS, Story, StoryError, THRESHOLD};
use crate::operator::InitRequest;
use symbolon::{Error, SecretData, Unavailable};

/// The far half comes first: a broker without it can make no key.
pub async fn fragment_service_starts(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("The fragment service starts and makes its half of every key");
    story.world.start_fragment().await?;
    let status = story.world.service()?.status();
    told.say(format_args!("{}, TLS 1.3, X25519MLKEM768, mutual", story.world.fragment_url()));
    told.say(format_args!("root {}", status.root_fingerprint));
    told.check(
        status.keys.is_empty() && status.brokers.is_empty(),
        "it knows no broker and holds no key yet",
    );
    let answered = answers_a_stranger(&story.world.fragment_url()).await?;
    told.check(!answered, "a stranger without a client certificate gets no answer");
    told.say(format_args!("secret memory: {}", status.memory));
    Ok(())
}

/// Whether an HTTPS client without a certificate gets any answer. It accepts every server, so that only the
/// missing certificate can stand in its way; it sends nothing worth keeping.
async fn answers_a_stranger(url: &str) -> Result<bool, StoryError> {
    let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
    Ok(client.get(url).send().await.is_ok())
}

/// Two operators compare fingerprints; three custodians get shares.
pub async fn broker_is_initialised(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("The broker is initialised: three custodians, any two open it");
    let refused = Broker::bind(story.world.broker_config(false)?).await;
    let silent = matches!(refused, Err(RunError::NoDeployment { .. }));
    told.check(silent, "without the operator's word it does not start on an empty store");
    story.world.start_broker(true).await?;
    let request = InitRequest { secret_threshold: THRESHOLD, ..InitRequest::two_of_people(&CUSTODIANS) };
    let (answer, fingerprint) = story.world.init(&request).await?;
    told.say(format_args!("broker {fingerprint}, read out by its operator, approved by the service's"));
    let broken = |_| StoryError::Missing { what: "a share in text form" };
    story.shares = answer.shares_text().map_err(broken)?;
    story.root_token = Zeroizing::new(answer.root_token.expose().to_owned());
    story.log_key = answer.log_key.parse().ok();
    told.check_eq(&story.shares.len(), &CUSTODIANS.len(), "each custodian has a share");
    told.check(story.log_key.is_some(), format_args!("the log has a public key: {}", answer.log_key));
    let status = story.world.client()?.seal_status().await?;
    told.check(status.initialized && status.sealed, "the broker is sealed");
    let again = story.world.client()?.init(&request).await;
    told.check(matches!(again, Err(Error::Invalid(_))), "it cannot be initialised twice");
    told.check_eq(
        &status.fact("recovery").unwrap_or_default(),
        &"none".to_owned(),
        "the recovery policy is stated",
    );
    Ok(())
}

/// One share is not enough; two are.
pub async fn two_custodians_unseal(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("Two of the three custodians unseal it");
    let client = story.world.client()?;
    let first = client.unseal(&story.shares[0]).await?;
    told.check(
        first.sealed && first.progress == 1,
        format_args!("{} gave a share: 1 of {THRESHOLD}", CUSTODIANS[0]),
    );
    told.check_eq(&first.given, &vec![CUSTODIANS[0].to_owned()], "the status names who has given");
    let early = story.root()?.kv("secret").get::<SecretData>("any").await;
    told.check(
        matches!(early, Err(Error::Unavailable(Unavailable::Sealed(_)))),
        "a request to the sealed broker is answered 503, not 404",
    );
    let second = client.unseal(&story.shares[1]).await?;
    told.check(!second.sealed, format_args!("{} gave a share: the broker is open", CUSTODIANS[1]));
    let status = client.seal_status().await?;
    told.check_eq(
        &status.fact("lease").unwrap_or_default(),
        &"active".to_owned(),
        "the fragment service leases it its keys",
    );
    Ok(())
}
