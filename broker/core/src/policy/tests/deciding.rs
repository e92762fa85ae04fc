//! Which policies decide.

use super::*;

#[test]
fn a_decision_names_the_policies_that_make_it() {
    let named = |name: &str, text: &str| Policy::parse(PolicyName::parse(name).unwrap(), text).unwrap();
    let rule = |path: &str, word: &str| format!(r#"path "{path}" {{ capabilities = ["{word}"] }}"#);
    let acl = Acl::new(&[
        named("a", &rule("x/*", "read")),
        named("b", &rule("x/*", "list")),
        named("c", &(rule("x/*", "read") + "\n" + &rule("x/*", "update"))),
        named("d", &rule("x/y/*", "deny")),
        named("e", &rule("x/y/*", "read")),
    ]);
    let deciding = |operation, text: &str| -> Vec<String> {
        acl.deciding(operation, &path(text)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(deciding(Operation::Read, "x/z"), ["a", "b", "c"], "blocks of one pattern decide together");
    assert_eq!(deciding(Operation::Read, "x/y/z"), ["d"], "who denies decides alone");
    assert!(deciding(Operation::Read, "z").is_empty());
    let grant = acl.authorise(Operation::Read, &path("x/z"), &Map::new(), false, 0).unwrap();
    assert_eq!(*grant.policies(), acl.deciding(Operation::Read, &path("x/z")));
    let root = Acl::new(&[Policy::root()]);
    assert_eq!(*root.deciding(Operation::Read, &path("z")), [PolicyName::root()]);
}

/// A LIST that a rule for either spelling of the folder denies, though another rule for it allows.
#[test]
fn a_denied_list_names_the_policy_that_denies() {
    let named = |name: &str, text: &str| Policy::parse(PolicyName::parse(name).unwrap(), text).unwrap();
    let rule = |path: &str, word: &str| format!(r#"path "{path}" {{ capabilities = ["{word}"] }}"#);
    for (allowed, denied) in [("x/y/", "x/y"), ("x/y", "x/y/*"), ("x/+/", "x/y")] {
        let acl = Acl::new(&[named("opens", &rule(allowed, "list")), named("shuts", &rule(denied, "deny"))]);
        check(&acl, Operation::List, "x/y", Err(Denial::Denied));
        let shuts = [PolicyName::parse("shuts").unwrap()];
        assert_eq!(*acl.deciding(Operation::List, &path("x/y")), shuts, "{allowed} {denied}");
        assert_eq!(*acl.behind_capabilities(&path("x/y/")), shuts, "{allowed} {denied}");
        assert_eq!(names(&acl, "x/y/"), "deny");
    }
}
