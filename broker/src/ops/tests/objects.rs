//! What entries are about beside the path, as somebody reads them back.

use symbolon_core::audit::{Action, Outcome};
use symbolon_core::identity::approle::SecretIdRequest;
use symbolon_core::token::CreateRequest;

use super::*;
use crate::audit::log::{Filter, Range};

/// The objects of the entries of an action, oldest first.
async fn objects(bench: &Bench, action: Action) -> Vec<String> {
    let filter = Filter { actions: vec![action], ..Filter::default() };
    let range = Range { from: 0, until: u64::MAX, newest_first: false, limit: 100, counts_only: false };
    let page = bench.as_root(async |who| audit::search(&who, &filter, range).await).await.unwrap();
    page.found.into_iter().map(|found| found.detail.unwrap().object).collect()
}

#[tokio::test]
async fn the_log_of_everybody_needs_sudo() {
    let bench = Bench::new().await;
    let search = async |token: &str| {
        let range = Range { from: 0, until: u64::MAX, newest_first: false, limit: 1, counts_only: false };
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
    bench.as_root(async |who| token::revoke(&who, which).await).await.unwrap();
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
    let said = format!(
        "token {accessor} with policies default,deploy by secret id {} of role ci",
        made.record.accessor
    );
    assert_eq!(objects(&bench, Action::Login).await, [said]);
}

#[tokio::test]
async fn the_entries_of_a_root_token_say_what_was_done() {
    let bench = Bench::new().await;
    let wanted = CreateRequest { policies: Some(vec![PolicyName::root()]), ..Default::default() };
    let make = async |who: Asker<'_>| token::create(&who, token::Making::Child, wanted.clone()).await;
    let issued = bench.as_root(make).await.unwrap();
    let accessor = issued.caller.accessor.clone().unwrap();
    let said = format!("token {accessor} with policies root");
    assert_eq!(objects(&bench, Action::TokenCreate).await, std::slice::from_ref(&said));

    let looks = [token::Which::Accessor(&accessor), token::Which::Token(&issued.token)];
    for which in looks {
        bench.as_root(async |who| token::lookup(&who, which).await).await.unwrap();
    }
    bench.ask(&issued.token, async |who| token::lookup(&who, token::Which::Own).await).await.unwrap();
    let looked_up = [said.clone(), said.clone(), said.clone()];
    assert_eq!(objects(&bench, Action::TokenLookup).await, looked_up);

    let which = token::Which::Token(&issued.token);
    bench.as_root(async |who| token::revoke(&who, which).await).await.unwrap();
    let other = bench.as_root(make).await.unwrap();
    let revoke_self = async |who: Asker<'_>| token::revoke(&who, token::Which::Own).await;
    bench.ask(&other.token, revoke_self).await.unwrap();
    let own = format!("token {} with policies root", other.caller.accessor.unwrap());
    assert_eq!(objects(&bench, Action::TokenRevoke).await, [said, own]);
}

#[tokio::test]
async fn the_entry_of_a_use_names_the_counted_token() {
    let bench = Bench::new().await;
    let claims = TokenClaims { num_uses: 2, ttl_secs: 60, ..TokenClaims::root(1_709_210_096) };
    let counted = bench.token(claims).await;
    let look = async |who: Asker<'_>| token::lookup(&who, token::Which::Own).await;
    let accessor = bench.ask(&counted, look).await.unwrap().accessor.unwrap();
    bench.ask(&counted, look).await.unwrap();
    let said = format!("token {accessor} with policies root");
    assert_eq!(objects(&bench, Action::TokenRevoke).await, [said.clone(), said]);
}

#[tokio::test]
async fn every_entry_about_a_secret_id_names_it() {
    let bench = Bench::new().await;
    let mount = bench.session.mounts().secrets.0[0].clone();
    let name = bench.add_role(&mount, &role("ci")).await;
    let wanted = SecretIdRequest::default();
    let make =
        async |who: Asker<'_>| auth::approle::create_secret_id(&who, &mount, &name, &wanted, None).await;
    let mut named = Vec::new();
    for by_accessor in [false, true] {
        let made = bench.as_root(make).await.unwrap();
        let which = match by_accessor {
            true => auth::approle::Which::Accessor(&made.record.accessor),
            false => auth::approle::Which::SecretId(&made.secret_id),
        };
        let look = async |who: Asker<'_>| auth::approle::lookup_secret_id(&who, &mount, &name, which).await;
        bench.as_root(look).await.unwrap().unwrap();
        let destroy =
            async |who: Asker<'_>| auth::approle::destroy_secret_id(&who, &mount, &name, which).await;
        assert!(bench.as_root(destroy).await.unwrap());
        named.push(format!("secret id {} of role ci", made.record.accessor));
    }
    let made = objects(&bench, Action::AuthWrite).await;
    assert_eq!(made[made.len() - 2..], named);
    assert_eq!(objects(&bench, Action::AuthRead).await, named);
    assert_eq!(objects(&bench, Action::AuthDelete).await, named);
}

#[tokio::test]
async fn a_refused_login_names_the_secret_id_that_was_presented() {
    let bench = Bench::new().await;
    let mount = bench.session.mounts().secrets.0[0].clone();
    let bound = AppRole { secret_id_bound_cidrs: CidrList::parse(&["10.0.0.0/8"]).unwrap(), ..role("ci") };
    let name = bench.add_role(&mount, &bound).await;
    let wanted = SecretIdRequest::default();
    let make =
        async |who: Asker<'_>| auth::approle::create_secret_id(&who, &mount, &name, &wanted, None).await;
    let made = bench.as_root(make).await.unwrap();
    let log_in = async |who: Asker<'_>| auth::approle::login(&who, &mount, "id", &made.secret_id).await;
    assert!(bench.as_root(log_in).await.is_err(), "from no known address");
    let said = format!("secret id {} of role ci", made.record.accessor);
    assert_eq!(objects(&bench, Action::Login).await, [said]);
}

/// Also where no route takes the request: a `deny` decided, so its policy is named.
#[tokio::test]
async fn a_request_of_no_known_form_names_the_policy_that_denies() {
    let bench = Bench::new().await;
    let path = api("secret/data/x");
    for (word, outcome) in [("deny", Outcome::Denied), ("read", Outcome::Failed)] {
        let token =
            bench.token_with(&format!(r#"path "secret/data/x" {{ capabilities = ["{word}"] }}"#)).await;
        let _ = bench.ask(&token, async |who| access::malformed(&who, &path).await).await;
        let filter = Filter { path: Some("secret/data/x".to_owned()), ..Filter::default() };
        let range = Range { from: 0, until: u64::MAX, newest_first: true, limit: 1, counts_only: false };
        let page = bench.as_root(async |who| audit::search(&who, &filter, range).await).await.unwrap();
        let detail = page.found[0].detail.clone().unwrap();
        assert_eq!((page.found[0].entry.outcome, detail.policies.len()), (outcome, 1), "{word}");
    }
}
