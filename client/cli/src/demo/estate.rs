//! What an operator sets up for the homelab: engine, policies, logins; and the values of its secrets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand_core::Rng;
use serde_json::{Map, Value, json};

use super::cluster::Cluster;
use super::homelab::Homelab;
use crate::operator::Operator;
use symbolon::Error;

/// Mount of the secrets.
pub const MOUNT: &str = "secret";
/// Policy of ESO: read what lies below the homelab's two folders, and nothing else.
pub const ESO_POLICY: &str = r#"path "secret/data/mdapi/*" {
  capabilities = ["read"]
}

path "secret/data/kyos/*" {
  capabilities = ["read"]
}
"#;
/// Namespace and name of ESO's service account.
pub const ESO_ACCOUNT: (&str, &str) = ("external-secrets", "external-secrets");
/// Audience of ESO's tokens.
pub const ESO_AUDIENCE: &str = "symbolon";

/// Namespace and name of a workload that calls others.
pub const WORKLOAD_ACCOUNT: (&str, &str) = ("shop", "checkout");

/// What an application role logs in with.
pub struct AppRole {
    /// The role's id.
    pub role_id: String,
    /// A secret id.
    pub secret_id: symbolon_proto::Zeroizing<String>,
}

/// Mounts the engine, writes the policy, and lets the cluster's service account in.
pub async fn prepare(root: &Operator, cluster: &Cluster) -> Result<(), Error> {
    root.mount(MOUNT, &json!({ "type": "kv", "options": { "version": "2" } })).await?;
    root.policies().write("eso", ESO_POLICY).await?;
    root.enable_auth("kubernetes", "kubernetes").await?;
    let config =
        json!({ "kubernetes_host": "https://kubernetes.default.svc", "pem_keys": [cluster.public_pem()] });
    root.write("auth/kubernetes/config", &config).await?;
    let role = json!({
        "bound_service_account_names": [ESO_ACCOUNT.1],
        "bound_service_account_namespaces": [ESO_ACCOUNT.0],
        "audience": ESO_AUDIENCE,
        "token_policies": ["eso"],
        "token_ttl": "10m",
        "token_type": "batch",
    });
    root.write("auth/kubernetes/role/eso", &role).await.map(drop)
}

/// An application role with the same policy, whose logins give service tokens.
pub async fn prepare_approle(root: &Operator) -> Result<AppRole, Error> {
    root.enable_auth("approle", "approle").await?;
    let role = json!({ "token_policies": ["eso"], "token_ttl": "10m", "token_type": "service" });
    root.write("auth/approle/role/eso", &role).await?;
    let missing = Error::Foreign { expected: "role_id and secret_id" };
    let text = |data: &Value, name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let role_id = text(&root.read("auth/approle/role/eso/role-id").await?, "role_id");
    let issued = root.write("auth/approle/role/eso/secret-id", &json!({})).await?.unwrap_or_default();
    let secret_id = text(&issued, "secret_id").map(symbolon_proto::Zeroizing::new);
    match (role_id, secret_id) {
        (Some(role_id), Some(secret_id)) => Ok(AppRole { role_id, secret_id }),
        _ => Err(missing),
    }
}

/// A role that lets one service account have workload tokens for one audience. Its proof must be made for the
/// issuer.
pub async fn admit_workload(root: &Operator, issuer: &str, audience: &str) -> Result<(), Error> {
    let role = json!({
        "bound_service_account_names": [WORKLOAD_ACCOUNT.1],
        "bound_service_account_namespaces": [WORKLOAD_ACCOUNT.0],
        "audience": issuer,
        "workload_audiences": [audience],
    });
    root.write("auth/kubernetes/role/checkout", &role).await.map(drop)
}

/// Generates a value for every secret: its properties, or one field `value` if it is read whole.
pub fn generate(homelab: &Homelab, rng: &mut dyn Rng) -> BTreeMap<String, Map<String, Value>> {
    let mut one = || {
        let mut bytes = [0_u8; 24];
        rng.fill_bytes(&mut bytes);
        Value::from(URL_SAFE_NO_PAD.encode(bytes))
    };
    let secret = |(path, fields): (&str, std::collections::BTreeSet<&str>)| {
        let names = if fields.is_empty() { vec!["value"] } else { fields.into_iter().collect() };
        let fields = names.into_iter().map(|name| (name.to_owned(), one())).collect();
        (path.to_owned(), fields)
    };
    homelab.secrets().into_iter().map(secret).collect()
}
