//! An event in the shape of Vault's and OpenBao's audit lines, for people with queries of that time.
//!
//! One line for each event, of type `response`, because an entry is written when it is known what became of
//! the request. Members are those that audit devices of OpenBao 2 write, as far as there is anything to
//! say; what Vault has no word for stands in `symbolon`. Values and their hashes are in none of them.

use serde_json::{Map, Value, json};

use super::Event;
use crate::audit::Action;

impl Event {
    /// One line of JSON in that shape, without the line feed.
    #[must_use]
    pub fn vault_line(&self) -> String {
        let mut line = json!({ "time": self.time, "type": "response", "auth": self.auth() });
        put(&mut line, "request", self.vault_request());
        if self.outcome != "allowed" {
            put(&mut line, "error", self.reason.as_str().into());
        }
        put(&mut line, "symbolon", self.own());
        line.to_string()
    }

    fn auth(&self) -> Value {
        let actor = &self.actor;
        let granting = self.policy.iter().map(|name| json!({ "name": name, "type": "acl" }));
        let metadata = [
            ("role", &actor.role),
            ("service_account_namespace", &actor.namespace),
            ("service_account_uid", &actor.uid),
            ("subject", &actor.subject),
        ];
        known(&[
            ("accessor", actor.accessor.as_str().into()),
            ("display_name", actor.name.as_str().into()),
            ("policies", self.policy.as_slice().into()),
            (
                "policy_results",
                json!({ "allowed": self.outcome != "denied", "granting_policies": granting.collect::<Vec<_>>() }),
            ),
            ("metadata", known(&metadata.map(|(name, text)| (name, Value::from(text.as_str()))))),
        ])
    }

    fn vault_request(&self) -> Value {
        let mount = &self.target.mount;
        let point = if mount.is_empty() { String::new() } else { format!("{mount}/") };
        known(&[
            ("id", self.request_id.as_str().into()),
            ("operation", self.operation().into()),
            ("mount_point", point.into()),
            ("namespace", json!({ "id": "root" })),
            ("path", self.target.path.as_str().into()),
            ("remote_address", self.client.as_str().into()),
        ])
    }

    /// What Vault has no word for.
    fn own(&self) -> Value {
        known(&[
            ("index", self.index.into()),
            ("hash", self.hash.as_str().into()),
            ("node", self.node.as_str().into()),
            ("type", self.action.as_str().into()),
            ("outcome", self.outcome.as_str().into()),
            ("method", self.actor.method.as_str().into()),
            ("version", if self.target.version == 0 { Value::Null } else { self.target.version.into() }),
            ("object", self.target.object.as_str().into()),
            ("counts", serde_json::to_value(&self.counts).unwrap_or_default()),
        ])
    }

    /// Vault's word for what was asked for.
    fn operation(&self) -> &'static str {
        let Some(action) = Action::from_name(&self.action) else { return "" };
        let word = action.as_str();
        let ends = |ending: &str| word.ends_with(ending);
        match action {
            Action::List => "list",
            _ if ends("-read") || ends("-lookup") => "read",
            _ if ends("-delete") || ends("-destroy") => "delete",
            _ => "update",
        }
    }
}

/// What is known of it.
fn known(members: &[(&str, Value)]) -> Value {
    let is_known = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    let members = members.iter().filter(|(_, value)| is_known(value));
    Value::Object(members.map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>())
}

fn put(line: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = line {
        members.insert(name.to_owned(), value);
    }
}
