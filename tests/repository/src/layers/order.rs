//! The order of a crate's rooms, as its page states it.

use super::modules::Crate;

/// The first line of the block.
pub const TITLE: &str = "rooms, each may use only those above it:";

/// One line of the block: `name/   what it is` for a folder, `name.rs   what it is` for a file.
#[derive(Debug)]
pub struct Room {
    pub module: String,
    /// As it stands on the page.
    name: String,
}

/// The rooms, from the top. Lines that begin with a space go on with the one before.
pub fn read(page: &str) -> Result<Vec<Room>, String> {
    let mut lines = page.lines().map(str::trim_end);
    let mut before = "";
    loop {
        match lines.next() {
            Some(TITLE) if before.starts_with("```") => break,
            Some(line) => before = line,
            None => return Err(format!("has no fenced block that begins with the line \"{TITLE}\"")),
        }
    }
    let block = lines.take_while(|line| !line.starts_with("```"));
    block.filter(|line| !line.is_empty() && !line.starts_with(' ')).map(room).collect()
}

fn room(line: &str) -> Result<Room, String> {
    let name = line.split_whitespace().next().unwrap_or_default();
    match name.strip_suffix('/').or_else(|| name.strip_suffix(".rs")) {
        Some(module) => Ok(Room { module: module.to_owned(), name: name.to_owned() }),
        None => Err(format!("\"{line}\" names neither a folder (name/) nor a file (name.rs)")),
    }
}

/// What the page has wrong about the crate's modules.
pub fn complaints<'a>(order: &'a [Room], krate: &'a Crate) -> impl Iterator<Item = String> + 'a {
    let missing = krate.rooms().filter(|name| order.iter().all(|room| room.module != *name));
    let missing = missing.map(|name| format!("the module {name} has no line"));
    missing.chain(order.iter().enumerate().filter_map(|(at, room)| {
        let name = &room.module;
        if order[..at].iter().any(|other| other.module == *name) {
            Some(format!("{name} stands twice"))
        } else if krate.rooms().all(|other| other != name) {
            Some(format!("there is no module {name}"))
        } else if !krate.has(&room.name) {
            Some(format!("there is no {}", room.name))
        } else {
            None
        }
    }))
}
