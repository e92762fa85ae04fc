//! Policies.

use serde::Deserialize;
use serde_json::json;
use symbolon::{Error, Method};

use super::Operator;

/// Policies of a broker: see [`Operator::policies`].
pub struct Policies<'a>(&'a Operator);

#[derive(Deserialize)]
struct Stored {
    policy: String,
}

#[derive(Deserialize)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<String>,
}

impl Operator {
    /// The policies of the broker.
    #[must_use]
    pub fn policies(&self) -> Policies<'_> {
        Policies(self)
    }
}

impl Policies<'_> {
    /// Names of all policies.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        let call = self.0.call(Method::GET, "sys/policies/acl").query("list", "true");
        Ok(call.send().await?.data::<Keys>("names of policies")?.keys)
    }

    /// Text of a policy as it was written.
    pub async fn read(&self, name: &str) -> Result<String, Error> {
        let call = self.0.call(Method::GET, &format!("sys/policies/acl/{name}"));
        Ok(call.send().await?.data::<Stored>("a policy")?.policy)
    }

    /// Makes or replaces a policy; `text` is HCL or JSON.
    pub async fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let call = self.0.call(Method::PUT, &format!("sys/policies/acl/{name}"));
        call.json(&json!({ "policy": text })).send().await.map(drop)
    }

    /// Removes a policy.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.0.call(Method::DELETE, &format!("sys/policies/acl/{name}")).send().await.map(drop)
    }
}
