#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn check(raw: &str, text: &str, list_form: bool) {
    let path = ApiPath::parse(raw).unwrap();
    assert_eq!(path.as_str(), text, "{raw}");
    assert_eq!(path.is_list_form(), list_form, "{raw}");
}

fn check_refused(raw: &str, why: PathError) {
    assert_eq!(ApiPath::parse(raw), Err(why), "{raw}");
}

#[test]
fn a_path_is_decoded_once() {
    check("secret/data/app", "secret/data/app", false);
    check("secret/metadata/app/", "secret/metadata/app", true);
    check("secret/data/a%20b%3Fc%25d", "secret/data/a b?c%d", false);
    check("secret/data/%C3%A4", "secret/data/ä", false);
    check("secret%2Fdata%2fteam%2Fdb", "secret/data/team/db", false);
    check("secret/metadata/team%2F", "secret/metadata/team", true);
    check("secret/data/a%5Cb", "secret/data/a\\b", false);
    check("secret/data/a\\b", "secret/data/a\\b", false);
    check("secret/data/100%25/%2541", "secret/data/100%/%41", false);
    check("secret/data/...", "secret/data/...", false);
    check("secret/data/.env", "secret/data/.env", false);
}

#[test]
fn doubtful_paths_are_refused() {
    check_refused("", PathError::Empty);
    check_refused("/", PathError::Empty);
    check_refused("/secret", PathError::EmptySegment);
    check_refused("secret//x", PathError::EmptySegment);
    check_refused("secret//", PathError::EmptySegment);
    for dots in [
        "secret/../sys",
        "secret/./x",
        "secret/%2e%2e/sys",
        "secret/.%2E/x",
        "..",
        "secret/..",
        "secret/..%2f..%2fsys",
        "secret%2F%2e%2E%2Fsys",
    ] {
        check_refused(dots, PathError::DotSegment);
    }
    for empty in ["%2Fsecret", "secret%2F/x", "secret%2F%2fx", "secret/%2F"] {
        check_refused(empty, PathError::EmptySegment);
    }
    for twice in
        ["a/%252F", "a%252fb", "a/%252e%252e/b", "a/%255Cb", "a/%25252F", "a/%250Ab", "a/%257f", "%25%32%46"]
    {
        check_refused(twice, PathError::EncodedTwice);
    }
    for escape in ["secret/%", "secret/%2", "secret/%zz", "secret/%+1"] {
        check_refused(escape, PathError::BadEscape);
    }
    check_refused("secret/%ff", PathError::NotUtf8);
    check_refused("secret/%c0%af", PathError::NotUtf8);
    for control in ["secret/a%00", "secret/a%0a", "secret/a%7f", "secret/%c2%85"] {
        check_refused(control, PathError::ControlCharacter);
    }
    check_refused(&"a".repeat(1025), PathError::TooLong);
    check_refused(&"a/".repeat(65), PathError::TooDeep);
    assert!(ApiPath::parse(&"a".repeat(1024)).is_ok());
    assert!(ApiPath::parse(&"a/".repeat(64)).is_ok());
}

#[test]
fn mounts_match_whole_segments() {
    let path = ApiPath::parse("team/secret/data/x").unwrap();
    let mount = |text| MountPath::parse(text).unwrap();
    assert_eq!(path.strip_mount(&mount("team/secret/")), Some("data/x"));
    assert_eq!(path.strip_mount(&mount("/team")), Some("secret/data/x"));
    assert_eq!(path.strip_mount(&mount("team/sec")), None);
    assert_eq!(ApiPath::parse("secret").unwrap().strip_mount(&mount("secret")), Some(""));
    assert!(mount("a/b").overlaps(&mount("a")) && mount("a").overlaps(&mount("a/b")));
    assert!(!mount("ab").overlaps(&mount("a")));
}

#[test]
fn folders_show_their_children() {
    let secret = SecretPath::parse("a/b/c").unwrap();
    assert_eq!(secret.parent().as_str(), "a/b");
    assert_eq!(secret.name(), "c");
    let shown: Vec<_> =
        secret.trail().map(|(folder, child)| (folder.to_string(), child.to_string())).collect();
    let expected = [("", "a/"), ("a", "b/"), ("a/b", "c")];
    assert_eq!(shown, expected.map(|(folder, child)| (folder.to_owned(), child.to_owned())));
    for (folder, child) in secret.trail() {
        assert_eq!(folder.shows(&secret), Some(child));
    }
    assert_eq!(FolderPath::parse("a/bb").unwrap().shows(&secret), None);
    assert_eq!(FolderPath::parse("a/b/c").unwrap().shows(&secret), None);
    assert_eq!(FolderPath::root().parent(), None);
    assert_eq!(FolderPath::parse("a/").unwrap().parent(), Some(FolderPath::root()));
}

#[test]
fn names_are_folded_and_reserved_in_every_spelling() {
    assert_eq!(PolicyName::parse("  Eso-Read ").unwrap().as_str(), "eso-read");
    for spelling in ["root", "ROOT", " root", "Root\t", "response-wrapping", "Response-Wrapping "] {
        assert_eq!(PolicyName::assignable(spelling), Err(NameError::Reserved), "{spelling}");
    }
    assert!(PolicyName::assignable("Default").unwrap().is_default());
    for bad in ["ro\u{131}t", "r\u{43e}\u{43e}t", "a b", "a\0b", "-a", "a-", ".", "a,b", "a*"] {
        assert_eq!(PolicyName::parse(bad), Err(NameError::BadCharacter), "{bad}");
        assert_eq!(RoleName::parse(bad), Err(NameError::BadCharacter), "{bad}");
    }
    assert_eq!(PolicyName::parse(" Team/Sub.x/Readers").unwrap().as_str(), "team/sub.x/readers");
    for bad in ["/a", "a/", "a//b", "a/./b", "a/../b", "..", "a/ b", "a/-b", "a\\b", "a%2fb", "/"] {
        assert_eq!(PolicyName::parse(bad), Err(NameError::BadCharacter), "{bad}");
    }
    for no_part_of_a_path in ["a/b", "team/readers"] {
        assert_eq!(RoleName::parse(no_part_of_a_path), Err(NameError::BadCharacter));
        assert_eq!(UserName::parse(no_part_of_a_path), Err(NameError::BadCharacter));
    }
    assert_eq!(RoleName::parse(" "), Err(NameError::Empty));
    assert_eq!(RoleName::parse(&"a".repeat(129)), Err(NameError::TooLong));
}

proptest! {
    #[test]
    fn parsing_is_total_and_stable(raw in ".{0,64}") {
        if let Ok(path) = ApiPath::parse(&raw) {
            let again = ApiPath::from_decoded(path.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), path.as_str());
            prop_assert!(path.segments().all(|segment| !matches!(segment, "" | "." | "..")));
        }
        if let Ok(name) = PolicyName::parse(&raw) {
            prop_assert_eq!(PolicyName::parse(name.as_str()).unwrap(), name);
        }
    }

    #[test]
    fn the_trail_agrees_with_shows(segments in prop::collection::vec("[a-c]{1,2}", 1..6)) {
        let secret = SecretPath::parse(&segments.join("/")).unwrap();
        for (folder, child) in secret.trail() {
            prop_assert_eq!(folder.shows(&secret), Some(child));
        }
        prop_assert_eq!(secret.parent().secret(secret.name()).unwrap(), secret);
    }
}
