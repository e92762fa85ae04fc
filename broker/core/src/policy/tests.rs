#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::json::Map;
use crate::path::{ApiPath, MountPath};

mod deciding;
mod openbao;

fn policy(text: &str) -> Policy {
    Policy::parse(PolicyName::parse("p").unwrap(), text).unwrap()
}

fn acl(texts: &[&str]) -> Acl {
    let policies: Vec<_> = texts.iter().map(|text| policy(text)).collect();
    Acl::new(&policies)
}

fn path(text: &str) -> ApiPath {
    ApiPath::from_decoded(text).unwrap()
}

fn names(acl: &Acl, text: &str) -> String {
    acl.capabilities(&path(text)).names().join(",")
}

fn check(acl: &Acl, operation: Operation, text: &str, expected: Result<(), Denial>) {
    let answer = acl.authorise(operation, &path(text), &Map::new(), false, 0).map(|_| ());
    assert_eq!(answer, expected, "{operation:?} {text}");
}

fn params(value: serde_json::Value) -> Map {
    serde_json::from_value(value).unwrap()
}

fn check_params(acl: &Acl, value: serde_json::Value, expected: Result<(), Denial>) {
    let answer = acl.authorise(Operation::Update, &path("p"), &params(value.clone()), false, 0).map(|_| ());
    assert_eq!(answer, expected, "{value}");
}

fn check_refused(text: &str, expected: PolicyError) {
    let answer = Policy::parse(PolicyName::parse("p").unwrap(), text).unwrap_err();
    assert_eq!(answer, expected, "{text:.200}");
}

#[test]
fn the_forms_of_a_policy_mean_the_same() {
    let forms = [
        r#"path "a/*" { capabilities = ["read", "list"] }"#,
        r#"path "/a/*" {
               capabilities = ["list", "read",] # trailing comma
           }"#,
        "/* old */ path \"a/*\" {\n  policy = \"read\"\n}",
        r#"path "a/*" { comment = "x" capabilities = ["read", "list"], }"#,
        r#""path" "a/*" { "capabilities" = ["read" "list"] }"#,
        r#"{"path": {"a/*": {"capabilities": ["read", "list"]}}}"#,
        r#"{"name": "n", "path": [{"a/*": {"policy": "read"}}, {"b": {"policy": "deny"}}]}"#,
        r#"path = { "a/*" = { capabilities = ["read", "list"] } }"#,
    ];
    for (index, form) in forms.iter().enumerate() {
        if index == 4 {
            // HCL 1 wants commas between elements.
            assert!(Policy::parse(PolicyName::parse("p").unwrap(), form).is_err());
            continue;
        }
        assert_eq!(names(&acl(&[form]), "a/x"), "list,read", "{form}");
    }
}

