//! What a `dev` deployment needs to open again: `dev.json` in the directory of `--data`, for its owner only.

use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use symbolon_cli::InitAnswer;
use symbolon_cli::demo::estate::AppRole;
use symbolon_cli::demo::pki::ServerIdentity;
use symbolon_proto::Zeroizing;

use crate::failure::Failure;
use crate::promised::Promised;

const FILE: &str = "dev.json";

/// A deployment as its people know it. Whoever reads this file has everything: it is for trying out.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Names in the certificate, beside those of this machine.
    pub names: Vec<String>,
    /// Where the fragment service listens.
    pub fragment: SocketAddr,
    pub shares: Vec<String>,
    pub root_token: String,
    pub log_key: String,
    pub role_id: String,
    pub secret_id: String,
}

impl Kept {
    pub fn new(names: &[String], fragment: SocketAddr, answer: &InitAnswer, role: &AppRole) -> Self {
        Self {
            names: names.to_vec(),
            fragment,
            shares: answer.shares.iter().map(|share| share.expose().to_owned()).collect(),
            root_token: answer.root_token.expose().to_owned(),
            log_key: answer.log_key.clone(),
            role_id: role.role_id.clone(),
            secret_id: role.secret_id.to_string(),
        }
    }

    /// What the directory holds; none if it is new, which makes it.
    pub fn read(directory: &Path) -> Result<Option<Self>, Failure> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let path = directory.join(FILE);
        if path.exists() {
            let text = crate::input::file(&path)?;
            let foreign = |_| {
                Failure::usage(format!("{} is not of this version", path.display()))
                    .hint("delete the directory, or choose another with --data")
            };
            return serde_json::from_str(&text).map(Some).map_err(foreign);
        }
        match std::fs::read_dir(directory)?.next() {
            None => Ok(None),
            Some(_) => {
                Err(Failure::usage(format!("{} holds no finished `dev` deployment", directory.display()))
                    .hint("delete what is in it, or choose another with --data"))
            }
        }
    }

    /// Writes it in one step: a directory with this file can be opened again.
    pub fn write(&self, directory: &Path) -> Result<(), Failure> {
        let text = Zeroizing::new(serde_json::to_string(self).unwrap_or_default());
        let new = directory.join("dev.json.new");
        drop(std::fs::remove_file(&new)); // of a start that was killed
        Promised::new(&new)?.fill(text.as_bytes())?;
        Ok(std::fs::rename(new, directory.join(FILE))?)
    }
}

/// The certificate that the directory holds.
pub fn identity(directory: &Path) -> Result<ServerIdentity, Failure> {
    let text = |name: &str| crate::input::file(&directory.join(name));
    Ok(ServerIdentity {
        ca_pem: text("ca.pem")?.to_string(),
        cert_pem: text("broker.pem")?.to_string(),
        key_pem: text("broker.key")?,
    })
}
