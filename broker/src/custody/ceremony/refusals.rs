//! Shares that were not taken, as anyone may see them.
//!
//! Whoever reaches the listener can make up a share under a custodian's number, and the list is what people
//! look at to see whose share went wrong. So each holder stands in it once, with the newest refusal and how
//! many there were: nobody can fill it, nor push a name out of it.

/// Holders that the list has room for: a set of 16, the next set of 16, and shares that say nobody's name.
const HOLDERS_MAX: usize = 33;

/// Shares of one holder that were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the last one came, Unix milliseconds.
    pub at_ms: u64,
    /// Whose they were; empty if that is not known.
    pub name: String,
    /// Why the last one was not taken: one of our own texts.
    pub reason: String,
    /// How many there were.
    pub times: u64,
}

/// All of one ceremony.
#[derive(Debug, Default)]
pub(super) struct Refusals(Vec<Refused>);

impl Refusals {
    /// Writes one down. Whether it is the first of its holder.
    pub(super) fn add(&mut self, name: &str, reason: String, at_ms: u64) -> bool {
        let known = self.0.iter().position(|refused| refused.name == name).map(|at| self.0.remove(at));
        let first = known.is_none();
        if first && self.0.len() >= HOLDERS_MAX {
            return false;
        }
        let times = known.map_or(0, |known| known.times).saturating_add(1);
        self.0.push(Refused { at_ms, name: name.to_owned(), reason, times });
        first
    }

    /// One for each holder, the one that was refused last at the end.
    pub(super) fn shown(&self) -> Vec<Refused> {
        self.0.clone()
    }
}
