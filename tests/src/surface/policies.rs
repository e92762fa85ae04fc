//! Policies whose names have parts, as in `team/readers`.

use serde_json::json;

use super::{OPEN, TEAM, shared};

#[test]
fn a_policy_may_have_a_name_with_slashes() {
    shared().run(async |site| {
        site.root_put("sys/policies/acl/Team/Sub/Readers", &json!({ "policy": TEAM })).await.expect(204);
        for path in [
            "sys/policies/acl/team/sub/readers",
            "sys/policies/acl/TEAM%2Fsub%2FReaders",
            "sys/policy/team/sub/READERS",
        ] {
            let read = site.root_get(path).await.expect(200).json();
            assert_eq!(read["data"]["name"], "team/sub/readers", "{path}");
        }
        let listed = site.ask("LIST", "sys/policies/acl", &site.root, "").await.expect(200).json();
        let keys: Vec<&str> =
            listed["data"]["keys"].as_array().unwrap().iter().filter_map(|key| key.as_str()).collect();
        assert!(keys.contains(&"team/sub/readers"), "{keys:?}");
        let (last, others) = keys.split_last().unwrap();
        assert!(*last == "root" && others.is_sorted(), "{keys:?}");

        site.root_put("sys/auth/userpass", &json!({ "type": "userpass" })).await;
        let user = json!({ "password": "p", "token_policies": "Team/Sub/Readers,default" });
        site.root_put("auth/userpass/users/parts", &user).await.expect(204);
        let login =
            site.root_put("auth/userpass/login/parts", &json!({ "password": "p" })).await.expect(200).json();
        assert_eq!(login["auth"]["policies"], json!(["default", "team/sub/readers"]));
        let token = login["auth"]["client_token"].as_str().unwrap();
        let read = site.get("secret/data/open/a", token).await.expect(200).json();
        assert_eq!(read["data"]["data"]["value"], OPEN);
        let child = json!({ "policies": ["team/sub/READERS"], "no_default_policy": true }).to_string();
        site.ask("PUT", "auth/token/create", &site.root, &child).await.expect(200);

        site.ask("DELETE", "sys/policy/team/sub/Readers", &site.root, "").await.expect(204);
        site.get("secret/data/open/a", token).await.expect(403);
        site.root_get("sys/policies/acl/team/sub/readers").await.expect(404);
    });
}

/// What a rule says of a name holds for every spelling of it, and a name is never a way out of the rule.
#[test]
fn rules_about_policies_see_the_whole_name() {
    shared().run(async |site| {
        let rules = r#"path "sys/policies/acl/team/*" { capabilities = ["create", "update", "read"] }
            path "sys/policies/acl/team/admin" { capabilities = ["deny"] }"#;
        let token = site.token_with("writes-of-team", rules).await;
        let body = json!({ "policy": "path \"none\" {}" }).to_string();
        for (path, status) in [
            ("team/x", 204),
            ("TEAM/x", 204),
            ("team/sub/x", 204),
            ("team/admin", 403),
            ("team/ADMIN", 403),
            ("Team%2FAdmin", 403),
            ("team/%20admin", 400), // no name: parts have no blanks
            ("team%2F%2Fadmin", 400),
            ("team/../default", 400),
            ("team%2F..%2Fdefault", 400),
            ("team/./admin", 400),
            ("team/-x", 400),
            ("default", 403),
        ] {
            let got = site.send_raw_with("PUT", &format!("/v1/sys/policies/acl/{path}"), &token, &body).await;
            assert_eq!(got.status, status, "{path}: {}", got.text);
        }
        for name in ["team//x", "team/", "/team", "team/..", "team/./x", "root/", "team/a b"] {
            let child = json!({ "policies": [name] }).to_string();
            site.ask("PUT", "auth/token/create", &site.root, &child).await.expect(400);
        }
    });
}
