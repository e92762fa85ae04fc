//! Reads a secret, and writes it if nobody has.
//!
//! ```text
//! SYMBOLON_ADDR=https://127.0.0.1:8200 SYMBOLON_CACERT=ca.pem SYMBOLON_TOKEN=… \
//!     cargo run -p symbolon --example read_secret
//! ```

use serde::{Deserialize, Serialize};
use symbolon::{Cas, Client, Error, SecretText, Token};

/// Where it lies.
const MOUNT: &str = "secret";
const PATH: &str = "shop/database";

/// A secret has whatever form the service gives it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Database {
    /// As whom we log in there.
    pub user: String,
    /// Wiped on drop, and not in `Debug` output.
    pub password: SecretText,
}

/// The database's credentials and their version.
pub async fn run(client: &Client) -> Result<(Database, u64), Error> {
    let secrets = client.kv(MOUNT);
    loop {
        match secrets.get::<Database>(PATH).await {
            Ok(secret) => return Ok((secret.data, secret.metadata.version)),
            // Only the broker itself can say so: a sealed one, or a proxy in between, gives another error.
            Err(Error::Absent(_)) => {}
            Err(other) => return Err(other),
        }
        let first = Database { user: "shop".to_owned(), password: "change-me".to_owned().into() };
        match secrets.put(PATH, &first, Cas::Absent).await {
            Ok(_) | Err(Error::Conflict(_)) => {} // whoever wrote it first: read it
            Err(other) => return Err(other),
        }
    }
}

#[tokio::main]
#[allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an example reads its environment, and prints"
)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder(&std::env::var("SYMBOLON_ADDR")?)
        .ca_file(std::env::var("SYMBOLON_CACERT")?)
        .token(Token::new(&std::env::var("SYMBOLON_TOKEN")?)?)
        .build()?;
    let (database, version) = run(&client).await?;
    println!("version {version}: {database:?}");
    Ok(())
}
