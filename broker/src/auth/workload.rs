//! Workload tokens: short-lived `at+jwt` for service-to-service calls (RFC 8693, RFC 7523, RFC 9068).
//!
//! The private signing keys are one record under the deployment's own KEK: opened with the remote half, and
//! kept only while its lease lasts. Their public halves are an ordinary row, so that verifiers can still
//! fetch them while the remote is away. The two are always written together.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use symbolon_core::audit::{Action, Actor, Draft, Outcome, Withheld};
use symbolon_core::clock::Now;
use symbolon_core::keyring::OpenKek;
use symbolon_core::oauth::{
    self, AccessToken, KeyPolicy, OAuthError, SigningKey, TokenRequest, UnsignedToken, published,
    wants_new_key,
};
use symbolon_core::path::ApiPath;
use symbolon_core::seal::Unsealed;
use symbolon_proto::Zeroizing;
use symbolon_proto::context::{RecordContext, RecordKind};
use symbolon_proto::id::{SecretId, TenantId};
use symbolon_proto::record;
use zeroize::Zeroize;

use super::evidence::{self, Admitted};
use super::signer::{LocalKey, SignError, Signer};
use crate::access::{Asker, Session, describe};
use crate::error::OpError;
use crate::keys::Account;
use crate::random::os_rng;
use crate::rows::{NO_SCOPE, Place, Rows, SYSTEM, prefix};
use crate::store::{Expect, Write};

const KEYS: SecretId = SecretId::from_bytes(*b"workload-signing");

/// The path of requests in the audit log. No policy judges it: roles decide.
const AUDITED_PATH: &str = "oauth2/token";

/// Where the public halves are.
const PUBLIC: Place<'static> =
    Place { tenant: TenantId::SYSTEM, table: SYSTEM, scope: NO_SCOPE, group: "", name: "workload keys" };

/// Why the token endpoint refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// By the rules of the endpoint.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// The broker cannot serve.
    #[error(transparent)]
    Op(#[from] OpError),
}

/// One private key as stored, inside a sealed record.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    /// Which public key it belongs to.
    kid: String,
    /// PKCS#8, base64.
    pkcs8: String,
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        self.pkcs8.zeroize();
    }
}

/// Private keys at hand; dropped with the lease.
struct Signers(Vec<(String, LocalKey)>);

fn row_key() -> Vec<u8> {
    let mut key = prefix(TenantId::SYSTEM, SYSTEM, NO_SCOPE);
    key.extend_from_slice(KEYS.as_bytes());
    key
}

fn context(unsealed: &Unsealed) -> RecordContext {
    RecordContext {
        kind: RecordKind::Value,
        deployment: unsealed.deployment(),
        tenant: TenantId::SYSTEM,
        mount: NO_SCOPE,
        secret: KEYS,
        version: 1,
    }
}

/// Issues a token for whoever the evidence proves the caller to be.
pub async fn issue(
    who: &Asker<'_>,
    issuer: &str,
    request: &TokenRequest,
) -> Result<AccessToken, WorkloadError> {
    let path = ApiPath::from_decoded(AUDITED_PATH).expect("a fixed path is one");
    let session = Arc::clone(who.session);
    match prepare(issuer, who, request).await {
        Ok(Signed { token, jti, subject, actor }) => {
            let mut detail = describe(&session, &who.requester, &path);
            detail.caller = subject;
            detail.actor = Some(actor);
            detail.role = format!("token {jti} for {}", request.audience());
            let draft = Draft { action: Action::WorkloadToken, outcome: Outcome::Allowed, detail };
            let receipt = session.commit(Vec::new(), draft).await?;
            Ok(token.disclose(receipt))
        }
        Err(error) => {
            let mut detail = describe(&session, &who.requester, &path);
            if let WorkloadError::OAuth(refusal) = &error {
                detail.reason = refusal.to_string();
            }
            let draft = Draft { action: Action::WorkloadToken, outcome: Outcome::Denied, detail };
            session.record_stranger(who.requester.remote, draft).await?;
            Err(error)
        }
    }
}

/// A token before its entry.
struct Signed {
    token: Withheld<AccessToken>,
    jti: String,
    subject: String,
    actor: Arc<Actor>,
}

async fn prepare(issuer: &str, who: &Asker<'_>, request: &TokenRequest) -> Result<Signed, WorkloadError> {
    let session: &Session = who.session;
    let admitted = evidence::identify(who, issuer, request).await?.ok_or(OAuthError::InvalidGrant)?;
    let now = session.now().unix_secs();
    let granted = admitted.grant(request, now)?;
    let Admitted { mount, identity, .. } = admitted;
    let public = public_keys(session).await?.0;
    let key = oauth::signer(&public, now).ok_or(OpError::INTEGRITY)?;
    let subject = format!("{mount}:{}", identity.subject());
    let unsigned = UnsignedToken::prepare(issuer, &mount, &identity, granted, key, now, &mut os_rng())?;
    let mut signers = signers(session).await?;
    if !signers.0.iter().any(|(kid, _)| kid == key.kid()) {
        session.keys.detach(); // opened while a rotation was under way
        signers = self::signers(session).await?;
    }
    let (_, signer) = signers.0.iter().find(|(kid, _)| kid == key.kid()).ok_or_else(no_signer)?;
    let signature = signer.sign(unsigned.signing_input()).await.map_err(OpError::from)?;
    let token = unsigned.with_signature(&signature).map_err(|_| OpError::from(SignError::NotSigned))?;
    let jti = token.jti().to_owned();
    Ok(Signed { token: Withheld::new(token), jti, subject, actor: identity.actor(&mount) })
}

/// Both rows were read, and they belong together.
fn no_signer() -> OpError {
    OpError::bug("the key that signs workload tokens now has no private half")
}

