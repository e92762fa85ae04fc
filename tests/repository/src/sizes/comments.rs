//! Lines with comments, and how wide they are.

use crate::source::{Kind, kinds};

/// The lines with a comment that are wider, where they stand.
pub fn wider_than(columns: usize, path: &str, source: &str) -> Vec<String> {
    let kinds = kinds(source);
    let mut found = Vec::new();
    let mut from = 0;
    for (index, line) in source.split('\n').enumerate() {
        let to = from + line.len();
        let width = line.chars().count();
        if width > columns && kinds[from..to].contains(&Kind::Comment) {
            found.push(format!("{path}:{}: {width} columns", index + 1));
        }
        from = to + 1;
    }
    found
}

#[test]
fn only_lines_with_comments_count_and_by_characters() {
    let source =
        "// short\nlet long = \"// no comment\";\nx(); // ü too long\n/* a\n   block that is wide */\n";
    assert_eq!(wider_than(16, "a.rs", source), ["a.rs:3: 18 columns", "a.rs:5: 24 columns"]);
    assert_eq!(wider_than(24, "a.rs", source), [""; 0]);
}
