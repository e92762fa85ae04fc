//! `[remote]`: the fragment services that hold the other half of every key.
//!
//! One service stands in the table itself, several stand in `[[remote.node]]` tables with a threshold. Both
//! forms become the same checked type.

use serde::Deserialize;
use symbolon_proto::manifest::NODES_MAX;

/// A fragment service and how to know it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RemoteNode {
    /// `https://host:port` of the service.
    pub url: String,
    /// Twelve groups that the service's operator read to you: `symbolon fragment fingerprint`. No trust on
    /// first use.
    pub fingerprint: String,
}

/// The remote half: 1 to 16 nodes, of which `threshold` must answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Remote {
    /// The nodes. Which of them hold shares, and under which index, the manifest says.
    pub nodes: Vec<RemoteNode>,
    /// How many must answer, for `init`. Afterwards the manifest says it, and a reshare changes it.
    pub threshold: u16,
    /// Milliseconds that one evaluation may take before the remote counts as silent.
    pub deadline_ms: u64,
    /// Seconds between heartbeats, each of which renews the leases.
    pub heartbeat_secs: u64,
    /// Hours without an ACTIVE lease after which the broker seals itself.
    pub dead_man_hours: u64,
    /// What a group's manifests ask for.
    pub terms: GroupTerms,
}

/// What the manifests of several nodes say, which this broker writes and every node signs. None signs more
/// than it grants. One service alone writes its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupTerms {
    /// Seconds that cached keys may be used after each answer, at most 86,400.
    pub lease_ttl_secs: u32,
    /// Seconds that cached keys of the standard tier outlive the last lease, at most 86,400. Every second of
    /// it is one more that a cut-off broker works on.
    pub grace_secs: u32,
    /// Elements that may be evaluated at once.
    pub quota_burst: u32,
    /// Elements that may be evaluated in an hour.
    pub quota_per_hour: u32,
}

impl Default for GroupTerms {
    fn default() -> Self {
        Self { lease_ttl_secs: 3600, grace_secs: 0, quota_burst: 16_384, quota_per_hour: 16_384 }
    }
}

/// What stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: Option<String>,
    fingerprint: Option<String>,
    #[serde(default)]
    node: Vec<RemoteNode>,
    threshold: Option<u16>,
    #[serde(default = "deadline_ms")]
    deadline_ms: u64,
    #[serde(default = "heartbeat_secs")]
    heartbeat_secs: u64,
    #[serde(default = "dead_man_hours")]
    dead_man_hours: u64,
    #[serde(default)]
    terms: GroupTerms,
}

fn deadline_ms() -> u64 {
    2_000
}

fn heartbeat_secs() -> u64 {
    60
}

fn dead_man_hours() -> u64 {
    72
}

/// Why the table was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteTableError {
    /// Both forms, or half of one.
    #[error("[remote] wants either `url` and `fingerprint`, or one [[remote.node]] table for each service")]
    Form,
    /// More nodes than a manifest can name.
    #[error("{found} [[remote.node]] tables, where at most {NODES_MAX} are allowed")]
    Nodes {
        /// How many there are.
        found: usize,
    },
    /// The same service twice would be one party counted as two.
    #[error("two [[remote.node]] tables have the same url or fingerprint; each must be another service")]
    Twice,
    /// Several nodes need a number that nobody may guess.
    #[error("[remote] `threshold` must say how many of the {nodes} services must answer, from 1 to {nodes}")]
    Threshold {
        /// How many nodes there are.
        nodes: usize,
    },
}

impl TryFrom<Written> for Remote {
    type Error = RemoteTableError;

    fn try_from(written: Written) -> Result<Self, RemoteTableError> {
        let (dead_man_hours, terms) = (written.dead_man_hours, written.terms);
        let Written { url, fingerprint, node, threshold, deadline_ms, heartbeat_secs, .. } = written;
        let nodes = match (url, fingerprint, node.is_empty()) {
            (Some(url), Some(fingerprint), true) => vec![RemoteNode { url, fingerprint }],
            (None, None, false) => node,
            _ => return Err(RemoteTableError::Form),
        };
        if nodes.len() > usize::from(NODES_MAX) {
            return Err(RemoteTableError::Nodes { found: nodes.len() });
        }
        let same = |a: &RemoteNode, b: &RemoteNode| a.url == b.url || a.fingerprint == b.fingerprint;
        if nodes.iter().enumerate().any(|(i, node)| nodes[..i].iter().any(|other| same(node, other))) {
            return Err(RemoteTableError::Twice);
        }
        let only_one = (nodes.len() == 1).then_some(1);
        let threshold = threshold.or(only_one).filter(|t| (1..=nodes.len()).contains(&usize::from(*t)));
        let threshold = threshold.ok_or(RemoteTableError::Threshold { nodes: nodes.len() })?;
        Ok(Self { nodes, threshold, deadline_ms, heartbeat_secs, dead_man_hours, terms })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TWO: &str = r#"
        threshold = 2
        [[node]]
        url = "https://a.example:8300"
        fingerprint = "1"
        [[node]]
        url = "https://b.example:8300"
        fingerprint = "2"
    "#;

    fn refused(text: &str) -> String {
        toml::from_str::<Remote>(text).unwrap_err().to_string()
    }

    #[test]
    fn one_service_is_one_of_one() {
        let remote: Remote = toml::from_str("url = \"https://a\"\nfingerprint = \"1\"").unwrap();
        assert_eq!((remote.nodes.len(), remote.threshold, remote.dead_man_hours), (1, 1, 72));
    }

    #[test]
    fn several_services_say_how_many_must_answer() {
        let remote: Remote = toml::from_str(TWO).unwrap();
        assert_eq!((remote.nodes.len(), remote.threshold), (2, 2));
        for bad in ["", "threshold = 0", "threshold = 3"] {
            let error = refused(&TWO.replace("threshold = 2", bad));
            assert!(error.contains("how many of the 2 services"), "{error}");
        }
    }

    #[test]
    fn a_service_that_counts_twice_is_refused() {
        assert!(refused(&TWO.replace("\"2\"", "\"1\"")).contains("another service"));
        assert!(refused(&TWO.replace("b.example", "a.example")).contains("another service"));
    }

    #[test]
    fn half_a_form_both_forms_and_unknown_fields_are_refused() {
        for text in ["", "url = \"https://a\"", "fingerprint = \"1\"", &format!("url = \"https://c\"{TWO}")] {
            assert!(refused(text).contains("either `url` and `fingerprint`"), "{text}");
        }
        assert!(refused("urll = \"x\"").contains("urll"));
    }
}
