//! `symbolon eso setup`: what the External Secrets Operator needs of a broker, and whether it works.
//!
//! Everything is looked at first, and made or changed only where it is missing or otherwise. Then the
//! requests of the operator's provider are made once, with its evidence.

mod findings;
mod rehearsal;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use symbolon_cli::Operator;
use symbolon_cli::demo::eso::StoreAuth;
use symbolon_proto::Zeroizing;

use self::findings::{Findings, Mark};
use crate::eso::{Manifest, Method};
use crate::failure::Failure;
use crate::globals::Globals;
use crate::input;
use crate::output::printable;
use crate::promised::Promised;

/// First line of the manifests that this wrote, and may write again.
const MADE_HERE: &str =
    "# Made by `symbolon eso setup`, which writes it anew; without this line it does not.\n";
/// What a role is bound to unless somebody says otherwise.
const AUDIENCE: &str = "symbolon";

/// `symbolon eso setup`
#[derive(Args)]
pub struct Setup {
    #[command(flatten)]
    manifest: Manifest,
    /// Where to write the manifests
    #[arg(long, value_name = "FILE", default_value = "symbolon-eso.yaml")]
    out: PathBuf,
    /// Policy of the role; one of this name that says something else is kept
    #[arg(long, default_value = "external-secrets")]
    policy: String,
    /// What it may read, below the mount; several times for several [default: everything]
    #[arg(long = "allow", value_name = "PATH", default_values_t = [String::from("*")])]
    allowed: Vec<String>,
    /// Address of the cluster's API server, from which its keys are fetched, for kubernetes
    #[arg(long, value_name = "URL")]
    kubernetes_host: Option<String>,
    /// CA of that server, PEM
    #[arg(long, value_name = "FILE", requires = "kubernetes_host")]
    kubernetes_ca: Option<PathBuf>,
    /// Public keys of the cluster, PEM, instead: nothing is fetched then
    #[arg(long, value_name = "FILE", conflicts_with = "kubernetes_host")]
    kubernetes_keys: Option<PathBuf>,
    /// Issuer that tokens of the cluster must name
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// A token of the service account, to log in with as ESO will; `-`: standard input, for kubernetes
    #[arg(long, value_name = "FILE")]
    jwt_file: Option<PathBuf>,
    /// File of the secret id; made if it is absent, for approle
    #[arg(long, value_name = "FILE", default_value = "symbolon-approle.secret-id")]
    secret_id_file: PathBuf,
}

impl Setup {
    pub async fn run(mut self, globals: &Globals) -> Result<(), Failure> {
        let client = globals.client()?;
        let mut found = Findings::default();
        if self.manifest.auth == Method::Kubernetes && self.manifest.audience.is_none() {
            self.manifest.audience = Some(AUDIENCE.to_owned());
        }
        self.mount(&client, &mut found).await?;
        self.policy(&client, &mut found).await?;
        self.login(&client, &mut found).await?;
        self.role(&client, &mut found).await?;
        let evidence = self.evidence(&client, &mut found).await?;
        self.write(globals, &mut found)?;
        match evidence {
            Some(auth) => self.rehearse(globals, auth, &mut found).await?,
            None => found.missing("login", &self.how_to_check()),
        }
        if is_local(&globals.address()) {
            found.add(
                Mark::Note,
                "address",
                "the manifests name this machine; give --address as the cluster reaches the broker",
            );
        }
        found.report(globals)?;
        if globals.out().is_json() { Ok(()) } else { globals.out().text(&self.next()) }
    }

    /// What is left to do on the cluster.
    fn next(&self) -> String {
        let manifest = &self.manifest;
        let secret = match manifest.auth {
            Method::Kubernetes => String::new(),
            Method::Approle => format!(
                "  kubectl -n {} create secret generic {} --from-file=secret-id={}\n",
                manifest.credentials_namespace,
                manifest.secret_id_secret,
                self.secret_id_file.display()
            ),
        };
        format!("\nNext, on the cluster:\n{secret}  kubectl apply -f {}\n", self.out.display())
    }

    fn auth_mount(&self) -> String {
        let usual = if self.manifest.auth == Method::Kubernetes { "kubernetes" } else { "approle" };
        self.manifest.auth_mount.clone().unwrap_or_else(|| usual.to_owned()).trim_matches('/').to_owned()
    }

    fn role_path(&self) -> String {
        format!("auth/{}/role/{}", self.auth_mount(), self.manifest.role)
    }

    async fn mount(&self, client: &Operator, found: &mut Findings) -> Result<(), Failure> {
        let path = self.manifest.mount.trim_matches('/');
        let mounts: Value = client.read("sys/mounts").await?;
        let what = format!("mount {path}/");
        let Some(mount) = mounts.get(format!("{path}/")) else {
            client.mount(path, &json!({ "type": "kv", "options": { "version": "2" } })).await?;
            found.add(Mark::Made, &what, "KV with versions");
            return Ok(());
        };
        if mount["type"] == "kv" && mount["options"]["version"] == "2" {
            found.add(Mark::Right, &what, "KV with versions");
            return Ok(());
        }
        let is = format!("{} {}", mount["type"], mount["options"]["version"]);
        Err(Failure::general(format!("{path}/ is another kind of mount: {}", printable(&is)))
            .hint("choose another with --mount, or write the store by hand with version v1 for KV 1"))
    }

