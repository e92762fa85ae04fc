//! Answers in Vault's envelope.
//!
//! Secret data is spliced in as the bytes that were stored, so that numbers keep their literal and nothing is
//! parsed twice; the buffer of an answer is wiped when the last of it has been sent.

use serde::Serialize;
use serde_json::{Map, Value};
use symbolon_proto::Zeroizing;

use super::reply::{Form, Reply};
use super::status::Status;

/// Room for an answer without a stored object.
const ANSWER_BYTES: usize = 2048;
/// Room for everything in an answer but a stored object and its facts. Every byte of it is wiped, so no more
/// than needed.
const ENVELOPE_BYTES: usize = 512;

/// Name of the member that an envelope ends with.
pub(super) const WARNINGS: &str = "warnings";

/// What stands in `data`.
pub enum Data {
    /// `null`.
    None,
    /// An object of ours.
    Object(Map<String, Value>),
    /// A JSON object as bytes and nothing beside it: as it was stored, or as a client sent it.
    Stored(Zeroizing<Vec<u8>>),
    /// The inside of a KV v2 read: the stored object as bytes, or `null`, with facts beside it.
    Secret {
        /// Name of the member that holds the stored object: `data`, or `subkeys`.
        name: &'static str,
        /// The stored JSON object, byte for byte.
        stored: Option<Zeroizing<Vec<u8>>>,
        /// Member `metadata`.
        metadata: Map<String, Value>,
    },
}

/// The `auth` member of a login or token answer.
#[derive(Serialize)]
pub struct Auth<'a> {
    /// The token, shown once.
    pub client_token: &'a str,
    /// Its accessor; empty for batch tokens.
    pub accessor: &'a str,
    /// Policies of the token and of its identity.
    pub policies: Vec<&'a str>,
    /// Policies of the token.
    pub token_policies: Vec<&'a str>,
    /// String to string, or null.
    pub metadata: Option<&'a std::collections::BTreeMap<String, String>>,
    /// Seconds.
    pub lease_duration: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Always empty: there are no entities yet.
    pub entity_id: &'static str,
    /// `service` or `batch`.
    pub token_type: &'static str,
    /// Whether it has no parent.
    pub orphan: bool,
    /// Always null: there is no second factor yet.
    pub mfa_requirement: Option<()>,
    /// Uses left; 0 is unlimited.
    pub num_uses: u64,
}

/// The `wrap_info` of an answer that is kept until somebody unwraps it.
#[derive(Serialize)]
pub struct WrapInfo<'a> {
    /// The wrapping token, shown once.
    pub token: &'a str,
    /// Its accessor.
    pub accessor: &'a str,
    /// Seconds.
    pub ttl: u64,
    /// RFC 3339.
    pub creation_time: String,
    /// Path of the request whose answer it is.
    pub creation_path: &'a str,
    /// Accessor of the token in the answer, if there is one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub wrapped_accessor: &'a str,
}

/// One answer with its envelope.
pub struct Envelope<'a> {
    /// Identifier of the request, as in the audit entry.
    pub request_id: &'a str,
    /// For how long the client may take `data` for good, in seconds. Advice: nothing ends by itself then.
    pub lease_secs: u64,
    /// What stands in `data`.
    pub data: Data,
    /// What stands in `auth`.
    pub auth: Option<Auth<'a>>,
    /// What stands in `wrap_info`.
    pub wrap_info: Option<WrapInfo<'a>>,
    /// What stands in `warnings`; empty means null.
    pub warnings: Vec<String>,
    /// Kind of the engine that answered.
    pub mount_type: &'static str,
    /// Whether the members of `data` also stand at the top level, as old sys routes have it.
    pub copied_to_top: bool,
}

