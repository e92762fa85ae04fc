//! The supply-chain rules of `deny.toml`, enforced without another tool: what is banned, and who may use what
//! directly.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

struct Rule {
    krate: String,
    wrappers: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn rules() -> Vec<Rule> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let deny: toml::Table = text.parse().unwrap();
    let banned = deny["bans"]["deny"].as_array().unwrap();
    let wrappers = |ban: &toml::Value| {
        let list = ban.get("wrappers").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    banned
        .iter()
        .map(|ban| Rule { krate: ban["crate"].as_str().unwrap().to_owned(), wrappers: wrappers(ban) })
        .collect()
}

/// Direct dependencies by package name as they are built: features resolved, tests' own dependencies left
/// out.
fn shipped() -> BTreeMap<String, Vec<String>> {
    tree(&["--workspace"])
}

fn tree(which: &[&str]) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal,build", "--prefix", "depth", "--format", " {p}"])
        .args(which)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    graph(&String::from_utf8(output.stdout).unwrap())
}

/// Reads lines such as `2 tokio v1.54.1`: a package two levels below the last one at level 0.
fn graph(tree: &str) -> BTreeMap<String, Vec<String>> {
    let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut path: Vec<String> = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let depth: usize = words.next().unwrap().parse().unwrap();
        let name = words.next().unwrap().to_owned();
        path.truncate(depth);
        if let Some(user) = path.last() {
            graph.entry(user.clone()).or_default().push(name.clone());
        }
        graph.entry(name.clone()).or_default();
        path.push(name);
    }
    graph
}

fn violations(graph: &BTreeMap<String, Vec<String>>, rules: &[Rule]) -> Vec<String> {
    let mut found = Vec::new();
    for (user, deps) in graph {
        for rule in rules.iter().filter(|rule| deps.contains(&rule.krate) && !rule.wrappers.contains(user)) {
            found.push(format!("{user} depends on {}", rule.krate));
        }
    }
    found
}

#[test]
fn nothing_banned_is_shipped() {
    assert_eq!(violations(&shipped(), &rules()), Vec::<String>::new());
}

#[test]
fn the_check_finds_a_pure_crate_that_does_io() {
    let mut graph = shipped();
    graph.get_mut("symbolon-core").unwrap().push("tokio".to_owned());
    assert_eq!(violations(&graph, &rules()), ["symbolon-core depends on tokio"]);
}

/// A service that brings its own TLS, or has none, builds no cryptography and nothing else of ours.
#[test]
fn the_clients_library_without_features_is_an_http_client_and_nothing_else() {
    let graph = tree(&["--package", "symbolon", "--no-default-features"]);
    let own = ["bytes", "reqwest", "serde", "serde_json", "thiserror", "tokio", "zeroize"];
    assert_eq!(graph["symbolon"], own);
    let heavy = |name: &&String| {
        name.starts_with("symbolon-")
            || name.starts_with("aws-lc")
            || name.contains("rustls")
            || *name == "jsonwebtoken"
    };
    assert_eq!(graph.keys().filter(heavy).collect::<Vec<_>>(), Vec::<&String>::new());
}