    fn policy_text(&self) -> String {
        let mount = self.manifest.mount.trim_matches('/');
        let rule = |path: &String| {
            let path = path.trim_start_matches('/');
            format!(
                "path \"{mount}/data/{path}\" {{\n  capabilities = [\"read\"]\n}}\n\n\
                 path \"{mount}/metadata/{path}\" {{\n  capabilities = [\"read\", \"list\"]\n}}\n"
            )
        };
        self.allowed.iter().map(rule).collect::<Vec<_>>().join("\n")
    }

    async fn policy(&self, client: &Operator, found: &mut Findings) -> Result<(), Failure> {
        let (name, text) = (&self.policy, self.policy_text());
        if self.allowed.iter().any(|path| path.contains(['"', '\\', '\n', '{'])) {
            return Err(Failure::usage("--allow takes a path below the mount, such as team/*"));
        }
        let what = format!("policy {name}");
        match client.policies().read(name).await {
            Ok(old) if old.trim() == text.trim() => {
                found.add(Mark::Right, &what, "reads what it has to, and changes nothing")
            }
            Ok(_) => found.add(Mark::Note, &what, "says something else than --allow, and is kept"),
            Err(symbolon::Error::Absent(_)) => {
                client.policies().write(name, &text).await?;
                found.add(Mark::Made, &what, "reads what it has to, and changes nothing");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn login(&self, client: &Operator, found: &mut Findings) -> Result<(), Failure> {
        let (path, kind) = (self.auth_mount(), self.kind());
        let methods: Value = client.read("sys/auth").await?;
        let what = format!("login method {path}/");
        match methods.get(format!("{path}/")) {
            None => {
                client.enable_auth(&path, kind).await?;
                found.add(Mark::Made, &what, kind);
            }
            Some(method) if method["type"] == kind => found.add(Mark::Right, &what, kind),
            Some(_) => {
                return Err(Failure::general(format!("auth/{path} is of another kind than {kind}"))
                    .hint("choose another with --auth-mount"));
            }
        }
        if self.manifest.auth == Method::Kubernetes { self.cluster(client, found).await } else { Ok(()) }
    }

    const fn kind(&self) -> &'static str {
        match self.manifest.auth {
            Method::Kubernetes => "kubernetes",
            Method::Approle => "approle",
        }
    }

    /// Whose tokens count.
    async fn cluster(&self, client: &Operator, found: &mut Findings) -> Result<(), Failure> {
        let path = format!("auth/{}/config", self.auth_mount());
        let is = match client.read::<Value>(&path).await {
            Ok(is) => Some(is),
            Err(symbolon::Error::Absent(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let wanted = self.cluster_config()?;
        let what = "keys of the cluster";
        match (is, wanted) {
            (Some(_), None) => found.add(Mark::Right, what, "are configured"),
            (None, None) => found.missing(
                what,
                "say where the cluster is: --kubernetes-host https://HOST:6443 --kubernetes-ca ca.crt, or \
                 --kubernetes-keys FILE with what `kubectl get --raw /openid/v1/jwks` has, as PEM",
            ),
            (Some(is), Some(wanted)) if holds(&is, &wanted) => found.add(Mark::Right, what, "as given"),
            (_, Some(wanted)) => {
                client.write(&path, &wanted).await?;
                found.add(Mark::Made, what, "the broker has read them");
            }
        }
        Ok(())
    }

    fn cluster_config(&self) -> Result<Option<Value>, Failure> {
        let text = |path: &PathBuf| input::file(path).map(|text| text.to_string());
        let mut config = match (&self.kubernetes_host, &self.kubernetes_keys) {
            (Some(host), _) => json!({ "kubernetes_host": host }),
            (None, Some(keys)) => {
                json!({ "kubernetes_host": "https://kubernetes.default.svc", "pem_keys": [text(keys)?.trim()] })
            }
            (None, None) => return Ok(None),
        };
        if let Some(ca) = &self.kubernetes_ca {
            config["kubernetes_ca_cert"] = text(ca)?.into();
        }
        if let Some(issuer) = &self.issuer {
            config["issuer"] = issuer.as_str().into();
            config["disable_iss_validation"] = false.into();
        }
        Ok(Some(config))
    }

    fn role_wanted(&self) -> Value {
        let own = match self.manifest.auth {
            // A machine token: stored nowhere, and ESO spares itself the call that ends it.
            Method::Kubernetes => json!({
                "bound_service_account_names": [self.manifest.service_account],
                "bound_service_account_namespaces": [self.manifest.credentials_namespace],
                "audience": self.manifest.audience,
            }),
            Method::Approle => json!({}),
        };
        let mut role = own.as_object().cloned().unwrap_or_default();
        role.insert("token_policies".to_owned(), json!([self.policy]));
        role.insert("token_ttl".to_owned(), json!(600));
        role.insert("token_type".to_owned(), json!("batch"));
        Value::Object(role)
    }

    async fn role(&self, client: &Operator, found: &mut Findings) -> Result<(), Failure> {
        let (path, wanted) = (self.role_path(), self.role_wanted());
        let what = format!("role {}", self.manifest.role);
        let is = match client.read::<Value>(&path).await {
            Ok(is) => is,
            Err(symbolon::Error::Absent(_)) => Value::Null,
            Err(error) => return Err(error.into()),
        };
        if holds(&is, &wanted) {
            found.add(Mark::Right, &what, "tokens of ten minutes");
            return Ok(());
        }
        client.write(&path, &wanted).await?;
        found.add(
            Mark::Made,
            &what,
            if is.is_null() { "tokens of ten minutes" } else { "is now as these options say" },
        );
        Ok(())
    }

    /// What ESO will log in with, if we can have it.
    async fn evidence(
        &mut self,
        client: &Operator,
        found: &mut Findings,
    ) -> Result<Option<StoreAuth>, Failure> {
        let mount = self.auth_mount();
        if self.manifest.auth == Method::Kubernetes {
            let Some(file) = &self.jwt_file else { return Ok(None) };
            let jwt = input::secret_file(file, "Service-account token")?;
            return Ok(Some(StoreAuth::Kubernetes { mount, role: self.manifest.role.clone(), jwt }));
        }
        let role_id: Value = client.read(&format!("{}/role-id", self.role_path())).await?;
        let role_id = role_id["role_id"].as_str().unwrap_or_default().to_owned();
        self.manifest.role_id = Some(role_id.clone());
        let secret_id = self.secret_id(client, found).await?;
        Ok(Some(StoreAuth::AppRole { mount, role_id, secret_id }))
    }

    /// From its file; a new one if there is no file.
    async fn secret_id(&self, client: &Operator, found: &mut Findings) -> Result<Zeroizing<String>, Failure> {
        let path = &self.secret_id_file;
        let what = format!("secret id in {}", path.display());
        if path.exists() {
            found.add(Mark::Right, &what, "was made before");
            return input::secret_file(path, "Secret id");
        }
        let promised = Promised::new(path)?;
        let issued = client.write(&format!("{}/secret-id", self.role_path()), &json!({})).await?;
        let issued = issued.unwrap_or_default();
        let secret_id = Zeroizing::new(issued["secret_id"].as_str().unwrap_or_default().to_owned());
        promised.fill(secret_id.as_bytes())?;
        found.add(Mark::Made, &what, "nobody else may have it");
        Ok(secret_id)
    }

    fn write(&self, globals: &Globals, found: &mut Findings) -> Result<(), Failure> {
        let text = format!("{MADE_HERE}{}", self.manifest.text(globals)?);
        let what = format!("manifests in {}", self.out.display());
        match std::fs::read_to_string(&self.out) {
            Ok(old) if old == text => found.add(Mark::Right, &what, "as they were written"),
            Ok(old) if !old.starts_with(MADE_HERE) => {
                return Err(Failure::usage(format!(
                    "{} is not a file that this command wrote",
                    self.out.display()
                ))
                .hint("choose another with --out; nothing is overwritten"));
            }
            _ => {
                replace(&self.out, &text)?;
                found.add(Mark::Made, &what, "SecretStore and ExternalSecret");
            }
        }
        Ok(())
    }

    fn how_to_check(&self) -> String {
        format!(
            "was not tried for want of a token of the service account. Try it with: kubectl -n {} create token {} \
             --audience {} | symbolon eso setup … --jwt-file -",
            self.manifest.credentials_namespace,
            self.manifest.service_account,
            self.manifest.audience.as_deref().unwrap_or(AUDIENCE),
        )
    }
}

/// Whether an address is this machine's own, which in a pod is the pod.
fn is_local(address: &str) -> bool {
    ["://localhost", "://127.", "://[::1]"].iter().any(|local| address.contains(local))
}

/// Whether what is stored says everything that is wanted.
fn holds(is: &Value, wanted: &Value) -> bool {
    let wanted = wanted.as_object().into_iter().flatten();
    let mut compared =
        wanted.map(|(name, wanted)| is.get(name).is_some_and(|is| trimmed(is) == trimmed(wanted)));
    compared.all(|same| same)
}

/// PEM texts with or without a line feed at the end are the same.
fn trimmed(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| text.trim().into())
}

/// Whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed =
        |error: std::io::Error| Failure::general(format!("cannot write {}", path.display())).because(&error);
    let file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::fs::write(file.path(), text).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error)).map(drop)
}
