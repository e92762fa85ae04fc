//! The modules of a crate, found as the compiler finds them: from the root, by their declarations. Tests are
//! left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Sources, Token, children_of, shipped, tokens};

/// A module's place: names from the root of the crate. The root's is empty.
pub type Place = Vec<String>;

/// A crate without its tests.
pub struct Crate {
    /// Masked code by file, with the place of the file's module.
    pub files: BTreeMap<String, (Place, String)>,
    modules: BTreeSet<Place>,
    /// All files of the crate, tests too.
    paths: BTreeSet<String>,
    folder: String,
}

impl Crate {
    pub fn read(sources: &Sources, root: &str) -> Self {
        let folder = children_of(root).to_owned();
        let paths = sources.keys().filter(|path| path.starts_with(&folder)).cloned().collect();
        let mut krate = Self { files: BTreeMap::new(), modules: BTreeSet::new(), paths, folder };
        krate.add(sources, root.to_owned(), Place::new());
        krate
    }

    /// The top-level modules.
    pub fn rooms(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter(|place| place.len() == 1).map(|place| place[0].as_str())
    }

    /// Whether `name/` or `name.rs` is there.
    pub fn has(&self, name: &str) -> bool {
        let path = format!("{}/{name}", self.folder);
        self.paths.iter().any(|file| *file == path || name.ends_with('/') && file.starts_with(&path))
    }

    pub fn is_module(&self, place: &[String]) -> bool {
        self.modules.contains(place)
    }

    /// The module that a path leads into.
    pub fn module_in(&self, path: &[String]) -> Place {
        let lengths = (0..=path.len()).rev();
        lengths.map(|length| &path[..length]).find(|place| self.is_module(place)).unwrap_or_default().to_vec()
    }

    fn add(&mut self, sources: &Sources, file: String, place: Place) {
        let Some(source) = sources.get(&file) else { return };
        let code = shipped(source);
        self.modules.insert(place.clone());
        for (child, is_inline) in declared(&tokens(&code)) {
            let at = [place.clone(), child.clone()].concat();
            if is_inline {
                self.modules.insert(at);
                continue;
            }
            let path = format!("{}/{}", children_of(&file), child.join("/"));
            let beside = format!("{path}.rs");
            let child_file = if sources.contains_key(&beside) { beside } else { format!("{path}/mod.rs") };
            self.add(sources, child_file, at);
        }
        self.files.insert(file, (place, code));
    }
}

/// `mod name;` and `mod name {`, below the file's own module.
fn declared(tokens: &[Token<'_>]) -> Vec<(Place, bool)> {
    let is_declaration =
        |window: &&[Token<'_>]| window[0].text == "mod" && matches!(window[2].text, ";" | "{");
    let place = |window: &[Token<'_>]| {
        let inside = window[0].inside.iter().chain([&window[1].text]);
        (inside.map(|name| (*name).to_owned()).collect(), window[2].text == "{")
    };
    tokens.windows(3).filter(is_declaration).map(place).collect()
}
