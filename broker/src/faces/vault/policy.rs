//! `sys/policies/acl` and the older `sys/policy`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use symbolon_core::path::PolicyName;

use super::answer::object;
use super::envelope::Envelope;
use super::error::FaceError;
use super::fields::Reader;
use super::request::{VaultRequest, Verb};
use super::{Answer, unsupported};
use crate::ops::{App, policy};

/// Which of the two spellings of the routes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `sys/policies/acl`.
    Current,
    /// `sys/policy`: other member names, and lists also with GET.
    Old,
}

/// Routes a request below either prefix; `name` is `None` for the list.
pub async fn route(app: &App, request: &VaultRequest, spelling: Spelling, name: Option<&str>) -> Answer {
    let Some(name) = name else {
        return match (request.verb, spelling) {
            (Verb::List, _) | (Verb::Read, Spelling::Old) => list(app, request, spelling).await,
            _ => unsupported(),
        };
    };
    let name = PolicyName::parse(name)?;
    let (who, api) = (request.requester(), &request.path);
    let read = request.fields.reader();
    match request.verb {
        Verb::Read => {
            let found = policy::read(app, &who, api, &name).await?;
            let member = if spelling == Spelling::Old { "rules" } else { "policy" };
            let data = json!({ "name": found.name.as_str(), member: found.text });
            let mut envelope = request.envelope("system", data, &read);
            envelope.copied_to_top = true;
            Ok(envelope.into_response())
        }
        Verb::Write => {
            let text = text(&read)?;
            policy::write(app, &who, api, &name, &text).await?;
            Ok(request.done("system", &read))
        }
        Verb::Delete => {
            policy::delete(app, &who, api, &name).await?;
            Ok(request.done("system", &read))
        }
        Verb::List | Verb::Patch => unsupported(),
    }
}

async fn list(app: &App, request: &VaultRequest, spelling: Spelling) -> Answer {
    let names = policy::list(app, &request.requester(), &request.path).await?;
    let data = match spelling {
        Spelling::Current => json!({ "keys": names }),
        Spelling::Old => json!({ "keys": names, "policies": names }),
    };
    let mut envelope = Envelope::object(&request.request_id, "system", object(data));
    envelope.copied_to_top = true;
    Ok(envelope.into_response())
}

/// The policy's text: `policy`, or `rules` as older clients call it; plain or in base64.
fn text(read: &Reader<'_>) -> Result<String, FaceError> {
    let (policy, rules) = (read.string("policy")?, read.string("rules")?);
    let given = policy.or(rules).filter(|text| !text.is_empty());
    let given = given.ok_or(FaceError::Invalid("'policy' parameter not supplied or empty"))?;
    // No policy is valid base64: it has quotes and braces.
    let decoded = STANDARD.decode(given.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(decoded.unwrap_or(given))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::faces::vault::fields::Fields;

    #[test]
    fn a_policy_comes_under_two_names_plain_or_in_base64() {
        const TEXT: &str = r#"path "secret/*" { capabilities = ["read"] }"#;
        for body in
            [json!({"policy": TEXT}), json!({"rules": TEXT}), json!({"policy": STANDARD.encode(TEXT)})]
        {
            assert_eq!(text(&Fields::new(object(body)).reader()).unwrap(), TEXT);
        }
        for body in [json!({}), json!({"policy": ""})] {
            assert!(text(&Fields::new(object(body)).reader()).is_err());
        }
    }
}
