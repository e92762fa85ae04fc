//! What OpenBao 2.6.2 lets through, recorded: the matcher agrees, or is stricter where a list says so.

use serde::Deserialize;

use super::*;

const RECORDED: &str = include_str!("../testdata/openbao-policies.jsonl");
/// Where we are stricter: number of the case, path, what was asked. All are LIST of a folder, or what
/// `sys/capabilities` says of one, and one of its two spellings is denied.
const STRICTER: &str = include_str!("../testdata/openbao-policies-stricter.txt");

#[derive(Deserialize)]
struct Case {
    policies: Vec<String>,
    checks: Option<Vec<Check>>,
}

/// Path, capabilities without and with a slash, `create` or `update`, what was let through.
#[derive(Deserialize)]
struct Check(String, Vec<String>, Vec<String>, String, Vec<String>);

impl Check {
    /// Where the matcher answers otherwise; `true` if it refuses what OpenBao allows.
    fn differences(&self, acl: &Acl) -> Vec<(&str, bool)> {
        let Self(plain, exact, slash, write, allowed) = self;
        let slashed = format!("{plain}/");
        let asked = [
            ("read", Operation::Read, plain),
            ("list", Operation::List, plain),
            ("list_slash", Operation::List, &slashed),
            if write == "create" {
                ("create", Operation::Create, plain)
            } else {
                ("update", Operation::Update, plain)
            },
            ("delete", Operation::Delete, plain),
        ];
        // Deletions of what exists were not asked for: the next check would have found nothing.
        let asked = asked.into_iter().filter(|(name, ..)| *name != "delete" || write == "create");
        let requests = asked.filter_map(|(name, operation, text)| {
            let ours = acl.authorise(operation, &path(text), &Map::new(), false, 0).is_ok();
            let theirs = allowed.iter().any(|allowed| allowed == name);
            (ours != theirs).then_some((name, theirs))
        });
        let said = [("capabilities", plain, exact), ("capabilities_slash", &slashed, slash)];
        let said = said.into_iter().filter_map(|(name, text, theirs)| {
            let ours = names(acl, text);
            (ours != theirs.join(",")).then_some((name, ours == "deny"))
        });
        requests.chain(said).collect()
    }

    fn is_denied_in_a_spelling(&self, acl: &Acl) -> bool {
        [self.0.clone(), format!("{}/", self.0)]
            .iter()
            .any(|text| acl.find(text).is_some_and(|found| found.capabilities.denies()))
    }
}

#[test]
fn the_matcher_agrees_with_openbao_or_is_stricter_where_listed() {
    let mut differences = String::new();
    let (mut cases, mut refused) = (0, 0);
    for (number, line) in RECORDED.lines().skip(1).enumerate() {
        let Case { policies, checks } = serde_json::from_str(line).unwrap();
        let parse = |text: &String| Policy::parse(PolicyName::parse("p").unwrap(), text);
        let parsed: Result<Vec<Policy>, _> = policies.iter().map(parse).collect();
        cases += 1;
        let Some(checks) = checks else {
            assert!(parsed.is_err(), "OpenBao refuses the policies of case {number}");
            refused += 1;
            continue;
        };
        let acl = Acl::new(&parsed.unwrap());
        for check in checks {
            for (asked, stricter) in check.differences(&acl) {
                let place = format!("{number} {} {asked}", check.0);
                assert!(stricter && check.is_denied_in_a_spelling(&acl), "{place}");
                assert!(["list", "list_slash", "capabilities_slash"].contains(&asked), "{place}");
                differences.push_str(&place);
                differences.push('\n');
            }
        }
    }
    assert_eq!((cases, refused), (400, 85));
    assert_eq!(differences, STRICTER);
}
