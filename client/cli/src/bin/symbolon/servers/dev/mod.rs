//! `symbolon dev`: a whole deployment for an afternoon.

mod kept;

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use symbolon_cli::Operator;
use symbolon_cli::demo::estate::{self, AppRole, MOUNT};
use symbolon_cli::demo::pki::ServerIdentity;
use symbolon_cli::demo::world::{Pace, World, WorldError, free_port};
use symbolon_cli::eso::{ExternalSecret, Store, StoreAuth};
use symbolon_cli::{InitAnswer, InitRequest};

use self::kept::Kept;
use crate::failure::Failure;
use crate::stop::Stop;

/// As the servers have them when nobody configures otherwise.
const PACE: Pace = Pace { lease_secs: 3600, heartbeat_secs: 60 };
/// Where Vault listens, too.
const PORT: u16 = 8200;
const CUSTODIANS: [&str; 3] = ["ana", "boris", "carla"];

/// `symbolon dev`
#[derive(Args)]
pub struct Dev {
    /// Where the broker listens; its certificate is for 127.0.0.1, ::1, localhost, this address and every
    /// --name. A cluster on this machine (kind, k3d) reaches 0.0.0.0
    #[arg(long, default_value = "127.0.0.1:8200", value_name = "ADDRESS[:PORT]", value_parser = listen)]
    listen: SocketAddr,
    /// Name or address under which others reach it, such as host.k3d.internal; give it several times for
    /// several
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,
    /// Keep everything in this directory, keys and token included: a second start opens the same secrets
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The port may be left out.
fn listen(text: &str) -> Result<SocketAddr, String> {
    let with_port = |ip: IpAddr| SocketAddr::from((ip, PORT));
    text.parse().or_else(|_| text.parse().map(with_port)).map_err(|_| "write it as 0.0.0.0:8200".to_owned())
}

/// A deployment that is open, and what its people know.
struct Open<'a> {
    world: &'a World,
    known: &'a Kept,
    /// Where others reach the broker.
    address: String,
    ending: String,
}

impl Dev {
    pub async fn run(self) -> Result<(), Failure> {
        let mut stop = Stop::new()?; // before there is anything that a signal could leave behind
        self.check()?;
        let (mut world, kept) = self.world()?;
        let lived = tokio::select! {
            lived = self.live(&mut world, kept) => lived,
            () = stop.asked() => Ok(()),
        };
        let end = if self.data.is_some() { "it is kept" } else { "everything of this deployment is deleted" };
        // Perhaps the terminal is gone. What was made goes all the same.
        let _ = writeln!(std::io::stderr().lock(), "\nstopping; {end}");
        let stopped = [world.stop_broker().await, world.stop_fragment().await, world.clear()];
        lived?;
        stopped.into_iter().collect::<Result<(), _>>().map_err(failure)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.listen.ip().is_unspecified() && self.names.is_empty() {
            return Err(Failure::usage("a name is needed: nobody asks for 0.0.0.0").hint(
                "give the name or address that others use with --name: host.k3d.internal for k3d; for kind the gateway \
                 of its network (`docker network inspect kind`)",
            ));
        }
        Ok(())
    }

    /// Names in the certificate, beside those of this machine.
    fn certified(&self) -> Vec<String> {
        let ip = self.listen.ip();
        let own = (!ip.is_loopback() && !ip.is_unspecified()).then(|| ip.to_string());
        self.names.iter().cloned().chain(own).collect()
    }

    /// The files of the deployment, new ones or those that are there.
    fn world(&self) -> Result<(World, Option<Kept>), Failure> {
        let fresh = || ServerIdentity::for_names("symbolon broker", &self.certified());
        let fresh = || fresh().map_err(|error| failure(error.into()));
        let Some(directory) = &self.data else {
            let world = World::passing(PACE, self.listen, fresh()?).map_err(failure)?;
            world.write_identity().map_err(failure)?;
            return Ok((world, None));
        };
        let kept = Kept::read(directory)?;
        let free =
            kept.as_ref().map(|kept| kept.fragment).filter(|address| TcpListener::bind(address).is_ok());
        let fragment = free.map_or_else(free_port, Ok)?;
        let named = |kept: &Kept| self.certified().iter().all(|name| kept.names.contains(name));
        if kept.as_ref().is_some_and(named) {
            let identity = kept::identity(directory)?;
            return Ok((World::kept(directory, PACE, self.listen, fragment, identity), kept));
        }
        if kept.is_some() {
            std::fs::remove_file(directory.join("broker.key"))?; // of the certificate for other names
        }
        let world = World::kept(directory, PACE, self.listen, fragment, fresh()?);
        world.write_identity().map_err(failure)?;
        Ok((world, kept))
    }

    /// Opens it, tells how to use it, and never ends by itself.
    async fn live(&self, world: &mut World, kept: Option<Kept>) -> Result<(), Failure> {
        let known = match kept {
            Some(kept) => self.reopen(world, kept).await?,
            None => self.begin(world).await?,
        };
        self.open(world, &known).describe()?;
        std::future::pending().await
    }

