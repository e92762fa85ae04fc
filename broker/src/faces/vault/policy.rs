//! `sys/policies/acl` and the older `sys/policy`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use symbolon_core::path::PolicyName;

use crate::auth::roles::route::first;
use crate::dialect::vault::call::object;
use crate::dialect::vault::envelope::Envelope;
use crate::dialect::vault::error::FaceError;
use crate::dialect::vault::fields::Reader;
use crate::dialect::vault::{Answer, Call, Verb, unsupported};
use crate::ops::policy::{self, Spelling};

/// Routes a request below either prefix; no name is the list.
pub async fn route(call: Call<'_>, spelling: Spelling, name: &[&str]) -> Answer {
    if name.is_empty() {
        return match (call.verb, spelling) {
            (Verb::List, _) | (Verb::Read, Spelling::Old) => list(call, spelling).await,
            _ => unsupported(),
        };
    }
    let name = PolicyName::parse(&name.join("/"))?;
    let who = call.who();
    let read = call.fields.reader();
    match call.verb {
        Verb::Read => {
            let found = policy::read(&who, spelling, &name).await?;
            let member = if spelling == Spelling::Old { "rules" } else { "policy" };
            let data = json!({ "name": found.name.as_str(), member: found.text });
            let mut envelope = call.request.envelope("system", data, &read);
            envelope.copied_to_top = true;
            Ok(envelope.into_reply())
        }
        Verb::Write => {
            let text = text(&read)?;
            read.captured(&["name"], name.as_str()); // clients repeat it
            policy::write(&who, spelling, &name, &text).await?;
            Ok(call.done("system", &read))
        }
        Verb::Delete => {
            policy::delete(&who, spelling, &name).await?;
            Ok(call.done("system", &read))
        }
        Verb::List | Verb::Patch => unsupported(),
    }
}

async fn list(call: Call<'_>, spelling: Spelling) -> Answer {
    let names = policy::list(&call.who(), spelling).await?;
    let data = match spelling {
        Spelling::Current => json!({ "keys": names }),
        Spelling::Old => json!({ "keys": names, "policies": names }),
    };
    let mut envelope = Envelope::object(&call.request.request_id, "system", object(data));
    envelope.copied_to_top = true;
    Ok(envelope.into_reply())
}

/// The policy's text: `policy`, or `rules` as older clients call it; plain or in base64. A policy that would
/// outlive what its author wanted, or overwrite what he has not seen, is refused.
fn text(read: &Reader<'_>) -> Result<String, FaceError> {
    let is_empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    if !is_empty(&read.string("ttl")?) || !is_empty(&read.string("expiration")?) {
        return Err(FaceError::Invalid("policies do not end by themselves; leave out ttl and expiration"));
    }
    if read.int("cas")?.is_some_and(|cas| cas >= 0) || read.bool("cas_required")?.unwrap_or(false) {
        return Err(FaceError::Invalid("policies have no versions; leave out cas and cas_required"));
    }
    let given = first(["policy", "rules"], |name| read.string(name))?.filter(|text| !text.is_empty());
    let given = given.ok_or(FaceError::Invalid("'policy' parameter not supplied or empty"))?;
    // No policy is valid base64: it has quotes and braces.
    let decoded = STANDARD.decode(given.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(decoded.unwrap_or(given))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dialect::vault::fields::Fields;

    #[test]
    fn a_policy_comes_under_two_names_plain_or_in_base64() {
        const TEXT: &str = r#"path "secret/*" { capabilities = ["read"] }"#;
        for body in
            [json!({"policy": TEXT}), json!({"rules": TEXT}), json!({"policy": STANDARD.encode(TEXT)})]
        {
            assert_eq!(text(&Fields::new(object(body)).reader()).unwrap(), TEXT);
        }
        for body in [
            json!({}),
            json!({"policy": ""}),
            json!({"policy": TEXT, "ttl": "1h"}),
            json!({"policy": TEXT, "expiration": "2030-01-01T00:00:00Z"}),
            json!({"policy": TEXT, "cas": 0}),
        ] {
            assert!(text(&Fields::new(object(body)).reader()).is_err());
        }
    }
}
