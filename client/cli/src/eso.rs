//! Manifests for the External Secrets Operator: a store that points here, and an ExternalSecret that uses it.
//!
//! Written by hand as text: every value is a JSON string, which YAML reads as the same string.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How ESO logs in.
#[derive(Debug, Clone)]
pub enum StoreAuth {
    /// Each namespace's own service account, or one in a ClusterSecretStore.
    Kubernetes {
        /// Login mount.
        mount: String,
        /// Role at the broker.
        role: String,
        /// Name of the service account.
        service_account: String,
        /// Audience asked of the cluster, if the role is bound to one.
        audience: Option<String>,
    },
    /// A role id, and a Kubernetes Secret with the secret id.
    AppRole {
        /// Login mount.
        mount: String,
        /// The role's id.
        role_id: String,
        /// Name of the Kubernetes Secret whose key `secret-id` holds the secret id.
        secret: String,
    },
}

/// A SecretStore or ClusterSecretStore.
#[derive(Debug, Clone)]
pub struct Store {
    /// Name of the object.
    pub name: String,
    /// Namespace of a SecretStore; none makes a ClusterSecretStore.
    pub namespace: Option<String>,
    /// Namespace of the service account or Secret that a ClusterSecretStore refers to.
    pub credentials_namespace: Option<String>,
    /// Address of the broker.
    pub server: String,
    /// Mount of the secrets.
    pub mount: String,
    /// CA certificate in PEM, if the cluster does not already trust it.
    pub ca_pem: Option<Vec<u8>>,
    /// How ESO logs in.
    pub auth: StoreAuth,
}

/// An ExternalSecret with one or more references.
#[derive(Debug, Clone)]
pub struct ExternalSecret {
    /// Name of the object and of the Kubernetes Secret.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// How often to fetch, such as `1m0s`.
    pub refresh_interval: String,
    /// (key in the Kubernetes Secret, remote key, property).
    pub data: Vec<(String, String, Option<String>)>,
}

impl Store {
    fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "SecretStore" } else { "ClusterSecretStore" }
    }

    /// The manifest.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut yaml = head("external-secrets.io/v1", self.kind(), &self.name, self.namespace.as_deref());
        yaml += "spec:\n  provider:\n    vault:\n";
        line(&mut yaml, 6, "server", &self.server);
        line(&mut yaml, 6, "path", &self.mount);
        line(&mut yaml, 6, "version", "v2");
        if let Some(pem) = &self.ca_pem {
            line(&mut yaml, 6, "caBundle", &STANDARD.encode(pem));
        }
        yaml += "      auth:\n";
        self.auth
            .write(&mut yaml, self.credentials_namespace.as_deref().filter(|_| self.namespace.is_none()));
        yaml
    }
}

impl StoreAuth {
    fn write(&self, yaml: &mut String, namespace: Option<&str>) {
        match self {
            Self::Kubernetes { mount, role, service_account, audience } => {
                *yaml += "        kubernetes:\n";
                line(yaml, 10, "mountPath", mount);
                line(yaml, 10, "role", role);
                *yaml += "          serviceAccountRef:\n";
                line(yaml, 12, "name", service_account);
                maybe(yaml, 12, "namespace", namespace);
                if let Some(audience) = audience {
                    let _ = writeln!(yaml, "            audiences: [{}]", quoted(audience));
                }
            }
            Self::AppRole { mount, role_id, secret } => {
                *yaml += "        appRole:\n";
                line(yaml, 10, "path", mount);
                line(yaml, 10, "roleId", role_id);
                *yaml += "          secretRef:\n";
                line(yaml, 12, "name", secret);
                line(yaml, 12, "key", "secret-id");
                maybe(yaml, 12, "namespace", namespace);
            }
        }
    }
}

impl ExternalSecret {
    /// The manifest, reading through `store`.
    #[must_use]
    pub fn to_yaml(&self, store: &Store) -> String {
        let mut yaml = head("external-secrets.io/v1", "ExternalSecret", &self.name, Some(&self.namespace));
        yaml += "spec:\n";
        line(&mut yaml, 2, "refreshInterval", &self.refresh_interval);
        yaml += "  secretStoreRef:\n";
        line(&mut yaml, 4, "kind", store.kind());
        line(&mut yaml, 4, "name", &store.name);
        yaml += "  target:\n";
        line(&mut yaml, 4, "name", &self.name);
        yaml += "  data:\n";
        for (secret_key, key, property) in &self.data {
            let _ = writeln!(yaml, "    - secretKey: {}", quoted(secret_key));
            yaml += "      remoteRef:\n";
            line(&mut yaml, 8, "key", key);
            maybe(&mut yaml, 8, "property", property.as_deref());
        }
        yaml
    }
}

fn head(api: &str, kind: &str, name: &str, namespace: Option<&str>) -> String {
    let mut yaml = format!("apiVersion: {api}\nkind: {kind}\nmetadata:\n");
    line(&mut yaml, 2, "name", name);
    maybe(&mut yaml, 2, "namespace", namespace);
    yaml
}

fn line(yaml: &mut String, indent: usize, key: &str, value: &str) {
    let _ = writeln!(yaml, "{:indent$}{key}: {}", "", quoted(value));
}

fn maybe(yaml: &mut String, indent: usize, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        line(yaml, indent, key, value);
    }
}

/// Plain words stay bare; everything else becomes a JSON string, which is valid YAML.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/' | '_');
    let starts_with_letter = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let is_word = !matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if starts_with_letter && is_word && text.chars().all(plain) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(namespace: Option<&str>, auth: StoreAuth) -> Store {
        Store {
            name: "symbolon".into(),
            namespace: namespace.map(str::to_owned),
            credentials_namespace: Some("external-secrets".into()),
            server: "https://broker.internal:8200".into(),
            mount: "secret".into(),
            ca_pem: Some(b"-----BEGIN CERTIFICATE-----\n".to_vec()),
            auth,
        }
    }

    fn kubernetes() -> StoreAuth {
        StoreAuth::Kubernetes {
            mount: "kubernetes".into(),
            role: "eso".into(),
            service_account: "external-secrets".into(),
            audience: None,
        }
    }

    #[test]
    fn a_cluster_store_names_the_namespace_of_its_credentials() {
        let yaml = store(None, kubernetes()).to_yaml();
        assert!(yaml.contains("kind: ClusterSecretStore"));
        assert!(yaml.contains("            namespace: external-secrets\n"), "{yaml}");
        assert!(
            yaml.contains("caBundle: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg")
                || yaml.contains("caBundle: \"LS0t"),
            "{yaml}"
        );
    }

    #[test]
    fn a_namespaced_store_does_not() {
        let yaml = store(Some("shop"), kubernetes()).to_yaml();
        assert!(yaml.contains("kind: SecretStore") && yaml.contains("  namespace: shop"));
        assert!(!yaml.contains("external-secrets\n            namespace"), "{yaml}");
    }

    #[test]
    fn values_cannot_break_out_of_their_line() {
        for (text, safe) in [
            ("a: b", "\"a: b\""),
            ("true", "\"true\""),
            ("1m0s", "\"1m0s\""),
            ("x\ny: z", "\"x\\ny: z\""),
            ("", "\"\""),
            ("plain/word-1", "plain/word-1"),
        ] {
            assert_eq!(quoted(text), safe);
        }
    }
}
