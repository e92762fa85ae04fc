//! Configurations of login mounts, which are shown to be true when they are written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use symbolon_core::identity::jwt_role::JwtConfig;
use symbolon_core::identity::kubernetes::KubernetesConfig;

use super::*;
use crate::auth::roles::Proof;
use crate::auth::signer::LocalKey;
use crate::testing::{Https, ok};

/// The issuer that documents of the server name, whatever its port.
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

fn jwks() -> String {
    let key = LocalKey::from_pkcs8(&LocalKey::generate().unwrap()).unwrap();
    let (x, y) = key.coordinates().unwrap();
    let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]}).to_string()
}

/// An issuer at the server's own address below `/mine`, an API server, and documents that are of no use.
async fn issuer() -> Https {
    let jwks = jwks();
    Https::start(move |path| match path {
        "/keys" | "/openid/v1/jwks" => ok(&jwks),
        "/empty" => ok(r#"{"keys":[]}"#),
        "/.well-known/openid-configuration" => ok(&json!({ "issuer": ISSUER }).to_string()),
        _ => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    })
    .await
}

struct Scene {
    bench: Bench,
    issuer: Https,
}

impl Scene {
    async fn new() -> Self {
        let bench = Bench::new().await;
        for kind in ["jwt", "kubernetes"] {
            let spec = Enable { kind: kind.to_owned(), ..Enable::default() };
            let path = MountPath::parse(kind).unwrap();
            bench.as_root(async |who| mount::enable(&who, Side::Logins, path, spec).await).await.unwrap();
        }
        Self { bench, issuer: issuer().await }
    }

    fn mount(&self, kind: &str) -> Mount {
        self.bench.session.mounts().logins.at(&MountPath::parse(kind).unwrap()).unwrap().clone()
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.issuer.port)
    }

    async fn write<C: roles::Config>(
        &self,
        kind: &str,
        config: &C,
        proof: Proof,
    ) -> Result<Vec<String>, OpError> {
        let mount = self.mount(kind);
        self.bench.as_root(async |who| roles::write_config(&who, &mount, config, proof).await).await
    }

    /// Refused with these words, and not stored.
    async fn refused<C: roles::Config>(&self, kind: &str, config: &C, proof: Proof, words: &str) {
        let error = self.write(kind, config, proof).await.unwrap_err();
        assert!(matches!(error, OpError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{words}: {error}");
        let mount = self.mount(kind);
        let place =
            Place { tenant: TenantId::SYSTEM, table: roles::CONFIGS, scope: mount.id, group: "", name: "" };
        let stored = self.bench.session.rows.read::<C>(place).await.unwrap();
        assert!(stored.is_none(), "{words}: nothing was stored");
    }

    fn by_url(&self, path: &str) -> JwtConfig {
        let (jwks_url, jwks_ca_pem) = (self.url(path), self.issuer.ca_pem.clone());
        JwtConfig { jwks_url, jwks_ca_pem, ..JwtConfig::default() }
    }

    fn cluster(&self) -> KubernetesConfig {
        KubernetesConfig {
            kubernetes_host: self.url(""),
            kubernetes_ca_cert: self.issuer.ca_pem.clone(),
            ..KubernetesConfig::default()
        }
    }
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_refused_when_they_are_configured() {
    let scene = Scene::new().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = JwtConfig { jwks_url: format!("https://{nobody}/keys"), ..scene.by_url("/keys") };
    scene.refused("jwt", &down, Proof::Needed, "skip_jwks_validation").await;
    scene.refused("jwt", &scene.by_url("/elsewhere"), Proof::Needed, "status 503").await;
    scene.refused("jwt", &scene.by_url("/empty"), Proof::Later, "no usable key").await;
    let foreign = JwtConfig { jwks_ca_pem: Https::start(ok).await.ca_pem, ..scene.by_url("/keys") };
    scene.refused("jwt", &foreign, Proof::Needed, "certificate is not accepted").await;
    let no_pem = JwtConfig { jwks_ca_pem: "ca.crt".to_owned(), ..scene.by_url("/keys") };
    scene.refused("jwt", &no_pem, Proof::Later, "not readable PEM").await;
    let discovery = JwtConfig {
        oidc_discovery_url: scene.url(""),
        oidc_discovery_ca_pem: scene.issuer.ca_pem.clone(),
        ..JwtConfig::default()
    };
    scene.refused("jwt", &discovery, Proof::Later, "does not name the configured issuer").await;
    let pasted = JwtConfig { jwks: r#"{"keys":[]}"#.to_owned(), ..JwtConfig::default() };
    scene.refused("jwt", &pasted, Proof::Later, "no usable key").await;

    let cluster = scene.cluster();
    let down = KubernetesConfig { kubernetes_host: format!("https://{nobody}"), ..cluster.clone() };
    scene.refused("kubernetes", &down, Proof::Needed, "no connection").await;
    let no_pem = KubernetesConfig { kubernetes_ca_cert: "x".to_owned(), jwks: jwks(), ..cluster.clone() };
    scene.refused("kubernetes", &no_pem, Proof::Needed, "not readable PEM").await;
    let other = KubernetesConfig {
        issuer: "https://other.test".to_owned(),
        disable_iss_validation: false,
        ..cluster.clone()
    };
    scene.refused("kubernetes", &other, Proof::Later, "does not name the configured issuer").await;
    assert_eq!(scene.write("kubernetes", &cluster, Proof::Needed).await, Ok(Vec::new()));
    let enforced = KubernetesConfig { issuer: ISSUER.to_owned(), ..other };
    assert_eq!(scene.write("kubernetes", &enforced, Proof::Needed).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_configuration_can_be_stored_before_its_issuer_answers() {
    let scene = Scene::new().await;
    let early = scene.by_url("/elsewhere");
    let warnings = scene.write("jwt", &early, Proof::Later).await.unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("status 503"), "{warnings:?}");
    let mount = scene.mount("jwt");
    assert!(roles::standing(&scene.bench.session, &mount, &early).await.is_some());
    let config = scene.by_url("/keys");
    assert_eq!(scene.write("jwt", &config, Proof::Later).await, Ok(Vec::new()));
    assert!(roles::standing(&scene.bench.session, &mount, &config).await.is_none());
}

/// An attempt costs the issuer nothing before a policy allows it.
#[tokio::test]
async fn nobody_is_asked_for_whoever_may_not_configure() {
    let scene = Scene::new().await;
    let (mount, config) = (scene.mount("jwt"), scene.by_url("/keys"));
    let token = scene.bench.token_with(r#"path "auth/jwt/config" { capabilities = ["read"] }"#).await;
    let write = async |who: Asker<'_>| roles::write_config(&who, &mount, &config, Proof::Needed).await;
    assert_eq!(scene.bench.ask(&token, write).await, Err(OpError::DENIED));
    assert_eq!(scene.issuer.came(), 0);
}
