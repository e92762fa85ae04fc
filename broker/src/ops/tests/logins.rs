//! Every way to a token, from where the role lets it and from elsewhere.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use symbolon_core::identity::approle::SecretIdRequest;
use symbolon_core::identity::jwt_role::{JwtConfig, JwtRole};
use symbolon_core::identity::kubernetes::{KubernetesConfig, KubernetesRole};
use symbolon_core::identity::userpass::{PasswordCost, PasswordHash, User};
use symbolon_core::oauth::{OAuthError, TokenRequest};
use symbolon_core::path::UserName;

use super::*;
use crate::access::tokens::IssuedToken;
use crate::auth::signer::{LocalKey, Signer};
use crate::auth::workload::{self, WorkloadError};
use crate::auth::{jwt, kubernetes, userpass};

const NOW: u64 = 1_709_210_096;
const ISSUER: &str = "https://symbolon.test";
/// Longest life of tokens of the mounts, in seconds.
const MOUNT_MAX_SECS: u64 = 600;
const PASSWORD: &str = "correct horse";
pub(super) const INSIDE: &str = "10.1.1.1";
const OUTSIDE: [Option<&str>; 3] = [Some("11.1.1.1"), Some("2001:db8::1"), None];

/// A broker with one mount of each method, whose one role is bound to 10.0.0.0/8 and gives service tokens.
pub(super) struct House {
    pub(super) bench: Bench,
    issuer: LocalKey,
    secret_id: Zeroizing<String>,
}

/// Parameters of every role.
fn token() -> Value {
    json!({"token_bound_cidrs": ["10.0.0.0/8"], "token_type": "service"})
}

fn parsed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl House {
    pub(super) async fn new() -> Self {
        let bench = Bench::new().await;
        for kind in ["approle", "jwt", "kubernetes", "userpass"] {
            let spec = Enable { kind: kind.to_owned(), max_ttl_secs: MOUNT_MAX_SECS, ..Enable::default() };
            let path = MountPath::parse(kind).unwrap();
            bench.as_root(async |who| mount::enable(&who, Side::Logins, path, spec).await).await.unwrap();
        }
        let issuer = LocalKey::from_pkcs8(&LocalKey::generate().unwrap()).unwrap();
        let mut house = Self { bench, issuer, secret_id: Zeroizing::default() };
        house.add_issuers().await;
        house.add_people().await;
        house
    }

    fn mount(&self, kind: &str) -> Mount {
        self.bench.session.mounts().logins.at(&MountPath::parse(kind).unwrap()).unwrap().clone()
    }

    async fn put<R: roles::Role>(&self, kind: &str, name: &str, role: R) {
        let (mount, name) = (self.mount(kind), RoleName::parse(name).unwrap());
        let edit = |_: Option<R>| Ok::<_, OpError>(role);
        self.bench.as_root(async |who| roles::edit_role(&who, &mount, &name, edit).await).await.unwrap();
    }

    /// Makes the test's key the one of the mounts that verify evidence.
    async fn add_issuers(&self) {
        let (x, y) = self.issuer.coordinates().unwrap();
        let (x, y) = (base64(x), base64(y));
        let key =
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "k", "x": x, "y": y});
        let jwks = json!({"keys": [key]}).to_string();
        let config = JwtConfig { jwks: jwks.clone(), ..JwtConfig::default() };
        self.configure("jwt", config).await;
        self.configure("kubernetes", KubernetesConfig { jwks, ..KubernetesConfig::default() }).await;
        let workload = json!({"audiences": ["https://api.test"]});
        let role = json!({
            "name": "r", "user_claim": "sub", "bound_audiences": [ISSUER], "token": token(),
            "workload": workload,
        });
        self.put("jwt", "r", parsed::<JwtRole>(role)).await;
        let role = json!({
            "name": "r", "bound_service_account_names": ["eso"],
            "bound_service_account_namespaces": ["apps"], "audience": ISSUER, "token": token(),
            "workload": workload,
        });
        self.put("kubernetes", "r", parsed::<KubernetesRole>(role)).await;
    }

    async fn configure<C: roles::Config>(&self, kind: &str, config: C) {
        let mount = self.mount(kind);
        let write =
            async |who: Asker<'_>| roles::write_config(&who, &mount, &config, roles::Proof::Needed).await;
        assert_eq!(self.bench.as_root(write).await.unwrap(), Vec::<String>::new());
    }

    async fn add_people(&mut self) {
        let password = PasswordHash::with_salt(PASSWORD, [7; 16], PasswordCost::default()).unwrap();
        let user = User { name: UserName::parse("ana").unwrap(), password, token: parsed(token()) };
        self.put("userpass", "ana", user).await;
        let role = json!({"name": "r", "role_id": "id", "bind_secret_id": true, "token": token()});
        self.put("approle", "r", parsed::<AppRole>(role)).await;
        let (mount, name) = (self.mount("approle"), RoleName::parse("r").unwrap());
        let wanted = SecretIdRequest::default();
        let make =
            async |who: Asker<'_>| auth::approle::create_secret_id(&who, &mount, &name, &wanted, None).await;
        self.secret_id = self.bench.as_root(make).await.unwrap().secret_id;
    }

    async fn sign(&self, claims: Value) -> String {
        let header = base64(r#"{"alg":"ES256","typ":"JWT","kid":"k"}"#);
        let signed = format!("{header}.{}", base64(claims.to_string()));
        let signature = self.issuer.sign(signed.as_bytes()).await.unwrap();
        format!("{signed}.{}", base64(signature))
    }

    async fn evidence(&self, kind: &str) -> String {
        let mut claims = json!({"iss": "i", "sub": "alice", "aud": ISSUER, "iat": NOW - 5, "exp": NOW + 600});
        if kind == "kubernetes" {
            claims["sub"] = json!("system:serviceaccount:apps:eso");
            claims["kubernetes.io"] =
                json!({"namespace": "apps", "serviceaccount": {"name": "eso", "uid": "u"}});
        }
        self.sign(claims).await
    }

    async fn from<T>(&self, remote: Option<&str>, ask: impl AsyncFnOnce(Asker<'_>) -> T) -> T {
        let parameters = Map::new();
        let remote: Option<IpAddr> = remote.map(|text| text.parse().unwrap());
        let who =
            Requester { token: None, request_id: "test", remote, parameters: &parameters, wrap_ttl_secs: 0 };
        ask(who.of(&self.bench.session)).await
    }

    pub(super) async fn log_in(&self, kind: &str, remote: Option<&str>) -> Result<IssuedToken, OpError> {
        let mount = self.mount(kind);
        let evidence = self.evidence(kind).await;
        self.from(remote, async |who| match kind {
            "approle" => auth::approle::login(&who, &mount, "id", &self.secret_id).await,
            "jwt" => jwt::log_in(&who, &mount, "r", &evidence).await,
            "kubernetes" => kubernetes::log_in(&who, &mount, "r", &evidence).await,
            _ => userpass::log_in(&who, &mount, "ana", Zeroizing::new(PASSWORD.to_owned())).await,
        })
        .await
    }

    /// Asks for a workload token, by both grants. There are no keys here to sign one, so whoever is admitted
    /// hears of that.
    async fn present(&self, kind: &str, remote: Option<&str>) -> [WorkloadError; 2] {
        let evidence = self.evidence(kind).await;
        let pairs = [
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
                ("subject_token", &evidence),
            ][..],
            &[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", &evidence)],
        ];
        let ask = async |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().chain(&[("audience", "https://api.test")]);
            let pairs: Vec<_> = pairs.map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let request: TokenRequest = symbolon_core::oauth::parse(&pairs).unwrap();
            let issue = async |who: Asker<'_>| workload::issue(&who, ISSUER, &request).await;
            self.from(remote, issue).await.err().unwrap()
        };
        [ask(pairs[0]).await, ask(pairs[1]).await]
    }
}

