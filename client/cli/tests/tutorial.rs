//! `docs/tutorial.md`, typed as it stands there: every command line of it, by everybody who types one, in
//! directories of their own. What is printed is what the page says.

#![cfg(feature = "servers")]
#![allow(clippy::unwrap_used)]

#[path = "support/terminals.rs"]
mod terminals;

use std::collections::BTreeMap;

use symbolon_cli::demo::world::free_port;

use crate::terminals::{Terminal, Transcript};

/// Commands that the operator of either side may need, from nothing to a secret that is read.
const COMMANDS_MAX: usize = 12;
/// What is printed before something is typed without echo.
const QUESTIONS: [&str; 3] = ["Share (skf1…): ", "Token: ", "password: "];
/// Says of a command that it has not ended yet.
const WAITS: &str = "(it waits)";

/// Something that is typed, and what comes of it.
#[derive(Debug, Default)]
struct Step {
    who: String,
    /// Empty if somebody looks again at what an earlier command prints.
    command: String,
    /// What is typed when it asks.
    typed: Option<String>,
    expected: Vec<String>,
    waits: bool,
}

/// The steps of all blocks; each begins with whose terminal it is.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = page.lines();
    while let Some(fence) = lines.by_ref().find(|line| line.starts_with("```")) {
        let who =
            fence.strip_prefix("```console ").unwrap_or_else(|| panic!("{fence}: a block of no terminal"));
        steps.push(Step { who: who.to_owned(), ..Step::default() });
        for line in lines.by_ref().take_while(|line| *line != "```") {
            read(&mut steps, line);
        }
    }
    steps.retain(|step| !step.command.is_empty() || !step.expected.is_empty());
    steps
}

fn read(steps: &mut Vec<Step>, line: &str) {
    let step = steps.last_mut().unwrap();
    if let Some(command) = line.strip_prefix(&format!("{}$ ", step.who)) {
        let (who, command) = (step.who.clone(), command.to_owned());
        steps.push(Step { who, command, ..Step::default() });
        return;
    }
    let typed = QUESTIONS.iter().find_map(|question| line.strip_prefix(question));
    match typed {
        Some(typed) => step.typed = Some(typed.to_owned()),
        None if line == WAITS => step.waits = true,
        None => step.expected.push(line.to_owned()),
    }
}

#[test]
fn the_tutorial_is_what_happens() {
    let page = std::fs::read_to_string(symbolon_repository::root().join("docs/tutorial.md")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let ports: Vec<_> = ["8200", "8300"].map(|port| (port, free_port().unwrap().port().to_string())).into();
    let mut transcript = Transcript::new(home.path(), ports.clone());
    let mut terminals: BTreeMap<String, Terminal> = BTreeMap::new();
    let mut typed: BTreeMap<String, usize> = BTreeMap::new();
    for step in steps(&page) {
        let terminal =
            terminals.entry(step.who.clone()).or_insert_with(|| Terminal::open(home.path(), &step.who));
        if !step.command.is_empty() {
            *typed.entry(step.who.clone()).or_default() += 1;
            let input = step.typed.as_deref().map(|typed| transcript.filled_in(typed));
            terminal.enter(&transcript.filled_in(&step.command), input.as_deref());
        }
        let printed = match step.waits {
            true => terminal.until(|so_far| transcript.compare(&step.expected, so_far).is_ok()),
            false => terminal.ended(),
        };
        if let Err(difference) = transcript.compare(&step.expected, &printed) {
            panic!("{}$ {}\n{difference}\nIt printed:\n{printed}", step.who, step.command);
        }
        transcript.learn(&step.expected, &printed);
        if step.command.ends_with('&') {
            let port = if step.who == "nas" { &ports[1].1 } else { &ports[0].1 };
            terminals::wait_for(port);
        }
    }
    for who in ["nas", "broker"] {
        assert!((1..=COMMANDS_MAX).contains(&typed[who]), "{who} types {} commands", typed[who]);
    }
}

#[test]
fn the_steps_of_a_page_are_read() {
    let page = "text\n```console a\na$ one\nout\n(it waits)\n```\n```console b\nb$ two\nToken: <t>\n```\n\
                ```console a\nmore\na$ three\n```\n";
    let steps = steps(page);
    let told: Vec<_> = steps.iter().map(|step| (step.who.as_str(), step.command.as_str())).collect();
    assert_eq!(told, [("a", "one"), ("b", "two"), ("a", ""), ("a", "three")]);
    assert!(steps[0].waits && steps[0].expected == ["out"] && steps[2].expected == ["more"]);
    assert_eq!(steps[1].typed.as_deref(), Some("<t>"));
}

#[test]
fn what_is_printed_otherwise_is_found() {
    let mut transcript = Transcript::new("/x".as_ref(), vec![("8200", "41000".to_owned())]);
    let page = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let expected = page(&["made  ~/b  at :8200", "", "key <key>, <…>"]);
    let printed = "made     /x/a/b   at :41000\nkey k1, 17\n";
    assert_eq!(transcript.compare(&expected, printed), Ok(()));
    transcript.learn(&expected, printed);
    assert_eq!(transcript.filled_in("use <key> :8200"), "use k1 :41000");
    for other in
        ["made /x/a/b at :41000\n", "made /x/a/b at :41000\nkey k2, 17\n", "made /x/a/b\nkey k1, 1\n"]
    {
        assert!(transcript.compare(&expected, other).is_err(), "{other}");
    }
    let more = format!("{printed}and more\n");
    assert!(transcript.compare(&expected, &more).is_err());
}
