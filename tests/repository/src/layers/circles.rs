//! Circles among modules that have the same parent, each with all that lies below it.

use std::collections::{BTreeMap, BTreeSet};

use super::arrows::Arrow;

/// Who uses whom.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// A line for each group of modules that reach one another.
pub fn circles(arrows: &[Arrow]) -> Vec<String> {
    let mut graphs: BTreeMap<Vec<String>, Graph> = BTreeMap::new();
    for Arrow { from, to, .. } in arrows {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        // Otherwise one is an ancestor of the other.
        if let (Some(user), Some(used)) = (from.get(shared), to.get(shared)) {
            let graph = graphs.entry(from[..shared].to_vec()).or_default();
            graph.entry(user.clone()).or_default().insert(used.clone());
        }
    }
    graphs
        .iter()
        .flat_map(|(parent, graph)| groups(graph).into_iter().map(|group| told(parent, &group)))
        .collect()
}

fn told(parent: &[String], group: &[String]) -> String {
    let place = if parent.is_empty() { "the crate".to_owned() } else { parent.join("::") };
    format!("in {place}, these stand in a circle: {}", group.join(", "))
}

/// Modules that reach one another, two at least.
fn groups(graph: &Graph) -> Vec<Vec<String>> {
    let reach: Graph = graph.keys().map(|from| (from.clone(), reachable(graph, from))).collect();
    let mut found: Vec<Vec<String>> = Vec::new();
    for (from, to) in &reach {
        let back = |other: &&String| reach.get(*other).is_some_and(|others| others.contains(from));
        let group: Vec<String> = to.iter().filter(back).cloned().collect();
        if group.len() > 1 && !found.contains(&group) {
            found.push(group);
        }
    }
    found
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        let used = graph.get(module).into_iter().flatten();
        next.extend(used.filter(|used| seen.insert((*used).clone())).map(String::as_str));
    }
    seen
}
