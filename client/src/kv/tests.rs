#![allow(clippy::unwrap_used)]
use serde_json::Value;

use super::*;
use crate::testing::Server;
use crate::token::SecretText;

#[derive(Debug, Serialize, Deserialize)]
struct Login {
    user: String,
    password: SecretText,
}

fn version(data: &str, destroyed: bool) -> String {
    let metadata = json!({ "version": 3, "created_time": "2026-01-01T00:00:00Z", "destroyed": destroyed });
    format!(r#"{{"data":{{"data":{data},"metadata":{metadata}}}}}"#)
}

async fn get<T: DeserializeOwned>(status: u16, body: String) -> Result<Secret<T>, Error> {
    let server = Server::start(move |_, _| (status, "", body.clone())).await;
    server.client().build().unwrap().kv("secret").get("a/b").await
}

#[tokio::test]
async fn a_secret_has_the_form_of_the_callers_type() {
    let got = get::<Login>(200, version(r#"{"user":"u","password":"hunter2"}"#, false)).await.unwrap();
    assert_eq!(
        (got.data.user.as_str(), got.data.password.expose(), got.metadata.version),
        ("u", "hunter2", 3)
    );
    assert!(!format!("{got:?}").contains("hunter2"));
}

#[tokio::test]
async fn another_form_is_named_without_what_was_found() {
    let error = get::<Login>(200, version(r#"{"user":1,"password":"hunter2"}"#, false)).await.unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    assert!(matches!(get::<Login>(200, r#"{"ok":true}"#.into()).await, Err(Error::Foreign { .. })));
}

#[tokio::test]
async fn absence_is_told_from_a_page_that_is_missing() {
    for (body, says) in [
        (r#"{"errors":[]}"#.to_owned(), None),
        (version("null", false), Some("deleted")),
        (version("null", true), Some("destroyed")),
    ] {
        match get::<SecretData>(404, body).await {
            Err(Error::Absent(refusal)) => assert_eq!(says.is_some(), refusal.says(says.unwrap_or("-"))),
            other => panic!("{other:?}"),
        }
    }
    let proxy = get::<SecretData>(404, "<html>404</html>".to_owned()).await;
    assert!(matches!(proxy, Err(Error::Foreign { .. })), "{proxy:?}");
}

#[tokio::test]
async fn a_write_says_what_it_expects() {
    let lost = r#"{"errors":["check-and-set parameter did not match the current version"]}"#;
    let server = Server::start(|_, _| (400, "", lost.to_owned())).await;
    let client = server.client().build().unwrap();
    let secret = Login { user: "u".to_owned(), password: "p".to_owned().into() };
    for cas in [Cas::Any, Cas::Absent, Cas::Version(7)] {
        let wrote = client.kv("secret").put("a", &secret, cas).await;
        assert!(matches!(wrote, Err(Error::Conflict(_))));
    }
    let options = |index: usize| {
        let body: Value = serde_json::from_str(&server.asked()[index].body).unwrap();
        assert_eq!(body["data"], json!({ "user": "u", "password": "p" }));
        body["options"].clone()
    };
    assert_eq!([options(0), options(1), options(2)], [Value::Null, json!({ "cas": 0 }), json!({ "cas": 7 })]);
}
