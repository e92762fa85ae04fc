//! The HTTP client beneath: which addresses are spoken to, and whose certificates are believed.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::error::{Configuration, Error};

/// Deadline of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose certificates are believed.
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "without TLS it only matters that one was named"))]
pub(crate) enum Ca {
    System,
    File(PathBuf),
    Pem(Vec<u8>),
}

/// The address, if tokens may be sent there.
pub(crate) fn base_url(address: &str) -> Result<Url, Error> {
    let mut url = Url::parse(address.trim()).map_err(|_| Configuration::Address)?;
    let acceptable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    if !acceptable {
        return Err(Configuration::Address.into());
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Configuration::PlainHttp.into());
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// An HTTP client for this address.
pub(crate) fn client(base: &Url, ca: &Ca, timeout: Duration) -> Result<reqwest::Client, Error> {
    let http = reqwest::Client::builder()
        .user_agent(concat!("symbolon/", env!("CARGO_PKG_VERSION")))
        // A redirect would carry X-Vault-Token to another host.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT.min(timeout));
    // A proxy of the environment would read what goes to this machine over plain HTTP, tokens included.
    let http = if is_loopback(base) { http.no_proxy() } else { http };
    let http = trust(http, base, ca)?;
    http.build().map_err(|error| Configuration::Http(std::sync::Arc::new(error)).into())
}

#[cfg(not(feature = "tls"))]
fn trust(http: reqwest::ClientBuilder, base: &Url, ca: &Ca) -> Result<reqwest::ClientBuilder, Error> {
    let asks_for_tls = base.scheme() == "https" || !matches!(ca, Ca::System);
    if asks_for_tls { Err(Configuration::NoTls.into()) } else { Ok(http) }
}

#[cfg(feature = "tls")]
fn trust(http: reqwest::ClientBuilder, _: &Url, ca: &Ca) -> Result<reqwest::ClientBuilder, Error> {
    install_crypto_provider();
    let (pem, path) = match ca {
        Ca::System => return Ok(http),
        Ca::File(path) => (read_ca(path)?, path.clone()),
        Ca::Pem(pem) => (pem.clone(), PathBuf::from("(given in memory)")),
    };
    let config = crate::untrusted::tls_client_config(&pem).ok_or(Configuration::CaEmpty { path })?;
    Ok(http.tls_backend_preconfigured(config))
}

/// Makes aws-lc-rs the cryptography under TLS of the whole process, unless the service has already chosen
/// another provider. The first client does so; this is for who needs rustls before.
#[cfg(feature = "tls")]
pub fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing a race means that somebody else installed one, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}

#[cfg(feature = "tls")]
fn read_ca(path: &std::path::Path) -> Result<Vec<u8>, Error> {
    use std::io::Read;
    /// Largest CA file.
    const CA_BYTES_MAX: u64 = 1 << 20;
    let failed =
        |source| Configuration::CaFile { path: path.to_owned(), source: std::sync::Arc::new(source) };
    let mut pem = Vec::new();
    std::fs::File::open(path).map_err(failed)?.take(CA_BYTES_MAX).read_to_end(&mut pem).map_err(failed)?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Server;
    use crate::token::Token;

    fn refused(address: &str) -> Configuration {
        match base_url(address) {
            Err(Error::Configuration(reason)) => reason,
            other => panic!("{address}: {other:?}"),
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in
            ["http://127.0.0.1:8200", "http://localhost:8200/", "http://[::1]:8200", "https://x/compat"]
        {
            assert!(base_url(good).is_ok(), "{good}");
        }
        for bad in ["http://10.0.0.1:8200", "http://127.0.0.1.evil.example", "http://localhost.example"] {
            assert!(matches!(refused(bad), Configuration::PlainHttp), "{bad}");
        }
        for bad in ["broker:8200", "", "ftp://x", "https://user:pass@x"] {
            assert!(matches!(refused(bad), Configuration::Address), "{bad}");
        }
    }

    /// Here as it is, and in the next test in a process that has a proxy.
    #[tokio::test]
    async fn a_broker_of_this_machine_is_asked() {
        let server = Server::start(|_, _| (200, "", r#"{"data":{"a":1}}"#.to_owned())).await;
        let client = server.client().token(Token::new("hvs.x").unwrap()).build().unwrap();
        client.read::<serde_json::Value>("x").await.unwrap();
        assert_eq!(server.asked().len(), 1);
    }

    #[test]
    fn no_proxy_sees_what_this_machine_is_asked() {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "http::tests::a_broker_of_this_machine_is_asked"]).env_clear();
        // Nobody listens there, so whoever goes there gets no answer.
        let proxied =
            again.envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, "http://127.0.0.1:1")));
        let output = proxied.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_ca_file_without_certificates_is_named() {
        let built = |ca| client(&base_url("https://x").unwrap(), &ca, CONNECT_TIMEOUT);
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = built(Ca::File(file.path().to_owned()));
        assert!(
            matches!(empty, Err(Error::Configuration(Configuration::CaEmpty { path })) if path == file.path())
        );
        let absent = built(Ca::File("/nowhere/ca.pem".into()));
        assert!(matches!(absent, Err(Error::Configuration(Configuration::CaFile { .. }))));
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn without_tls_https_needs_a_client_of_the_callers() {
        let built = client(&base_url("https://x").unwrap(), &Ca::System, CONNECT_TIMEOUT);
        assert!(matches!(built, Err(Error::Configuration(Configuration::NoTls))));
        let own = crate::Client::builder("https://x").http_client(reqwest::Client::new()).build();
        assert_eq!(own.unwrap().address(), "https://x");
    }
}
