//! A place for secrets in a deployment of real processes.

use serde_json::json;
use symbolon::{Client, Token};
use symbolon_cli::Operator;

use crate::deployment::Deployment;

/// Mounts KV version 2 at `secret/`.
pub fn mount(deployment: &Deployment) {
    let ca = std::fs::read(deployment.path("ca.pem")).unwrap();
    let token = Token::new(&deployment.root_token).unwrap();
    let root: Operator =
        Client::builder(&deployment.address).ca_pem(&ca).token(token).build().unwrap().into();
    let engine = json!({ "type": "kv", "options": { "version": "2" } });
    tokio::runtime::Runtime::new().unwrap().block_on(root.mount("secret", &engine)).unwrap();
}
