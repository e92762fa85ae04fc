//! What goes back to a client, before a face makes an HTTP answer of it.

use serde::Serialize;
use serde_json::json;
use symbolon_proto::Zeroizing;

use super::status::Status;

/// Room for the largest answer that holds secrets, sixteen shares in three forms, so that no outgrown copy
/// stays behind.
const ANSWER_BYTES: usize = 8192;

/// What a body is, for whoever passes it on without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing, an error, warnings, or an answer that has been wrapped.
    Bare,
    /// JSON outside the envelope.
    Raw,
    /// Data or a token in the envelope.
    Enveloped {
        /// Accessor of a token in it; empty if there is none.
        accessor: String,
    },
}

/// An answer. The body is wiped when the last of it has been sent.
pub struct Reply {
    /// Its status.
    pub status: Status,
    /// JSON, or nothing.
    pub body: Zeroizing<Vec<u8>>,
    /// What the body is.
    pub form: Form,
    /// Seconds after which to ask again, where that is known; clients are told to ask soon otherwise.
    pub retry_secs: Option<u32>,
}

impl Reply {
    /// 204.
    #[must_use]
    pub fn no_content() -> Self {
        Self { status: Status::NO_CONTENT, body: Zeroizing::default(), form: Form::Bare, retry_secs: None }
    }

    /// Raw JSON without envelope.
    #[must_use]
    pub fn json(status: Status, value: &impl Serialize) -> Self {
        let mut body = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES));
        serde_json::to_writer(&mut *body, value)
            .expect("plain data with string keys always serialises into memory");
        Self { status, body, form: Form::Raw, retry_secs: None }
    }
}

impl Reply {
    /// `{"errors":[…]}`; no text means an empty list, which clients read as "absent".
    #[must_use]
    pub fn errors(status: Status, text: Option<&str>) -> Self {
        let errors: Vec<&str> = text.into_iter().collect();
        Self { form: Form::Bare, ..Self::json(status, &json!({ "errors": errors })) }
    }
}
