//! Serves with secrets that are read when they are needed, for as long as the process runs: the client logs
//! in with an application role, and again before its token ends.
//!
//! ```text
//! SYMBOLON_ADDR=https://127.0.0.1:8200 SYMBOLON_CACERT=ca.pem ROLE_ID=… SECRET_ID_FILE=secret-id \
//!     cargo run -p symbolon --example token_source
//! ```

use symbolon::{Client, Error, Evidence, SecretText, TokenSource};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[derive(serde::Deserialize)]
struct Greeting {
    value: SecretText,
}

/// A client that never needs another look: its tokens are somebody else's concern from here on.
pub fn client(address: &str, ca_pem: &[u8], role_id: &str, secret_id: Evidence) -> Result<Client, Error> {
    let source = TokenSource::app_role(role_id, secret_id);
    Client::builder(address).ca_pem(ca_pem).token_source(source).build()
}

/// Answers each connection with the secret as it is now, until `listener` fails.
pub async fn run(client: Client, listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (mut stream, _) = listener.accept().await?;
        let client = client.clone(); // shares connections and tokens
        tokio::spawn(async move {
            let answer = match client.kv("secret").get::<Greeting>("app/greeting").await {
                Ok(secret) => secret.data.value,
                Err(error) if error.is_temporary() => "come back later".to_owned().into(),
                Err(error) => error.to_string().into(), // says nothing secret
            };
            let _ = stream.write_all(answer.expose().as_bytes()).await; // whoever asked may have gone
        });
    }
}

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "an example reads its environment")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ca_pem = std::fs::read(std::env::var("SYMBOLON_CACERT")?)?;
    let secret_id = Evidence::file(std::env::var("SECRET_ID_FILE")?);
    let client = client(&std::env::var("SYMBOLON_ADDR")?, &ca_pem, &std::env::var("ROLE_ID")?, secret_id)?;
    Ok(run(client, TcpListener::bind("127.0.0.1:8080").await?).await?)
}
