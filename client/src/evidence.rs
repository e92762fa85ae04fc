//! What proves who we are: a secret id or a signed token, as a text or in a file that others keep fresh.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Configuration, Error};
use crate::token::Token;

/// Largest file with a token.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where kubelet puts a pod's service-account token.
pub const KUBERNETES_TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Proof of who we are, such as a secret id or a Kubernetes service-account token.
#[derive(Debug, Clone)]
pub struct Evidence(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Text(Token),
    File(PathBuf),
}

impl Evidence {
    /// A text that does not change while the process runs; white space at its ends is dropped.
    pub fn text(text: &str) -> Result<Self, Error> {
        Ok(Self(Kind::Text(Token::new(text)?)))
    }

    /// A file that is read at each use: kubelet replaces projected tokens while the process runs.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// The service-account token that every pod has.
    #[must_use]
    pub fn service_account() -> Self {
        Self::file(KUBERNETES_TOKEN_FILE)
    }

    pub(crate) async fn read(&self) -> Result<Token, Error> {
        match &self.0 {
            Kind::Text(token) => Ok(token.clone()),
            Kind::File(path) => read_token(path).await,
        }
    }
}

/// Reads a file that holds one token.
pub(crate) async fn read_token(path: &Path) -> Result<Token, Error> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_small(&owned)).await;
    let failed = |source| Configuration::TokenFile { path: path.to_owned(), source: Arc::new(source) };
    let text = read.map_err(|join| failed(std::io::Error::other(join)))?.map_err(failed)?;
    Ok(Token::new(&text)?)
}

fn read_small(path: &Path) -> std::io::Result<Zeroizing<String>> {
    use std::io::Read;
    let mut text = room();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Room for the largest file, and some more, because the end is looked for behind it: a buffer that grows
/// leaves a copy behind that nobody wipes.
fn room() -> Zeroizing<String> {
    const REST: usize = 64;
    Zeroizing::new(String::with_capacity(usize::try_from(FILE_BYTES_MAX).unwrap_or(0) + REST))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_read_without_copies_on_the_way() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for length in [10, 5000, 40_000, 100_000] {
            std::fs::write(file.path(), "x".repeat(length)).unwrap();
            let text = read_small(file.path()).unwrap();
            assert_eq!(text.len(), length.min(64 << 10));
            assert_eq!(text.capacity(), room().capacity(), "the buffer has never moved");
        }
    }
}