fn not_stored() -> OpError {
    OpError::bug("the keys that sign workload tokens could not be encrypted")
}

/// The key set that verifiers fetch.
pub async fn jwks(session: &Session) -> Result<Value, OpError> {
    let (keys, _) = public_keys(session).await?;
    Ok(oauth::jwks(&keys, &KeyPolicy::default(), session.now().unix_secs()))
}

async fn public_keys(session: &Session) -> Result<(Vec<SigningKey>, u64), OpError> {
    session.rows.read::<Vec<SigningKey>>(PUBLIC).await?.ok_or(OpError::INTEGRITY)
}

/// The private keys, opened once per lease. With a pass, so that no roll of the deployment's own KEK comes in
/// between.
async fn signers(session: &Session) -> Result<Arc<Signers>, OpError> {
    let _lease_lives = session.keys.system_kek().await?;
    if let Some(signers) = session.keys.attached::<Signers>() {
        return Ok(signers);
    }
    let _pass = session.keys.pass().await;
    let (stored, _) = private_keys(session).await?;
    let open = |key: &StoredKey| {
        let pkcs8 = Zeroizing::new(STANDARD.decode(&key.pkcs8).map_err(|_| OpError::INTEGRITY)?);
        Ok((key.kid.clone(), LocalKey::from_pkcs8(&pkcs8)?))
    };
    let signers = stored.iter().map(open).collect::<Result<_, OpError>>()?;
    Ok(session.keys.attach(Signers(signers)))
}

async fn private_keys(session: &Session) -> Result<(Vec<StoredKey>, u64), OpError> {
    let row = session.rows.store().get(&row_key()).await?.ok_or(OpError::INTEGRITY)?;
    let slot = session.keys.system_keks().system();
    let plain =
        session.keys.open_record(slot, Account::Broker, &context(session.unsealed()), &row.value).await?;
    Ok((serde_json::from_slice(&plain).map_err(|_| OpError::INTEGRITY)?, row.revision))
}

/// Makes the next key when its time has come, and forgets those that no verifier needs any more.
pub async fn rotate_if_due(session: &Session) -> Result<(), OpError> {
    let policy = KeyPolicy::default();
    let now = session.now().unix_secs();
    let _pass = session.keys.pass().await;
    let (mut public, public_revision) = public_keys(session).await?;
    if !wants_new_key(&public, &policy, now) {
        return Ok(());
    }
    let (mut private, private_revision) = private_keys(session).await?;
    let FreshKey { pkcs8, x, y } = fresh()?;
    let next = SigningKey::next((&x, &y), &public, &policy, now);
    private.push(StoredKey { kid: next.kid().to_owned(), pkcs8 });
    public.push(next);
    let public: Vec<SigningKey> = published(&public, &policy, now).cloned().collect();
    private.retain(|key| public.iter().any(|kept| kept.kid() == key.kid));
    let kek = session.keys.system_kek().await?;
    let changes = vec![
        session.rows.put(PUBLIC, &public, Expect::Revision(public_revision))?,
        Write::Put {
            key: row_key(),
            value: seal(session.unsealed(), &kek, &private)?,
            expect: Expect::Revision(private_revision),
        },
    ];
    drop(session.commit(changes, Draft::by_broker(Action::KeyRotate, "next key for workload tokens")).await?);
    session.keys.detach();
    Ok(())
}

/// The private keys under another KEK of the deployment's own: the change that a roll of that KEK commits.
pub(crate) async fn rolled(session: &Session, from: &OpenKek, to: &OpenKek) -> Result<Write, OpError> {
    let row = session.rows.store().get(&row_key()).await?.ok_or(OpError::INTEGRITY)?;
    let context = context(session.unsealed());
    let value = record::rewrap(
        (&from.kek, &from.capsule),
        (&to.kek, &to.capsule),
        &context,
        &row.value,
        &mut os_rng(),
    )
    .map_err(|_| OpError::INTEGRITY)?;
    Ok(Write::Put { key: row_key(), value, expect: Expect::Revision(row.revision) })
}

/// The first signing key, for `init`.
pub(crate) fn first_keys(
    rows: &Rows,
    unsealed: &Unsealed,
    kek: &OpenKek,
    now: Now,
) -> Result<Vec<Write>, OpError> {
    let FreshKey { pkcs8, x, y } = fresh()?;
    let public = SigningKey::first((&x, &y), now.unix_secs());
    let private = [StoredKey { kid: public.kid().to_owned(), pkcs8 }];
    let value = seal(unsealed, kek, &private)?;
    Ok(vec![
        rows.put(PUBLIC, &[public], Expect::Absent)?,
        Write::Put { key: row_key(), value, expect: Expect::Absent },
    ])
}

/// A key that belongs to nobody yet.
struct FreshKey {
    /// PKCS#8, base64.
    pkcs8: String,
    x: [u8; 32],
    y: [u8; 32],
}

fn fresh() -> Result<FreshKey, OpError> {
    let pkcs8 = LocalKey::generate()?;
    let coordinates = LocalKey::from_pkcs8(&pkcs8).and_then(|key| key.coordinates());
    let (x, y) = coordinates.map_err(|_| OpError::no_key_made())?;
    Ok(FreshKey { pkcs8: STANDARD.encode(&*pkcs8), x, y })
}

fn seal(unsealed: &Unsealed, kek: &OpenKek, keys: &[StoredKey]) -> Result<Vec<u8>, OpError> {
    let plain = Zeroizing::new(serde_json::to_vec(keys).map_err(|_| not_stored())?);
    record::seal(&kek.kek, &context(unsealed), &kek.capsule, &plain, &mut os_rng()).map_err(|_| not_stored())
}