    async fn begin(&self, world: &mut World) -> Result<Kept, Failure> {
        let answer = start(world).await.map_err(failure)?;
        let root = world.client_as(answer.root_token.expose())?;
        let role = furnish(&root).await?;
        let known = Kept::new(&self.certified(), world.fragment_address(), &answer, &role);
        if let Some(directory) = &self.data {
            known.write(directory)?;
        }
        Ok(known)
    }

    async fn reopen(&self, world: &mut World, mut known: Kept) -> Result<Kept, Failure> {
        world.start_fragment().await.map_err(failure)?;
        world.start_broker(false).await.map_err(failure)?;
        let client = world.client()?;
        for share in known.shares.iter().take(2) {
            client.unseal(share).await?;
        }
        let new: Vec<_> = self.certified().into_iter().filter(|name| !known.names.contains(name)).collect();
        if !new.is_empty() {
            known.names = self.certified(); // those of the certificate that was made now
        }
        known.fragment = world.fragment_address();
        if let Some(directory) = &self.data {
            known.write(directory)?;
        }
        Ok(known)
    }

    fn open<'a>(&self, world: &'a World, known: &'a Kept) -> Open<'a> {
        let (name, port) = (self.names.first(), self.listen.port());
        let address =
            name.map_or_else(|| world.broker_url(), |name| format!("https://{}:{port}", host(name)));
        let ending = match &self.data {
            None => "Ctrl-C stops everything and deletes it.".to_owned(),
            Some(directory) => format!(
                "Ctrl-C stops everything. It is kept in {}, with all keys and the token: delete that when you are done.",
                directory.display()
            ),
        };
        Open { world, known, address, ending }
    }
}

/// As it stands in an address.
fn host(name: &str) -> String {
    if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() }
}

async fn start(world: &mut World) -> Result<InitAnswer, WorldError> {
    world.start_fragment().await?;
    world.start_broker(true).await?;
    let request = InitRequest::two_of_people(&CUSTODIANS);
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

impl Open<'_> {
    fn describe(&self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let (address, ca_file, known) = (self.world.broker_url(), self.world.ca_file(), self.known);
        let (token, log_key) = (&known.root_token, &known.log_key);
        writeln!(
            out,
            "A broker and a fragment service run in this process, open and for trying out only.\n"
        )?;
        writeln!(out, "  address   {address}")?;
        writeln!(out, "  CA file   {}", ca_file.display())?;
        writeln!(out, "  token     {token}")?;
        writeln!(out, "  remote    {}", self.world.fragment_url())?;
        writeln!(out, "  log key   {log_key}")?;
        for (name, share) in CUSTODIANS.iter().zip(&known.shares) {
            writeln!(out, "  share     {share}  {name}")?;
        }
        if self.address != address {
            writeln!(out, "  others    {}", self.address)?;
        }
        writeln!(out, "\nIn another terminal:\n")?;
        writeln!(out, "export SYMBOLON_ADDR={address}")?;
        writeln!(out, "export SYMBOLON_CACERT={}", ca_file.display())?;
        writeln!(out, "export SYMBOLON_TOKEN={token}")?;
        writeln!(out, "symbolon kv get secret/example/database")?;
        writeln!(out, "symbolon kv put secret/team/app password=-")?;
        writeln!(out, "symbolon operator seal; symbolon operator unseal")?;
        writeln!(out, "symbolon audit verify --key '{log_key}'")?;
        writeln!(out, "\nFor clients of Vault and OpenBao:\n")?;
        writeln!(out, "export VAULT_ADDR={address} VAULT_CACERT={} VAULT_TOKEN={token}", ca_file.display())?;
        writeln!(out, "\nFor the External Secrets Operator, on a cluster that reaches {}:\n", self.address)?;
        writeln!(
            out,
            "kubectl -n external-secrets create secret generic symbolon-approle --from-literal=secret-id={}",
            known.secret_id
        )?;
        writeln!(out, "kubectl apply -f - <<'YAML'\n{}YAML", self.manifests())?;
        writeln!(out, "\n{}", self.ending)?;
        Ok(out.flush()?)
    }

    fn manifests(&self) -> String {
        let store = Store {
            name: "symbolon".to_owned(),
            namespace: None,
            credentials_namespace: Some("external-secrets".to_owned()),
            server: self.address.clone(),
            mount: MOUNT.to_owned(),
            ca_pem: Some(self.world.ca_pem().as_bytes().to_vec()),
            auth: StoreAuth::AppRole {
                mount: "approle".to_owned(),
                role_id: self.known.role_id.clone(),
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
}

fn failure(error: WorldError) -> Failure {
    Failure::general("the development deployment failed")
        .because(&error)
        .hint("if the address is taken, choose another with --listen 127.0.0.1:8201")
}