#[test]
fn bad_policies_are_refused() {
    check_refused("path \"a\" {\n capabilitys = [\"read\"]\n}", PolicyError::UnknownKey { line: 2 });
    check_refused("paths \"a\" { }", PolicyError::UnknownKey { line: 1 });
    check_refused(r#"path "a" { capabilities = ["rad"] }"#, PolicyError::BadCapability { line: 1 });
    check_refused(r#"path "a" { capabilities = ["READ"] }"#, PolicyError::BadCapability { line: 1 });
    check_refused(r#"path "a" { capabilities = "read" }"#, PolicyError::WrongType { line: 1 });
    check_refused(r#"path "a" { policy = "admin" }"#, PolicyError::BadCapability { line: 1 });
    check_refused(r#"path "a/+*" { policy = "read" }"#, PolicyError::BadPattern { line: 1 });
    check_refused(r#"path "a/{{x" { policy = "read" }"#, PolicyError::BadPattern { line: 1 });
    check_refused(r#"path "a" { control_group = {} }"#, PolicyError::UnsupportedKey { line: 1 });
    check_refused(r#"path "a" { policy = "read" policy = "deny" }"#, PolicyError::DuplicateKey { line: 1 });
    check_refused(
        r#"path "a" { min_wrapping_ttl = "2h" max_wrapping_ttl = "1h" }"#,
        PolicyError::BadTtl { line: 1 },
    );
    for text in
        ["path", "path \"a\"", "path \"a\" {", "}", "path \"a\" { capabilities = [ }", "path \"${x}\" {}"]
    {
        assert!(matches!(
            Policy::parse(PolicyName::parse("p").unwrap(), text),
            Err(PolicyError::Syntax { .. })
        ));
    }
    check_refused(
        r#"{"path":{"a":{"policy":"read"},"a":{"policy":"deny"}}}"#,
        PolicyError::DuplicateKey { line: 0 },
    );
    check_refused(&"#".repeat(POLICY_BYTES_MAX + 1), PolicyError::TooLong);
    check_refused(&format!("path \"a\" {{ x = {}", "[".repeat(100_000)), PolicyError::TooDeep);
    check_refused(&format!("a {}", "{ a ".repeat(50_000)), PolicyError::TooDeep);
    check_refused(&"path \"a\" {}".repeat(4097), PolicyError::TooManyRules);
    assert!(acl(&[""]).capabilities(&path("a")).is_empty());
}

#[test]
fn the_more_specific_rule_wins() {
    let acl = acl(&[r#"
        path "secret/*" { capabilities = ["read"] }
        path "secret/data/+/db" { capabilities = ["update"] }
        path "secret/data/app/*" { capabilities = ["list"] }
        path "secret/data/app/db" { capabilities = ["delete"] }
        path "secret/data/+/+" { capabilities = ["patch"] }
        path "secret/data/+/x*" { capabilities = ["create"] }
    "#]);
    assert_eq!(names(&acl, "secret/data/app/db"), "delete");
    assert_eq!(names(&acl, "secret/data/app/other"), "list");
    assert_eq!(names(&acl, "secret/data/web/db"), "update");
    assert_eq!(names(&acl, "secret/data/web/other"), "patch");
    assert_eq!(names(&acl, "secret/data/web/x"), "patch");
    assert_eq!(names(&acl, "secret/data/web/x/y"), "create");
    assert_eq!(names(&acl, "secret/data/web"), "read");
    assert_eq!(names(&acl, "secret"), "deny");
    assert_eq!(names(&acl, "secretive/x"), "deny");
    assert_eq!(names(&acl, "sys/seal"), "deny");
}

#[test]
fn policies_merge_and_deny_wins() {
    let read = r#"path "a" { capabilities = ["read"] }"#;
    let list = r#"path "a" { capabilities = ["list"] }"#;
    let deny = r#"path "a" { capabilities = ["deny", "read"] }"#;
    assert_eq!(names(&acl(&[read, list]), "a"), "list,read");
    for order in [[read, list, deny], [deny, read, list], [read, deny, list]] {
        let acl = acl(&order);
        assert_eq!(names(&acl, "a"), "deny");
        check(&acl, Operation::Read, "a", Err(Denial::Denied));
    }
    let both = acl(&[r#"path "a/*" { policy = "deny" }"#, r#"path "a/b" { policy = "read" }"#]);
    check(&both, Operation::Read, "a/b", Ok(()));
    check(&both, Operation::Read, "a/c", Err(Denial::Denied));
}

#[test]
fn listing_does_not_depend_on_the_spelled_slash() {
    for rule in ["secret/metadata/app", "secret/metadata/app/", "secret/metadata/+", "secret/metadata/a*"] {
        let text = format!(
            "path \"{rule}\" {{ policy = \"deny\" }}\npath \"secret/*\" {{ capabilities = [\"list\", \"read\"] }}"
        );
        let acl = acl(&[&text]);
        let decide =
            |spelling| acl.authorise(Operation::List, &path(spelling), &Map::new(), false, 0).is_ok();
        assert!(!decide("secret/metadata/app") && !decide("secret/metadata/app/"), "{rule}");
        assert_eq!(names(&acl, "secret/metadata/app/"), "deny", "{rule}");
    }
    let folder = acl(&[r#"path "m/+" { capabilities = ["list"] }"#]);
    check(&folder, Operation::List, "m/x/", Ok(()));
    check(&folder, Operation::List, "m/x", Ok(()));
    check(&folder, Operation::List, "m", Ok(())); // `+` matches the empty segment after the slash
    check(&folder, Operation::List, "m/x/y", Err(Denial::NoRule));
}

#[test]
fn a_folder_that_is_denied_in_either_spelling_is_not_listed() {
    let list = r#"capabilities = ["list"]"#;
    let deny = r#"policy = "deny""#;
    let acl_of = |slashed: &str, plain: &str| {
        let rules = format!("path \"f/a/\" {{ {slashed} }} path \"f/a\" {{ {plain} }}");
        acl(&[&rules])
    };
    for (slashed, plain, answer) in [
        (list, list, Ok(())),
        (list, deny, Err(Denial::Denied)),
        (deny, list, Err(Denial::Denied)),
        (deny, deny, Err(Denial::Denied)),
    ] {
        for spelling in ["f/a", "f/a/"] {
            check(&acl_of(slashed, plain), Operation::List, spelling, answer);
        }
    }
    // The case that was found: the folder is denied, and the rule around it matches the slash.
    let team = acl(&[r#"path "m/*" { policy = "read" } path "m/+/private" { policy = "deny" }"#]);
    check(&team, Operation::List, "m/team/private", Err(Denial::Denied));
    check(&team, Operation::List, "m/team/other", Ok(()));
    check(&team, Operation::List, "m/team/private/below", Ok(()));
}

#[test]
fn a_read_never_escapes_by_a_trailing_slash() {
    let acl = acl(&[r#"path "s/x" { policy = "deny" } path "s/*" { policy = "read" }"#]);
    check(&acl, Operation::Read, "s/x", Err(Denial::Denied));
    check(&acl, Operation::Read, "s/x/", Err(Denial::Denied));
}

#[test]
fn sudo_is_needed_in_addition() {
    let acl = acl(&[r#"path "a" { capabilities = ["update"] } path "b" { policy = "sudo" }"#]);
    let ask = |text, sudo| {
        acl.authorise(Operation::Update, &path(text), &Map::new(), sudo, 0).map(|g| g.has_sudo())
    };
    assert_eq!(ask("a", false), Ok(false));
    assert_eq!(ask("a", true), Err(Denial::Sudo));
    assert_eq!(ask("b", true), Ok(true));
    let root = Acl::new(&[Policy::root()]);
    let grant = root.authorise(Operation::Delete, &path("x"), &Map::new(), true, 0).unwrap();
    assert!(grant.is_root() && grant.has_sudo());
    assert_eq!((grant.path().as_str(), grant.operation()), ("x", Operation::Delete));
    assert_eq!(root.capabilities(&path("x")).names(), ["root"]);
}

#[test]
fn wrapping_bounds_are_never_satisfied_unwrapped() {
    let acl = acl(&[r#"path "a" { policy = "read" min_wrapping_ttl = "1s" }"#]);
    check(&acl, Operation::Read, "a", Err(Denial::Wrapping));
}

#[test]
fn wrapping_bounds_hold_for_the_time_that_was_asked_for() {
    let acl = acl(&[r#"
        path "both" { policy = "read" min_wrapping_ttl = "10s" max_wrapping_ttl = "1m" }
        path "most" { policy = "read" max_wrapping_ttl = "1m" }
        path "free" { policy = "read" }
    "#]);
    let ask =
        |text, ttl| acl.authorise(Operation::Read, &path(text), &Map::new(), false, ttl).map(|_| ()).err();
    for (text, ttl, denied) in [
        ("both", 0, true),
        ("both", 9, true),
        ("both", 10, false),
        ("both", 60, false),
        ("both", 61, true),
        ("most", 0, true),
        ("most", 1, false),
        ("most", 61, true),
        ("free", 0, false),
        ("free", 2_764_800, false),
    ] {
        assert_eq!(ask(text, ttl), denied.then_some(Denial::Wrapping), "{text} {ttl}");
    }
    let root = Acl::new(&[Policy::root()]);
    assert!(root.authorise(Operation::Read, &path("both"), &Map::new(), false, 0).is_ok());
}

#[test]
fn wrapping_tokens_may_only_open_what_they_wrap() {
    let acl = Acl::new(&[Policy::response_wrapping()]);
    check(&acl, Operation::Update, "sys/wrapping/unwrap", Ok(()));
    check(&acl, Operation::Read, "cubbyhole/response", Ok(()));
    for (operation, text) in [
        (Operation::Update, "sys/wrapping/rewrap"),
        (Operation::Update, "sys/wrapping/wrap"),
        (Operation::Read, "auth/token/lookup-self"),
        (Operation::Read, "secret/data/x"),
    ] {
        check(&acl, operation, text, Err(Denial::NoRule));
    }
}

#[test]
fn templates_never_match() {
    let acl =
        acl(&[r#"path "s/{{identity.entity.id}}/*" { policy = "write" } path "{{x}}" { policy = "write" }"#]);
    for text in ["s//x", "s/{{identity.entity.id}}/x", "s/*/x", "{{x}}"] {
        if let Ok(path) = ApiPath::from_decoded(text) {
            assert!(acl.capabilities(&path).is_empty(), "{text}");
        }
    }
    assert!(!acl.reaches(&MountPath::parse("s").unwrap()));
}

#[test]
fn denied_parameters_hold_in_every_spelling() {
    let acl = acl(&[r#"path "p" {
        capabilities = ["update"]
        denied_parameters = { "Policy" = ["root*", "*adm*"], ttl = ["1h"], n = [5], flag = [true], never = [] }
    }"#]);
    check_params(&acl, json!({}), Ok(()));
    check_params(&acl, json!({"policy": "web", "ttl": "2h", "n": 6, "flag": false}), Ok(()));
    for bad in [
        json!({"policy": "root"}),
        json!({"POLICY": "root-x"}),
        json!({"ok": 1, "pOlicy": ["root"]}),
        json!({"policy": "xadmx"}),
        json!({"ttl": "1h"}),
        json!({"ttl": 3600}),
        json!({"ttl": " 60m"}),
        json!({"n": 5}),
        json!({"n": "5"}),
        json!({"n": 5.0}),
        json!({"flag": "true"}),
        json!({"flag": 1}),
        json!({"flag": "T"}),
        json!({"never": {}}),
    ] {
        check_params(&acl, bad, Err(Denial::DeniedParameter));
    }
}

#[test]
fn allowed_and_required_parameters() {
    let only = acl(&[r#"path "p" {
        capabilities = ["update"]
        allowed_parameters = { kind = ["a", "b*"] list = [["x", 1]] free = [] }
        required_parameters = ["Kind"]
    }"#]);
    check_params(&only, json!({"kind": "a", "free": [1]}), Ok(()));
    check_params(&only, json!({"KIND": "bx", "list": ["x", 1]}), Ok(()));
    check_params(&only, json!({"kind": "c"}), Err(Denial::ParameterNotAllowed));
    check_params(&only, json!({"kind": "a", "list": ["x"]}), Err(Denial::ParameterNotAllowed));
    check_params(&only, json!({"kind": "a", "more": 1}), Err(Denial::ParameterNotAllowed));
    check_params(&only, json!({"free": 1}), Err(Denial::RequiredParameter));
    check_params(&only, json!({}), Err(Denial::RequiredParameter));

    let open =
        acl(&[r#"path "p" { capabilities = ["update"] allowed_parameters = { "*" = [] kind = ["a"] } }"#]);
    check_params(&open, json!({"other": 1, "kind": "a"}), Ok(()));
    check_params(&open, json!({"other": 1, "kind": "b"}), Err(Denial::ParameterNotAllowed));

    let none = acl(&[r#"path "p" { capabilities = ["update"] denied_parameters = { "*" = [] } }"#]);
    check_params(&none, json!({}), Ok(()));
    check_params(&none, json!({"x": 1}), Err(Denial::DeniedParameter));
}

#[test]
fn parameter_rules_unite() {
    let merged = acl(&[
        r#"path "p" { policy = "write" allowed_parameters = { a = ["1"] b = ["1"] } }"#,
        r#"path "p" { policy = "write" allowed_parameters = { a = ["2"] b = [] } denied_parameters = { c = [] } }"#,
    ]);
    check_params(&merged, json!({"a": "1", "b": "9"}), Ok(()));
    check_params(&merged, json!({"a": "2"}), Ok(()));
    check_params(&merged, json!({"a": "3"}), Err(Denial::ParameterNotAllowed));
    check_params(&merged, json!({"c": "3"}), Err(Denial::DeniedParameter));
}

#[test]
fn the_preflight_sees_what_the_rules_reach() {
    let reaches = |rule: &str, mount: &str| {
        acl(&[&format!("path \"{rule}\" {{ capabilities = [\"read\"] }}")])
            .reaches(&MountPath::parse(mount).unwrap())
    };
    assert!(reaches("secret/data/x", "secret"));
    assert!(reaches("secret/data/*", "secret"));
    assert!(reaches("*", "secret"));
    assert!(reaches("sec*", "secret"));
    assert!(reaches("+/data/x", "secret"));
    assert!(reaches("team/+/data/*", "team/secret"));
    assert!(!reaches("secret", "secret"));
    assert!(!reaches("other/*", "secret"));
    assert!(!reaches("team/+/x", "secret"));
    let denied = acl(&[r#"path "secret/*" { policy = "deny" }"#]);
    assert!(!denied.reaches(&MountPath::parse("secret").unwrap()));
}

#[test]
fn the_default_policy_parses() {
    let acl = acl(&[DEFAULT_POLICY]);
    assert_eq!(names(&acl, "auth/token/lookup-self"), "read");
    assert_eq!(names(&acl, "cubbyhole/a/b"), "create,delete,list,read,update");
    assert_eq!(names(&acl, "identity/oidc/provider/x/authorize"), "read,update");
    assert_eq!(names(&acl, "secret/data/x"), "deny");
    let (exact, globs) = acl.rules();
    assert!(exact.contains_key("sys/capabilities-self") && globs.contains_key("cubbyhole/*"));
}

/// The rules of section 2.13 again, word by word and slowly: all patterns are kept in a list, the matching
/// ones are sorted, the first wins. Shares no code with the fast matcher.
mod reference {
    use super::Ordering;

    pub(super) fn winner<'a>(patterns: &'a [String], path: &str, list: bool) -> Option<&'a String> {
        let slashed = format!("{path}/");
        let tries: Vec<&str> = if list { vec![&slashed, path] } else { vec![path] };
        for text in &tries {
            if let Some(exact) = patterns.iter().find(|pattern| !is_wild(pattern) && pattern == text) {
                return Some(exact);
            }
        }
        for text in &tries {
            let mut matching: Vec<_> =
                patterns.iter().filter(|pattern| is_wild(pattern) && matches(pattern, text)).collect();
            matching.sort_by(|a, b| compare(b, a));
            if let Some(best) = matching.first() {
                return Some(best);
            }
        }
        None
    }

    fn is_wild(pattern: &str) -> bool {
        pattern.ends_with('*') || pluses(pattern) > 0
    }

    fn pluses(pattern: &str) -> usize {
        pattern.split('/').filter(|segment| *segment == "+").count()
    }

    /// Character by character with backtracking: a `+` segment eats up to the next slash, a final `*` eats
    /// all.
    fn matches(pattern: &str, path: &str) -> bool {
        if pattern == "*" {
            return true;
        }
        if pattern == "+" || pattern.starts_with("+/") {
            let end = path.find('/').unwrap_or(path.len());
            return matches_rest(&pattern[1..], &path[end..]);
        }
        match (pattern.chars().next(), path.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) if a == b => {
                let (pattern, path) = (&pattern[a.len_utf8()..], &path[b.len_utf8()..]);
                if a == '/' { matches(pattern, path) } else { matches_rest(pattern, path) }
            }
            _ => false,
        }
    }

    /// Like `matches`, in the middle of a segment, where `+` is plain text.
    fn matches_rest(pattern: &str, path: &str) -> bool {
        if pattern == "*" {
            return true;
        }
        match (pattern.chars().next(), path.chars().next()) {
            (None, None) => true,
            (Some(a), Some(b)) if a == b => {
                let (pattern, path) = (&pattern[a.len_utf8()..], &path[b.len_utf8()..]);
                if a == '/' { matches(pattern, path) } else { matches_rest(pattern, path) }
            }
            _ => false,
        }
    }

    fn first_wildcard(pattern: &str) -> usize {
        let segments: Vec<_> = pattern.split('/').collect();
        match segments.iter().position(|segment| *segment == "+") {
            Some(index) => segments[..index].iter().map(|segment| segment.len() + 1).sum(),
            None => pattern.len() - 1,
        }
    }

    fn compare(a: &str, b: &str) -> Ordering {
        let star = |pattern: &str| pattern.ends_with('*');
        first_wildcard(a)
            .cmp(&first_wildcard(b))
            .then(star(b).cmp(&star(a)))
            .then(pluses(b).cmp(&pluses(a)))
            .then(a.len().cmp(&b.len()))
            .then(a.cmp(b))
    }
}

fn a_pattern() -> impl Strategy<Value = String> {
    let segment = prop_oneof![3 => "[ab]{1,2}", 2 => Just("+".to_owned()), 1 => Just("a+".to_owned())];
    (prop::collection::vec(segment, 1..4), "(|/|\\*|/\\*)")
        .prop_map(|(segments, end)| format!("{}{end}", segments.join("/")))
        .prop_filter("+* is refused", |pattern| !pattern.contains("+*"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_fast_matcher_agrees_with_the_slow_one(
        mut patterns in prop::collection::vec(a_pattern(), 1..8),
        segments in prop::collection::vec("[ab]{1,2}|a\\+", 1..5),
        list: bool,
    ) {
        patterns.sort();
        patterns.dedup();
        // The index of the winner is told by a rule's own wrapping bound, which is unique.
        let text: String = patterns
            .iter()
            .enumerate()
            .map(|(index, pattern)| format!("path \"{pattern}\" {{ policy = \"write\" max_wrapping_ttl = {} }}\n", index + 1))
            .collect();
        let acl = acl(&[&text]);
        let path = segments.join("/");
        let fast = acl.winner_tag(&path, list).map(|tag| &patterns[usize::try_from(tag).unwrap() - 1]);
        prop_assert_eq!(fast, reference::winner(&patterns, &path, list));
    }

    #[test]
    fn deny_wins_in_any_order(mut words in prop::collection::vec("read|list|update|sudo", 0..4), at in 0usize..5) {
        words.insert(at.min(words.len()), "deny".to_owned());
        let texts: Vec<_> =
            words.iter().map(|word| format!("path \"a/*\" {{ capabilities = [\"{word}\"] }}")).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        prop_assert!(acl(&texts).capabilities(&path("a/x")).denies());
    }

    #[test]
    fn parsing_is_total(text in "[pathcbs \"{}\\[\\]=,+*/#\n]{0,60}") {
        let _ = Policy::parse(PolicyName::parse("p").unwrap(), &text);
    }
}
