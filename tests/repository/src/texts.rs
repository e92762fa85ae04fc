//! What documents say: names and paths that exist, and no path of the machine that they were
//! written on.

use std::collections::BTreeSet;

use crate::source::{Kind, Sources, code, kinds, read, tokens};

/// A last part that is longer than this can only mean one thing.
const LONG: usize = 12;

/// A name of so many words says what happens: it is that of a test, or of something else that code has.
const SENTENCE_WORDS: usize = 4;

/// Folders of one machine. In two pieces, because this file is read too.
const ELSEWHERE: [&str; 2] = [concat!("/", "work/"), concat!("/", "root/")];

#[test]
fn names_in_documents_exist() {
    let sources = read(|path| path.ends_with(".rs"));
    let known: BTreeSet<String> = sources.values().flat_map(|text| declared(text)).collect();
    let wrong = unknown(&read(is_document), &known);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Whoever claims something names the test that shows it, in documents and beside the code.
#[test]
fn tests_that_claims_name_exist() {
    let sources = read(|path| path.ends_with(".rs"));
    let known: BTreeSet<String> = sources.values().flat_map(|text| spoken(text)).collect();
    let comments = sources.iter().map(|(path, text)| (path, only(text, Kind::Comment, true)));
    let documents = read(|path| path.ends_with(".md") && path != "CHANGELOG.md");
    let texts = comments.chain(documents.iter().map(|(path, text)| (path, text.clone())));
    let wrong: Vec<String> = texts.flat_map(|(path, text)| unheard(path, &text, &known)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn paths_in_documents_exist() {
    let root = crate::root();
    let wrong = gone(&read(is_document), |path| root.join(path).exists());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let files = read(|path| !path.ends_with(".lock"));
    let wrong: Vec<String> = files.iter().flat_map(|(path, text)| elsewhere(path, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Two versions of one place that nobody has put together.
#[test]
fn no_file_holds_a_conflict() {
    let is_mark = |line: &&str| ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark));
    let files = read(|path| !path.starts_with("fuzz/corpus/"));
    let held =
        |(path, text): (&String, &String)| text.lines().find(is_mark).map(|line| format!("{path}: {line}"));
    let wrong: Vec<String> = files.iter().filter_map(held).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What describes the present; the changelog tells what was.
fn is_document(path: &str) -> bool {
    let is_here = !path.contains('/') || path.starts_with("docs/");
    path.ends_with(".md") && is_here && path != "CHANGELOG.md"
}

/// The names of functions and modules.
fn declared(source: &str) -> Vec<String> {
    let code = code(source);
    let tokens = tokens(&code);
    let named = tokens.windows(2).filter(|pair| matches!(pair[0].text, "fn" | "mod"));
    named.map(|pair| pair[1].text.to_owned()).collect()
}

/// Paths in backticks whose last part is long, looks like a function or module, and is none.
fn unknown(documents: &Sources, known: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (document, text) in documents {
        for quoted in in_backticks(text) {
            let path = quoted.trim_end_matches("()");
            let last = path.rsplit("::").next().unwrap_or_default();
            if is_path(path) && last.len() > LONG && !known.contains(last) {
                found.push(format!("{document}: {quoted}"));
            }
        }
    }
    found
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The bytes of a source that are of this kind, or those that are not; the others are blank.
fn only(source: &str, kind: Kind, wanted: bool) -> String {
    let keep = |(byte, of): (u8, Kind)| if (of == kind) == wanted || byte == b'\n' { byte } else { b' ' };
    String::from_utf8(source.bytes().zip(kinds(source)).map(keep).collect()).unwrap()
}

/// The words of code and strings.
fn spoken(source: &str) -> Vec<String> {
    words(&only(source, Kind::Comment, false)).map(|(_, word)| word.to_owned()).collect()
}

/// Sentences at the end of a quotation in backticks that no code says.
fn unheard(path: &str, text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let is_quoted = |end: usize| text[end..].trim_start_matches("()").starts_with('`');
    let is_sentence = |word: &str| {
        word.split('_').filter(|part| !part.is_empty()).count() >= SENTENCE_WORDS
            && !word.contains(char::is_uppercase)
    };
    let wrong =
        words(text).filter(|(end, word)| is_quoted(*end) && is_sentence(word) && !known.contains(*word));
    wrong.map(|(_, word)| format!("{path}: {word}")).collect()
}

/// Words, each with where it ends.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    text.split_inclusive(move |c| !is_word(c)).map(move |piece| {
        let word = piece.trim_end_matches(|c| !is_word(c));
        let end = at + word.len();
        at += piece.len();
        (end, word)
    })
}

/// Paths in backticks that begin with a folder of the checkout and lead nowhere.
fn gone(documents: &Sources, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let mut found = Vec::new();
    for (document, text) in documents {
        for quoted in in_backticks(text).filter(|quoted| quoted.chars().all(is_plain)) {
            let begins_here = quoted.split_once('/').is_some_and(|(top, _)| !top.is_empty() && exists(top));
            if begins_here && !exists(quoted) {
                found.push(format!("{document}: {quoted}"));
            }
        }
    }
    found
}

/// `a::b`, in the letters of functions and modules; types begin with a capital.
fn is_path(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let last = text.rsplit("::").next().unwrap_or_default();
    text.contains("::") && text.split("::").all(is_name) && !last.starts_with(char::is_uppercase)
}

fn elsewhere(path: &str, text: &str) -> Vec<String> {
    let starts = |line: &str, folder: &str| line.match_indices(folder).any(|(at, _)| !goes_on(&line[..at]));
    let names = |line: &&str| ELSEWHERE.iter().any(|folder| starts(line, folder));
    text.lines().filter(names).map(|line| format!("{path}: {}", line.trim())).collect()
}

/// Whether the folder stands below another one.
fn goes_on(before: &str) -> bool {
    before.ends_with(|c: char| c.is_alphanumeric() || "._-}*>".contains(c))
}

#[test]
fn a_name_that_is_nowhere_is_found() {
    let text = "`room::a_test_that_is_there`, `room::a_test_that_is_gone()`, `room::gone`, `room::SomeLongTypeName`, a::b";
    let documents: Sources = [("docs/a.md".to_owned(), text.to_owned())].into();
    let known = declared("mod room { fn a_test_that_is_there() {} }").into_iter().collect();
    assert_eq!(unknown(&documents, &known), ["docs/a.md: room::a_test_that_is_gone()"]);
}

#[test]
fn a_test_that_is_nowhere_is_found_wherever_it_is_named() {
    let source = "//! | row | `it_is_not_there_any_more` |\nfn it_is_there_and_passes() { x(\"a_string_of_words\") }\n// it_is_not_there_any_more\n";
    let known = spoken(source).into_iter().collect();
    let comment = only(source, Kind::Comment, true);
    assert_eq!(unheard("a.rs", &comment, &known), ["a.rs: it_is_not_there_any_more"]);
    let document = "`room::it_is_gone_from_there()`, `it_is_there_and_passes`, `a_string_of_words`, `too_few_words`, bare_words_are_no_claim";
    assert_eq!(unheard("a.md", document, &known), ["a.md: it_is_gone_from_there"]);
}

#[test]
fn a_path_that_leads_nowhere_is_found() {
    let text =
        "`src/room.rs`, `src/gone.rs`, `src/{a,b}.rs`, `sys/mounts`, `gone.rs`, src/other.rs, `/src/x`";
    let documents: Sources = [("docs/a.md".to_owned(), text.to_owned())].into();
    let exists = |path: &str| ["src", "src/room.rs"].contains(&path);
    assert_eq!(gone(&documents, exists), ["docs/a.md: src/gone.rs"]);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let text = format!(
        "see {0}me/x\nand src{0}x\nhttps://example.org{0}x\nname ({1}x)\n",
        ELSEWHERE[0], ELSEWHERE[1]
    );
    assert_eq!(
        elsewhere("a", &text),
        [format!("a: see {}me/x", ELSEWHERE[0]), format!("a: name ({}x)", ELSEWHERE[1])]
    );
}
