//! What a request to the token endpoint costs before anybody has shown who he is.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use symbolon_core::clock::Clock as _;
use symbolon_core::identity::jwt_role::{JwtConfig, JwtRole};
use symbolon_core::identity::kubernetes::{KubernetesConfig, KubernetesRole};
use symbolon_core::oauth;
use symbolon_core::path::MountPath;

use super::*;
use crate::access::Requester;
use crate::access::mounts::{Enable, MountList, Mounts, new_mount};
use crate::audit::writer::tests::HandClock;
use crate::auth::roles::{config_place, role_place};
use crate::auth::signer::{LocalKey, Signer};
use crate::remote::Leases;
use crate::store::Expect;
use crate::store::memory::MemoryStore;
use crate::testing::{Away, Ground, unsealed};

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "https://symbolon.test";
/// What tests ask for; only roles whose name ends in `9` allow it.
const AUDIENCE: &str = "https://payments.test";

/// A login mount with many roles, of which some admit the bearer.
struct World {
    session: Arc<Session>,
    clock: Arc<HandClock>,
    key: LocalKey,
    mount: Mount,
}

impl World {
    async fn new(kind: &str) -> Self {
        let clock = Arc::new(HandClock(AtomicU64::new(NOW * 1000)));
        let ground = Ground {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::clone(&clock) as _,
            unsealed: Arc::new(unsealed()),
            shape: Arc::default(),
        };
        let keys = ground.keys(Arc::new(Away), Leases::default());
        let spec = Enable { kind: kind.to_owned(), ..Enable::default() };
        let mount = new_mount(MountPath::parse(kind).unwrap(), spec);
        let mounts = Mounts { logins: MountList(vec![mount.clone()]), ..Mounts::default() };
        let session = ground.session(keys, mounts).await;
        let key = LocalKey::from_pkcs8(&LocalKey::generate().unwrap()).unwrap();
        Self { session, clock, key, mount }
    }

    fn jwks(&self) -> String {
        let (x, y) = self.key.coordinates().unwrap();
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]}).to_string()
    }

    async fn put<C: serde::Serialize, R: Role>(&self, config: &C, roles: Vec<R>) {
        let rows = &self.session.rows;
        let mut changes = vec![rows.put(config_place(&self.mount), config, Expect::Any).unwrap()];
        for role in roles {
            let name = RoleName::parse(role.name()).unwrap();
            changes.push(rows.put(role_place(&self.mount, &name), &role, Expect::Any).unwrap());
        }
        rows.store().commit(changes).await.unwrap();
    }

    async fn sign(&self, claims: &Value) -> String {
        let [header, claims] = [json!({"alg": "ES256", "kid": "k"}), claims.clone()]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.key.sign(signed.as_bytes()).await.unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The role that was found for evidence, and how many signatures that took.
    async fn identify(&self, evidence: &str) -> (Option<String>, usize) {
        let verified = &self.session.of::<LoginKeys>().asked;
        let before = verified.load(Ordering::Relaxed);
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", evidence),
            ("audience", AUDIENCE),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = oauth::parse(&form).unwrap();
        let parameters = symbolon_core::json::Map::new();
        let who = Requester {
            token: None,
            request_id: "test",
            remote: None,
            parameters: &parameters,
            wrap_ttl_secs: 0,
        };
        let found = identify(&who.of(&self.session), ISSUER, &request).await.unwrap();
        let role = found.map(|admitted| admitted.identity.meta()["role"].clone());
        (role, verified.load(Ordering::Relaxed) - before)
    }
}

fn claims(subject: &str, audience: &str) -> Value {
    json!({"iss": "https://ci.test", "sub": subject, "aud": audience, "iat": NOW, "exp": NOW + 600})
}

fn workload(name: &str) -> Value {
    let audiences: &[&str] = if name.ends_with('9') { &[AUDIENCE] } else { &[] };
    json!({"audiences": audiences, "scopes": []})
}

/// `r09` admits the bearer and allows the audience; `r19` would, had it not a subject of its own.
fn jwt_role(number: usize) -> JwtRole {
    let name = format!("r{number:02}");
    let subject = if number == 9 || number.is_multiple_of(2) { "build" } else { "somebody else" };
    let role = json!({
        "name": name, "user_claim": "sub", "bound_audiences": [ISSUER], "bound_subject": subject,
        "workload": workload(&name), "expiration_leeway": if number == 9 { 90 } else { 0 },
    });
    serde_json::from_value(role).unwrap()
}

fn kubernetes_role(number: usize) -> KubernetesRole {
    let name = format!("r{number:02}");
    let account = if number == 9 { "build" } else { "somebody-else" };
    let role = json!({
        "name": name, "bound_service_account_names": [account], "bound_service_account_namespaces": ["ci"],
        "audience": ISSUER, "workload": workload(&name),
    });
    serde_json::from_value(role).unwrap()
}

#[tokio::test]
async fn one_signature_is_verified_for_all_roles_of_an_oidc_mount() {
    let world = World::new("jwt").await;
    let config = JwtConfig { jwks: world.jwks(), ..JwtConfig::default() };
    world.put(&config, (0..20).map(jwt_role).collect()).await;
    let evidence = world.sign(&claims("build", ISSUER)).await;
    assert_eq!(world.identify(&evidence).await, (Some("r09".to_owned()), 1));
    assert_eq!(world.identify(&format!(" {evidence}\r\n")).await.0, Some("r09".to_owned()), "from a file");
    let of_nobody = world.sign(&claims("nobody", ISSUER)).await;
    assert_eq!(world.identify(&of_nobody).await, (None, 1));
    let for_others = world.sign(&claims("build", "https://other.test")).await;
    assert_eq!(world.identify(&for_others).await, (None, 1));
    assert_eq!(world.identify(&evidence.replace('.', ".A")).await, (None, 1));
}

/// The signature is common to them, the leeways are not.
#[tokio::test]
async fn each_role_judges_the_times_by_its_own_leeway() {
    let world = World::new("jwt").await;
    let config = JwtConfig { jwks: world.jwks(), ..JwtConfig::default() };
    world.put(&config, (0..20).map(jwt_role).collect()).await;
    let evidence = world.sign(&claims("build", ISSUER)).await;
    let at = |secs: u64| world.clock.0.store(secs * 1000, Ordering::Relaxed);
    at(NOW + 600 + 89);
    assert_eq!(world.identify(&evidence).await.0, Some("r09".to_owned()), "90 s of leeway");
    at(NOW + 600 + 90);
    assert_eq!(world.identify(&evidence).await.0, None);
    assert_eq!(world.clock.now().unix_secs(), NOW + 690);
}

#[tokio::test]
async fn one_signature_is_verified_for_all_roles_of_a_cluster() {
    let world = World::new("kubernetes").await;
    let config = KubernetesConfig { jwks: world.jwks(), ..KubernetesConfig::default() };
    world.put(&config, (0..20).map(kubernetes_role).collect()).await;
    let mut claims = claims("system:serviceaccount:ci:build", ISSUER);
    claims["kubernetes.io"] = json!({"namespace": "ci", "serviceaccount": {"name": "build", "uid": "u"}});
    let evidence = world.sign(&claims).await;
    assert_eq!(world.identify(&evidence).await, (Some("r09".to_owned()), 1));
}
