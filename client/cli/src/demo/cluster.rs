//! A Kubernetes cluster as far as a broker sees it: a key that signs service-account tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use symbolon_proto::Zeroizing;

/// Issuer of the cluster's tokens, as in a cluster that nobody configured otherwise.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster's signing key (P-256).
pub struct Cluster {
    key: EncodingKey,
    public_pem: String,
}

/// Why the cluster cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No key could be made.
    #[error("no key for service-account tokens could be made")]
    Key(#[from] rcgen::Error),
    /// A token could not be signed.
    #[error("a service-account token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl Cluster {
    /// A cluster with a fresh key.
    pub fn generate() -> Result<Self, ClusterError> {
        let pair = rcgen::KeyPair::generate()?;
        let pem = Zeroizing::new(pair.serialize_pem());
        let key = EncodingKey::from_ec_pem(pem.as_bytes())?;
        Ok(Self { key, public_pem: pair.public_key_pem() })
    }

    /// The public key, for `pem_keys` of `auth/kubernetes/config`.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// A projected token of a service account, valid for ten minutes, as the TokenRequest API gives it.
    pub fn token(
        &self,
        namespace: &str,
        account: &str,
        audience: &str,
        now_secs: u64,
    ) -> Result<Zeroizing<String>, ClusterError> {
        let claims = json!({
            "iss": ISSUER,
            "aud": [audience],
            "sub": format!("system:serviceaccount:{namespace}:{account}"),
            "iat": now_secs,
            "nbf": now_secs,
            "exp": now_secs + 600,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": account, "uid": uid(namespace, account) },
            },
        });
        let header = Header { kid: Some("demo-cluster".to_owned()), ..Header::new(Algorithm::ES256) };
        Ok(Zeroizing::new(jsonwebtoken::encode(&header, &claims, &self.key)?))
    }
}

/// Some identifier in the form of a UUID that stays the same for an account.
fn uid(namespace: &str, account: &str) -> String {
    let hash = namespace.bytes().chain([b'/']).chain(account.bytes()).fold(
        0xcbf2_9ce4_8422_2325_u64,
        |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3) // FNV-1a: a name, not a secret
        },
    );
    format!("{:08x}-{:04x}-4000-8000-{:012x}", hash >> 32, (hash >> 16) & 0xffff, hash & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    #[test]
    fn the_public_key_verifies_the_tokens() {
        let cluster = Cluster::generate().unwrap();
        let now = jsonwebtoken::get_current_timestamp();
        let token = cluster.token("external-secrets", "eso", "vault", now).unwrap();
        let key = DecodingKey::from_ec_pem(cluster.public_pem().as_bytes()).unwrap();
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_audience(&["vault"]);
        rules.set_issuer(&[ISSUER]);
        let claims = jsonwebtoken::decode::<serde_json::Value>(&*token, &key, &rules).unwrap().claims;
        assert_eq!(claims["sub"], "system:serviceaccount:external-secrets:eso");
        assert_eq!(claims["kubernetes.io"]["serviceaccount"]["uid"].as_str().unwrap().len(), 36);
    }
}
