//! Sources of shares: what gives one without a person.

use serde::{Deserialize, Serialize};
use serde_json::json;
use symbolon::{Error, Method};

use super::Operator;

/// Who can open the broker without a person.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Custody {
    /// Shares needed; 0 before `init`.
    pub threshold: u8,
    /// People who hold a share.
    pub people: Vec<String>,
    /// People that an unseal takes at least.
    pub people_min: u8,
    /// Places from which alone the broker can be opened.
    pub weak_places: Vec<String>,
    /// Why sources give nothing to the present set; empty if they may.
    pub refused: String,
    /// Whether no source is asked, since an operator sealed the broker.
    pub held: bool,
    /// Sources, configured or kept.
    pub sources: Vec<Source>,
}

/// One source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// What it is called.
    pub name: String,
    /// Its kind; empty if it is not in the configuration any more.
    pub kind: String,
    /// Where it is.
    pub place: String,
    /// Fingerprint of its card; empty if it is not enrolled.
    pub fingerprint: String,
    /// Whether it holds a share of the present set.
    pub holds: bool,
    /// What came of asking it.
    pub state: String,
    /// Since when.
    pub since: Option<String>,
    /// Attempts that gave nothing, since the last that did.
    pub failures: u64,
}

impl Operator {
    /// What is known of all; needs no token and works on a sealed broker.
    pub async fn custody(&self) -> Result<Custody, Error> {
        let call = self.call(Method::GET, "sys/symbolon/custody").without_token();
        call.send().await?.raw("the sources of a broker")
    }

    /// Makes keys for a source of the broker's configuration, bound to its device.
    pub async fn enrol_source(&self, name: &str) -> Result<(), Error> {
        self.order_source("enrol", name).await
    }

    /// Sees that a source would give its share, without giving it to anybody.
    pub async fn test_source(&self, name: &str) -> Result<(), Error> {
        self.order_source("test", name).await
    }

    /// Forgets a source that holds no share.
    pub async fn remove_source(&self, name: &str) -> Result<(), Error> {
        self.order_source("remove", name).await
    }

    async fn order_source(&self, what: &str, name: &str) -> Result<(), Error> {
        let call = self.call(Method::PUT, &format!("sys/symbolon/custody/{what}"));
        call.json(&json!({ "name": name })).send().await.map(drop)
    }
}
