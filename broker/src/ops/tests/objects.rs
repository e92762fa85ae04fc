//! What entries are about beside the path, as somebody reads them back.

use symbolon_core::audit::Action;
use symbolon_core::identity::approle::SecretIdRequest;
use symbolon_core::token::CreateRequest;

use super::*;
use crate::audit::log::{Filter, Range};

/// The objects of the entries of an action, oldest first.
async fn objects(bench: &Bench, action: Action) -> Vec<String> {
    let filter = Filter { action: Some(action), ..Filter::default() };
    let range = Range { from: 0, until: u64::MAX, newest_first: false, limit: 100 };
    let page = bench.as_root(async |who| audit::search(&who, &filter, range).await).await.unwrap();
    page.found.into_iter().map(|found| found.detail.unwrap().object).collect()
}

#[tokio::test]
async fn the_log_of_everybody_needs_sudo() {
    let bench = Bench::new().await;
    let search = async |token: &str| {
        let range = Range { from: 0, until: u64::MAX, newest_first: false, limit: 1 };
        bench.ask(token, async |who| audit::search(&who, &Filter::default(), range).await).await
    };
    for path in ["sys/*", "sys/symbolon/*", "sys/symbolon/audit"] {
        let rule = |more: &str| format!(r#"path "{path}" {{ capabilities = ["read", "list"{more}] }}"#);
        let reader = bench.token_with(&rule("")).await;
        assert!(matches!(search(&reader).await, Err(OpError::Denied(_))), "{path}");
        let auditor = bench.token_with(&rule(r#", "sudo""#)).await;
        assert!(search(&auditor).await.is_ok(), "{path}");
    }
    let mounts = bench.session.mounts();
    for path in ["sys/audit", "sys/symbolon/audit/x", "sys/leases/lookup/x"] {
        assert!(bench.session.shape().needs_sudo(&mounts, &api(path)), "{path} is about everybody too");
    }
}

#[tokio::test]
async fn the_entry_of_a_token_names_accessor_and_policies() {
    let bench = Bench::new().await;
    let policies = ["reader", "writer"].map(|name| PolicyName::parse(name).unwrap()).to_vec();
    let wanted = CreateRequest { policies: Some(policies), no_default_policy: true, ..Default::default() };
    let issued =
        bench.as_root(async |who| token::create(&who, token::Making::Child, wanted).await).await.unwrap();
    let accessor = issued.caller.accessor.clone().unwrap();
    let said = format!("token {accessor} with policies reader,writer");
    assert_eq!(objects(&bench, Action::TokenCreate).await, std::slice::from_ref(&said));
    let which = token::Which::Accessor(&accessor);
    bench.as_root(async |who| token::revoke(&who, which, false).await).await.unwrap();
    assert_eq!(objects(&bench, Action::TokenRevoke).await, [said], "the token concerned, not the caller's");
}

#[tokio::test]
async fn the_entries_of_a_secret_id_and_its_login_name_what_was_made() {
    let bench = Bench::new().await;
    let mount = bench.session.mounts().secrets.0[0].clone();
    let token = TokenParams {
        token_policies: vec![PolicyName::parse("deploy").unwrap()],
        token_ttl: 60,
        ..TokenParams::default()
    };
    let name = bench.add_role(&mount, &AppRole { token, ..role("ci") }).await;
    let wanted = SecretIdRequest::default();
    let made = bench
        .as_root(async |who| auth::approle::create_secret_id(&who, &mount, &name, &wanted, None).await)
        .await
        .unwrap();
    let said = format!("secret id {} of role ci", made.record.accessor);
    assert!(objects(&bench, Action::AuthWrite).await.contains(&said));

    let parameters = Map::new();
    let who = Requester {
        token: None,
        request_id: "test",
        remote: None,
        parameters: &parameters,
        wrap_ttl_secs: 0,
    };
    let who = who.of(&bench.session);
    let issued = auth::approle::login(&who, &mount, "id", &made.secret_id).await.unwrap();
    let accessor = issued.caller.accessor.unwrap();
    let said = format!("token {accessor} with policies default,deploy");
    assert_eq!(objects(&bench, Action::Login).await, [said]);
}
