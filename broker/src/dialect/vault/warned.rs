//! Answers that also say what of their request was not heeded.

use serde_json::Map;
use symbolon_proto::Zeroizing;

use super::envelope::{Data, Envelope, WARNINGS};
use super::reply::{Form, Reply};

impl Reply {
    /// The same with warnings, if it is no error. One without content becomes an envelope with nothing but
    /// them, as Vault does it; JSON outside the envelope gets the member that it lacks.
    #[must_use]
    pub fn warned(self, request_id: &str, mount_type: &'static str, warnings: Vec<String>) -> Self {
        if warnings.is_empty() || !self.status.is_success() {
            return self;
        }
        if self.body.is_empty() {
            let nothing = Envelope::object(request_id, mount_type, Map::new());
            return Envelope { data: Data::None, warnings, ..nothing }.into_reply();
        }
        let body = ending_in(&self.body, self.form == Form::Raw, &warnings);
        Self { body: body.unwrap_or(self.body), ..self }
    }
}

/// A JSON object with these warnings at its end, in a buffer that does not grow. Envelopes end with the
/// member; `None` for one that was wrapped by an earlier version, which had it elsewhere.
fn ending_in(body: &[u8], raw: bool, warnings: &[String]) -> Option<Zeroizing<Vec<u8>>> {
    let list = serde_json::to_string(warnings).ok()?;
    let none = format!("\"{WARNINGS}\":null}}");
    let (kept, more) = if raw {
        let kept = body.strip_suffix(b"}")?;
        let comma = if kept.ends_with(b"{") { "" } else { "," };
        (kept, format!("{comma}\"{WARNINGS}\":{list}}}"))
    } else if let Some(kept) = body.strip_suffix(none.as_bytes()) {
        (kept, format!("\"{WARNINGS}\":{list}}}"))
    } else {
        (body.strip_suffix(b"]}")?, format!(",{}}}", list.strip_prefix('[')?))
    };
    let mut out = Zeroizing::new(Vec::with_capacity(kept.len() + more.len()));
    out.extend_from_slice(kept);
    out.extend_from_slice(more.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::dialect::vault::Status;

    fn warned(reply: Reply) -> Value {
        let reply = reply.warned("id", "kv", vec!["careful".to_owned(), "\"x\"".to_owned()]);
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn envelope(warnings: &[&str]) -> Reply {
        let warnings = warnings.iter().map(|text| (*text).to_owned()).collect();
        let object = crate::dialect::vault::call::object(json!({"warnings": null, "k": "]}"}));
        Envelope { warnings, ..Envelope::object("id", "kv", object) }.into_reply()
    }

    #[test]
    fn every_answer_has_room_for_warnings() {
        for reply in [Reply::no_content(), envelope(&[]), Reply::json(Status::OK, &json!({}))] {
            assert_eq!(warned(reply)["warnings"], json!(["careful", "\"x\""]));
        }
        let more = warned(envelope(&["first"]));
        assert_eq!(more["warnings"], json!(["first", "careful", "\"x\""]));
        assert_eq!(more["data"], json!({"warnings": null, "k": "]}"}));
        let raw = warned(Reply::json(Status::OK, &json!({"keys": []})));
        assert_eq!(raw, json!({"keys": [], "warnings": ["careful", "\"x\""]}));
    }

    #[test]
    fn an_error_and_what_nobody_warns_of_stay_as_they_are() {
        let error = Reply::errors(Status::BAD_REQUEST, None);
        assert_eq!(warned(error), json!({"errors": []}));
        let nothing = Reply::no_content().warned("id", "kv", Vec::new());
        assert_eq!((nothing.status, nothing.body.len()), (Status::NO_CONTENT, 0));
    }

    /// Wrapped by the version before this one, in which another member was the last.
    #[test]
    fn an_envelope_of_an_earlier_version_is_left_alone() {
        let body = br#"{"data":{},"warnings":null,"auth":null,"mount_type":"kv"}"#;
        let reply = Reply {
            status: Status::OK,
            body: Zeroizing::new(body.to_vec()),
            form: Form::Bare,
            retry_secs: None,
        };
        assert_eq!(warned(reply), serde_json::from_slice::<Value>(body).unwrap());
    }
}