impl<'a> Envelope<'a> {
    /// An answer with an object and nothing else to say.
    #[must_use]
    pub fn object(request_id: &'a str, mount_type: &'static str, data: Map<String, Value>) -> Self {
        Self {
            request_id,
            lease_secs: 0,
            data: Data::Object(data),
            auth: None,
            wrap_info: None,
            warnings: Vec::new(),
            mount_type,
            copied_to_top: false,
        }
    }

    /// The JSON text.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let facts = self.facts();
        let mut out = Zeroizing::new(Vec::with_capacity(self.room(&facts)));
        out.push(b'{');
        if self.copied_to_top {
            self.push_copies(&mut out);
        }
        push_member(&mut out, "request_id", &self.request_id);
        out.extend_from_slice(br#""lease_id":"","renewable":false,"#);
        push_member(&mut out, "lease_duration", &self.lease_secs);
        out.extend_from_slice(br#""data":"#);
        self.push_data(&mut out, &facts);
        out.push(b',');
        push_member(&mut out, "wrap_info", &self.wrap_info);
        push_member(&mut out, "auth", &self.auth);
        push_member(&mut out, "mount_type", &self.mount_type);
        // The last one: more may be added to it (`Reply::warned`).
        push_member(&mut out, WARNINGS, &(!self.warnings.is_empty()).then_some(&self.warnings));
        out.pop();
        out.push(b'}');
        out
    }

    /// Member `metadata` beside a stored object. It is written first because its length is not known
    /// otherwise.
    fn facts(&self) -> Vec<u8> {
        let mut facts = Vec::new();
        if let Data::Secret { metadata, .. } = &self.data {
            push_json(&mut facts, metadata);
        }
        facts
    }

    /// Enough for the whole, so that no grown buffer leaves an unwiped copy of a secret behind.
    fn room(&self, facts: &[u8]) -> usize {
        let data = match &self.data {
            Data::Secret { stored, .. } => {
                ENVELOPE_BYTES + facts.len() + stored.as_ref().map_or(0, |bytes| bytes.len())
            }
            Data::Stored(stored) => ENVELOPE_BYTES + stored.len(),
            Data::Object(_) | Data::None => ANSWER_BYTES,
        };
        // A path may need six bytes for one, as JSON has it.
        data + self.wrap_info.as_ref().map_or(0, |info| 6 * info.creation_path.len())
            + self.auth.as_ref().map_or(0, |auth| auth.client_token.len())
    }

    fn push_copies(&self, out: &mut Vec<u8>) {
        const OWN: [&str; 9] = [
            "request_id",
            "lease_id",
            "renewable",
            "lease_duration",
            "data",
            "wrap_info",
            "warnings",
            "auth",
            "mount_type",
        ];
        let Data::Object(map) = &self.data else { return };
        for (key, value) in map.iter().filter(|(key, _)| !OWN.contains(&key.as_str())) {
            push_member(out, key, value);
        }
    }

    fn push_data(&self, out: &mut Vec<u8>, facts: &[u8]) {
        match &self.data {
            Data::None => out.extend_from_slice(b"null"),
            Data::Object(map) => push_json(out, map),
            Data::Stored(stored) => out.extend_from_slice(stored),
            Data::Secret { name, stored, metadata: _ } => {
                out.push(b'{');
                push_json(out, name);
                out.push(b':');
                out.extend_from_slice(stored.as_ref().map_or(b"null", |bytes| bytes.as_slice()));
                out.extend_from_slice(br#","metadata":"#);
                out.extend_from_slice(facts);
                out.push(b'}');
            }
        }
    }

    /// Status 200 with the envelope.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        self.with_status(Status::OK)
    }

    /// Another status with the envelope; a deleted KV version is 404 with data.
    #[must_use]
    pub fn with_status(self, status: Status) -> Reply {
        let form = match (&self.data, &self.auth) {
            (Data::None, None) => Form::Bare,
            (_, auth) => {
                let accessor = auth.as_ref().map_or("", |auth| auth.accessor).to_owned();
                Form::Enveloped { accessor }
            }
        };
        Reply { status, body: self.to_bytes(), form, retry_secs: None }
    }
}

/// Writes `"name":value,`.
fn push_member(out: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    push_json(out, &name);
    out.push(b':');
    push_json(out, value);
    out.push(b',');
}

fn push_json(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("plain data with string keys always serialises into memory");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_envelope_has_every_member() {
        let envelope = Envelope::object("id-1", "system", object(json!({"keys": ["a"]})));
        let text = String::from_utf8(envelope.to_bytes().to_vec()).unwrap();
        assert_eq!(
            text,
            r#"{"request_id":"id-1","lease_id":"","renewable":false,"lease_duration":0,"data":{"keys":["a"]},"wrap_info":null,"auth":null,"mount_type":"system","warnings":null}"#
        );
    }

    #[test]
    fn old_routes_find_their_data_at_the_top_and_cannot_overwrite_the_envelope() {
        let mut envelope =
            Envelope::object("id-1", "system", object(json!({"policies": ["a"], "auth": {"x": 1}})));
        envelope.copied_to_top = true;
        let value: Value = serde_json::from_slice(&envelope.to_bytes()).unwrap();
        assert_eq!(value["policies"], json!(["a"]));
        assert_eq!(value["data"]["policies"], json!(["a"]));
        assert_eq!(value["auth"], Value::Null);
    }

    #[test]
    fn stored_bytes_leave_as_they_came() {
        let stored = br#"{"pi":3.140,"big":1180591620717411303424,"e":1E2}"#;
        let envelope = Envelope {
            data: Data::Secret {
                name: "data",
                stored: Some(Zeroizing::new(stored.to_vec())),
                metadata: object(json!({"version": 1})),
            },
            warnings: vec!["careful".into()],
            ..Envelope::object("id", "kv", Map::new())
        };
        let text = String::from_utf8(envelope.to_bytes().to_vec()).unwrap();
        let expected =
            format!(r#""data":{{"data":{},"metadata":{{"version":1}}}}"#, String::from_utf8_lossy(stored));
        assert!(text.contains(&expected), "{text}");
        assert!(text.contains(r#""warnings":["careful"]"#));
    }

    #[test]
    fn no_buffer_with_a_secret_grows() {
        let custom = "x".repeat(4096);
        for (stored, custom) in [("", ""), ("{}", ""), (&*custom, &*custom)] {
            let envelope = Envelope {
                data: Data::Secret {
                    name: "subkeys",
                    stored: Some(Zeroizing::new(stored.as_bytes().to_vec())),
                    metadata: object(json!({ "custom_metadata": custom })),
                },
                ..Envelope::object("00000000-0000-4000-8000-000000000000", "kubernetes", Map::new())
            };
            let room = envelope.room(&envelope.facts());
            assert!(envelope.to_bytes().len() <= room, "{room}");
        }
    }

    #[test]
    fn a_stored_object_can_be_the_whole_data() {
        let stored = br#"{"pi":3.140}"#;
        let envelope = Envelope {
            lease_secs: u64::MAX,
            data: Data::Stored(Zeroizing::new(stored.to_vec())),
            ..Envelope::object("00000000-0000-4000-8000-000000000000", "kubernetes", Map::new())
        };
        let text = envelope.to_bytes();
        assert!(text.len() <= envelope.room(&envelope.facts()));
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains(r#""lease_duration":18446744073709551615,"data":{"pi":3.140},"#), "{text}");
    }

    #[test]
    fn a_deleted_version_is_null_beside_its_metadata() {
        let envelope = Envelope {
            data: Data::Secret { name: "data", stored: None, metadata: object(json!({"destroyed": true})) },
            ..Envelope::object("id", "kv", Map::new())
        };
        let value: Value = serde_json::from_slice(&envelope.to_bytes()).unwrap();
        assert_eq!(value["data"], json!({"data": null, "metadata": {"destroyed": true}}));
    }
}
