//! A workload presents itself to another, who trusts nothing but the issuer's public keys.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::super::cluster::Cluster;
use super::super::estate;
use super::super::narrator::Narrator;
use super::super::story::{Story, StoryError, now_secs};
use symbolon::Error;
use symbolon::{Token, WorkloadToken};

/// Who shall accept the token.
const AUDIENCE: &str = "https://ledger.mdapi.internal";
/// Its lifetime in seconds.
const LIFETIME_SECS: u64 = 300;

/// Exchange, then verification as a service would do it: discovery, JWKS, an independent library.
pub async fn workload_token_is_verified(story: &mut Story, told: &mut Narrator) -> Result<(), StoryError> {
    told.step("A workload token is issued, and verified by an independent JWT library");
    let client = story.world.client()?;
    let (issuer, keys) = issuer_keys(story).await?;
    estate::admit_workload(&story.root()?, &issuer, AUDIENCE).await?;
    let (namespace, account) = estate::WORKLOAD_ACCOUNT;
    told.say(format_args!("{namespace}/{account} may address {AUDIENCE}, and nobody else"));
    let proof = |audience: &str| proof(&story.cluster, audience);
    let token = client.exchange_token(&proof(&issuer)?, AUDIENCE).await?;
    told.check_eq(&token.lifetime().as_secs(), &LIFETIME_SECS, "issued for five minutes");

    told.say(format_args!("{issuer}: {} key(s) fetched over HTTPS", keys.keys.len()));
    let header = decode_header(token.expose())?;
    told.check_eq(&header.typ.as_deref(), &Some("at+jwt"), "it says that it is an access token (RFC 9068)");
    told.check(header.alg == Algorithm::ES256, "it is signed with ES256");
    let claims = verify(token.expose(), &keys, &issuer, AUDIENCE)?;
    told.check(true, format_args!("the signature holds for {AUDIENCE}"));
    told.say(format_args!("sub {}", claims["sub"]));
    let life = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(end, begin)| end - begin);
    told.check_eq(&life, &Some(LIFETIME_SECS), "exp is iat plus five minutes");

    let elsewhere = verify(token.expose(), &keys, &issuer, "https://other.internal");
    told.check(elsewhere.is_err(), "another audience refuses it");
    let changed = verify(&changed_payload(token.expose()), &keys, &issuer, AUDIENCE);
    told.check(changed.is_err(), "with one character changed it is refused");
    let other = client.exchange_token(&proof(&issuer)?, "https://payroll.mdapi.internal").await;
    told.check(is_refusal(&other), "for an audience that its role does not name there is no token");
    let elsewhere = client.exchange_token(&proof("https://elsewhere.internal")?, AUDIENCE).await;
    told.check(is_refusal(&elsewhere), "proof that was made for somebody else is worth nothing here");
    let forged = client.exchange_token(&self::proof(&Cluster::generate()?, &issuer)?, AUDIENCE).await;
    told.check(is_refusal(&forged), "nor is proof that another cluster signed");
    Ok(())
}

/// The projected token of the workload's service account.
fn proof(cluster: &Cluster, audience: &str) -> Result<Token, StoryError> {
    let (namespace, account) = estate::WORKLOAD_ACCOUNT;
    let token = cluster.token(namespace, account, audience, now_secs())?;
    Ok(Token::new(&token).map_err(Error::from)?)
}

fn is_refusal(answer: &Result<WorkloadToken, Error>) -> bool {
    matches!(answer, Err(Error::Invalid(refusal)) if refusal.status() == 400)
}

/// Discovery, then the keys it points to.
async fn issuer_keys(story: &Story) -> Result<(String, JwkSet), StoryError> {
    let url = story.world.broker_url();
    let ca = reqwest::Certificate::from_pem(story.world.ca_pem().as_bytes())?;
    let http = reqwest::Client::builder().tls_certs_only([ca]).build()?;
    let get = async |url: &str| http.get(url).send().await?.error_for_status()?.bytes().await;
    let missing = |what| StoryError::Missing { what };
    let discovery = get(&format!("{url}/.well-known/openid-configuration")).await?;
    let discovery: Value =
        serde_json::from_slice(&discovery).map_err(|_| missing("the discovery document"))?;
    let text = |name: &str| discovery.get(name).and_then(Value::as_str).map(str::to_owned);
    let issuer = text("issuer").ok_or(missing("the issuer's name"))?;
    let keys = get(&text("jwks_uri").ok_or(missing("the place of the keys"))?).await?;
    Ok((issuer, serde_json::from_slice(&keys).map_err(|_| missing("a key set"))?))
}

fn verify(
    token: &str,
    keys: &JwkSet,
    issuer: &str,
    audience: &str,
) -> Result<Value, jsonwebtoken::errors::Error> {
    let kid = decode_header(token)?.kid.unwrap_or_default();
    let unknown = || jsonwebtoken::errors::Error::from(jsonwebtoken::errors::ErrorKind::InvalidKeyFormat);
    let key = DecodingKey::from_jwk(keys.find(&kid).ok_or_else(unknown)?)?;
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[issuer]);
    rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    Ok(decode::<Value>(token, &key, &rules)?.claims)
}

/// The token with one character of its claims replaced.
fn changed_payload(token: &str) -> String {
    let at = token.find('.').unwrap_or(0) + 5;
    let swap = |(place, c): (usize, char)| if place == at { if c == 'A' { 'B' } else { 'A' } } else { c };
    token.chars().enumerate().map(swap).collect()
}
