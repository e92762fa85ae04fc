//! A whole site for tests: fragment service and broker, initialised, with clients that send whatever a test
//! wants.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use serde_json::{Value, json};
use symbolon::Client;
use symbolon_broker::run::RunError;
use symbolon_broker::store::StoreError;
use symbolon_cli::demo::cluster::Cluster;
use symbolon_cli::demo::world::{LOOK_AGAIN, Pace, World, WorldError, until};
use symbolon_cli::{InitRequest, Operator};
use symbolon_kms_fragment::Service;
use symbolon_proto::Zeroizing;
use tokio::runtime::Runtime;

/// Leases that outlive every test, and heartbeats that nobody waits for.
pub const CALM: Pace = Pace { lease_secs: 600, heartbeat_secs: 60 };
/// Leases that a test can watch ending.
pub const BRISK: Pace = Pace { lease_secs: 3, heartbeat_secs: 1 };

/// Who holds a share.
pub const CUSTODIANS: [&str; 3] = ["ana", "boris", "carla"];

/// Mount of the secrets.
pub const MOUNT: &str = "secret";

/// Everything that runs, and what its operators know.
pub struct Site {
    pub world: World,
    pub shares: Vec<Zeroizing<String>>,
    pub root: String,
    pub log_key: String,
    /// Signs the tokens of [`Self::machine_login`].
    pub cluster: Cluster,
    /// A machine token, once a test has logged in.
    pub machine_token: String,
    http: reqwest::Client,
}