#[tokio::test]
async fn every_login_keeps_the_addresses_of_its_role() {
    let house = House::new().await;
    for kind in ["approle", "jwt", "kubernetes", "userpass"] {
        let issued = house.log_in(kind, Some(INSIDE)).await.unwrap();
        assert_eq!(issued.caller.bound_cidrs.to_texts(), ["10.0.0.0/8"], "{kind}");
        for outside in OUTSIDE {
            let refused = house.log_in(kind, outside).await.err().unwrap();
            match kind {
                // The one text that every refused login of these gets.
                "approle" | "userpass" => assert!(matches!(refused, OpError::Refused(_)), "{kind}"),
                _ => assert!(matches!(refused, OpError::Unauthenticated(_)), "{kind}: {refused:?}"),
            }
        }
    }
}

#[tokio::test]
async fn workload_tokens_keep_the_addresses_of_their_role() {
    let house = House::new().await;
    for kind in ["jwt", "kubernetes"] {
        for error in house.present(kind, Some(INSIDE)).await {
            assert!(matches!(error, WorkloadError::Op(_)), "{kind}: {error:?}");
        }
        for outside in OUTSIDE {
            for error in house.present(kind, outside).await {
                assert!(
                    matches!(error, WorkloadError::OAuth(OAuthError::InvalidGrant)),
                    "{kind} from {outside:?}: {error:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_renewal_keeps_the_longest_life_of_its_mount() {
    let house = House::new().await;
    let issued = house.log_in("userpass", Some(INSIDE)).await.unwrap();
    assert_eq!(issued.ttl_secs, MOUNT_MAX_SECS);
    let accessor = issued.caller.accessor.unwrap();
    let which = token::Which::Accessor(&accessor);
    let renewal = house.bench.as_root(async |who| token::renew(&who, which, 9000).await).await.unwrap();
    assert_eq!(renewal.ttl_secs, MOUNT_MAX_SECS, "not the system's longest");
}
