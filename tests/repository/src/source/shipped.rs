//! A source without its tests: what stands under `#[cfg(test)]` or `#[test]` is blanked.

use super::mask::{code, is_word};

/// Words that begin an item, which may have commas outside brackets (`impl<A, B>`). Anything else is a field
/// or a variant.
const ITEMS: &str =
    " fn impl mod use struct enum union const static type trait unsafe async extern macro_rules let ";

/// The code that is built without tests: comments, strings and tests blanked, all else at its place.
pub fn shipped(source: &str) -> String {
    let code = code(source);
    let mut shipped = code.clone().into_bytes();
    for Marked { from, to } in marked(&code) {
        shipped[from..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(shipped).unwrap()
}

/// The modules in files of their own that are declared for tests only. `./` is the folder of the file, which
/// a `path` attribute starts from; all others lie where modules of the file lie.
pub fn test_modules(source: &str) -> Vec<String> {
    let code = code(source);
    marked(&code)
        .iter()
        .filter_map(|item| module_file(&source[item.from..item.to], &code[item.from..item.to]))
        .collect()
}

fn module_file(source: &str, code: &str) -> Option<String> {
    let name = code.trim_end().strip_suffix(';')?.rsplit_once("mod ")?.1.trim();
    let path = source.split_once("#[path = \"").and_then(|(_, rest)| rest.split_once(".rs\""));
    let file = path.map_or(name, |(path, _)| path);
    file.bytes().all(is_word).then(|| match path {
        Some(_) => format!("./{file}"),
        None => file.to_owned(),
    })
}

/// Where a test item begins, attribute included, and ends.
struct Marked {
    from: usize,
    to: usize,
}

fn marked(code: &str) -> Vec<Marked> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(from) = code[at..].find("#").map(|offset| at + offset) {
        let Some((attribute, after)) = attribute(code, from) else {
            at = from + 1;
            continue;
        };
        at = after;
        if is_test(attribute) {
            let whole_file = code[from..].starts_with("#!");
            at = if whole_file { code.len() } else { item_end(code, after) };
            found.push(Marked { from: if whole_file { 0 } else { from }, to: at });
        }
    }
    found
}

/// The inside of the attribute that begins here, and where it ends.
fn attribute(code: &str, from: usize) -> Option<(&str, usize)> {
    let open = from + if code[from..].starts_with("#![") { 2 } else { 1 };
    code[open..].starts_with('[').then_some(())?;
    let mut depth = 0;
    for (offset, byte) in code[open..].bytes().enumerate() {
        match byte {
            b'[' => depth += 1,
            b']' if depth == 1 => return Some((&code[open + 1..open + offset], open + offset + 1)),
            b']' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `test`, `tokio::test(…)`, `cfg(test)`, `cfg(all(test, …))`. What is built for tests and for something else
/// is shipped.
fn is_test(attribute: &str) -> bool {
    let compact: String = attribute.split_whitespace().collect();
    let name = compact.split('(').next().unwrap_or_default();
    let condition = compact.strip_prefix("cfg(").unwrap_or_default();
    name == "test" || name.ends_with("::test") || condition == "test)" || condition.starts_with("all(test,")
}

/// Where the item after an attribute ends: at its closing brace or semicolon, or the comma after a field.
fn item_end(code: &str, after: usize) -> usize {
    let start = skip_attributes(code, after);
    let is_item = ITEMS.contains(&format!(" {} ", first_word(&code[start..])));
    let mut depth = 0;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b'}' if depth == 1 => return start + offset + 1,
            b'}' | b')' | b']' if depth == 0 => return start + offset,
            b'}' | b')' | b']' => depth -= 1,
            b';' if depth == 0 => return start + offset + 1,
            b',' if depth == 0 && !is_item => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn skip_attributes(code: &str, mut at: usize) -> usize {
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        match attribute(code, at).filter(|_| code[at..].starts_with('#')) {
            Some((_, end)) => at = end,
            None => return at,
        }
    }
}

/// The first word that is no visibility.
fn first_word(code: &str) -> &str {
    let code = code.trim_start();
    let end = code.bytes().position(|byte| !is_word(byte)).unwrap_or(code.len());
    if &code[..end] != "pub" {
        return &code[..end];
    }
    let rest = code[end..].trim_start();
    let restricted = rest.starts_with('(').then(|| rest.split_once(')')).flatten();
    first_word(restricted.map_or(rest, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::{shipped, test_modules};

    #[track_caller]
    fn left(source: &str, expected: &str) {
        let shipped = shipped(source);
        assert_eq!(shipped.len(), source.len());
        assert_eq!(shipped.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn tests_are_left_out() {
        left("fn a() {} #[cfg(test)] mod tests { fn b() { {} } } fn c() {}", "fn a() {} fn c() {}");
        left("#[test] #[should_panic(expected = \"}\")] fn a() -> [u8; 2] { [1, 2] } fn b() {}", "fn b() {}");
        left("#[tokio::test(flavor = \"x\")] async fn a() {} fn b() {}", "fn b() {}");
        left("#[cfg(test)] use a::b; fn c() {}", "fn c() {}");
        left("#[cfg(all(test, feature = \"x\"))] impl<A, B> C<A, B> { } fn c() {}", "fn c() {}");
        left("struct A { #[cfg(test)] pub(crate) b: B<C>, d: D } fn c() {}", "struct A { d: D } fn c() {}");
        left("struct A { d: D, #[cfg(test)] b: B } fn c() {}", "struct A { d: D, } fn c() {}");
        left("#![allow(x)] #![cfg(test)] fn a() {}", "");
    }

    #[test]
    fn what_is_shipped_stays() {
        for source in
            ["#[cfg(not(test))] fn a() {}", "#[cfg(any(test, feature))] fn a() {}", "#[derive(A)] struct B;"]
        {
            left(source, source);
        }
        left("#[doc = \"#[cfg(test)]\"] fn a() {}", "#[doc = ] fn a() {}");
        left("// #[cfg(test)]\nfn a() {}", "fn a() {}");
    }

    #[test]
    fn modules_of_tests_are_named() {
        let source =
            "mod a; #[cfg(test)] mod b; #[cfg(test)] #[path = \"c_tests.rs\"] mod c; #[cfg(test)] mod d {}";
        assert_eq!(test_modules(source), ["b", "./c_tests"]);
    }
}
