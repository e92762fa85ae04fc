//! That every page is found: the index names each once, and no link leads nowhere.

use std::path::Path;

use crate::source::read;

const INDEX: &str = "docs/README.md";

#[test]
fn every_page_stands_in_the_index() {
    let pages = read(|path| path.starts_with("docs/") && path.ends_with(".md") && path != INDEX);
    let index = &read(|path| path == INDEX)[INDEX];
    let wrong = astray(pages.keys().map(String::as_str), index);
    assert!(
        wrong.is_empty(),
        "write it into {INDEX}, under what a reader wants of it:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_link_leads_nowhere() {
    let root = crate::root();
    let pages = read(|path| path.ends_with(".md"));
    let exists = |path: &Path| root.join(path).exists();
    let wrong: Vec<String> = pages.iter().flat_map(|(page, text)| dead(page, text, exists)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_picture_is_shown_somewhere() {
    let pictures = read(|path| path.starts_with("docs/pictures/"));
    assert!(!pictures.is_empty(), "there are pictures");
    let pages: String = read(|path| path.ends_with(".md")).into_values().collect();
    let shown = |path: &&String| pages.contains(&path["docs/".len()..]);
    let wrong: Vec<_> = pictures.keys().filter(|path| !shown(path)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Pages that the index does not link exactly once.
fn astray<'a>(pages: impl Iterator<Item = &'a str>, index: &str) -> Vec<String> {
    let links: Vec<&str> = links(index).collect();
    let times = |page: &str| links.iter().filter(|link| **link == &page["docs/".len()..]).count();
    pages.filter(|page| times(page) != 1).map(|page| format!("{page}: {} times", times(page))).collect()
}

/// Links to files that are not there.
fn dead(page: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(page).parent().unwrap();
    let is_elsewhere =
        |link: &&str| link.contains("://") || link.starts_with('#') || link.starts_with("mailto:");
    let files = links(text).filter(|link| !is_elsewhere(link)).map(|link| link.split('#').next().unwrap());
    files.filter(|link| !exists(&folder.join(link))).map(|link| format!("{page}: {link}")).collect()
}

/// What stands behind `](`, outside of blocks, and looks like a file or an address: formulas have that too.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("\n```").step_by(2);
    prose
        .flat_map(|part| part.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link)
        .filter(|link| link.contains('.'))
}

#[test]
fn a_page_that_nobody_finds_is_found() {
    let index = "see [a](a.md), [b](b.md) and [b again](b.md)\n\n```\n[c](c.md)\n```\n";
    let pages = ["docs/a.md", "docs/b.md", "docs/c.md"];
    assert_eq!(astray(pages.into_iter(), index), ["docs/b.md: 2 times", "docs/c.md: 0 times"]);
    let text = "[x](../x.md#part) [y](https://y.example/) ![z](z.svg)";
    assert_eq!(dead("docs/a.md", text, |path| path == Path::new("docs/z.svg")), ["docs/a.md: ../x.md"]);
}