/// An answer, whatever its status.
pub struct Got {
    pub status: u16,
    pub headers: String,
    pub text: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text))
    }

    /// The status if it is the wanted one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl Site {
    /// A fragment service and a broker that two of three custodians can open.
    pub async fn sealed(pace: Pace) -> Self {
        let mut world = World::new(pace, None).unwrap();
        world.start_fragment().await.unwrap();
        world.start_broker(true).await.unwrap();
        Self::initialise(world).await
    }

    /// Initialises the broker of a world in which both servers run.
    pub async fn initialise(world: World) -> Self {
        let base = world.broker_url();
        Self::initialise_at(world, &base).await
    }

    /// Initialises a broker at another address, on the world's fragment service. The test plays both
    /// operators.
    pub async fn initialise_at(world: World, base: &str) -> Self {
        let service = Arc::clone(world.service().unwrap());
        Self::initialise_with(world, base, &[service]).await
    }

    /// Initialises a broker on these fragment services, for custodians without cards.
    pub async fn initialise_with(world: World, base: &str, services: &[Arc<Service>]) -> Self {
        let request = InitRequest::two_of_people(&CUSTODIANS);
        Self::initialise_for(world, base, services, &request).await.0
    }

    /// Initialises a broker as asked. The operators of the services approve what the broker's reads out,
    /// nothing else. Answers the parcels of custodians with cards, too.
    pub async fn initialise_for(
        world: World,
        base: &str,
        services: &[Arc<Service>],
        request: &InitRequest,
    ) -> (Self, Vec<String>) {
        let client: Operator = Client::builder(base)
            .ca_pem(world.ca_pem().as_bytes())
            .retry_within(Duration::ZERO)
            .build()
            .unwrap()
            .into();
        let approving = async {
            loop {
                let read_out = client.seal_status().await.unwrap().fact("enrolling").unwrap_or_default();
                for service in services {
                    if service.pending().iter().any(|waiting| waiting.fingerprint == read_out) {
                        service.approve(&read_out.parse().unwrap(), false).unwrap();
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let answer = tokio::select! {
            answer = client.init(request) => answer.unwrap(),
            () = approving => unreachable!("approving goes on until init answers"),
        };
        let ca = reqwest::Certificate::from_pem(world.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        let site = Self {
            shares: answer.shares_text().unwrap(),
            root: answer.root_token.expose().to_owned(),
            log_key: answer.log_key.clone(),
            cluster: Cluster::generate().unwrap(),
            machine_token: String::new(),
            world,
            http,
        };
        (site, answer.parcels)
    }

    /// The same, unsealed and with a secrets engine at [`MOUNT`].
    pub async fn open(pace: Pace) -> Self {
        let site = Self::sealed(pace).await;
        site.begin().await;
        site
    }

    /// The first unseal, and a secrets engine at [`MOUNT`].
    pub async fn begin(&self) {
        self.unseal().await;
        let engine = json!({ "type": "kv", "options": { "version": "2" } });
        self.root_put(&format!("sys/mounts/{MOUNT}"), &engine).await.expect(204);
    }

    /// Two custodians give their shares.
    pub async fn unseal(&self) {
        for share in &self.shares[..2] {
            self.client().unseal(share).await.unwrap();
        }
        assert!(!self.client().seal_status().await.unwrap().sealed);
    }

    /// Two custodians try to. Whether it is open now.
    pub async fn try_unseal(&self) -> bool {
        for share in &self.shares[..2] {
            drop(self.client().unseal(share).await);
        }
        !self.client().seal_status().await.unwrap().sealed
    }

    /// Stops the broker and starts it again on the same store; it is sealed then. `meanwhile` happens in
    /// between.
    pub async fn restart(&mut self, meanwhile: impl AsyncFnOnce(&World)) {
        self.world.stop_broker().await.unwrap();
        meanwhile(&self.world).await;
        self.start_again().await;
    }

    /// Starts the broker. Tasks of the one before may hold the store for a moment after it has stopped
    /// serving.
    pub async fn start_again(&mut self) {
        for _ in 0..500 {
            match self.world.start_broker(false).await {
                Err(WorldError::Broker(RunError::Store { source: StoreError::Locked, .. })) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                started => return started.unwrap(),
            }
        }
        panic!("the broker that was stopped still holds its store");
    }

    /// The project's own client, without a token.
    pub fn client(&self) -> Operator {
        self.world.client().unwrap()
    }

    /// Any request below `/v1/`; `path` must survive a URL parser (see [`Self::send_raw`] for those that do
    /// not).
    pub async fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> Got {
        let url = format!("{}/v1/{path}", self.world.broker_url());
        let mut request = self.http.request(method.parse().unwrap(), url).body(body.to_owned());
        if !token.is_empty() {
            request = request.header("X-Vault-Token", token);
        }
        self.send(request).await
    }

    /// A request that the test puts together itself.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.request_to(&self.world.broker_url(), method, path)
    }

    /// The same to another broker of this world's CA.
    pub fn request_to(&self, base: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{base}/{path}"))
    }

    /// The same from another address of this machine.
    pub fn request_from(&self, source: IpAddr, method: &str, path: &str) -> reqwest::RequestBuilder {
        let ca = reqwest::Certificate::from_pem(self.world.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).local_address(source).build().unwrap();
        http.request(method.parse().unwrap(), format!("{}/{path}", self.world.broker_url()))
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Got {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = format!("{:?}", response.headers());
        Got { status, headers, text: response.text().await.unwrap() }
    }

    pub async fn get(&self, path: &str, token: &str) -> Got {
        self.ask("GET", path, token, "").await
    }

    pub async fn root_get(&self, path: &str) -> Got {
        self.get(path, &self.root).await
    }

    pub async fn root_put(&self, path: &str, body: &Value) -> Got {
        self.ask("PUT", path, &self.root, &body.to_string()).await
    }

    /// Writes a secret with one field `value`.
    pub async fn write(&self, name: &str, value: &str) {
        self.root_put(&format!("{MOUNT}/data/{name}"), &json!({ "data": { "value": value } }))
            .await
            .expect(200);
    }

    /// Reads what [`Self::write`] wrote.
    pub async fn read(&self, name: &str) -> Got {
        self.root_get(&format!("{MOUNT}/data/{name}")).await
    }

    /// A service token that has the given policy and nothing else.
    pub async fn token_with(&self, name: &str, policy: &str) -> String {
        self.root_put(&format!("sys/policies/acl/{name}"), &json!({ "policy": policy })).await.expect(204);
        let wish = json!({ "policies": [name], "no_default_policy": true });
        let made = self.root_put("auth/token/create", &wish).await.expect(200).json();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// Lets the cluster's account `apps/reader` in, to read below `app/` with machine tokens.
    pub async fn prepare_machines(&self) {
        let policy = r#"path "secret/data/app/*" { capabilities = ["read"] }"#;
        self.root_put("sys/policies/acl/reader", &json!({ "policy": policy })).await.expect(204);
        self.root_put("sys/auth/kubernetes", &json!({ "type": "kubernetes" })).await.expect(204);
        let config =
            json!({ "kubernetes_host": "https://unused.invalid", "pem_keys": [self.cluster.public_pem()] });
        self.root_put("auth/kubernetes/config", &config).await.expect(204);
        let role = json!({
            "bound_service_account_names": ["reader"], "bound_service_account_namespaces": ["apps"],
            "audience": "symbolon", "token_policies": ["reader"], "token_ttl": "10m", "token_type": "batch",
        });
        self.root_put("auth/kubernetes/role/reader", &role).await.expect(204);
    }

    /// A login with a fresh token of the cluster.
    pub async fn machine_login(&self) -> Got {
        let jwt =
            self.cluster.token("apps", "reader", "symbolon", jsonwebtoken::get_current_timestamp()).unwrap();
        let body = json!({ "role": "reader", "jwt": jwt.as_str() }).to_string();
        self.ask("PUT", "auth/kubernetes/login", "", &body).await
    }

    /// Waits until a read of a secret has this status; every other status must be one of `meanwhile`.
    pub async fn wait_for_read(&self, name: &str, status: u16, meanwhile: &[u16]) -> Got {
        let looking = until("the awaited answer to a read", || async {
            let got = self.read(name).await;
            assert!(got.status == status || meanwhile.contains(&got.status), "{}: {}", got.status, got.text);
            Ok((got.status == status).then_some(got))
        });
        looking.await.unwrap()
    }

    /// Waits until every capsule is under this epoch of the remote's key.
    pub async fn wait_for_rotation(&self, key_epoch: u32) {
        let waiting = until("the end of the re-wrap", || async {
            let status = self.root_get("sys/symbolon/rotation").await.expect(200).json();
            let last = &status["data"]["remote"]["last"];
            Ok((last["key_epoch"] == key_epoch && !last["finished"].is_null()).then_some(()))
        });
        waiting.await.unwrap();
    }

    /// A request whose target no library tidies.
    pub async fn send_raw(&self, method: &str, target: &str, token: &str) -> Got {
        self.send_raw_with(method, target, token, "").await
    }

    /// The same with a body.
    pub async fn send_raw_with(&self, method: &str, target: &str, token: &str, body: &str) -> Got {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: broker\r\nX-Vault-Token: {token}\r\n");
        let length = body.len();
        let request = format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        self.send_bytes(request.into_bytes()).await
    }

    /// Sends bytes as they are over TLS and reads the answer of HTTP/1.1.
    pub async fn send_bytes(&self, request: Vec<u8>) -> Got {
        self.send_bytes_with(rustls::crypto::aws_lc_rs::default_provider(), request).await
    }

    /// A request of a client that knows no hybrid group, with a JSON body.
    pub async fn ask_classically(&self, method: &str, path: &str, body: &str) -> Got {
        let head = format!("{method} /v1/{path} HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups.retain(|group| group.name() != rustls::NamedGroup::X25519MLKEM768);
        self.send_bytes_with(provider, request.into_bytes()).await
    }

    async fn send_bytes_with(&self, provider: CryptoProvider, request: Vec<u8>) -> Got {
        let address = self.world.broker_url().replace("https://", "");
        let ca = self.world.ca_pem().to_owned();
        tokio::task::spawn_blocking(move || converse(provider, &address, &ca, &request)).await.unwrap()
    }
}

fn converse(provider: CryptoProvider, address: &str, ca: &str, request: &[u8]) -> Got {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(session, std::net::TcpStream::connect(address).unwrap());
    // A server that has heard enough answers and closes: neither half of the connection need end well.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Got { status, headers: head.to_owned(), text: body.to_owned() }
}

/// A site that the tests of a module share for as long as one of them runs, with a runtime of its own.
pub struct Shared {
    pub site: Site,
    runtime: Runtime,
}

/// Where a module keeps its shared site.
pub type Place = Mutex<Weak<Shared>>;

impl Shared {
    /// The site of a place; made by `make` if nobody uses it at the moment.
    pub fn of(place: &'static Place, make: impl Future<Output = Site>) -> Arc<Self> {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = place.upgrade() {
            return shared;
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shared = Arc::new(Self { site: runtime.block_on(make), runtime });
        *place = Arc::downgrade(&shared);
        shared
    }

    /// Runs a test.
    pub fn run<T>(&self, test: impl AsyncFnOnce(&Site) -> T) -> T {
        self.runtime.block_on(test(&self.site))
    }
}
