//! `symbolon dev`: a whole deployment for an afternoon.

use std::io::Write as _;
use std::net::SocketAddr;

use clap::Args;
use serde_json::json;
use symbolon_cli::Operator;
use symbolon_cli::demo::estate::{self, AppRole, MOUNT};
use symbolon_cli::demo::world::{Pace, World, WorldError};
use symbolon_cli::eso::{ExternalSecret, Store, StoreAuth};
use symbolon_cli::{InitAnswer, InitRequest};

use super::stop_signal;
use crate::failure::Failure;

/// As the servers have them when nobody configures otherwise.
const PACE: Pace = Pace { lease_secs: 3600, heartbeat_secs: 60 };
const CUSTODIANS: [&str; 3] = ["ana", "boris", "carla"];

/// `symbolon dev`
#[derive(Args)]
pub struct Dev {
    /// Where the broker listens; its certificate is for 127.0.0.1, ::1 and localhost
    #[arg(long, default_value = "127.0.0.1:8200", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
}

impl Dev {
    pub async fn run(self) -> Result<(), Failure> {
        let mut world = World::new(PACE, Some(self.listen)).map_err(failure)?;
        let answer = start(&mut world).await.map_err(failure)?;
        let root = world.client_as(answer.root_token.expose())?;
        let role = furnish(&root).await?;
        describe(&world, &answer, &role)?;
        let _ = stop_signal().await; // if signals cannot be heard, stopping at once is the safe side
        writeln!(std::io::stderr().lock(), "\nstopping; everything of this deployment is deleted")?;
        world.stop_broker().await.map_err(failure)?;
        world.stop_fragment().await.map_err(failure)
    }
}

async fn start(world: &mut World) -> Result<InitAnswer, WorldError> {
    world.start_fragment().await?;
    world.start_broker(true).await?;
    let request = InitRequest {
        secret_shares: 3,
        secret_threshold: 2,
        custodians: CUSTODIANS.map(str::to_owned).to_vec(),
        cards: Vec::new(),
        recovery: "none".to_owned(),
        await_receipt: false,
    };
    let (answer, _) = world.init(&request).await?;
    let client = world.client()?;
    for share in answer.shares.iter().take(2) {
        client.unseal(share.expose()).await?;
    }
    Ok(answer)
}

/// What tutorials assume: KV 2 at secret/, and a role for ESO.
async fn furnish(root: &Operator) -> Result<AppRole, Failure> {
    root.mount(MOUNT, &json!({ "type": "kv", "options": { "version": "2" } })).await?;
    root.policies().write("eso", "path \"secret/data/*\" {\n  capabilities = [\"read\"]\n}\n").await?;
    let role = estate::prepare_approle(root).await?;
    let example =
        serde_json::Map::from_iter([("password".to_owned(), json!("correct horse battery staple"))]);
    root.kv(MOUNT).put("example/database", &symbolon::SecretData::new(example), symbolon::Cas::Any).await?;
    Ok(role)
}

fn describe(world: &World, answer: &InitAnswer, role: &AppRole) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let (address, ca_file, token) = (world.broker_url(), world.ca_file(), answer.root_token.expose());
    writeln!(out, "A broker and a fragment service run in this process, open and for trying out only.\n")?;
    writeln!(out, "  address   {address}")?;
    writeln!(out, "  CA file   {}", ca_file.display())?;
    writeln!(out, "  token     {token}")?;
    writeln!(out, "  remote    {}", world.fragment_url())?;
    writeln!(out, "  log key   {}", answer.log_key)?;
    for (name, share) in CUSTODIANS.iter().zip(&answer.shares) {
        writeln!(out, "  share     {}  {name}", share.expose())?;
    }
    writeln!(out, "\nIn another terminal:\n")?;
    writeln!(out, "export SYMBOLON_ADDR={address}")?;
    writeln!(out, "export SYMBOLON_CACERT={}", ca_file.display())?;
    writeln!(out, "export SYMBOLON_TOKEN={token}")?;
    writeln!(out, "symbolon kv get secret/example/database")?;
    writeln!(out, "symbolon kv put secret/team/app password=-")?;
    writeln!(out, "symbolon operator seal; symbolon operator unseal")?;
    writeln!(out, "symbolon audit verify --key '{}'", answer.log_key)?;
    writeln!(out, "\nFor clients of Vault and OpenBao:\n")?;
    writeln!(out, "export VAULT_ADDR={address} VAULT_CACERT={} VAULT_TOKEN={token}", ca_file.display())?;
    writeln!(out, "\nFor the External Secrets Operator, on a cluster that reaches this address:\n")?;
    writeln!(
        out,
        "kubectl -n external-secrets create secret generic symbolon-approle --from-literal=secret-id={}",
        role.secret_id.as_str()
    )?;
    writeln!(out, "kubectl apply -f - <<'YAML'\n{}YAML", manifests(world, role))?;
    writeln!(out, "\nCtrl-C stops everything and deletes it.")?;
    Ok(out.flush()?)
}

fn manifests(world: &World, role: &AppRole) -> String {
    let store = Store {
        name: "symbolon".to_owned(),
        namespace: None,
        credentials_namespace: Some("external-secrets".to_owned()),
        server: world.broker_url(),
        mount: MOUNT.to_owned(),
        ca_pem: Some(world.ca_pem().as_bytes().to_vec()),
        auth: StoreAuth::AppRole {
            mount: "approle".to_owned(),
            role_id: role.role_id.clone(),
            secret: "symbolon-approle".to_owned(),
        },
    };
    let secret = ExternalSecret {
        name: "example".to_owned(),
        namespace: "default".to_owned(),
        refresh_interval: "1m0s".to_owned(),
        data: vec![("password".to_owned(), "example/database".to_owned(), Some("password".to_owned()))],
    };
    format!("{}---\n{}", store.to_yaml(), secret.to_yaml(&store))
}

fn failure(error: WorldError) -> Failure {
    Failure::general("the development deployment failed")
        .because(&error)
        .hint("if the address is taken, choose another with --listen 127.0.0.1:8201")
}
