//! `symbolon eso setup` against a deployment and the tokens of a cluster.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/deployment.rs"]
#[allow(dead_code)] // other tests use the rest
mod deployment;
#[allow(dead_code)] // as above
mod support;

use serde_json::Value;
use symbolon_cli::demo::cluster::Cluster;

use crate::deployment::{Deployment, Programs};
use crate::support::{Done, run};

/// Everything is in place, and something is missing.
const UNAVAILABLE: i32 = 5;

/// An open deployment, and a cluster beside it.
struct Site {
    deployment: Deployment,
    cluster: Cluster,
}

impl Site {
    fn new() -> Self {
        let deployment = Deployment::start(Programs::default(), |_| String::new());
        deployment.unseal();
        let cluster = Cluster::generate().unwrap();
        std::fs::write(deployment.path("keys.pem"), cluster.public_pem()).unwrap();
        Self { deployment, cluster }
    }

    fn root(&self, line: &str, stdin: &str) -> Done {
        let words: Vec<_> = line.split_whitespace().collect();
        run(self.deployment.command(&words).env("SYMBOLON_TOKEN", &self.deployment.root_token), stdin)
    }

    /// With a token of this account for this audience on standard input.
    fn setup(&self, account: &str, audience: &str, more: &str) -> Done {
        let now = jsonwebtoken::get_current_timestamp();
        let jwt = self.cluster.token("external-secrets", account, audience, now).unwrap();
        self.root(&format!("eso setup --kubernetes-keys keys.pem --jwt-file - {more}"), &jwt)
    }

    /// What became of each thing, by its beginning.
    fn states(&self, done: &Done) -> impl Fn(&str) -> String {
        let found: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
        move |what| {
            let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
            let row = found.iter().find(|row| text(row, "what").starts_with(what));
            text(row.unwrap_or_else(|| panic!("nothing of {what} in {found:?}")), "state")
        }
    }
}

#[test]
fn eso_is_set_up_and_tried_with_the_tokens_of_a_cluster() {
    let site = Site::new();
    let first = site.setup("external-secrets", "symbolon", "-o json").expect(UNAVAILABLE);
    let state = site.states(&first);
    for what in ["mount", "policy", "login method", "keys of the cluster", "role", "manifests"] {
        assert_eq!(state(what), "made", "{what}");
    }
    assert_eq!(state("password from"), "MISSING");
    assert!(first.stdout.contains("the role lets ESO in"), "{}", first.stdout);
    site.root("kv put secret/example/database password=-", "x").expect(0);
    let manifests = std::fs::read_to_string(site.deployment.path("symbolon-eso.yaml")).unwrap();
    assert!(
        manifests.contains("audiences: [symbolon]") && manifests.contains("kind: ExternalSecret"),
        "{manifests}"
    );
    let again = site.setup("external-secrets", "symbolon", "-o json").expect(0);
    let rows: Vec<Value> = serde_json::from_str(&again.stdout).unwrap();
    assert!(rows.iter().all(|row| row["state"] == "right" || row["what"] == "address"), "{rows:?}");
    // What the cluster would not be let in with is said to be missing, and nothing is changed for it.
    for (account, audience) in [("somebody", "symbolon"), ("external-secrets", "other")] {
        let refused = site.setup(account, audience, "").expect(UNAVAILABLE);
        assert!(refused.stdout.contains("MISSING  login "), "{}", refused.stdout);
    }
    let property =
        site.setup("external-secrets", "symbolon", "--out other.yaml --data a=example/database#user");
    assert!(property.expect(UNAVAILABLE).stdout.contains("no such property"));
    let untried = site.root("eso setup", "").expect(UNAVAILABLE);
    assert!(
        untried.stdout.contains("create token external-secrets --audience symbolon"),
        "{}",
        untried.stdout
    );
}

#[test]
fn eso_setup_keeps_what_others_made_and_says_what_is_in_the_way() {
    let site = Site::new();
    let policy = "path \"secret/data/team/*\" {\n  capabilities = [\"read\"]\n}\n";
    site.root("policy write external-secrets -", policy).expect(0);
    let done = site.setup("external-secrets", "symbolon", "--data a=team/x").expect(UNAVAILABLE);
    assert!(done.stdout.contains("note     policy") && done.stdout.contains("is kept"), "{}", done.stdout);
    assert!(done.stdout.contains("never called absent"), "{}", done.stdout);
    assert_eq!(site.root("policy read external-secrets", "").stdout, policy);
    std::fs::write(site.deployment.path("mine.yaml"), "kind: Mine\n").unwrap();
    site.setup("external-secrets", "symbolon", "--out mine.yaml")
        .refused(2, "not a file that this command wrote");
    site.setup("external-secrets", "symbolon", "--mount cubbyhole").refused(1, "another kind of mount");
    site.setup("external-secrets", "symbolon", "--auth-mount token").refused(1, "of another kind");
    site.setup("external-secrets", "symbolon", "--allow a\"b").refused(2, "below the mount");
    let moved = site.setup("eso", "symbolon", "--service-account eso --data a=team/x").expect(UNAVAILABLE);
    assert!(moved.stdout.contains("is now as these options say"), "{}", moved.stdout);
}
