//! `symbolon eso`: manifests for the External Secrets Operator. Asks nothing of the broker.

use clap::{Args, Subcommand, ValueEnum};
use symbolon_cli::eso::{ExternalSecret, Store, StoreAuth};

use crate::failure::Failure;
use crate::globals::Globals;

/// `symbolon eso`
#[derive(Subcommand)]
pub enum Eso {
    /// Print a store that points to the broker, and an ExternalSecret that uses it
    Manifest(Box<Manifest>),
    /// Set up mount, policy, login and role, write the manifests, and do once what ESO will do
    #[cfg(feature = "servers")]
    Setup(Box<crate::eso_setup::Setup>),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Service accounts of the cluster
    Kubernetes,
    /// A role id, and a Kubernetes Secret with the secret id
    Approle,
}

/// `symbolon eso manifest`
#[derive(Args)]
pub struct Manifest {
    /// How ESO logs in
    #[arg(long, value_enum, default_value_t = Method::Kubernetes)]
    pub auth: Method,
    /// Login mount [default: the name of the method]
    #[arg(long, value_name = "PATH")]
    pub auth_mount: Option<String>,
    /// Role at the broker, for kubernetes
    #[arg(long, default_value = "external-secrets")]
    pub role: String,
    /// Audience that the role is bound to, for kubernetes
    #[arg(long)]
    pub audience: Option<String>,
    /// Service account, for kubernetes
    #[arg(long, default_value = "external-secrets")]
    pub service_account: String,
    /// The role's id, for approle
    #[arg(long)]
    pub role_id: Option<String>,
    /// Kubernetes Secret whose key `secret-id` holds the secret id, for approle
    #[arg(long, default_value = "symbolon-approle")]
    pub secret_id_secret: String,
    /// Namespace of service account or Secret, for a ClusterSecretStore
    #[arg(long, default_value = "external-secrets")]
    pub credentials_namespace: String,
    /// Name of the store
    #[arg(long, default_value = "symbolon")]
    store: String,
    /// Make a SecretStore in this namespace instead of a ClusterSecretStore
    #[arg(long, value_name = "NAMESPACE")]
    store_namespace: Option<String>,
    /// Mount of the secrets
    #[arg(long, default_value = "secret")]
    pub mount: String,
    /// Name of the ExternalSecret and of the Kubernetes Secret
    #[arg(long, default_value = "example")]
    name: String,
    /// Namespace of the ExternalSecret
    #[arg(long, default_value = "default")]
    namespace: String,
    /// How often ESO fetches
    #[arg(long, default_value = "1m0s")]
    refresh_interval: String,
    /// What to read: SECRET-KEY=PATH or SECRET-KEY=PATH#PROPERTY; give it several times for several
    #[arg(long = "data", value_name = "SECRET-KEY=PATH[#PROPERTY]", default_values_t = [String::from("password=example/database#password")])]
    data: Vec<String>,
    /// Leave the CA out: the cluster already trusts it
    #[arg(long)]
    no_ca: bool,
}

impl Eso {
    pub async fn run(self, globals: &Globals) -> Result<(), Failure> {
        match self {
            Self::Manifest(manifest) => globals.out().yaml_document("manifest", &manifest.text(globals)?),
            #[cfg(feature = "servers")]
            Self::Setup(setup) => setup.run(globals).await,
        }
    }
}

impl Manifest {
    /// Both manifests.
    pub fn text(&self, globals: &Globals) -> Result<String, Failure> {
        let store = self.store(globals)?;
        let secret = self.external_secret()?;
        Ok(format!("{}---\n{}", store.to_yaml(), secret.to_yaml(&store)))
    }

    pub fn store(&self, globals: &Globals) -> Result<Store, Failure> {
        let ca_pem = match globals.ca_cert() {
            Some(path) if !self.no_ca => Some(crate::input::file(&path)?.as_bytes().to_vec()),
            _ => None,
        };
        if self.auth == Method::Approle && self.role_id.is_none() {
            return Err(Failure::usage("--role-id is needed with --auth approle")
                .hint("`symbolon eso setup --auth approle` makes the role and finds it"));
        }
        Ok(Store {
            name: self.store.clone(),
            namespace: self.store_namespace.clone(),
            credentials_namespace: Some(self.credentials_namespace.clone()),
            server: globals.address(),
            mount: self.mount.clone(),
            ca_pem,
            auth: self.store_auth(),
        })
    }

    pub fn store_auth(&self) -> StoreAuth {
        let mount = |default: &str| self.auth_mount.clone().unwrap_or_else(|| default.to_owned());
        match self.auth {
            Method::Kubernetes => StoreAuth::Kubernetes {
                mount: mount("kubernetes"),
                role: self.role.clone(),
                service_account: self.service_account.clone(),
                audience: self.audience.clone(),
            },
            Method::Approle => StoreAuth::AppRole {
                mount: mount("approle"),
                role_id: self.role_id.clone().unwrap_or_default(),
                secret: self.secret_id_secret.clone(),
            },
        }
    }

    pub fn external_secret(&self) -> Result<ExternalSecret, Failure> {
        let one = |text: &String| {
            let (secret_key, place) = text.split_once('=')?;
            let (key, property) = match place.split_once('#') {
                Some((key, property)) => (key, Some(property.to_owned())),
                None => (place, None),
            };
            let complete = !secret_key.is_empty() && !key.is_empty() && property.as_deref() != Some("");
            complete.then(|| (secret_key.to_owned(), key.to_owned(), property))
        };
        let data: Option<Vec<_>> = self.data.iter().map(one).collect();
        Ok(ExternalSecret {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            refresh_interval: self.refresh_interval.clone(),
            data: data.ok_or_else(|| {
                Failure::usage("--data is written SECRET-KEY=PATH or SECRET-KEY=PATH#PROPERTY")
            })?,
        })
    }
}
